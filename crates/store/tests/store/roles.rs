//! The four roles: what each may do, and that nobody serves as more.

use std::fmt::Write as _;
use std::path::Path;

use portcullis_domain::Pool;
use portcullis_store::roles::{self, Passwords};
use portcullis_store::sweeper::{ControlSweeper, RegionSweeper};
use portcullis_store::{ConnectError, ControlStore, RegionStore, migrate};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::cluster::{Cluster, Database, SUPERUSER, run, unique};
use crate::fixture::{self, NOW, options};

const GRANTS: &str = include_str!("../ratchet/grants.txt");
const MIGRATIONS: &str = include_str!("../ratchet/migrations.txt");

/// Every right of every role but the owner's, one a line.
async fn grants(title: &str, database: &Database<'_>) -> String {
    let mut connection = database.connect(SUPERUSER).await;
    let rights: Vec<String> = sqlx::query_scalar(
        "with rights as (
           select a.grantee, lower(a.privilege_type) as verb, c.relname::text as thing
           from pg_class c, aclexplode(c.relacl) a
           where c.relnamespace = 'public'::regnamespace
           union all
           select a.grantee, lower(a.privilege_type),
                  c.relname || ' (' || string_agg(t.attname, ', ' order by t.attnum) || ')'
           from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
           where c.relnamespace = 'public'::regnamespace
           group by a.grantee, a.privilege_type, c.relname
           union all
           select a.grantee, lower(a.privilege_type), p.proname || '()'
           from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
           where p.pronamespace = 'public'::regnamespace
           union all
           select a.grantee, lower(a.privilege_type), 'schema ' || n.nspname
           from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'public')
         select case when grantee = 0 then 'public' else grantee::regrole::text end
                || ' ' || verb || ' ' || thing
         from rights
         where grantee <> 'portcullis_owner'::regrole and grantee <> 'pg_database_owner'::regrole
         order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut text = format!("# {title}\n");
    for right in rights {
        writeln!(text, "{right}").unwrap();
    }
    text
}

#[tokio::test]
async fn each_role_has_exactly_the_rights_that_were_reviewed() {
    let cluster = Cluster::shared().await;
    let control = grants("control", &cluster.control().await).await;
    let region = grants("region", &cluster.region().await).await;
    let found = format!("{control}\n{region}");
    assert!(
        found == GRANTS,
        "review these rights, then write them to tests/ratchet/grants.txt:\n{found}"
    );
}

async fn refused(connection: &mut PgConnection, sql: &str) {
    let error = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .expect_err(sql);
    let code = error.as_database_error().and_then(DatabaseError::code);
    assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
}

#[tokio::test]
async fn a_role_that_is_not_held_by_row_level_security_cannot_serve() {
    let cluster = Cluster::shared().await;
    let database = cluster.control().await;
    let (bypasser, climber) = (unique("bypasser"), unique("climber"));
    cluster
        .administer(&format!(
            "create role {bypasser} login bypassrls;
             create role {climber} login;
             grant {bypasser} to {climber}"
        ))
        .await;
    for role in [SUPERUSER, &bypasser, &climber] {
        let error = ControlStore::connect(database.url(role), options(1))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ConnectError::Bypasses { role: found, .. } if found == role),
            "{role}: {error}"
        );
    }
}

#[tokio::test]
async fn only_the_role_of_a_place_serves_there() {
    let cluster = Cluster::shared().await;
    let control = cluster.control().await;
    for role in [roles::OWNER, roles::RECORDER, roles::SWEEPER] {
        let error = ControlStore::connect(control.url(role), options(1))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::WrongRole { .. }), "{error}");
    }
    let error = ControlSweeper::connect(control.url(roles::APP))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::WrongRole { .. }), "{error}");
    let region = cluster.region().await;
    for recorder in [roles::APP, roles::OWNER] {
        let error = RegionStore::connect(
            Pool::EuWest,
            region.url(roles::APP),
            region.url(recorder),
            options(1),
        )
        .await
        .unwrap_err();
        assert!(matches!(error, ConnectError::WrongRole { .. }), "{error}");
    }
    let error = RegionSweeper::connect(Pool::EuWest, region.url(SUPERUSER))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Bypasses { .. }), "{error}");
}

#[tokio::test]
async fn an_address_that_is_none_or_leads_nowhere_is_told_apart() {
    let error = ControlStore::connect(SecretString::from("mysql://x"), options(1)).await;
    assert!(matches!(error, Err(ConnectError::Address { .. })));
    let mut impatient = options(1);
    impatient.acquire_timeout = std::time::Duration::from_millis(200);
    let nowhere = SecretString::from("postgres://portcullis_app@127.0.0.1:1/none");
    let error = ControlStore::connect(nowhere, impatient).await;
    assert!(matches!(error, Err(ConnectError::Unavailable { .. })));
}

#[tokio::test]
async fn the_recorder_inserts_and_can_do_nothing_else() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    fixture::full_region_tenant(&store).await;
    let mut recorder = database.connect(roles::RECORDER).await;
    for sql in [
        "select from records",
        "select from call_inputs",
        "update records set verdict = 'deny'",
        "update call_inputs set answer = null",
        "delete from records",
        "delete from call_inputs",
        "truncate records",
        "insert into records select * from records",
        "insert into records (tenant_id, id) values (gen_random_uuid(), gen_random_uuid())
         returning id",
        "insert into records_default (tenant_id, id) values (gen_random_uuid(), gen_random_uuid())",
        "select from orders",
        "insert into orders (tenant_id, id) values (gen_random_uuid(), 'x')",
        "select ensure_record_partitions(now())",
        "create table mine (x integer)",
        "set role portcullis_owner",
    ] {
        refused(&mut recorder, sql).await;
    }
}

#[tokio::test]
async fn the_role_that_serves_cannot_change_records_or_lift_its_own_guards() {
    let cluster = Cluster::shared().await;
    let database = cluster.region().await;
    let store = fixture::region(&database).await;
    let tenant = fixture::full_region_tenant(&store).await;
    let mut app = database.connect(roles::APP).await;
    let tenant = tenant.as_uuid();
    run(&mut app, &format!("set app.tenant_id = '{tenant}'")).await;
    for sql in [
        "insert into records (tenant_id, id, kind, trace_id, verdict, started_at, ended_at,
                              canonical, leaf_hash, signature, key_id)
         select gen_random_uuid(), id, kind, trace_id, verdict, started_at, ended_at, canonical,
                leaf_hash, signature, key_id from records",
        "update records set verdict = 'deny'",
        "delete from records",
        "delete from call_inputs",
        "delete from stored_answers",
        "update stored_answers set answer = ''",
        "update claims set fingerprint = ''",
        "truncate orders",
        "alter table records disable row level security",
        "drop policy tenant_isolation on records",
        "update pool_identity set pool = 'us-east'",
        "select from records_default",
        "set role portcullis_recorder",
        "set session authorization postgres",
    ] {
        refused(&mut app, sql).await;
    }
    let control = cluster.control().await;
    let mut app = control.connect(roles::APP).await;
    for sql in [
        "update outbox set actor = 'nobody'",
        "delete from outbox",
        "update policy_versions set source = ''",
        "update tool_versions set definition = ''",
        "update tenants set slug = 'other'",
        "delete from token_bindings",
        "update token_bindings set binding = ''",
        "delete from epoch",
        "update data_keys set wrapped = ''",
        "update service_tokens set role = 'owner'",
    ] {
        refused(&mut app, sql).await;
    }
}

#[tokio::test]
async fn even_the_owner_sees_no_tenants_rows() {
    let cluster = Cluster::shared().await;
    let control = cluster.control().await;
    let store = fixture::control(&control).await;
    fixture::full_tenant(&store, "acme").await;
    let mut owner = control.connect(roles::OWNER).await;
    for table in ["principals", "grants", "client_secrets", "tenants"] {
        let sql = AssertSqlSafe(format!("select from {table}"));
        assert!(
            sqlx::query(sql)
                .fetch_all(&mut owner)
                .await
                .unwrap()
                .is_empty()
        );
    }
    assert!(control.count("select count(*) from grants").await > 0);
}

#[tokio::test]
async fn the_sweeper_sees_no_payloads_and_nothing_that_is_not_old() {
    let cluster = Cluster::shared().await;
    let control = cluster.control().await;
    let store = fixture::control(&control).await;
    fixture::full_tenant(&store, "acme").await;
    let mut sweeper = control.connect(roles::SWEEPER).await;
    for table in [
        "principals",
        "client_secrets",
        "data_keys",
        "platform_outbox",
        "tenants",
    ] {
        refused(&mut sweeper, &format!("select from {table}")).await;
    }
    for column in ["id", "actor", "action", "subject", "detail", "created_at"] {
        refused(&mut sweeper, &format!("select {column} from outbox")).await;
    }
    refused(&mut sweeper, "update outbox set relayed_at = now()").await;
    let region = cluster.region().await;
    let mut sweeper = region.connect(roles::SWEEPER).await;
    for table in ["records", "call_inputs", "orders", "records_default"] {
        refused(&mut sweeper, &format!("select from {table}")).await;
    }
    fixture::full_region_tenant(&fixture::region(&region).await).await;
    for sql in [
        "select fingerprint from claims",
        "select answer from stored_answers",
        "update claims set state = 'done'",
        "insert into claims (tenant_id) values (gen_random_uuid())",
    ] {
        refused(&mut sweeper, sql).await;
    }
    for table in ["claims", "stored_answers"] {
        let sql = AssertSqlSafe(format!("delete from {table} where tenant_id is not null"));
        let done = sqlx::query(sql).execute(&mut sweeper).await.unwrap();
        assert_eq!(done.rows_affected(), 0, "{table}");
    }
}

#[tokio::test]
async fn bootstrap_takes_back_what_a_role_must_not_have() {
    // A cluster of its own: the roles belong to all databases.
    let cluster = Cluster::start().await;
    cluster
        .administer("alter role portcullis_app superuser bypassrls createrole createdb")
        .await;
    let password = || SecretString::from("again");
    let passwords = Passwords {
        owner: password(),
        app: password(),
        recorder: password(),
        sweeper: password(),
    };
    let administrator = cluster.url(SUPERUSER, "postgres");
    roles::bootstrap(&administrator, &passwords).await.unwrap();
    let database = cluster.control().await;
    ControlStore::connect(database.url(roles::APP), options(1))
        .await
        .unwrap();
    assert!(
        !roles::create_database(&administrator, "control_template")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_database_of_another_pool_is_refused_at_migration_and_at_start() {
    let database = Cluster::shared().await.region().await;
    let owner = database.url(roles::OWNER);
    let error = migrate::region(&owner, Pool::UsEast, NOW)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("`eu-west`, not `us-east`"),
        "{error}"
    );
    let error = RegionStore::connect(
        Pool::UsEast,
        database.url(roles::APP),
        database.url(roles::RECORDER),
        options(1),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, ConnectError::WrongPool { .. }), "{error}");
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let cluster = Cluster::shared().await;
    let region = cluster.region().await;
    migrate::region(&region.url(roles::OWNER), Pool::EuWest, NOW)
        .await
        .unwrap();
    let control = cluster.control().await;
    migrate::control(&control.url(roles::OWNER)).await.unwrap();
    let times = "select count(*) - count(distinct version) from _sqlx_migrations";
    assert_eq!(control.count(times).await, 0);
}

#[tokio::test]
async fn nobody_connects_to_a_database_but_the_roles_that_have_work_there() {
    let cluster = Cluster::shared().await;
    let database = cluster.control().await;
    let may_connect = |role: &str, name: &str| {
        format!("select has_database_privilege('{role}', '{name}', 'connect')::int::bigint")
    };
    for (role, control, region) in [
        (roles::OWNER, 1, 1),
        (roles::APP, 1, 1),
        (roles::RECORDER, 0, 1),
        (roles::SWEEPER, 1, 1),
        ("pg_monitor", 0, 0),
    ] {
        // A clone has the template's tables but not its own rights.
        let to_control = database.count(&may_connect(role, "control_template")).await;
        let to_region = database.count(&may_connect(role, "region_template")).await;
        assert_eq!((to_control, to_region), (control, region), "{role}");
    }
}

#[tokio::test]
async fn migrations_are_not_run_as_a_role_that_would_own_more_than_it_may() {
    let database = Cluster::shared().await.control().await;
    for role in [SUPERUSER, roles::APP] {
        let url = database.url(role);
        migrate::control(&url).await.unwrap_err();
        migrate::region(&url, Pool::EuWest, NOW).await.unwrap_err();
    }
}

#[test]
fn a_landed_migration_is_never_edited() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut found = String::new();
    for folder in ["control", "region"] {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let digest = Sha256::digest(std::fs::read(&path).unwrap());
            let name = path.file_name().unwrap().to_str().unwrap();
            for byte in digest {
                write!(found, "{byte:02x}").unwrap();
            }
            writeln!(found, " {folder}/{name}").unwrap();
        }
    }
    assert!(
        found == MIGRATIONS,
        "add a new migration's line to tests/ratchet/migrations.txt; change none:\n{found}"
    );
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_says_so() {
    let cluster = Cluster::shared().await;
    let database = cluster.control().await;
    let posture = fixture::control(&database).await.posture().await.unwrap();
    // The clusters of these tests run without fsync.
    assert!(!posture.fsync && posture.full_page_writes && posture.synchronous_commit);
    assert!(!posture.durable());
    let durable = portcullis_store::Posture {
        fsync: true,
        ..posture
    };
    assert!(durable.durable());
}
