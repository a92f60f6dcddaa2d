//! Tools of a tenant's catalog. A version is immutable; registering another definition makes another
//! version.

use portcullis_domain::Id;
use portcullis_domain::id::Tool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::{Page, expect_one, fixed};

/// A tool in its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRow {
    /// Its id.
    pub id: Id<Tool>,
    /// Its name within the tenant.
    pub name: String,
    /// What runs it.
    pub connector: String,
    /// Whether it is in the catalog.
    pub enabled: bool,
    /// The number of its current definition.
    pub current_version: i64,
    /// The SHA-256 of the canonical definition.
    pub sha256: [u8; 32],
    /// The canonical definition.
    pub definition: String,
    /// What its connector needs to know of it, in the same version.
    pub config: Option<ToolConfigRow>,
    /// Changes with each update of the row.
    pub version: i64,
    /// When it was first registered.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// What a connector needs to know of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolConfigRow {
    /// The SHA-256 of the canonical configuration.
    pub sha256: [u8; 32],
    /// The canonical configuration.
    pub config: String,
}

/// One immutable version of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolVersionRow {
    /// Its number, from one.
    pub number: i64,
    /// The SHA-256 of the canonical definition.
    pub sha256: [u8; 32],
    /// The canonical definition.
    pub definition: String,
    /// What its connector needed to know of it.
    pub config: Option<ToolConfigRow>,
    /// Who registered it.
    pub created_by: String,
    /// When it was registered.
    pub created_at: OffsetDateTime,
}

/// A definition to be registered.
#[derive(Debug, Clone)]
pub struct NewTool<'a> {
    /// The id it gets if the name is new.
    pub id: Id<Tool>,
    /// Its name within the tenant.
    pub name: &'a str,
    /// What runs it.
    pub connector: &'a str,
    /// The canonical definition.
    pub definition: &'a str,
    /// The SHA-256 of the canonical definition.
    pub sha256: [u8; 32],
    /// What the connector needs to know of it, with its hash.
    pub config: Option<(&'a str, [u8; 32])>,
    /// Who registers it.
    pub created_by: &'a str,
}

/// What a registration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The tool is new, in its version 1.
    Created(ToolRow),
    /// The tool has another version now.
    Updated(ToolRow),
    /// The tool has this definition, this configuration and this connector already.
    Unchanged(ToolRow),
}

impl Registered {
    /// The tool as it is now.
    pub const fn tool(&self) -> &ToolRow {
        match self {
            Self::Created(tool) | Self::Updated(tool) | Self::Unchanged(tool) => tool,
        }
    }
}

pub(crate) struct Raw {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) connector: String,
    pub(crate) enabled: bool,
    pub(crate) current_version: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) definition: String,
    pub(crate) config: Option<String>,
    pub(crate) config_sha256: Option<Vec<u8>>,
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Raw {
    pub(crate) fn read(self, operation: &'static str) -> Result<ToolRow, StoreError> {
        Ok(ToolRow {
            id: Id::from_row(self.id),
            name: self.name,
            connector: self.connector,
            enabled: self.enabled,
            current_version: self.current_version,
            sha256: fixed(operation, "sha256", self.sha256)?,
            definition: self.definition,
            config: config(operation, self.config, self.config_sha256)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn config(
    operation: &'static str,
    config: Option<String>,
    sha256: Option<Vec<u8>>,
) -> Result<Option<ToolConfigRow>, StoreError> {
    let (Some(config), Some(sha256)) = (config, sha256) else {
        return Ok(None);
    };
    let sha256 = fixed(operation, "sha256", sha256)?;
    Ok(Some(ToolConfigRow { sha256, config }))
}

/// Registers a definition: a new tool, a new version of a known one, or nothing where the tool has
/// just this definition and configuration.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where a name is outside its bounds.
pub async fn register(
    tx: &mut ControlTx,
    new: &NewTool<'_>,
    now: OffsetDateTime,
) -> Result<Registered, StoreError> {
    if insert(tx, new, now).await? {
        insert_version(tx, new.id.as_uuid(), 1, new, now).await?;
        return Ok(Registered::Created(registered(tx, new.name).await?));
    }
    lock(tx, new.name).await?;
    let held = registered(tx, new.name).await?;
    let held_config = held.config.as_ref().map(|held| held.sha256);
    let same_version =
        held.sha256 == new.sha256 && held_config == new.config.map(|(_, sha256)| sha256);
    if same_version && held.connector == new.connector {
        return Ok(Registered::Unchanged(held));
    }
    let number = if same_version {
        held.current_version
    } else {
        held.current_version.saturating_add(1)
    };
    if !same_version {
        insert_version(tx, held.id.as_uuid(), number, new, now).await?;
    }
    point_at(tx, held.id, number, new.connector, now).await?;
    Ok(Registered::Updated(registered(tx, new.name).await?))
}

async fn registered(tx: &mut ControlTx, name: &str) -> Result<ToolRow, StoreError> {
    let operation = "register tool";
    by_name(tx, name)
        .await?
        .ok_or(StoreError::NotFound { operation })
}

/// Whether the name was new.
async fn insert(
    tx: &mut ControlTx,
    new: &NewTool<'_>,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "insert into tools (tenant_id, id, name, connector, enabled, current_version, created_at,
                            updated_at)
         values ($1, $2, $3, $4, true, 1, $5, $5)
         on conflict (tenant_id, name) do nothing",
        tenant,
        new.id.as_uuid(),
        new.name,
        new.connector,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("insert a tool"))?;
    Ok(done.rows_affected() == 1)
}

/// Two registrations of one name wait for each other here.
async fn lock(tx: &mut ControlTx, name: &str) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_scalar!(
        "select id from tools where tenant_id = $1 and name = $2 for update",
        tenant,
        name
    )
    .fetch_one(tx.connection())
    .await
    .map(drop)
    .map_err(sort("lock a tool"))
}

async fn insert_version(
    tx: &mut ControlTx,
    tool: Uuid,
    number: i64,
    new: &NewTool<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into tool_versions (tenant_id, tool_id, version, sha256, definition, created_by,
                                    created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        tool,
        number,
        &new.sha256,
        new.definition,
        new.created_by,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("insert a tool's version"))?;
    let Some((config, sha256)) = new.config else {
        return Ok(());
    };
    sqlx::query!(
        "insert into tool_configs (tenant_id, tool_id, version, sha256, config)
         values ($1, $2, $3, $4, $5)",
        tenant,
        tool,
        number,
        &sha256,
        config
    )
    .execute(tx.connection())
    .await
    .map(drop)
    .map_err(sort("insert a tool's configuration"))
}

async fn point_at(
    tx: &mut ControlTx,
    tool: Id<Tool>,
    number: i64,
    connector: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let operation = "set a tool's current version";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update tools set current_version = $3, connector = $4, version = version + 1,
                          updated_at = $5
         where tenant_id = $1 and id = $2",
        tenant,
        tool.as_uuid(),
        number,
        connector,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())
}

/// A tool by its name.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_name(tx: &mut ControlTx, name: &str) -> Result<Option<ToolRow>, StoreError> {
    let operation = "look tool up by name";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        r#"select t.id, t.name, t.connector, t.enabled, t.current_version, v.sha256, v.definition,
                  c.config as "config?", c.sha256 as "config_sha256?", t.version, t.created_at,
                  t.updated_at
           from tools t join tool_versions v
             on v.tenant_id = t.tenant_id and v.tool_id = t.id and v.version = t.current_version
           left join tool_configs c
             on c.tenant_id = t.tenant_id and c.tool_id = t.id and c.version = t.current_version
           where t.tenant_id = $1 and t.name = $2"#,
        tenant,
        name
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The tenant's tools, disabled ones included, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx, page: Page) -> Result<Vec<ToolRow>, StoreError> {
    let operation = "list tools";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        r#"select t.id, t.name, t.connector, t.enabled, t.current_version, v.sha256, v.definition,
                  c.config as "config?", c.sha256 as "config_sha256?", t.version, t.created_at,
                  t.updated_at
           from tools t join tool_versions v
             on v.tenant_id = t.tenant_id and v.tool_id = t.id and v.version = t.current_version
           left join tool_configs c
             on c.tenant_id = t.tenant_id and c.tool_id = t.id and c.version = t.current_version
           where t.tenant_id = $1 and ($2::uuid is null or t.id > $2)
           order by t.id limit $3"#,
        tenant,
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

/// The versions of a tool, newest first, at most 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn versions(
    tx: &mut ControlTx,
    tool: Id<Tool>,
) -> Result<Vec<ToolVersionRow>, StoreError> {
    let operation = "list a tool's versions";
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        r#"select v.version, v.sha256, v.definition, v.created_by, v.created_at,
                  c.config as "config?", c.sha256 as "config_sha256?"
           from tool_versions v left join tool_configs c
             on c.tenant_id = v.tenant_id and c.tool_id = v.tool_id and c.version = v.version
           where v.tenant_id = $1 and v.tool_id = $2 order by v.version desc limit 1000"#,
        tenant,
        tool.as_uuid()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|row| {
        Ok(ToolVersionRow {
            number: row.version,
            sha256: fixed(operation, "sha256", row.sha256)?,
            definition: row.definition,
            config: config(operation, row.config, row.config_sha256)?,
            created_by: row.created_by,
            created_at: row.created_at,
        })
    })
    .collect()
}

/// Takes a tool into the catalog or out of it, if it is still in the version that the caller read.
/// Without a version, whatever its version.
///
/// # Errors
/// `Stale` where it is in another version, `NotFound` where it does not exist.
pub async fn set_enabled(
    tx: &mut ControlTx,
    name: &str,
    version: Option<i64>,
    enabled: bool,
    now: OffsetDateTime,
) -> Result<ToolRow, StoreError> {
    let operation = "enable or disable tool";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update tools set enabled = $4, version = version + 1, updated_at = $5
         where tenant_id = $1 and name = $2 and ($3::bigint is null or version = $3)",
        tenant,
        name,
        version,
        enabled,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    match by_name(tx, name).await? {
        None => Err(StoreError::NotFound { operation }),
        Some(_) if done.rows_affected() == 0 => Err(StoreError::Stale { operation }),
        Some(tool) => Ok(tool),
    }
}
