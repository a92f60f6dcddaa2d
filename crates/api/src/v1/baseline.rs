//! What a new tenant begins with: a policy in force, the platform's own tools, default limits. It
//! runs inside the transaction that creates the tenant, so that no tenant is ever without them.

use portcullis_store::policies::NewPolicy;
use portcullis_store::tools::NewTool;
use portcullis_store::{ControlTx, limits, policies, tools};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::state::State;

/// The RFC 8785 form of a definition or a configuration, and its SHA-256.
///
/// # Errors
/// It cannot be written as JSON.
pub fn canonical<T: Serialize>(definition: &T) -> Result<(String, [u8; 32]), ApiError> {
    let text = serde_json_canonicalizer::to_string(definition)
        .map_err(|error| ApiError::internal(&error))?;
    let digest = Sha256::digest(text.as_bytes()).into();
    Ok((text, digest))
}

/// Furnishes the transaction's tenant.
///
/// # Errors
/// The database fails.
pub async fn furnish(tx: &mut ControlTx, state: &State, actor: &str) -> Result<(), ApiError> {
    let now = state.now();
    for (connector, definition) in &state.baseline().tools {
        let (text, sha256) = canonical(definition)?;
        let tool = NewTool {
            id: state.mint()?,
            name: &definition.name,
            connector,
            definition: &text,
            sha256,
            config: None,
            created_by: actor,
        };
        tools::register(tx, &tool, now).await?;
    }
    if let Some(source) = &state.baseline().policy {
        let policy = NewPolicy {
            id: state.mint()?,
            source,
            sha256: Sha256::digest(source.as_bytes()).into(),
            created_by: actor,
        };
        let draft = policies::draft(tx, &policy, now).await?;
        policies::publish(tx, draft.number, actor, now).await?;
    }
    let (of_tenant, stop_rules) = state.defaults().tenant;
    limits::set(tx, None, of_tenant, stop_rules, now).await?;
    Ok(())
}
