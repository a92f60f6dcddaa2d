//! The directory of clients in the control database.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_domain::id::{ClientSecret, Id, Principal};
use portcullis_store::principals::PrincipalStatus;
use portcullis_store::{ControlStore, StoreError, clients, grants, principals, tenants};
use time::OffsetDateTime;
use uuid::Uuid;

use super::directory::{Client, ClientGrant, Directory, DirectoryError, StoredSecret};

impl Directory for ControlStore {
    fn client(&self, id: Id<Principal>) -> BoxFuture<'_, Result<Option<Client>, DirectoryError>> {
        find(self, id)
            .map(|found| found.map_err(|error| DirectoryError(Box::new(error))))
            .boxed()
    }

    fn proved<'a>(
        &'a self,
        client: &'a Client,
        by: Id<ClientSecret>,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Vec<ClientGrant>, DirectoryError>> {
        live_grants(self, client, by, now)
            .map(|found| found.map_err(|error| DirectoryError(Box::new(error))))
            .boxed()
    }
}

/// Asks the same four questions whether the client exists or not. For one that does not, three of
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
    }))
}

async fn live_grants(
    store: &ControlStore,
    client: &Client,
    by: Id<ClientSecret>,
    now: OffsetDateTime,
) -> Result<Vec<ClientGrant>, StoreError> {
    let mut tx = store.begin(client.tenant).await?;
    clients::touch_secret(&mut tx, by, now).await?;
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
