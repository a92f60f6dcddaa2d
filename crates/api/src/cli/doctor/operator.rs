//! What the operator would look at: tokens of the management API, switches that are down, replicas, and
//! calls whose outcome nobody knows.

use std::collections::BTreeMap;

use portcullis_domain::id::{Id, ServiceToken as TokenId};
use portcullis_wire::api::{Claim, Replicas, ServiceToken, Switch, SwitchState};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use super::row::Report;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::operator::OperatorFile;
use crate::cli::output;
use crate::cli::session::Session;
use crate::credential;

/// A token that ends within this time is told.
const SOON: time::Duration = time::Duration::days(14);
/// A replica that has said nothing for this long refuses changes, and later everything.
const SILENT_MS: u64 = 2_000;
/// As many things of a kind are asked for.
const MOST: usize = 1_000;

/// Whose things are asked for, and with what.
pub(super) struct Asker {
    /// The tenant's slug; the platform where absent.
    tenant: Option<String>,
    client: Result<Client, CliError>,
    /// The id of the token that is shown.
    own: Option<Id<TokenId>>,
}

/// The platform and the tenants whose credentials the file holds.
pub(super) fn askers(
    session: &Session<'_>,
    operator: &OperatorFile,
    only: Option<&str>,
) -> Vec<Asker> {
    let asker = |tenant: Option<&String>, token: &SecretString| Asker {
        tenant: tenant.cloned(),
        client: session.client(tenant.map(String::as_str)),
        own: credential::service_token_id(token.expose_secret()),
    };
    let platform = asker(None, &operator.platform_token);
    let tenants = operator.tenants.iter();
    let tenants = tenants.filter(|(slug, _)| only.is_none_or(|only| only == *slug));
    only.is_none()
        .then_some(platform)
        .into_iter()
        .chain(tenants.map(|(slug, held)| asker(Some(slug), &held.owner_token)))
        .collect()
}

/// Checks them.
pub(super) async fn check(report: &mut Report, askers: Vec<Asker>, now: OffsetDateTime) {
    for Asker {
        tenant,
        client,
        own,
    } in askers
    {
        let subject = tenant.clone().unwrap_or_else(|| "the platform".to_owned());
        let checked = match (client, &tenant) {
            (Ok(client), Some(slug)) => of_tenant(report, slug, (&client, own), now).await,
            (Ok(client), None) => of_platform(report, (&client, own), now).await,
            (Err(error), _) => Err(error),
        };
        if let Err(error) = checked {
            report.error(("management API", &subject), &error);
        }
    }
}

async fn of_platform(
    report: &mut Report,
    (client, own): (&Client, Option<Id<TokenId>>),
    now: OffsetDateTime,
) -> Result<(), CliError> {
    let replicas: Replicas = client.get(&["replicas"]).await?.value;
    token(report, "the platform", (client, &[]), own, now).await?;
    live(report, &replicas);
    let down: Vec<Switch> = client.list(&["switches"], &[], MOST).await?;
    switches(report, "the platform", None, &down);
    Ok(())
}

async fn of_tenant(
    report: &mut Report,
    slug: &str,
    (client, own): (&Client, Option<Id<TokenId>>),
    now: OffsetDateTime,
) -> Result<(), CliError> {
    let path = ["tenants", slug, "switches"];
    let down: Vec<Switch> = client.list(&path, &[], MOST).await?;
    let query = [("tenant", slug.to_owned())];
    token(report, slug, (client, &query), own, now).await?;
    switches(report, slug, Some(slug), &down);
    let query = [("state", "unknown".to_owned())];
    let path = ["tenants", slug, "claims"];
    let unknown: Vec<Claim> = client.list(&path, &query, MOST).await?;
    match unknown.first() {
        None => report.ok(("outcomes", slug), "none is unknown"),
        Some(first) => report.warning(
            ("outcomes", slug),
            format!(
                "{} calls whose outcome nobody knows, the first of them {} ({})",
                unknown.len(),
                first.id,
                first.tool
            ),
            format!("look what they did, then `portcullis claim resolve --tenant {slug} …`"),
        ),
    }
    Ok(())
}

/// Whether the file's own token lasts.
async fn token(
    report: &mut Report,
    subject: &str,
    (client, query): (&Client, &[(&str, String)]),
    own: Option<Id<TokenId>>,
    now: OffsetDateTime,
) -> Result<(), CliError> {
    let known: Vec<ServiceToken> = client.list(&["service-tokens"], query, MOST).await?;
    let known: BTreeMap<_, _> = known.into_iter().map(|token| (token.id, token)).collect();
    let Some(token) = own.and_then(|own| known.get(&own)) else {
        report.ok(("management API", subject), "the token is accepted");
        return Ok(());
    };
    let found = format!(
        "the token is accepted, as {} until {}",
        token.role,
        output::time(Some(token.expires_at))
    );
    if token.expires_at - now < SOON {
        report.warning(
            ("management API", subject),
            found,
            "make another with `portcullis service-token create`, and put it into the operator file",
        );
    } else {
        report.ok(("management API", subject), found);
    }
    Ok(())
}

fn live(report: &mut Report, replicas: &Replicas) {
    let silent = |ms: u64| ms >= SILENT_MS;
    let (dead, live): (Vec<_>, Vec<_>) = replicas
        .items
        .iter()
        .partition(|replica| silent(replica.silent_for_ms));
    let found = format!("{} serve", live.len());
    match dead.first() {
        None if live.is_empty() => report.warning(
            ("replicas", "the platform"),
            "none has registered",
            "does a replica reach the control database? Its log says why not",
        ),
        None => report.ok(("replicas", "the platform"), found),
        Some(first) => report.warning(
            ("replicas", "the platform"),
            format!(
                "{found}, and {} say nothing any more, the first of them {}",
                dead.len(),
                first.id
            ),
            "does it run, and does it reach the control database? One that ended is forgotten by itself",
        ),
    }
}

fn switches(report: &mut Report, subject: &str, tenant: Option<&str>, known: &[Switch]) {
    let down: Vec<_> = known
        .iter()
        .filter(|switch| switch.state == SwitchState::Down)
        .collect();
    if down.is_empty() {
        return report.ok(("switches", subject), "none is down");
    }
    for switch in down {
        let target = switch.target.as_deref();
        let target = target
            .map(|target| format!(" {target}"))
            .unwrap_or_default();
        let lift = match tenant.filter(|_| !switch.by_platform) {
            Some(tenant) => format!(
                "portcullis switch lift {} --tenant {tenant} --reason …",
                switch.id
            ),
            None => format!("portcullis switch lift {} --reason …", switch.id),
        };
        report.warning(
            ("switches", subject),
            format!("{}{target} is down: {}", switch.kind, switch.reason),
            lift,
        );
    }
}
