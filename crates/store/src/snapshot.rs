//! Everything that a replica holds of a tenant, read at one moment: it must never mix two epochs.

use portcullis_domain::id::{Id, Tenant};
use time::OffsetDateTime;

use crate::control::{ControlStore, ControlTx};
use crate::egress_allowlists::{self, AllowlistRow};
use crate::error::{StoreError, sort};
use crate::grants::{self, GrantRow};
use crate::limits::{self, LimitsRow};
use crate::policies::{self, PolicyRow};
use crate::principals::{self, PrincipalRow};
use crate::tenants::{self, TenantRow};
use crate::tickets::{self, TicketRow};
use crate::tools::{self, ToolRow};

/// A tenant's configuration at one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRows {
    /// The epoch it is of.
    pub epoch: i64,
    /// The tenant.
    pub tenant: TenantRow,
    /// Its tools, disabled ones included.
    pub tools: Vec<ToolRow>,
    /// The policy in force, if any is.
    pub policy: Option<PolicyRow>,
    /// Its principals, suspended ones included.
    pub principals: Vec<PrincipalRow>,
    /// Grants of active principals that were not revoked or ended at the time given. Each may end
    /// while the snapshot is held.
    pub grants: Vec<GrantRow>,
    /// The limits of the whole tenant, if any were set.
    pub tenant_limits: Option<LimitsRow>,
    /// The limits of principals that have their own.
    pub principal_limits: Vec<LimitsRow>,
    /// The hosts that its tools may call, if any were listed.
    pub egress_allowlist: Option<AllowlistRow>,
    /// Its tickets that were open at the time given. Each may expire while the snapshot is held.
    pub tickets: Vec<TicketRow>,
}

/// Reads a tenant's configuration in one repeatable-read transaction.
///
/// # Errors
/// `NotFound` where the tenant does not exist; fails where the database cannot be reached.
pub async fn load(
    store: &ControlStore,
    tenant: Id<Tenant>,
    now: OffsetDateTime,
) -> Result<SnapshotRows, StoreError> {
    let mut tx = store.begin_snapshot(tenant).await?;
    let epoch = sqlx::query_scalar!("select epoch from epoch")
        .fetch_one(tx.connection())
        .await
        .map_err(sort("read the epoch of a snapshot"))?;
    let rows = SnapshotRows {
        epoch,
        tenant: tenants::get(&mut tx).await?,
        tools: all_tools(&mut tx).await?,
        policy: policies::published(&mut tx).await?,
        principals: all_principals(&mut tx).await?,
        grants: all_grants(&mut tx, now).await?,
        tenant_limits: limits::get(&mut tx, None).await?,
        principal_limits: limits::list(&mut tx).await?,
        egress_allowlist: egress_allowlists::get(&mut tx).await?,
        tickets: tickets::all_open(&mut tx, now).await?,
    };
    tx.commit().await?;
    Ok(rows)
}

async fn all_tools(tx: &mut ControlTx) -> Result<Vec<ToolRow>, StoreError> {
    let operation = "read the tools of a snapshot";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        tools::Raw,
        r#"select t.id, t.name, t.connector, t.enabled, t.current_version, v.sha256, v.definition,
                  c.config as "config?", c.sha256 as "config_sha256?", t.version, t.created_at,
                  t.updated_at
           from tools t join tool_versions v
             on v.tenant_id = t.tenant_id and v.tool_id = t.id and v.version = t.current_version
           left join tool_configs c
             on c.tenant_id = t.tenant_id and c.tool_id = t.id and c.version = t.current_version
           where t.tenant_id = $1 order by t.name"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

async fn all_principals(tx: &mut ControlTx) -> Result<Vec<PrincipalRow>, StoreError> {
    let operation = "read the principals of a snapshot";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        principals::Raw,
        "select id, name, region, status, version, created_at, updated_at
         from principals where tenant_id = $1 order by id",
        tenant
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

async fn all_grants(tx: &mut ControlTx, now: OffsetDateTime) -> Result<Vec<GrantRow>, StoreError> {
    let operation = "read the grants of a snapshot";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        grants::Raw,
        "select g.id, g.principal_id, g.scope, g.purpose, g.granted_by, g.created_at, g.expires_at,
                g.revoked_at
         from grants g join principals p on p.tenant_id = g.tenant_id and p.id = g.principal_id
         where g.tenant_id = $1 and p.status = 'active' and g.revoked_at is null
           and (g.expires_at is null or g.expires_at > $2)
         order by g.id",
        tenant,
        now
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}
