//! The kill switches that are down, as this replica knows them, and the calls under way that they may
//! stop.
//!
//! A call is checked for the last time and put on the list of calls under way in one step, and a switch
//! becomes known and stops what is on the list in one step: so no call slips between the two. This
//! module must never let a call begin that a known switch stops, nor forget a call while it runs.

mod stop;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{PrincipalName, SwitchKind};
use portcullis_egress::Block;
use portcullis_store::switches::{Concern, SwitchRow};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub use stop::Stop;

/// What a switch can stop: one call of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The tenant that is called.
    pub tenant: Id<Tenant>,
    /// Who calls.
    pub principal: PrincipalName,
    /// What is called.
    pub tool: Arc<str>,
    /// The server that runs the tool.
    pub server: Arc<str>,
    /// Whether the tool changes something.
    pub mutating: bool,
    /// The host that it reaches first, where that is known.
    pub host: Option<String>,
}

/// The switches and the calls under way of one replica. Clones are the same switchboard.
#[derive(Debug, Default, Clone)]
pub struct Switchboard {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Those without a tenant stop calls of every tenant.
    down: HashMap<Option<Id<Tenant>>, Vec<Down>>,
    under_way: HashMap<u64, Entry>,
    next: u64,
}

/// A switch that is down.
#[derive(Debug)]
struct Down {
    row: Arc<SwitchRow>,
    /// What it blocks, where it blocks a host.
    block: Option<Block>,
}

impl Down {
    fn new(row: SwitchRow) -> Self {
        let target = row.target.as_deref().unwrap_or_default();
        let block = match row.kind {
            SwitchKind::EgressBlock => Block::parse(target).ok(),
            SwitchKind::PlatformReadOnly
            | SwitchKind::TenantReadOnly
            | SwitchKind::ToolQuarantine
            | SwitchKind::ServerQuarantine
            | SwitchKind::PrincipalSuspension
            | SwitchKind::TenantFreeze => None,
        };
        Self {
            row: Arc::new(row),
            block,
        }
    }

    fn stops(&self, subject: &Subject) -> bool {
        let host = subject.host.as_deref();
        stops(&self.row, subject) || host.is_some_and(|host| self.blocks(host, &[]))
    }

    /// Whether a host, or one of its addresses, is blocked.
    fn blocks(&self, host: &str, addresses: &[IpAddr]) -> bool {
        self.block.as_ref().is_some_and(|block| {
            block.stops_host(host) || addresses.iter().any(|one| block.stops_address(*one))
        })
    }
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    /// Where it has gone so far.
    reached: Vec<(String, Vec<IpAddr>)>,
    stopped: Stopped,
}

impl Entry {
    fn falls_under(&self, down: &Down) -> bool {
        let mut reached = self.reached.iter();
        down.stops(&self.subject) || reached.any(|(host, at)| down.blocks(host, at))
    }
}

/// How a call under way hears that it is stopped, and by what.
#[derive(Debug, Clone, Default)]
struct Stopped {
    by: Arc<OnceLock<Stop>>,
    token: CancellationToken,
}

impl Stopped {
    /// Says so once; gives back whether this was the first time.
    fn set(&self, stop: Stop) -> bool {
        let first = self.by.set(stop).is_ok();
        self.token.cancel();
        first
    }
}

impl State {
    /// The switches that are down for a tenant, those for every tenant first.
    fn down(&self, tenant: Id<Tenant>, now: OffsetDateTime) -> impl Iterator<Item = &Down> {
        [None, Some(tenant)]
            .into_iter()
            .filter_map(|whose| self.down.get(&whose))
            .flatten()
            .filter(move |down| down.row.expires_at.is_none_or(|end| now < end))
    }

    fn stop(
        &self,
        tenant: Id<Tenant>,
        now: OffsetDateTime,
        falls: impl Fn(&Down) -> bool,
    ) -> Option<Stop> {
        self.down(tenant, now)
            .find(|down| falls(down))
            .map(|down| Stop::Switch(Arc::clone(&down.row)))
    }
}

fn stops_caller(row: &SwitchRow, principal: &PrincipalName) -> bool {
    match row.kind {
        SwitchKind::TenantFreeze => true,
        SwitchKind::PrincipalSuspension => row.target.as_deref() == Some(principal.as_str()),
        SwitchKind::PlatformReadOnly
        | SwitchKind::TenantReadOnly
        | SwitchKind::ToolQuarantine
        | SwitchKind::ServerQuarantine
        | SwitchKind::EgressBlock => false,
    }
}

/// What is not about hosts: [`Down::blocks`] is.
fn stops(row: &SwitchRow, subject: &Subject) -> bool {
    let target = row.target.as_deref();
    match row.kind {
        SwitchKind::TenantFreeze | SwitchKind::PrincipalSuspension => {
            stops_caller(row, &subject.principal)
        }
        SwitchKind::PlatformReadOnly | SwitchKind::TenantReadOnly => subject.mutating,
        SwitchKind::ToolQuarantine => target == Some(&*subject.tool),
        SwitchKind::ServerQuarantine => target == Some(&*subject.server),
        SwitchKind::EgressBlock => false,
    }
}

impl Switchboard {
    /// What stops everything that a principal does, if anything does.
    pub fn stops_caller(
        &self,
        tenant: Id<Tenant>,
        principal: &PrincipalName,
        now: OffsetDateTime,
    ) -> Option<Stop> {
        self.state()
            .stop(tenant, now, |down| stops_caller(&down.row, principal))
    }

    /// What stops a call, if anything does.
    pub fn stops(&self, subject: &Subject, now: OffsetDateTime) -> Option<Stop> {
        self.state()
            .stop(subject.tenant, now, |down| down.stops(subject))
    }

    /// What keeps a tenant's tools from a host, or from one of its addresses, if anything does.
    pub fn blocks(
        &self,
        tenant: Id<Tenant>,
        host: &str,
        addresses: &[IpAddr],
        now: OffsetDateTime,
    ) -> Option<Stop> {
        self.state()
            .stop(tenant, now, |down| down.blocks(host, addresses))
    }

    /// Checks a call for the last time and puts it on the list of calls under way. `otherwise` is
    /// asked in the same step for what stops it besides switches.
    ///
    /// # Errors
    /// Says what stops the call: it must not begin.
    pub fn begin(
        &self,
        subject: Subject,
        now: OffsetDateTime,
        otherwise: impl FnOnce() -> Option<Stop>,
    ) -> Result<UnderWay, Stop> {
        let mut state = self.state();
        let stop = state.stop(subject.tenant, now, |down| down.stops(&subject));
        if let Some(stop) = stop.or_else(otherwise) {
            return Err(stop);
        }
        let number = state.next;
        state.next = number.wrapping_add(1);
        let stopped = Stopped::default();
        let entry = Entry {
            subject,
            reached: Vec::new(),
            stopped: stopped.clone(),
        };
        state.under_way.insert(number, entry);
        Ok(UnderWay {
            state: Arc::clone(&self.state),
            number,
            stopped,
        })
    }

    /// Takes in the switches that are down, in the place of those known of the same concern, and stops
    /// the calls under way that fall under one. Gives back how many were stopped.
    pub fn replace(&self, concern: Concern, rows: Vec<SwitchRow>, now: OffsetDateTime) -> usize {
        let mut state = self.state();
        match concern {
            Concern::All => state.down.clear(),
            Concern::Everyone => drop(state.down.remove(&None)),
            Concern::One(tenant) => drop(state.down.remove(&Some(tenant))),
        }
        for row in rows {
            let list = state.down.entry(row.tenant).or_default();
            list.push(Down::new(row));
        }
        let mut stopped = 0_usize;
        for entry in state.under_way.values() {
            let tenant = entry.subject.tenant;
            if let Some(stop) = state.stop(tenant, now, |down| entry.falls_under(down))
                && entry.stopped.set(stop)
            {
                stopped = stopped.saturating_add(1);
            }
        }
        stopped
    }

    /// How many switches of each kind are down, and for how long the oldest of them has been.
    pub fn down(&self, now: OffsetDateTime) -> Vec<(SwitchKind, usize, time::Duration)> {
        let state = self.state();
        let mut found: Vec<(SwitchKind, usize, time::Duration)> = Vec::new();
        let rows = state.down.values().flatten().map(|down| &down.row);
        for row in rows.filter(|row| row.expires_at.is_none_or(|end| now < end)) {
            let age = now - row.dropped_at;
            match found.iter_mut().find(|(kind, ..)| *kind == row.kind) {
                Some((_, count, oldest)) => {
                    *count = count.saturating_add(1);
                    *oldest = age.max(*oldest);
                }
                None => found.push((row.kind, 1, age)),
            }
        }
        found
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.state().under_way.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Nothing panics while it holds the lock; if it did, the lists would still be whole.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call on the list of calls under way, until it is dropped.
#[derive(Debug)]
pub struct UnderWay {
    state: Arc<Mutex<State>>,
    number: u64,
    stopped: Stopped,
}

impl UnderWay {
    /// What has stopped the call, if anything has.
    pub fn stop(&self) -> Option<Stop> {
        self.stopped.by.get().cloned()
    }

    /// Notes that the call goes to a host, in one step with the last look whether it may. Where it may
    /// not, the call is stopped as by a switch that falls at this moment.
    pub fn reaches(&self, host: &str, addresses: &[IpAddr], now: OffsetDateTime) -> bool {
        let mut state = lock(&self.state);
        let Some(entry) = state.under_way.get(&self.number) else {
            return false;
        };
        let tenant = entry.subject.tenant;
        let stop = state.stop(tenant, now, |down| down.blocks(host, addresses));
        if let Some(stop) = stop {
            self.stopped.set(stop);
            return false;
        }
        if let Some(entry) = state.under_way.get_mut(&self.number) {
            entry.reached.push((host.to_owned(), addresses.to_vec()));
        }
        true
    }

    /// Waits until something stops the call.
    pub async fn stopped(&self) -> Stop {
        loop {
            self.stopped.token.cancelled().await;
            // It is written down before the token is cancelled.
            if let Some(stop) = self.stopped.by.get() {
                return stop.clone();
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.state).under_way.remove(&self.number);
    }
}
