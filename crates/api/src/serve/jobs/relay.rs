//! Takes administrative changes from the outbox to the ledger: each becomes a signed record under its
//! own id, and is marked once that is durable. A relay that dies between the two, or two relays at
//! once, find the record there and only mark it. It must never mark a change whose record is not
//! durable, nor let one bad change hold up the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::id::{Id, OutboxEntry, Tenant};
use portcullis_mcp_runtime::changes::{ChangeError, Ledger, LedgerError};
use portcullis_mcp_runtime::gate::Gate;
use portcullis_store::outbox::{self, OutboxRow};
use portcullis_store::relay::RelayTurn;
use portcullis_store::{ConnectError, ControlStore, Page, StoreError, tenants};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::chain;
use crate::serve::readings::Backlog;

/// How often the outbox is looked at, and how often a replica asks whether it is its turn.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for a control database that is away.
const AWAY: Duration = Duration::from_secs(5);
/// How long a change that cannot be recorded is left alone.
const ASIDE: Duration = Duration::from_mins(10);
/// How many changes share a look and a mark.
const PAGE: u32 = 100;

/// Why a look at the outbox ended early.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the ledger takes no changes now; they wait")]
    Waits(#[source] ChangeError),
}

/// Changes that could not be recorded, and until when they are left alone.
type Aside = HashMap<Id<OutboxEntry>, Instant>;

/// Relays until `stop`.
pub(super) async fn relay(
    gate: Arc<Gate>,
    login: SecretString,
    backlog: Arc<Backlog>,
    stop: CancellationToken,
) {
    let mut aside = Aside::new();
    let sessions = async {
        loop {
            if let Err(error) = session(&gate, login.clone(), &backlog, &mut aside).await {
                warn!(error = %chain(&error), "administrative changes wait for the ledger");
            }
            tokio::time::sleep(AWAY).await;
        }
    };
    // Whatever is cut off here is found in the ledger by the next relay.
    stop.run_until_cancelled(sessions).await;
}

/// One session of the control database, until it breaks.
async fn session(
    gate: &Gate,
    login: SecretString,
    backlog: &Backlog,
    aside: &mut Aside,
) -> Result<(), RelayError> {
    let mut turn = RelayTurn::connect(login).await?;
    loop {
        if turn.take().await? {
            backlog.note(round(gate, &mut turn, aside).await?);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One look at every outbox. One that cannot be relayed now does not hold up the others. Says when the
/// oldest change was made that is left.
async fn round(
    gate: &Gate,
    turn: &mut RelayTurn,
    aside: &mut Aside,
) -> Result<Option<OffsetDateTime>, RelayError> {
    let now = Instant::now();
    aside.retain(|_, until| *until > now);
    let tenants = turn.tenants_waiting().await?;
    let outboxes = tenants.into_iter().map(Outbox::Tenant);
    let mut left = None;
    for outbox in outboxes.chain([Outbox::Platform]) {
        if let Err(error) = outbox.relay(gate, aside, &mut left).await {
            warn!(?outbox, error = %chain(&error), "administrative changes wait for the ledger");
        }
    }
    Ok(left)
}

/// Keeps the older of two times.
fn note(left: &mut Option<OffsetDateTime>, found: Option<OffsetDateTime>) {
    *left = (*left).into_iter().chain(found).min();
}

/// Whose changes.
#[derive(Debug, Clone, Copy)]
enum Outbox {
    Tenant(Id<Tenant>),
    Platform,
}

impl Outbox {
    /// `left` hears of the oldest change that could not be taken.
    async fn relay(
        self,
        gate: &Gate,
        aside: &mut Aside,
        left: &mut Option<OffsetDateTime>,
    ) -> Result<(), RelayError> {
        let mut page = Page::first(PAGE);
        let mut ledger = None;
        loop {
            let found = self.waiting(&gate.control, page).await?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            page.after = Some(last.id.as_uuid());
            let (set_aside, changes): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|change| aside.contains_key(&change.id));
            note(left, set_aside.iter().map(|change| change.created_at).min());
            if changes.is_empty() {
                continue;
            }
            let ledger = match &mut ledger {
                Some(ledger) => ledger,
                none @ None => none.insert(self.ledger(gate).await?),
            };
            let oldest = changes.iter().map(|change| change.created_at).min();
            if let Err(error) = self.record(gate, ledger, &changes, aside).await {
                note(left, oldest);
                return Err(error);
            }
        }
    }

    /// Records some changes and marks those that are durable.
    async fn record(
        self,
        gate: &Gate,
        ledger: &Ledger<'_>,
        changes: &[OutboxRow],
        aside: &mut Aside,
    ) -> Result<(), RelayError> {
        let mut durable = Vec::with_capacity(changes.len());
        let mut waits = None;
        for (change, result) in ledger.record(changes).await? {
            match result {
                Ok(()) => durable.push(change),
                Err(fault) if fault.may_pass() => waits = Some(fault),
                Err(fault) => {
                    error!(%change, fault = %chain(&fault), "an administrative change is not in the ledger");
                    aside.insert(change, Instant::now() + ASIDE);
                }
            }
        }
        self.mark(gate, &durable).await?;
        waits.map_or(Ok(()), |fault| Err(RelayError::Waits(fault)))
    }

    async fn ledger(self, gate: &Gate) -> Result<Ledger<'_>, RelayError> {
        match self {
            Self::Tenant(tenant) => {
                let mut tx = gate.control.begin(tenant).await?;
                let home = tenants::get(&mut tx).await?.home_pool;
                tx.commit().await?;
                Ok(Ledger::of_tenant(gate, tenant, home).await?)
            }
            Self::Platform => Ok(Ledger::of_platform(gate)?),
        }
    }

    async fn waiting(
        self,
        control: &ControlStore,
        page: Page,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        match self {
            Self::Tenant(tenant) => {
                let mut tx = control.begin(tenant).await?;
                let found = outbox::waiting(&mut tx, page).await?;
                tx.commit().await?;
                Ok(found)
            }
            Self::Platform => {
                let mut tx = control.platform().await?;
                let found = outbox::waiting_platform(&mut tx, page).await?;
                tx.commit().await?;
                Ok(found)
            }
        }
    }

    async fn mark(self, gate: &Gate, durable: &[Id<OutboxEntry>]) -> Result<(), StoreError> {
        if durable.is_empty() {
            return Ok(());
        }
        let now = gate.clock.now();
        match self {
            Self::Tenant(tenant) => {
                let mut tx = gate.control.begin(tenant).await?;
                outbox::mark_relayed(&mut tx, durable, now).await?;
                tx.commit().await
            }
            Self::Platform => {
                let mut tx = gate.control.platform().await?;
                outbox::mark_platform_relayed(&mut tx, durable, now).await?;
                tx.commit().await
            }
        }
    }
}
