//! Administrative changes on their way into the ledger: a signed record each, under the change's own
//! id, so that a change that is recorded twice is recorded once.
//!
//! What changed may hold names of people, so the record holds a commitment to it; the text itself is
//! encrypted with the tenant's key beside it. It must never write down what it does not understand:
//! such a change is refused, alone, and stays in the outbox.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_domain::id::{Id, OutboxEntry, Record as RecordKind, Tenant};
use portcullis_domain::{Pool, TraceId};
use portcullis_evidence::record::{AdminActor, AdminChange, Body, Payload, Target};
use portcullis_evidence::{
    Canonical, Count, Digest, Field, Kind, Label, Record, Salts, Timestamp, canonical_bytes,
};
use portcullis_keys::{Aad, EnvelopeError, entropy};
use portcullis_store::outbox::OutboxRow;
use portcullis_store::records::{self, RecordRow};
use portcullis_store::writer::{NewCallInputs, NewRecord};
use portcullis_store::{RecordError, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Gate, Region};
use crate::rooms::claim::{ARGUMENTS_USAGE, RecordFault, SALTS_USAGE};
use crate::rooms::record;
use crate::snapshot::{CompileError, TenantKey};

/// The ledger of the platform's own changes: no tenant's, the same on every installation.
pub const PLATFORM_LEDGER: Id<Tenant> =
    Id::from_row(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000));
/// What the salts of the platform's records are derived for.
const PLATFORM_SALTS: &str = "platform-ledger.salts";

/// Why a ledger takes no change at all now.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The tenant's key could not be had.
    #[error("the tenant's key cannot be had; the changes wait")]
    Key(#[source] CompileError),
    /// The region's database did not answer.
    #[error("the ledger cannot be read; the changes wait")]
    Store(#[source] StoreError),
    /// No regional database serves the pool.
    #[error("no regional database serves the pool {0}; the changes wait")]
    NoPool(Pool),
}

/// Why one change is not in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Its actor is written in a way that this version does not know.
    #[error("nobody is known by the actor's name; upgrade this replica")]
    Actor,
    /// Its action is no label.
    #[error("the action is no label of a record; upgrade this replica")]
    Action(#[source] portcullis_evidence::scalar::LabelError),
    /// Its detail is not JSON.
    #[error("the detail is no JSON; upgrade this replica")]
    Detail(#[source] serde_json::Error),
    /// Another kind of record has its id.
    #[error("a record that is no administrative change has the change's id")]
    Taken,
    /// The record could not be made or written.
    #[error("the record could not be made")]
    Record(#[source] RecordFault),
}

impl ChangeError {
    /// Whether trying again at once could help: the change itself is sound.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Record(fault) => match fault {
                RecordFault::Write(error) => !matches!(error, RecordError::Rejected { .. }),
                RecordFault::Entropy(_)
                | RecordFault::NoPool(_)
                | RecordFault::Claim(_)
                | RecordFault::Uncertain(_) => true,
                RecordFault::Seal(_)
                | RecordFault::Canonical(_)
                | RecordFault::Sign(_)
                | RecordFault::Closed
                | RecordFault::Answer(_)
                | RecordFault::NotACall
                | RecordFault::NoPolicy => false,
            },
            Self::Actor | Self::Action(_) | Self::Detail(_) | Self::Taken => false,
        }
    }
}

/// Where the changes of one tenant, or of the platform itself, are recorded.
#[derive(Debug)]
pub struct Ledger<'g> {
    gate: &'g Gate,
    region: &'g Region,
    pool: Pool,
    tenant: Id<Tenant>,
    /// None for the platform, which has no row of a tenant to hold a key.
    key: Option<TenantKey>,
}

impl<'g> Ledger<'g> {
    /// A tenant's ledger, in its home pool.
    ///
    /// # Errors
    /// When its key cannot be had or its pool is not served here.
    pub async fn of_tenant(
        gate: &'g Gate,
        tenant: Id<Tenant>,
        home: Pool,
    ) -> Result<Self, LedgerError> {
        let key = gate.snapshots.data_key(tenant).await;
        Ok(Self {
            gate,
            region: gate.regions.get(&home).ok_or(LedgerError::NoPool(home))?,
            pool: home,
            tenant,
            key: Some(key.map_err(LedgerError::Key)?),
        })
    }

    /// The platform's ledger, in the first pool. Its changes stay readable in the platform's outbox
    /// for good, so nothing is encrypted beside the records; their salts come from the platform's
    /// key, for whoever has to open a commitment.
    ///
    /// # Errors
    /// When no pool is served here.
    pub fn of_platform(gate: &'g Gate) -> Result<Self, LedgerError> {
        let first = gate.regions.iter().min_by_key(|(pool, _)| **pool);
        let (pool, region) = first.ok_or(LedgerError::NoPool(Pool::EuWest))?;
        Ok(Self {
            gate,
            region,
            pool: *pool,
            tenant: PLATFORM_LEDGER,
            key: None,
        })
    }

    /// Records changes in their order. Gives back of each whether its record is durable.
    ///
    /// # Errors
    /// When the ledger cannot be looked at; nothing was recorded then.
    pub async fn record(
        &self,
        changes: &[OutboxRow],
    ) -> Result<Vec<(Id<OutboxEntry>, Result<(), ChangeError>)>, LedgerError> {
        let there = self.there(changes).await?;
        let mut written = Vec::with_capacity(changes.len());
        // All are queued before any is waited for, so that they share a commit.
        for change in changes {
            let queued = match there.get(&change.id) {
                Some(ours) => Err(ours.then_some(()).ok_or(ChangeError::Taken)),
                None => self
                    .row(change)
                    .map(|row| self.region.writer.submit(row))
                    .map_err(Err),
            };
            written.push((change.id, queued));
        }
        let mut done = Vec::with_capacity(written.len());
        for (id, queued) in written {
            let result = match queued {
                Ok(commit) => commit
                    .await
                    .map_err(RecordFault::Write)
                    .map_err(ChangeError::Record),
                Err(known) => known,
            };
            done.push((id, result));
        }
        self.settle(changes, done).await
    }

    /// A row that was refused may be there by now, written by another relay: then it is recorded.
    async fn settle(
        &self,
        changes: &[OutboxRow],
        mut done: Vec<(Id<OutboxEntry>, Result<(), ChangeError>)>,
    ) -> Result<Vec<(Id<OutboxEntry>, Result<(), ChangeError>)>, LedgerError> {
        let refused: HashSet<_> = done
            .iter()
            .filter(|(_, result)| {
                matches!(
                    result,
                    Err(ChangeError::Record(RecordFault::Write(
                        RecordError::Rejected { .. }
                    )))
                )
            })
            .map(|(id, _)| *id)
            .collect();
        if refused.is_empty() {
            return Ok(done);
        }
        let there = self.there(changes).await?;
        for (id, result) in &mut done {
            if refused.contains(id) && there.get(id) == Some(&true) {
                *result = Ok(());
            }
        }
        Ok(done)
    }

    /// Of those changes whose ids are in the ledger, whether it is as administrative changes.
    async fn there(
        &self,
        changes: &[OutboxRow],
    ) -> Result<HashMap<Id<OutboxEntry>, bool>, LedgerError> {
        let ids: Vec<_> = changes.iter().map(|change| record_id(change.id)).collect();
        let mut tx = self
            .region
            .store
            .begin(self.tenant)
            .await
            .map_err(LedgerError::Store)?;
        let found = records::kinds(&mut tx, &ids)
            .await
            .map_err(LedgerError::Store)?;
        tx.commit().await.map_err(LedgerError::Store)?;
        let ours = |kind: String| kind == Kind::AdminChange.as_str();
        Ok(found
            .into_iter()
            .map(|(id, kind)| (Id::from_row(id.as_uuid()), ours(kind)))
            .collect())
    }

    fn row(&self, change: &OutboxRow) -> Result<NewRecord, ChangeError> {
        let salts = self.salts(change.id)?;
        let detail: Value = serde_json::from_str(&change.detail).map_err(ChangeError::Detail)?;
        // Who may be named in it is committed to with it.
        let document = canonical_bytes(&json!({"detail": detail, "subject": change.subject}))
            .map_err(RecordFault::Canonical)
            .map_err(ChangeError::Record)?;
        let body = AdminChange {
            action: change.action.parse().map_err(ChangeError::Action)?,
            actor: actor(&change.actor)?,
            change: Payload::of(&salts, Field::Change, &document),
            epoch: change
                .epoch
                .map(|epoch| Count::saturating(epoch.unsigned_abs())),
            occurred_at: change.created_at.into(),
            outbox: Some(change.id),
            sha256: digest(&detail),
            target: target(change)?,
            trace_id: None,
        };
        let inputs = self
            .key
            .as_ref()
            .map(|key| self.encrypt(key, change.id, &salts, &document))
            .transpose()
            .map_err(RecordFault::Seal)
            .map_err(ChangeError::Record)?;
        let record = self.signed(change, body).map_err(ChangeError::Record)?;
        Ok(NewRecord {
            tenant: self.tenant,
            record,
            inputs,
        })
    }

    fn signed(&self, change: &OutboxRow, body: AdminChange) -> Result<RecordRow, RecordFault> {
        let now = self.gate.clock.now();
        let record = Record {
            at: Timestamp::from(now),
            body: Body::AdminChange(Box::new(body)),
            id: record_id(change.id),
            pool: self.pool,
            replica: self.gate.replica,
            tenant: self.tenant,
        };
        let (record, canonical, receipt) = record::sign(&self.gate.keys, record)?.into_parts();
        Ok(RecordRow {
            id: record.id,
            kind: record.body.kind().as_str().to_owned(),
            // A change belongs to no call: its trace is its own.
            trace_id: TraceId::from_bytes(*change.id.as_bytes()),
            intent: None,
            principal: None,
            tool: None,
            verdict: "allow".to_owned(),
            started_at: change.created_at,
            ended_at: now,
            canonical: canonical.into_bytes(),
            leaf_hash: *receipt.leaf.as_bytes(),
            signature: receipt.signature.as_bytes().to_vec(),
            key_id: receipt.key,
        })
    }

    fn salts(&self, change: Id<OutboxEntry>) -> Result<Salts, ChangeError> {
        let bytes = if self.key.is_some() {
            entropy::random()
                .map_err(RecordFault::Entropy)
                .map_err(ChangeError::Record)?
        } else {
            self.gate.keys.keyed_hash(PLATFORM_SALTS, change.as_bytes())
        };
        Ok(Salts::from_bytes(bytes))
    }

    fn encrypt(
        &self,
        key: &TenantKey,
        change: Id<OutboxEntry>,
        salts: &Salts,
        document: &Canonical,
    ) -> Result<NewCallInputs, EnvelopeError> {
        let aad = |usage| Aad {
            tenant: self.tenant,
            usage,
            row: change.as_bytes(),
        };
        Ok(NewCallInputs {
            data_key: key.id,
            salts: key.key.encrypt(&aad(SALTS_USAGE), salts.as_bytes())?,
            arguments: key
                .key
                .encrypt(&aad(ARGUMENTS_USAGE), document.as_bytes())?,
            answer: None,
        })
    }
}

/// The record of a change has the change's id.
const fn record_id(change: Id<OutboxEntry>) -> Id<RecordKind> {
    Id::from_row(change.as_uuid())
}

/// Who changed something, as the outbox writes it.
fn actor(text: &str) -> Result<AdminActor, ChangeError> {
    match text.split_once(':') {
        Some(("service-token", id)) => {
            let id = id.parse().ok().ok_or(ChangeError::Actor)?;
            Ok(AdminActor::ServiceToken(id))
        }
        Some(("system", _)) => Ok(AdminActor::Platform),
        Some(_) | None => Err(ChangeError::Actor),
    }
}

/// What was changed. A subject that names a person stands in the committed document alone; the
/// change's own id stands here for it.
fn target(change: &OutboxRow) -> Result<Target, ChangeError> {
    let noun = change.action.split('.').next().unwrap_or_default();
    let named = change.subject.contains("user:") || change.subject.contains('@');
    let id = if named {
        change.id.to_string()
    } else {
        change.subject.clone()
    };
    Ok(Target {
        id: Arc::from(id),
        noun: noun.parse::<Label>().map_err(ChangeError::Action)?,
    })
}

/// The digest of what came into force, where the change names one.
fn digest(detail: &Value) -> Option<Digest> {
    detail.get("sha256")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn change(action: &str, subject: &str) -> OutboxRow {
        OutboxRow {
            id: Id::mint(datetime!(2026-11-22 12:00 UTC), [7; 10]),
            actor: "system:up".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: "{}".to_owned(),
            created_at: datetime!(2026-11-22 12:00 UTC),
            epoch: None,
        }
    }

    #[test]
    fn an_actor_that_is_not_known_is_never_taken_for_the_platform() {
        assert_eq!(actor("system:up").unwrap(), AdminActor::Platform);
        let token = "svt_0193500000007000800000000000002a";
        assert!(matches!(
            actor(&format!("service-token:{token}")),
            Ok(AdminActor::ServiceToken(id)) if id.to_string() == token
        ));
        for unknown in [
            "",
            "system",
            "user:dana",
            "service-token:",
            "service-token:x",
        ] {
            assert!(
                matches!(actor(unknown), Err(ChangeError::Actor)),
                "{unknown}"
            );
        }
    }

    #[test]
    fn a_subject_that_names_a_person_is_not_the_target() {
        for subject in ["user:dana", "user:dana orders.read", "dana@example.com"] {
            let change = change("grant.create", subject);
            let target = target(&change).unwrap();
            assert_eq!(*target.id, *change.id.to_string());
        }
        let id = "prn_0193500000007000800000000000002a";
        let target = target(&change("principal.create", id)).unwrap();
        assert_eq!((&*target.id, target.noun.as_str()), (id, "principal"));
    }

    #[test]
    fn only_a_digest_is_taken_as_one() {
        let sha256 = "ab".repeat(32);
        assert!(digest(&json!({"sha256": sha256})).is_some());
        for other in [
            json!({}),
            json!({"sha256": "ab"}),
            json!({"sha256": 1}),
            json!(null),
        ] {
            assert!(digest(&other).is_none(), "{other}");
        }
    }
}
