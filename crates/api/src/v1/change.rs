//! How a change ends: its outbox entry, the new epoch, the commit. The epoch comes last, since it
//! holds up every other change until the commit.

use portcullis_store::{ControlTx, PlatformTx, Within, epoch, outbox};
use serde_json::Value;

use super::access::Action;
use super::caller::Caller;
use super::error::ApiError;
use super::state::State;

/// What was done.
#[derive(Debug)]
pub struct Change {
    /// As which action.
    pub action: Action,
    /// To what: an id or a name.
    pub subject: String,
    /// What changed, without secrets.
    pub detail: Value,
}

impl Change {
    /// Writes the change down, raises the epoch and keeps everything.
    pub(super) async fn commit(
        self,
        mut tx: ControlTx,
        state: &State,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        self.write_down((&mut tx).into(), state, caller).await?;
        epoch::bump(&mut tx, self.action.noun(), state.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Writes a change of the platform's own things down and keeps everything. No replica holds a
    /// snapshot of these, so the epoch stays.
    pub(super) async fn commit_platform(
        self,
        mut tx: PlatformTx,
        state: &State,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        self.write_down((&mut tx).into(), state, caller).await?;
        Ok(tx.commit().await?)
    }

    /// Writes the change down. Whoever calls this raises the epoch, where replicas have to hear of it,
    /// and keeps everything.
    pub(super) async fn write_down(
        &self,
        within: Within<'_>,
        state: &State,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let actor = caller.actor();
        let detail = canonical(&self.detail)?;
        let entry = outbox::NewOutboxEntry {
            id: state.mint()?,
            actor: &actor,
            action: self.action.as_str(),
            subject: &self.subject,
            detail: &detail,
        };
        match within {
            Within::Tenant(tx) => outbox::insert(tx, entry, state.now()).await?,
            Within::Platform(tx) => outbox::insert_platform(tx, entry, state.now()).await?,
        }
        Ok(())
    }
}

fn canonical(detail: &Value) -> Result<String, ApiError> {
    serde_json_canonicalizer::to_string(detail).map_err(|error| ApiError::internal(&error))
}
