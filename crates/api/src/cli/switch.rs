//! `portcullis switch`: stop calls, let them go on, see what is stopped, and measure how fast that goes.

use clap::{Args, Subcommand};
use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Switch as SwitchId};
use portcullis_wire::api::{
    Because, DropSwitch, Propagation, ReplicaStanding, Replicas, Switch, SwitchReport, SwitchState,
};
use serde::Serialize;

use super::client::Client;
use super::error::CliError;
use super::output;
use super::session::Session;

/// What can be done with kill switches.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop calls, and wait until no replica starts one any more (exit 5 where that is not yet so)
    Drop(Drop),
    /// Let calls go on (exit 5 where it takes a second person)
    Lift {
        /// The switch's id, as `switch status` shows it
        id: Id<SwitchId>,
        /// The tenant that dropped it (slug or id) [default: the platform]
        #[arg(long)]
        tenant: Option<String>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Show what is stopped; for the platform also the replicas
    Status {
        /// The tenant's slug or id [default: the platform]
        #[arg(long)]
        tenant: Option<String>,
        /// Those that were lifted, too
        #[arg(long)]
        all: bool,
    },
    /// Measure how fast a switch would fall on every replica; nothing is stopped
    Drill {
        /// The tenant whose credentials run it (slug or id) [default: the platform]
        #[arg(long)]
        tenant: Option<String>,
        /// How often
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
        times: u8,
        /// Why
        #[arg(long, default_value = "a drill")]
        reason: String,
    },
}

/// What to stop.
#[derive(Debug, Args)]
pub struct Drop {
    /// platform-read-only, tenant-read-only, tool-quarantine, server-quarantine, principal-suspension,
    /// tenant-freeze or egress-block
    kind: SwitchKind,
    /// The tool, the server, the principal or the host, for the kinds that name one
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// The tenant's slug or id [default: the platform]
    #[arg(long)]
    tenant: Option<String>,
    /// Freeze the tenant as the platform: its own people cannot lift it
    #[arg(long, requires = "tenant")]
    by_platform: bool,
    /// Why; everybody whom it concerns can read it
    #[arg(long)]
    reason: String,
    /// When it ends by itself, e.g. 2h [default: when it is lifted]
    #[arg(long, value_name = "LIFETIME")]
    expires_in: Option<humantime::Duration>,
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached, or what was begun is not finished.
pub async fn run(command: Command, session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Drop(what) => drop_one(what, session).await,
        Command::Lift { id, tenant, reason } => lift(id, tenant, reason, session).await,
        Command::Status { tenant, all } => status(tenant, all, session).await,
        Command::Drill {
            tenant,
            times,
            reason,
        } => drill(tenant, times, reason, session).await,
    }
}

/// Where a tenant's switches lie, or the platform's.
fn place(tenant: Option<&str>) -> Vec<&str> {
    match tenant {
        Some(tenant) => vec!["tenants", tenant, "switches"],
        None => vec!["switches"],
    }
}

async fn drop_one(what: Drop, mut session: Session<'_>) -> Result<(), CliError> {
    let expires_at = what.expires_in.map(|lifetime| session.end_of(lifetime));
    let (plane, named) = if what.by_platform {
        (None, what.tenant)
    } else {
        (what.tenant, None)
    };
    let body = DropSwitch {
        kind: what.kind,
        target: what.target,
        tenant: named,
        reason: what.reason,
        expires_at: expires_at.transpose()?,
    };
    let client = session.client(plane.as_deref())?;
    let path = place(plane.as_deref());
    let report: SwitchReport = client.post(&path, &body).await?.value;
    session.output.value(&report, told)?;
    let lift = match &plane {
        Some(tenant) => format!(
            "portcullis switch lift {} --tenant {tenant}",
            report.switch.id
        ),
        None => format!("portcullis switch lift {}", report.switch.id),
    };
    session.output.hint(&format!("Later: {lift} --reason …"))?;
    if report.propagation.acknowledged {
        return Ok(());
    }
    Err(CliError::Unfinished(format!(
        "{} is down, but not every replica has confirmed it: calls may still start until `portcullis \
         switch status` shows that they do not",
        report.switch.id
    )))
}

async fn lift(
    id: Id<SwitchId>,
    tenant: Option<String>,
    reason: String,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client = session.client(tenant.as_deref())?;
    let id = id.to_string();
    let mut path = place(tenant.as_deref());
    path.extend([id.as_str(), "lift"]);
    let report: SwitchReport = client.post(&path, &Because { reason }).await?.value;
    session
        .output
        .value(&report, |report| card(&report.switch))?;
    if report.switch.state == SwitchState::Lifted {
        return Ok(());
    }
    Err(CliError::Unfinished(format!(
        "{id} is still down: it takes a second person, who has to lift it within an hour with a service \
         token of their own"
    )))
}

/// What the platform's operator sees.
#[derive(Debug, Serialize)]
struct Overview {
    switches: Vec<Switch>,
    replicas: Replicas,
}

async fn status(
    tenant: Option<String>,
    all: bool,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client = session.client(tenant.as_deref())?;
    let query = [("all", all.to_string())];
    let path = place(tenant.as_deref());
    let switches: Vec<Switch> = client.list(&path, &query, usize::MAX).await?;
    if tenant.is_some() {
        return session.output.list(&switches, HEAD, row);
    }
    let replicas = client.get(&["replicas"]).await?.value;
    let overview = Overview { switches, replicas };
    session.output.value(&overview, |overview| {
        let switches = output::table_of(&overview.switches, HEAD, row);
        let epoch = overview.replicas.epoch;
        let head = ["REPLICA", "STARTED", "BEHIND", "SILENT MS"];
        let replicas = output::table_of(&overview.replicas.items, head, |replica| {
            let behind = replica
                .confirmed_epoch
                .map_or_else(|| "-".to_owned(), |at| epoch.saturating_sub(at).to_string());
            [
                replica.id.to_string(),
                output::time(Some(replica.started_at)),
                behind,
                replica.silent_for_ms.to_string(),
            ]
        });
        format!("{}\n\n{}\n", switches.trim_end(), replicas.trim_end())
    })
}

const HEAD: [&str; 7] = ["KIND", "TARGET", "STATE", "BY", "EXPIRES", "ID", "REASON"];

fn row(switch: &Switch) -> [String; 7] {
    let by = if switch.by_platform {
        "platform"
    } else {
        "tenant"
    };
    [
        switch.kind.to_string(),
        switch.target.clone().unwrap_or_else(|| "-".to_owned()),
        state(switch),
        by.to_owned(),
        output::time(switch.expires_at),
        switch.id.to_string(),
        switch.reason.clone(),
    ]
}

fn state(switch: &Switch) -> String {
    match (&switch.lift_requested, switch.state) {
        (Some(_), SwitchState::Down) => "down, lift requested".to_owned(),
        (None, SwitchState::Down) | (_, SwitchState::Expired | SwitchState::Lifted) => {
            switch.state.as_str().to_owned()
        }
    }
}

fn card(switch: &Switch) -> String {
    output::pairs(&[
        ("id", switch.id.to_string()),
        ("kind", switch.kind.to_string()),
        (
            "target",
            switch.target.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("state", state(switch)),
        ("reason", switch.reason.clone()),
        ("dropped by", switch.dropped_by.clone()),
        ("expires", output::time(switch.expires_at)),
    ])
}

fn told(report: &SwitchReport) -> String {
    let mut text = card(&report.switch);
    for standing in &report.propagation.replicas {
        text.extend([
            standing.replica.to_string(),
            "  ".to_owned(),
            stands(standing),
            "\n".to_owned(),
        ]);
    }
    text
}

fn stands(standing: &ReplicaStanding) -> String {
    match (
        standing.confirmed_after_ms,
        standing.refuses_itself_after_ms,
    ) {
        (Some(after), _) => format!("confirmed after {after} ms"),
        (None, Some(within)) => format!("silent; refuses by itself within {within} ms"),
        (None, None) => "silent; refuses by itself".to_owned(),
    }
}

/// What the drills found.
#[derive(Debug, Serialize)]
struct Measured {
    rounds: Vec<Propagation>,
    acknowledged: bool,
    confirmations: usize,
    p99_ms: Option<u64>,
    max_ms: Option<u64>,
}

impl Measured {
    fn of(rounds: Vec<Propagation>) -> Self {
        let mut times: Vec<u64> = rounds
            .iter()
            .flat_map(|round| &round.replicas)
            .filter_map(|standing| standing.confirmed_after_ms)
            .collect();
        times.sort_unstable();
        // The nearest rank: of n times the ⌈0.99 n⌉-th.
        let rank = times.len().saturating_mul(99).div_ceil(100);
        Self {
            acknowledged: rounds.iter().all(|round| round.acknowledged),
            confirmations: times.len(),
            p99_ms: times.get(rank.saturating_sub(1)).copied(),
            max_ms: times.last().copied(),
            rounds,
        }
    }

    fn told(&self) -> String {
        let mut text = String::new();
        for standing in self.rounds.iter().flat_map(|round| &round.replicas) {
            text.extend([
                standing.replica.to_string(),
                "  ".to_owned(),
                stands(standing),
                "\n".to_owned(),
            ]);
        }
        let shown =
            |time: Option<u64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        text.push_str(&output::pairs(&[
            ("confirmations", self.confirmations.to_string()),
            ("p99", shown(self.p99_ms)),
            ("max", shown(self.max_ms)),
        ]));
        text
    }
}

async fn drill(
    tenant: Option<String>,
    times: u8,
    reason: String,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client: Client = session.client(tenant.as_deref())?;
    let body = Because { reason };
    let mut rounds = Vec::new();
    for _ in 0..times {
        let round: Propagation = client.post(&["switches", "drill"], &body).await?.value;
        rounds.push(round);
    }
    let measured = Measured::of(rounds);
    session.output.value(&measured, Measured::told)?;
    if measured.acknowledged && measured.confirmations > 0 {
        return Ok(());
    }
    Err(CliError::Unfinished(
        "no replica confirmed, or not every one in time: `portcullis switch status` shows which are \
         silent"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(times: &[Option<u64>]) -> Propagation {
        Propagation {
            epoch: 1,
            acknowledged: times.iter().all(Option::is_some),
            replicas: times
                .iter()
                .map(|time| ReplicaStanding {
                    replica: Id::mint(time::OffsetDateTime::UNIX_EPOCH, [0; 10]),
                    confirmed_after_ms: *time,
                    refuses_itself: None,
                    refuses_itself_after_ms: time.is_none().then_some(7),
                })
                .collect(),
        }
    }

    #[test]
    fn the_p99_is_a_time_that_was_measured() {
        let hundred: Vec<_> = (1..=100).rev().map(Some).collect();
        let measured = Measured::of(vec![round(&hundred)]);
        assert_eq!((measured.p99_ms, measured.max_ms), (Some(99), Some(100)));
        let one = Measured::of(vec![round(&[Some(4)])]);
        assert_eq!((one.p99_ms, one.max_ms), (Some(4), Some(4)));
    }

    #[test]
    fn a_replica_that_did_not_answer_is_no_time_and_no_acknowledgement() {
        let measured = Measured::of(vec![round(&[Some(4), None])]);
        assert_eq!((measured.confirmations, measured.acknowledged), (1, false));
        assert!(measured.told().contains("refuses by itself within 7 ms"));
        let nobody = Measured::of(vec![round(&[])]);
        assert_eq!((nobody.p99_ms, nobody.max_ms), (None, None));
    }
}
