//! The four roles and the databases they own or use. Roles belong to the whole cluster, so they are
//! made once by its superuser, never by a migration, and none of them bypasses anything.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::error::{StoreError, sort};

/// Owns the databases and migrates them; forced row-level security holds it too.
pub const OWNER: &str = "portcullis_owner";
/// Serves requests.
pub const APP: &str = "portcullis_app";
/// Inserts records, and can do nothing else.
pub const RECORDER: &str = "portcullis_recorder";
/// Does the named jobs that cross tenants.
pub const SWEEPER: &str = "portcullis_sweeper";

/// The passwords of the four roles.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Of `portcullis_owner`.
    pub owner: SecretString,
    /// Of `portcullis_app`.
    pub app: SecretString,
    /// Of `portcullis_recorder`.
    pub recorder: SecretString,
    /// Of `portcullis_sweeper`.
    pub sweeper: SecretString,
}

/// The statements that make the four roles what they have to be, whether they exist or not.
pub fn bootstrap_sql(passwords: &Passwords) -> SecretString {
    // Keeps the passwords out of the server's log.
    let mut sql = String::from("set local log_statement = 'none';\n");
    for (role, inherits, password) in [
        // What a database's owner may do comes through `pg_database_owner`, a membership.
        (OWNER, "inherit", &passwords.owner),
        (APP, "noinherit", &passwords.app),
        (RECORDER, "noinherit", &passwords.recorder),
        (SWEEPER, "noinherit", &passwords.sweeper),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            "do $$ begin create role {role}; exception when duplicate_object then null; end $$;\n\
             alter role {role} login nosuperuser nobypassrls nocreatedb nocreaterole \
             noreplication {inherits} password {};\n",
            literal(password.expose_secret())
        );
    }
    SecretString::from(sql)
}

/// Makes the four roles, as a superuser of the cluster.
///
/// # Errors
/// Fails where the cluster cannot be reached or the role may not make roles.
pub async fn bootstrap(
    administrator_url: &SecretString,
    passwords: &Passwords,
) -> Result<(), StoreError> {
    let operation = "make the roles";
    let mut connection = PgConnection::connect(administrator_url.expose_secret())
        .await
        .map_err(sort(operation))?;
    let sql = format!(
        "begin; {} commit;",
        bootstrap_sql(passwords).expose_secret()
    );
    // Safe: made above of constants and quoted literals.
    connection
        .execute(AssertSqlSafe(sql))
        .await
        .map_err(sort(operation))?;
    connection.close().await.map_err(sort(operation))
}

/// Makes a database that `portcullis_owner` owns, if there is none of this name. Gives back whether
/// it was made.
///
/// # Errors
/// Fails where the cluster cannot be reached or the role may not make databases.
pub async fn create_database(
    administrator_url: &SecretString,
    name: &str,
) -> Result<bool, StoreError> {
    let operation = "make a database";
    let mut connection = PgConnection::connect(administrator_url.expose_secret())
        .await
        .map_err(sort(operation))?;
    let exists = sqlx::query_scalar!(
        r#"select exists (select from pg_database where datname = $1) as "exists!""#,
        name
    )
    .fetch_one(&mut connection)
    .await
    .map_err(sort(operation))?;
    if !exists {
        let name = name.replace('"', "\"\"");
        // Safe: a quoted identifier with its quotes doubled.
        let sql =
            format!("create database \"{name}\" owner {OWNER} encoding 'UTF8' template template0");
        connection
            .execute(AssertSqlSafe(sql))
            .await
            .map_err(sort(operation))?;
    }
    connection.close().await.map_err(sort(operation))?;
    Ok(!exists)
}

/// A string constant that means the same whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_end_its_literal() {
        assert_eq!(
            literal(r"a'; drop role x; --\'"),
            r"E'a''; drop role x; --\\'''"
        );
    }

    #[test]
    fn no_role_is_given_a_way_around_row_level_security() {
        let password = || SecretString::from("p");
        let sql = bootstrap_sql(&Passwords {
            owner: password(),
            app: password(),
            recorder: password(),
            sweeper: password(),
        });
        let sql = sql.expose_secret();
        assert_eq!(sql.matches(" nosuperuser nobypassrls ").count(), 4);
        assert!(!sql.contains(" superuser") && !sql.contains(" bypassrls"));
    }
}
