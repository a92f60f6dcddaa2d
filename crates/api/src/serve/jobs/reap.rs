//! Closes the calls whose replica died: each second, in every region, whichever replica has the turn.
//! It must find expired claims by id alone; what they say is read under their tenant by the runtime. A
//! claim that cannot be closed is tried again ever more seldom, told to whoever watches, and must hold
//! up no other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id};
use portcullis_mcp_runtime::gate::Gate;
use portcullis_mcp_runtime::reaper;
use portcullis_store::sweeper::RegionSweeper;
use portcullis_store::{ConnectError, StoreError};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::chain;
use crate::serve::readings::Backlog;

/// How often expired claims are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for a database that is away.
const AWAY: Duration = Duration::from_secs(2);
/// The most claims that are closed in one turn; the next turn takes the others.
const CLAIMS: u32 = 500;
/// How long a claim is left alone that could not be closed; twice as long after each further try.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that a claim is left alone.
const LONGEST: Duration = Duration::from_mins(5);
/// After how many tries a claim is taken for one that will not close by itself.
const TRIES: u32 = 4;

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
enum ReapError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Closes expired claims of one region until `stop`.
pub(super) async fn reap(
    gate: Arc<Gate>,
    (pool, login): (Pool, SecretString),
    backlog: Arc<Backlog>,
    stop: CancellationToken,
) {
    let mut unclosed = Unclosed::default();
    let sessions = async {
        loop {
            let ended = session(&gate, (pool, login.clone()), &backlog, &mut unclosed).await;
            if let Err(error) = ended {
                warn!(pool = pool.as_str(), %error, "expired claims wait to be closed");
            }
            tokio::time::sleep(AWAY).await;
        }
    };
    // A claim that is cut off here is closed by the next one whose turn it is.
    stop.run_until_cancelled(sessions).await;
}

async fn session(
    gate: &Gate,
    (pool, login): (Pool, SecretString),
    backlog: &Backlog,
    unclosed: &mut Unclosed,
) -> Result<(), ReapError> {
    let sweeper = RegionSweeper::connect(pool, login).await?;
    loop {
        look(gate, &sweeper, unclosed).await?;
        backlog.note_unclosed(pool, unclosed.claims.len(), unclosed.since());
        tokio::time::sleep(LOOK).await;
    }
}

/// One look, if this replica has the turn.
async fn look(
    gate: &Gate,
    sweeper: &RegionSweeper,
    unclosed: &mut Unclosed,
) -> Result<(), ReapError> {
    let aside = unclosed.aside(Instant::now());
    let Some(expired) = sweeper.expired_claims(CLAIMS, &aside).await? else {
        return Ok(());
    };
    let mut failed: HashSet<_> = aside.into_iter().collect();
    for (tenant, claim) in &expired.ids {
        let Err(error) = reaper::close(gate, sweeper.pool(), *tenant, *claim).await else {
            continue;
        };
        failed.insert(*claim);
        let tries = unclosed.note(*claim, gate.clock.now(), Instant::now());
        tell(*claim, &chain(&error), tries);
    }
    // Whatever else was noted is closed by now, here or by another replica.
    unclosed.claims.retain(|claim, _| failed.contains(claim));
    Ok(())
}

/// Says why a claim could not be closed.
fn tell(claim: Id<Claim>, error: &str, tries: u32) {
    if tries < TRIES {
        warn!(%claim, error, "a claim could not be closed");
    } else {
        alarm(claim, error, tries);
    }
}

/// Says so of one that will not close by itself.
fn alarm(claim: Id<Claim>, error: &str, tries: u32) {
    error!(%claim, error, tries, "a claim cannot be closed: its key stays taken");
}

/// Claims that could not be closed.
#[derive(Debug, Default)]
struct Unclosed {
    claims: HashMap<Id<Claim>, Setback>,
}

#[derive(Debug)]
struct Setback {
    tries: u32,
    /// When it could not be closed for the first time.
    since: OffsetDateTime,
    /// Until when it is left alone.
    until: Instant,
}

impl Unclosed {
    /// Those that are left alone for now.
    fn aside(&self, now: Instant) -> Vec<Id<Claim>> {
        let resting = self
            .claims
            .iter()
            .filter(|(_, setback)| setback.until > now);
        resting.map(|(claim, _)| *claim).collect()
    }

    /// Notes a try that failed. Says the how manieth it was.
    fn note(&mut self, claim: Id<Claim>, at: OffsetDateTime, now: Instant) -> u32 {
        let setback = self.claims.entry(claim).or_insert(Setback {
            tries: 0,
            since: at,
            until: now,
        });
        let twice = 2_u32.saturating_pow(setback.tries);
        setback.until = now + PAUSE.saturating_mul(twice).min(LONGEST);
        setback.tries = setback.tries.saturating_add(1);
        setback.tries
    }

    /// Since when the oldest could not be closed.
    fn since(&self) -> Option<OffsetDateTime> {
        self.claims.values().map(|setback| setback.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn claim(number: u128) -> Id<Claim> {
        Id::from_row(Uuid::from_u128(number))
    }

    #[test]
    fn a_claim_that_does_not_close_is_tried_ever_more_seldom_and_never_given_up() {
        let (mut unclosed, begun) = (Unclosed::default(), Instant::now());
        let mut now = begun;
        let mut pauses = Vec::new();
        for tries in 1..=40 {
            assert_eq!(unclosed.note(claim(1), AT, now), tries);
            let before = now;
            while unclosed.aside(now) == [claim(1)] {
                now += PAUSE;
            }
            pauses.push((now - before).as_secs());
        }
        assert_eq!(pauses[..5], [1, 2, 4, 8, 16]);
        assert!(
            pauses.is_sorted() && pauses.ends_with(&[300, 300]),
            "{pauses:?}"
        );
    }

    #[test]
    fn the_oldest_setback_is_the_one_that_is_told() {
        let mut unclosed = Unclosed::default();
        assert_eq!(unclosed.since(), None);
        let now = Instant::now();
        unclosed.note(claim(1), AT + time::Duration::SECOND, now);
        unclosed.note(claim(2), AT, now);
        unclosed.note(claim(2), AT + time::Duration::DAY, now);
        assert_eq!(unclosed.since(), Some(AT));
        assert_eq!(unclosed.aside(now).len(), 2);
    }
}
