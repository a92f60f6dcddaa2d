//! Room 5: the call gets its record ids, its arguments are sealed for the record, and a mutating call
//! claims its idempotency key and records its intent, durably, before anything can have an effect.
//!
//! What a record keeps of the arguments is a salted commitment; the arguments themselves are encrypted
//! with the tenant's data key. A call whose arguments cannot be sealed, or whose claim is not
//! certainly durable, does not run. Policy came first: a call that it refuses claims nothing.

mod earlier;
mod key;
mod lease;
mod seal;

use portcullis_domain::Id;
use portcullis_domain::id::{Claim, Record};
use portcullis_evidence::{CanonicalError, Field};
use portcullis_keys::entropy::EntropyError;
use portcullis_keys::{EnvelopeError, entropy};
use portcullis_store::claims::{self, ClaimRow, NewClaim};
use portcullis_store::writer::NewRecord;
use portcullis_store::{RecordError, RegionStore, StoreError};
use portcullis_wire::Slug;
use tokio::time::Instant;

use super::decide::{Decided, Fate, Permitted};
use super::record;
use super::refusal::Refusal;
use super::validate::Refused;
use crate::connectors::Effects;
use crate::gate::{Gate, Region};
use earlier::Earlier;
pub(in crate::rooms) use earlier::{Kept, keep};
use key::Hashes;
pub(in crate::rooms) use lease::Lease;
pub(in crate::rooms) use seal::Seal;
pub(crate) use seal::{ARGUMENTS_USAGE, SALTS_USAGE};

/// How often to claim a key whose first claim is always released just before it can be read.
const TRIES: u32 = 4;

/// A call with its record id and its sealed arguments.
#[derive(Debug)]
pub struct Claimed {
    pub(in crate::rooms) step: Step,
    pub(in crate::rooms) seal: Seal,
}

/// What is left to do.
#[derive(Debug)]
pub(in crate::rooms) enum Step {
    /// Run it; a mutating call with its claim.
    Run(Box<Permitted>, Option<Box<Lease>>),
    /// Answer what an earlier call with the same key was answered.
    Replay(Box<Permitted>, Box<Kept>),
    /// Only record that policy allowed it and this room did not.
    Withhold(Box<Permitted>, Refusal),
    /// Only record that it was refused.
    Refuse(Box<Refused>, Option<Decided>),
}

/// Why a call could not be claimed or recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The arguments or the answer could not be encrypted or decrypted.
    #[error("the arguments or the answer could not be sealed")]
    Seal(#[source] EnvelopeError),
    /// There were no random bytes.
    #[error("no random bytes for a record")]
    Entropy(#[source] EntropyError),
    /// A part of the record has no canonical form.
    #[error("a part of the record has no canonical form")]
    Canonical(#[source] CanonicalError),
    /// The record could not be written down or signed.
    #[error("the record could not be signed")]
    Sign(#[source] portcullis_evidence::SealError),
    /// The regional database did not take the record.
    #[error("the record could not be written")]
    Write(#[source] RecordError),
    /// The regional database did not take the claim or its end. There was no effect.
    #[error("the claim could not be written")]
    Claim(#[source] StoreError),
    /// The effect, its record and its claim may have been committed, or the effect was elsewhere and
    /// could not be recorded: whoever closes the claim will find out.
    #[error("whether the call took effect is not known yet")]
    Uncertain(#[source] StoreError),
    /// The claim's lease ended before the call did, and the claim was closed without it.
    #[error("the claim was closed before the call had ended")]
    Closed,
    /// A stored answer is not of the form that this version writes.
    #[error("the stored answer cannot be read")]
    Answer(#[source] serde_json::Error),
    /// A record of something else where one of a call belongs.
    #[error("a record is not one of a call")]
    NotACall,
    /// A permitted call without a policy that permitted it.
    #[error("the call was permitted without a policy")]
    NoPolicy,
    /// No regional database serves the pool.
    #[error("no regional database serves the pool {0}")]
    NoPool(portcullis_domain::Pool),
}

impl RecordFault {
    /// The problem's type: a replica that is only busy says so.
    pub(in crate::rooms) fn slug(&self) -> Slug {
        match self {
            Self::Write(RecordError::Busy) => Slug::Overloaded,
            Self::Claim(error) if error.is_overload() => Slug::Overloaded,
            Self::Uncertain(_) | Self::Closed => Slug::OutcomeUnknown,
            Self::Write(
                RecordError::Stopping
                | RecordError::NotWritten { .. }
                | RecordError::Rejected { .. }
                | RecordError::Unknown,
            )
            | Self::Claim(_)
            | Self::Seal(_)
            | Self::Entropy(_)
            | Self::Canonical(_)
            | Self::Sign(_)
            | Self::Answer(_)
            | Self::NotACall
            | Self::NoPolicy
            | Self::NoPool(_) => Slug::AuditUnavailable,
        }
    }
}

/// Enters the room.
///
/// # Errors
/// Fails when the arguments cannot be sealed or the key not be claimed: then nothing runs.
pub async fn enter(gate: &Gate, fate: Fate) -> Result<Claimed, RecordFault> {
    match fate {
        Fate::Permitted(permitted) if permitted.call.tool.compiled.definition.mutating => {
            mutating(gate, permitted).await
        }
        Fate::Permitted(permitted) => {
            let seal = Seal::with_inputs(gate, &permitted.call.passage)?;
            let step = Step::Run(permitted, None);
            Ok(Claimed { step, seal })
        }
        Fate::Refused(refused, decided) => {
            let seal = Seal::with_inputs(gate, &refused.passage)?;
            let step = Step::Refuse(refused, decided);
            Ok(Claimed { step, seal })
        }
    }
}

/// A mutating call: its key, its claim and its intent; or what became of an earlier call with the key.
async fn mutating(gate: &Gate, permitted: Box<Permitted>) -> Result<Claimed, RecordFault> {
    let passage = &permitted.call.passage;
    let key = match key::of(passage) {
        Ok(key) => key,
        Err(refusal) => {
            let seal = Seal::with_inputs(gate, passage)?;
            let step = Step::Withhold(permitted, refusal);
            return Ok(Claimed { step, seal });
        }
    };
    let mut seal = Seal::new(gate, passage)?;
    seal.commit_to_key(&key)?;
    let hashes = Hashes::of(gate, passage, &key)?;
    seal.key_hash = hashes.key.first_chunk().copied();
    let earlier = match take(gate, &permitted, &seal, &hashes).await? {
        Taken::Ours(lease) => {
            let step = Step::Run(permitted, Some(lease));
            return Ok(Claimed { step, seal });
        }
        Taken::Earlier(row) => row,
    };
    seal.inputs = seal.inputs_of(passage, seal.record)?;
    let step = match earlier::look(gate, passage, &earlier, &hashes).await? {
        Earlier::Answered(kept) => Step::Replay(permitted, kept),
        Earlier::Refused(refusal) => Step::Withhold(permitted, refusal),
    };
    Ok(Claimed { step, seal })
}

/// Who has the key.
enum Taken {
    /// This call.
    Ours(Box<Lease>),
    /// An earlier one.
    Earlier(Box<ClaimRow>),
}

/// Claims the key and records the intent. After this, whatever happens, the claim is closed: by room
/// 8, or by the reaper once its lease has ended.
async fn take(
    gate: &Gate,
    permitted: &Permitted,
    seal: &Seal,
    hashes: &Hashes,
) -> Result<Taken, RecordFault> {
    let passage = &permitted.call.passage;
    // The outcome has its id already. In every list by id, the intent stands before it.
    let intent = Id::mint(
        passage.started_at - time::Duration::MILLISECOND,
        entropy::random().map_err(RecordFault::Entropy)?,
    );
    let mut record = record::intent(gate, permitted, seal, intent)?;
    record.inputs = seal.inputs_of(passage, intent)?;
    let new = new_claim(gate, permitted, seal, intent, hashes)?;
    let home = region(gate, passage.admitted.snapshot.home)?;
    let elsewhere = (permitted.pool != home.store.pool())
        .then(|| region(gate, permitted.pool))
        .transpose()?;
    let since = Instant::now();
    let tried = first_or_ours(&home.store, &new, &record, elsewhere.is_some()).await;
    let lease = Box::new(Lease {
        id: new.id,
        intent,
        home: home.store.pool(),
        pool: permitted.pool,
        transactional: new.transactional,
        upstream_key: hashes.upstream(),
        since,
    });
    let fault = match (tried, elsewhere) {
        (Tried::Earlier(row), _) => return Ok(Taken::Earlier(row)),
        (Tried::Ours, None) => return Ok(Taken::Ours(lease)),
        (Tried::Ours, Some(elsewhere)) => match elsewhere.writer.submit(record).await {
            Ok(()) => return Ok(Taken::Ours(lease)),
            Err(error) => RecordFault::Write(error),
        },
        (Tried::Nothing(error), _) => return Err(RecordFault::Claim(error)),
        (Tried::Lost(error), _) => RecordFault::Claim(error),
    };
    // The call will not run, and the claim may stand.
    record::abandon(gate, permitted, seal, &lease).await;
    Err(fault)
}

/// What a try to claim a key came to.
enum Tried {
    /// The claim and, at home, the intent are durable.
    Ours,
    /// An earlier call has the key.
    Earlier(Box<ClaimRow>),
    /// Certainly nothing was written.
    Nothing(StoreError),
    /// Whether it was written is unknown.
    Lost(StoreError),
}

/// Claims the key, unless an earlier call has it. That call may just have given it back: then again.
async fn first_or_ours(
    home: &RegionStore,
    new: &NewClaim<'_>,
    intent: &NewRecord,
    elsewhere: bool,
) -> Tried {
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        let first = if elsewhere {
            claims::claim_elsewhere(home, intent.tenant, new, &intent.record.canonical).await
        } else {
            claims::claim(home, new, intent).await
        };
        match first {
            Ok(Some(row)) => return Tried::Earlier(Box::new(row)),
            Ok(None) => return Tried::Ours,
            Err(StoreError::Stale { .. }) if tries < TRIES => {}
            Err(error) if error.is_uncertain() => return Tried::Lost(error),
            Err(error) => return Tried::Nothing(error),
        }
    }
}

fn new_claim<'a>(
    gate: &Gate,
    permitted: &'a Permitted,
    seal: &Seal,
    intent: Id<Record>,
    hashes: &Hashes,
) -> Result<NewClaim<'a>, RecordFault> {
    let tool = &permitted.call.tool;
    let id: Id<Claim> = Id::mint(
        gate.clock.now(),
        entropy::random().map_err(RecordFault::Entropy)?,
    );
    Ok(NewClaim {
        id,
        principal: permitted.call.passage.admitted.caller.principal,
        tool: &tool.compiled.definition.name,
        key_hash: hashes.key,
        fingerprint: hashes.fingerprint,
        intent,
        outcome: seal.record,
        pool: permitted.pool,
        transactional: gate.connectors.effects(tool.to_ref()) == Effects::Transactional,
        replica: gate.replica,
    })
}

/// The database of a pool.
pub(in crate::rooms) fn region(
    gate: &Gate,
    pool: portcullis_domain::Pool,
) -> Result<&Region, RecordFault> {
    gate.regions.get(&pool).ok_or(RecordFault::NoPool(pool))
}

impl Seal {
    /// Commits to the idempotency key, for the records of the call.
    fn commit_to_key(&mut self, key: &str) -> Result<(), RecordFault> {
        let key = portcullis_evidence::canonical_bytes(key).map_err(RecordFault::Canonical)?;
        self.key = Some(self.salts.commit(Field::IdempotencyKey, &key));
        Ok(())
    }
}
