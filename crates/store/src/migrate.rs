//! Migrations, embedded in the binary and run by the owner. They go forward only; a landed one is
//! never edited.

use portcullis_domain::Pool;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use crate::connect::{self, ConnectError};
use crate::error::{StoreError, sort};
use crate::roles;

static CONTROL: Migrator = sqlx::migrate!("../../migrations/control");
static REGION: Migrator = sqlx::migrate!("../../migrations/region");

/// Why a database cannot be brought to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A statement failed, or the database cannot be reached.
    #[error("migrate {database}: connect as the owner and try again")]
    Database {
        /// Which database.
        database: &'static str,
        /// What happened.
        #[source]
        source: StoreError,
    },
    /// The role is not the owner, or bypasses row-level security.
    #[error("migrate {database}: migrations run as `portcullis_owner` alone")]
    Role {
        /// Which database.
        database: &'static str,
        /// What is wrong with the role.
        #[source]
        source: ConnectError,
    },
    /// A migration failed, was edited after it ran, or is newer than this binary.
    #[error("migrate {database}: this version's migrations do not fit the database; see the cause")]
    History {
        /// Which database.
        database: &'static str,
        /// What happened.
        #[source]
        source: Box<MigrateError>,
    },
    /// The database was migrated for another pool before.
    #[error(
        "migrate region: this database is the pool `{found}`, not `{expected}`; check the address"
    )]
    WrongPool {
        /// The pool that was asked for.
        expected: Pool,
        /// The pool that the database holds.
        found: String,
    },
}

/// Brings the control database to this version.
///
/// # Errors
/// Fails where the database cannot be reached, a migration fails, or one was edited after it ran.
pub async fn control(owner_url: &SecretString) -> Result<(), MigrationError> {
    let mut connection = connect("control", owner_url).await?;
    run("control", &CONTROL, &mut connection).await?;
    close("control", connection).await
}

/// Brings a region's database to this version, writes whose pool it is, and makes the partitions of
/// the month of `now` and the twelve after.
///
/// # Errors
/// Fails where the database cannot be reached, a migration fails, one was edited after it ran, or the
/// database is another pool's.
pub async fn region(
    owner_url: &SecretString,
    pool: Pool,
    now: OffsetDateTime,
) -> Result<(), MigrationError> {
    let mut connection = connect("region", owner_url).await?;
    run("region", &REGION, &mut connection).await?;
    identify(&mut connection, pool, now).await?;
    close("region", connection).await
}

async fn identify(
    connection: &mut PgConnection,
    pool: Pool,
    now: OffsetDateTime,
) -> Result<(), MigrationError> {
    let failed = |source| MigrationError::Database {
        database: "region",
        source,
    };
    sqlx::query!(
        "insert into pool_identity (pool, jurisdiction) values ($1, $2) on conflict do nothing",
        pool.as_str(),
        pool.jurisdiction().as_str()
    )
    .execute(&mut *connection)
    .await
    .map_err(sort("write whose pool it is"))
    .map_err(failed)?;
    let found = sqlx::query_scalar!("select pool from pool_identity")
        .fetch_one(&mut *connection)
        .await
        .map_err(sort("read whose pool it is"))
        .map_err(failed)?;
    if found != pool.as_str() {
        return Err(MigrationError::WrongPool {
            expected: pool,
            found,
        });
    }
    sqlx::query_scalar!("select ensure_record_partitions($1)", now)
        .fetch_one(connection)
        .await
        .map_err(sort("make the partitions of records"))
        .map_err(failed)?;
    Ok(())
}

async fn connect(
    database: &'static str,
    owner_url: &SecretString,
) -> Result<PgConnection, MigrationError> {
    let mut connection = PgConnection::connect(owner_url.expose_secret())
        .await
        .map_err(sort("connect as the owner"))
        .map_err(|source| MigrationError::Database { database, source })?;
    // What a superuser made would be a superuser's: its functions would bypass every policy.
    connect::check_role(database, roles::OWNER, &mut connection)
        .await
        .map_err(|source| MigrationError::Role { database, source })?;
    Ok(connection)
}

async fn close(database: &'static str, connection: PgConnection) -> Result<(), MigrationError> {
    connection
        .close()
        .await
        .map_err(sort("close the owner's connection"))
        .map_err(|source| MigrationError::Database { database, source })
}

async fn run(
    database: &'static str,
    migrator: &Migrator,
    connection: &mut PgConnection,
) -> Result<(), MigrationError> {
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(|source| MigrationError::History {
            database,
            source: Box::new(source),
        })
}
