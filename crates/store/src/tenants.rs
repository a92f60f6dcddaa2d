//! Tenants. Their rows are looked up before there is a tenant, so reading them by slug and listing
//! them are platform reads; inside a tenant's transaction only its own row exists.

use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Jurisdiction, Pool, ReplayMode};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::{ControlTx, PlatformTx};
use crate::error::{StoreError, sort};
use crate::row::{Page, parse};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// Its id.
    pub id: Id<Tenant>,
    /// Its name in URLs.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Where its calls run and its records are kept, unless policy routes elsewhere.
    pub home_pool: Pool,
    /// Whose law it falls under.
    pub region: Jurisdiction,
    /// What a second use of an access token means.
    pub replay: ReplayMode,
    /// Whether it takes two people to lift a kill switch.
    pub two_person_lift: bool,
    /// Changes with each update.
    pub version: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// A tenant to be made. Its id is that of the transaction.
#[derive(Debug, Clone)]
pub struct NewTenant<'a> {
    /// Its name in URLs: lower-case letters, digits and inner hyphens, at most 63.
    pub slug: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// Where its calls run and its records are kept.
    pub home_pool: Pool,
    /// Whose law it falls under.
    pub region: Jurisdiction,
    /// What a second use of an access token means.
    pub replay: ReplayMode,
}

/// What may be changed of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct TenantChange<'a> {
    /// Its name for people, if that changes.
    pub name: Option<&'a str>,
    /// What a second use of a token means, if that changes.
    pub replay: Option<ReplayMode>,
    /// Whether it takes two people to lift a kill switch, if that changes.
    pub two_person_lift: Option<bool>,
}

struct Raw {
    id: Uuid,
    slug: String,
    name: String,
    home_pool: String,
    region: String,
    replay: String,
    two_person_lift: bool,
    version: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Raw {
    fn read(self, operation: &'static str) -> Result<TenantRow, StoreError> {
        Ok(TenantRow {
            id: Id::from_row(self.id),
            home_pool: parse(operation, "home_pool", &self.home_pool)?,
            region: parse(operation, "region", &self.region)?,
            replay: parse(operation, "replay", &self.replay)?,
            two_person_lift: self.two_person_lift,
            slug: self.slug,
            name: self.name,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Makes the tenant of the transaction.
///
/// # Errors
/// `Conflict` where the slug is taken, `Invalid` where a value is outside its bounds.
pub async fn create(
    tx: &mut ControlTx,
    new: &NewTenant<'_>,
    now: OffsetDateTime,
) -> Result<TenantRow, StoreError> {
    let operation = "create tenant";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "insert into tenants (id, slug, name, home_pool, region, replay, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         returning id, slug, name, home_pool, region, replay, two_person_lift, version, created_at,
                   updated_at",
        tenant,
        new.slug,
        new.name,
        new.home_pool.as_str(),
        new.region.as_str(),
        new.replay.as_str(),
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// The tenant of the transaction.
///
/// # Errors
/// `NotFound` where it does not exist.
pub async fn get(tx: &mut ControlTx) -> Result<TenantRow, StoreError> {
    let operation = "read tenant";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, slug, name, home_pool, region, replay, two_person_lift, version, created_at,
                updated_at
         from tenants where id = $1",
        tenant
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::NotFound { operation })?
    .read(operation)
}

/// The tenant of a URL.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_slug(tx: &mut PlatformTx, slug: &str) -> Result<Option<TenantRow>, StoreError> {
    let operation = "look tenant up by slug";
    sqlx::query_as!(
        Raw,
        "select id, slug, name, home_pool, region, replay, two_person_lift, version, created_at,
                updated_at
         from tenants where slug = $1",
        slug
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// Every tenant, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut PlatformTx, page: Page) -> Result<Vec<TenantRow>, StoreError> {
    let operation = "list tenants";
    sqlx::query_as!(
        Raw,
        "select id, slug, name, home_pool, region, replay, two_person_lift, version, created_at,
                updated_at
         from tenants where $1::uuid is null or id > $1 order by id limit $2",
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// Changes the tenant of the transaction if it is still in the version that the caller read.
///
/// # Errors
/// `Stale` where it is not, `NotFound` where it does not exist.
pub async fn update(
    tx: &mut ControlTx,
    version: i64,
    change: TenantChange<'_>,
    now: OffsetDateTime,
) -> Result<TenantRow, StoreError> {
    let operation = "update tenant";
    let tenant = tx.tenant().as_uuid();
    let changed = sqlx::query_as!(
        Raw,
        "update tenants set name = coalesce($3, name), replay = coalesce($4, replay),
                            two_person_lift = coalesce($6, two_person_lift),
                            version = version + 1, updated_at = $5
         where id = $1 and version = $2
         returning id, slug, name, home_pool, region, replay, two_person_lift, version, created_at,
                   updated_at",
        tenant,
        version,
        change.name,
        change.replay.map(ReplayMode::as_str),
        now,
        change.two_person_lift
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?;
    if let Some(raw) = changed {
        return raw.read(operation);
    }
    get(tx).await?;
    Err(StoreError::Stale { operation })
}
