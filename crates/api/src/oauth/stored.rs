//! The directory of clients in the control database.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_domain::id::{Id, Principal};
use portcullis_mcp_runtime::token::AssertionUse;
use portcullis_store::bindings::{self, Bound, TokenUse};
use portcullis_store::principals::PrincipalStatus;
use portcullis_store::{ControlStore, StoreError, clients, grants, principals, tenants};
use time::OffsetDateTime;
use uuid::Uuid;

use super::directory::{
    Client, ClientGrant, Directory, DirectoryError, Proof, StoredKey, StoredSecret,
};

impl Directory for ControlStore {
    fn client(&self, id: Id<Principal>) -> BoxFuture<'_, Result<Option<Client>, DirectoryError>> {
        find(self, id)
            .map(|found| found.map_err(|error| DirectoryError(Box::new(error))))
            .boxed()
    }

    fn first_use<'a>(
        &'a self,
        client: &'a Client,
        assertion: &'a AssertionUse,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        bound_now(self, client, assertion, now)
            .map(|first| first.map_err(|error| DirectoryError(Box::new(error))))
            .boxed()
    }

    fn proved<'a>(
        &'a self,
        client: &'a Client,
        by: Proof,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Vec<ClientGrant>, DirectoryError>> {
        live_grants(self, client, by, now)
            .map(|found| found.map_err(|error| DirectoryError(Box::new(error))))
            .boxed()
    }
}

/// Binds the assertion's id, as those of access tokens are bound at their first use.
async fn bound_now(
    store: &ControlStore,
    client: &Client,
    assertion: &AssertionUse,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut tx = store.begin(client.tenant).await?;
    let used = TokenUse {
        // No issuer of access tokens has this name: those are URLs.
        iss: &format!("client:{}", client.principal),
        jti: &assertion.token_id,
        // Each use is as good as another: only the first counts.
        binding: &[0],
        kind: "client-assertion",
        expires_at: assertion.expires_at,
    };
    let bound = bindings::bind_or_compare(&mut tx, used, now).await?;
    tx.commit().await?;
    Ok(match bound {
        Bound::First => true,
        Bound::Same | Bound::Different => false,
    })
}

/// Asks the same five questions whether the client exists or not. For one that does not, four of
/// them go to a tenant that does not either.
async fn find(store: &ControlStore, id: Id<Principal>) -> Result<Option<Client>, StoreError> {
    let tenant = {
        let mut tx = store.platform().await?;
        clients::tenant_of(&mut tx, id).await?
    };
    let mut tx = store
        .begin_snapshot(tenant.unwrap_or(Id::from_row(Uuid::nil())))
        .await?;
    let row = match tenants::get(&mut tx).await {
        Ok(row) => Some(row),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let principal = principals::get(&mut tx, id).await?;
    let secrets = clients::list_secrets(&mut tx, id).await?;
    let keys = clients::list_keys(&mut tx, id).await?;
    Ok(row.zip(principal).map(|(row, principal)| Client {
        tenant: row.id,
        tenant_slug: row.slug,
        principal: principal.id,
        name: principal.name,
        active: match principal.status {
            PrincipalStatus::Active => true,
            PrincipalStatus::Suspended => false,
        },
        secrets: secrets
            .into_iter()
            .filter(|secret| secret.revoked_at.is_none())
            .map(|secret| StoredSecret {
                id: secret.id,
                hash: secret.hash,
                expires_at: secret.expires_at,
            })
            .collect(),
        keys: keys
            .into_iter()
            .filter(|key| key.revoked_at.is_none())
            .map(|key| StoredKey {
                id: key.id,
                kid: key.kid,
                jwk: key.jwk,
                expires_at: key.expires_at,
            })
            .collect(),
    }))
}

async fn live_grants(
    store: &ControlStore,
    client: &Client,
    by: Proof,
    now: OffsetDateTime,
) -> Result<Vec<ClientGrant>, StoreError> {
    let mut tx = store.begin(client.tenant).await?;
    match by {
        Proof::Secret(id) => clients::touch_secret(&mut tx, id, now).await?,
        Proof::Key(id) => clients::touch_key(&mut tx, id, now).await?,
    }
    let live = grants::live(&mut tx, client.principal, now).await?;
    tx.commit().await?;
    Ok(live
        .into_iter()
        .map(|grant| ClientGrant {
            scope: grant.scope,
            purpose: grant.purpose,
            expires_at: grant.expires_at,
        })
        .collect())
}
