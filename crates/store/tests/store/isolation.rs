//! Tenant A never reads, changes or learns of tenant B: every statement against every table, generated
//! from the catalog, first as the rights are and then with every right granted, so that row-level
//! security alone has to hold. Then each guard is removed in turn, and the same check has to notice.

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use portcullis_store::roles;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::catalog::{self, Kind, Table};
use crate::cluster::{Cluster, Database, SUPERUSER, run};
use crate::fixture;

/// A database with two tenants in every table.
struct Full<'c> {
    database: Database<'c>,
    a: Id<Tenant>,
    b: Id<Tenant>,
}

impl<'c> Full<'c> {
    async fn control(cluster: &'c Cluster) -> Self {
        let database = cluster.control().await;
        let store = fixture::control(&database).await;
        let a = fixture::full_tenant(&store, "acme").await;
        let b = fixture::full_tenant(&store, "globex").await;
        fixture::fill_platform(&store).await;
        store.close().await;
        Self { database, a, b }
    }

    async fn region(cluster: &'c Cluster) -> Self {
        let database = cluster.region().await;
        let store = fixture::region(&database).await;
        let a = fixture::full_region_tenant(&store).await;
        let b = fixture::full_region_tenant(&store).await;
        store.close().await;
        Self { database, a, b }
    }

    async fn grant_everything(&self) {
        for table in self.guarded().await {
            let name = table.name;
            let sql = format!("grant select, insert, update, delete on {name} to portcullis_app");
            self.database.administer(&sql).await;
        }
    }

    async fn guarded(&self) -> Vec<Table> {
        let tables = catalog::tables(&self.database).await;
        tables
            .into_iter()
            .filter(|table| table.kind != Kind::Open)
            .collect()
    }

    /// Every way in which `table` does not keep A and B apart.
    async fn leaks(&self, table: &Table) -> Vec<String> {
        let mut all = self.database.connect(SUPERUSER).await;
        let mut check = Check {
            app: self.database.connect(roles::APP).await,
            a: whose(&mut all, table, self.a).await,
            b: whose(&mut all, table, self.b).await,
            all,
            table,
            leaks: Vec::new(),
        };
        check.reads().await;
        check.inserts().await;
        check.changes().await;
        check.leaks
    }

    async fn notices(&self, table: &Table, without: &str) {
        let leaks = self.leaks(table).await;
        assert_ne!(
            leaks,
            Vec::<String>::new(),
            "{} without {without}",
            table.name
        );
    }

    async fn all_leaks(&self) -> Vec<String> {
        let mut leaks = catalog::faults(&self.database).await;
        for table in self.guarded().await {
            leaks.extend(self.leaks(&table).await);
        }
        leaks
    }
}

struct Check<'t> {
    app: PgConnection,
    all: PgConnection,
    table: &'t Table,
    a: String,
    b: String,
    leaks: Vec<String>,
}

/// What a statement did, in a transaction that is rolled back.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    /// It gave or changed so many rows.
    Rows(u64),
    /// A missing right or row-level security refused it.
    Refused,
    /// Something else did, which proves nothing.
    Failed(String),
}

/// What names a tenant's rows in a table.
async fn whose(all: &mut PgConnection, table: &Table, tenant: Id<Tenant>) -> String {
    let tenant = tenant.as_uuid().to_string();
    match table.kind {
        Kind::Tenant | Kind::PlatformOrOwn | Kind::PlatformReadable | Kind::Open => tenant,
        Kind::OwnToken => {
            any_id(all, &format!("service_tokens where tenant_id = '{tenant}'")).await
        }
        // Both see nothing of it, so any row stands for the other's.
        Kind::PlatformOnly => any_id(all, &table.name).await,
    }
}

async fn any_id(all: &mut PgConnection, from: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select id::text from {from} limit 1"
    )))
    .fetch_one(all)
    .await
    .unwrap()
}

impl Check<'_> {
    async fn reads(&mut self) {
        let Table { name, key, kind } = self.table.clone();
        let (a, b) = (self.a.clone(), self.b.clone());
        let own = self.count_all(&format!("{key} = '{a}'")).await;
        let total = self.count_all("true").await;
        if own == 0 || self.count_all(&format!("{key} = '{b}'")).await == 0 {
            self.leaks.push(format!("{name}: the fixture fills no row"));
        }
        let (set, unset) = match kind {
            Kind::PlatformReadable => {
                let platform = self.count_all(&format!("{key} is null")).await;
                let of_own = self
                    .count_all(&format!("{key} = '{a}' and by_platform"))
                    .await;
                if platform == 0 || of_own == 0 || of_own == own {
                    self.leaks.push(format!("{name}: the fixture fills no row"));
                }
                (own + platform, total)
            }
            Kind::Tenant | Kind::OwnToken => (own, 0),
            Kind::PlatformOrOwn | Kind::Open => (own, total),
            Kind::PlatformOnly => (0, total),
        };
        let rows = |condition: &str| format!("select from {name} where {condition}");
        self.expect(Some(&a), &rows("true"), &Did::Rows(set)).await;
        let foreign = rows(&format!("{key} = '{b}'"));
        self.expect(Some(&a), &foreign, &Did::Rows(0)).await;
        for none in [None, Some("")] {
            self.expect(none, &rows("true"), &Did::Rows(unset)).await;
        }
    }

    async fn inserts(&mut self) {
        let Table { name, key, kind } = self.table.clone();
        let (a, b) = (self.a.clone(), self.b.clone());
        let row: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "select to_jsonb(t)::text from {name} t where {key} = '{b}' limit 1"
        )))
        .fetch_one(&mut self.all)
        .await
        .unwrap();
        let insert = format!(
            "insert into {name} select * from jsonb_populate_record(null::{name}, '{}'::jsonb)",
            row.replace('\'', "''")
        );
        self.expect(Some(&a), &insert, &Did::Refused).await;
        if matches!(kind, Kind::Tenant | Kind::OwnToken) {
            self.expect(None, &insert, &Did::Refused).await;
        }
    }

    async fn changes(&mut self) {
        let Table { name, key, kind } = self.table.clone();
        let (a, b) = (self.a.clone(), self.b.clone());
        let touch = format!("update {name} set {key} = {key} where {key} = '{b}'");
        self.expect_none(Some(&a), &touch).await;
        let remove = format!("delete from {name} where {key} = '{b}'");
        self.expect_none(Some(&a), &remove).await;
        let give = format!("update {name} set {key} = '{b}' where {key} = '{a}'");
        match kind {
            Kind::PlatformOnly => self.expect_none(Some(&a), &give).await,
            Kind::Tenant
            | Kind::OwnToken
            | Kind::PlatformOrOwn
            | Kind::PlatformReadable
            | Kind::Open => {
                self.expect(Some(&a), &give, &Did::Refused).await;
            }
        }
        if kind == Kind::PlatformReadable {
            self.writes_of_the_platforms_rows().await;
        }
        if matches!(kind, Kind::Tenant | Kind::OwnToken) {
            let touch = format!("update {name} set {key} = {key}");
            self.expect_none(None, &touch).await;
            self.expect_none(None, &format!("delete from {name}")).await;
        }
    }

    /// A tenant reads rows of the platform, and must not be able to touch or make one.
    async fn writes_of_the_platforms_rows(&mut self) {
        let Table { name, key, .. } = self.table.clone();
        let a = self.a.clone();
        for theirs in [format!("{key} is null"), "by_platform".to_owned()] {
            let touch = format!("update {name} set id = id where {theirs}");
            self.expect_none(Some(&a), &touch).await;
            let remove = format!("delete from {name} where {theirs}");
            self.expect_none(Some(&a), &remove).await;
        }
        for forged in [format!("{key} = null"), "by_platform = true".to_owned()] {
            let forge =
                format!("update {name} set {forged} where {key} = '{a}' and not by_platform");
            self.expect(Some(&a), &forge, &Did::Refused).await;
        }
        let row: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "select to_jsonb(t)::text from {name} t where {key} = '{a}' and not by_platform limit 1"
        )))
        .fetch_one(&mut self.all)
        .await
        .unwrap();
        for forged in [
            "jsonb_build_object('by_platform', true)".to_owned(),
            format!("jsonb_build_object('by_platform', true, '{key}', null)"),
        ] {
            let insert = format!(
                "insert into {name} select * from jsonb_populate_record(
                   null::{name}, '{}'::jsonb || jsonb_build_object('id', gen_random_uuid()) || {forged})",
                row.replace('\'', "''")
            );
            self.expect(Some(&a), &insert, &Did::Refused).await;
        }
    }

    async fn count_all(&mut self, condition: &str) -> u64 {
        let sql = format!("select from {} where {condition}", self.table.name);
        sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut self.all)
            .await
            .unwrap()
            .len()
            .try_into()
            .unwrap()
    }

    async fn expect(&mut self, tenant: Option<&str>, sql: &str, expected: &Did) {
        let did = self.attempt(tenant, sql).await;
        if did != *expected {
            self.leaks
                .push(format!("as {tenant:?}: {sql}: {did:?}, not {expected:?}"));
        }
    }

    async fn expect_none(&mut self, tenant: Option<&str>, sql: &str) {
        let did = self.attempt(tenant, sql).await;
        if did != Did::Rows(0) && did != Did::Refused {
            self.leaks.push(format!("as {tenant:?}: {sql}: {did:?}"));
        }
    }

    async fn attempt(&mut self, tenant: Option<&str>, sql: &str) -> Did {
        run(&mut self.app, "begin").await;
        if let Some(tenant) = tenant {
            sqlx::query("select set_config($1, $2, true)")
                .bind(self.table.setting())
                .bind(tenant)
                .execute(&mut self.app)
                .await
                .unwrap();
        }
        let result = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.app)
            .await;
        run(&mut self.app, "rollback").await;
        match result {
            Ok(done) => Did::Rows(done.rows_affected()),
            Err(error) => match error.as_database_error().and_then(DatabaseError::code) {
                Some(code) if code == "42501" => Did::Refused,
                _ => Did::Failed(error.to_string()),
            },
        }
    }
}

async fn keeps_tenants_apart(full: &Full<'_>) {
    assert_eq!(full.all_leaks().await, Vec::<String>::new());
    full.grant_everything().await;
    for table in full.guarded().await {
        assert_eq!(full.leaks(&table).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn no_statement_of_a_tenant_reaches_another_in_the_control_database() {
    let full = Full::control(Cluster::shared().await).await;
    keeps_tenants_apart(&full).await;
}

#[tokio::test]
async fn no_statement_of_a_tenant_reaches_another_in_a_region() {
    let full = Full::region(Cluster::shared().await).await;
    keeps_tenants_apart(&full).await;
}

/// Removes each guard of each table in turn. The statements alone have to notice the first two; the
/// third shows to the owner only, so the catalog notices.
async fn every_guard_is_missed(full: &Full<'_>) {
    full.grant_everything().await;
    let mut all = full.database.connect(SUPERUSER).await;
    for table in full.guarded().await {
        without_its_policies(full, &mut all, &table).await;
        without_row_level_security(full, &mut all, &table).await;
    }
    assert_eq!(full.all_leaks().await, Vec::<String>::new());
}

async fn without_its_policies(full: &Full<'_>, all: &mut PgConnection, table: &Table) {
    for policy in policies(all, &table.name).await {
        run(all, &format!("drop policy {policy} on {}", table.name)).await;
        full.notices(table, &policy).await;
        restore(all, table).await;
    }
}

async fn without_row_level_security(full: &Full<'_>, all: &mut PgConnection, table: &Table) {
    let name = &table.name;
    run(
        all,
        &format!("alter table {name} disable row level security"),
    )
    .await;
    full.notices(table, "row-level security").await;
    run(
        all,
        &format!("alter table {name} enable row level security"),
    )
    .await;
    run(
        all,
        &format!("alter table {name} no force row level security"),
    )
    .await;
    let fault = format!("{name}: row-level security is not enabled and forced");
    assert_eq!(catalog::faults(&full.database).await, [fault]);
    run(all, &format!("alter table {name} force row level security")).await;
}

async fn policies(connection: &mut PgConnection, table: &str) -> Vec<String> {
    let rows = sqlx::query(
        "select policyname::text from pg_policies
         where tablename = $1 and permissive = 'PERMISSIVE' and 'portcullis_app' = any (roles)",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap();
    assert!(!rows.is_empty(), "{table} has no policy to drop");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn restore(connection: &mut PgConnection, table: &Table) {
    let name = &table.name;
    for (policy, command, text) in table.policies() {
        let check = if command == "SELECT" {
            String::new()
        } else {
            format!("with check ({text})")
        };
        let sql = format!(
            "drop policy if exists {policy} on {name};
             create policy {policy} on {name} for {command} to portcullis_app using ({text}) {check}"
        );
        run(connection, &sql).await;
    }
}

#[tokio::test]
async fn a_missing_guard_in_the_control_database_turns_the_check_red() {
    let full = Full::control(Cluster::shared().await).await;
    every_guard_is_missed(&full).await;
}

#[tokio::test]
async fn a_missing_guard_in_a_region_turns_the_check_red() {
    let full = Full::region(Cluster::shared().await).await;
    every_guard_is_missed(&full).await;
}

#[tokio::test]
async fn a_policy_that_lets_everything_through_turns_the_check_red() {
    let full = Full::control(Cluster::shared().await).await;
    full.database
        .administer("create policy oops on grants to portcullis_app using (true)")
        .await;
    let table = Table {
        name: "grants".to_owned(),
        kind: Kind::Tenant,
        key: "tenant_id".to_owned(),
    };
    assert_ne!(full.leaks(&table).await, Vec::<String>::new());
    assert_eq!(catalog::faults(&full.database).await.len(), 1);
}

#[tokio::test]
async fn a_new_table_without_guards_turns_the_check_red() {
    let full = Full::control(Cluster::shared().await).await;
    full.database
        .administer(
            "create table notes (tenant_id uuid, id uuid primary key, body text);
             alter table notes owner to portcullis_owner;
             create view all_notes as select * from notes;
             alter view all_notes owner to portcullis_owner;
             create function peek() returns bigint language sql security definer
               as 'select count(*) from notes';
             grant truncate on notes to portcullis_app",
        )
        .await;
    let mut faults = catalog::faults(&full.database).await;
    faults.sort();
    assert_eq!(
        faults,
        [
            "all_notes: the view is not security_invoker",
            "notes: notes_pkey leads with id",
            "notes: row-level security is not enabled and forced",
            "notes: somebody may truncate",
            "notes: the policies are []",
            "peek: the function runs as a role that bypasses",
        ]
    );
}

#[tokio::test]
async fn a_tenant_that_a_statement_names_itself_is_bound_before_a_row_is_seen_and_gone_after() {
    let cluster = Cluster::shared().await;
    let full = Full::region(cluster).await;
    let mut app = full.database.connect(roles::APP).await;
    let bound = "with bound as materialized (
                   select set_config('app.tenant_id', $1::uuid::text, true)::uuid as tenant) ";
    let read = format!(
        "{bound} select count(*) from bound cross join lateral (
           select * from orders where tenant_id = bound.tenant limit 1) as o"
    );
    // Whatever it compares with, it sees its own tenant's rows alone.
    let foreign = format!(
        "{bound} select count(*) from bound cross join lateral (
           select * from orders where tenant_id = $2::uuid and bound.tenant is not null
           limit 1) as o"
    );
    // More often than the server plans anew, so that a plan for any tenant is among them.
    for _ in 0..20 {
        for (whose, other) in [(full.a, full.b), (full.b, full.a)] {
            let own: i64 = sqlx::query_scalar(AssertSqlSafe(read.clone()))
                .bind(whose.as_uuid())
                .fetch_one(&mut app)
                .await
                .unwrap();
            assert_eq!(own, 1);
            let others: i64 = sqlx::query_scalar(AssertSqlSafe(foreign.clone()))
                .bind(whose.as_uuid())
                .bind(other.as_uuid())
                .fetch_one(&mut app)
                .await
                .unwrap();
            assert_eq!(others, 0);
            let left: Option<String> =
                sqlx::query_scalar("select nullif(current_setting('app.tenant_id', true), '')")
                    .fetch_one(&mut app)
                    .await
                    .unwrap();
            assert_eq!(left, None);
            let unset: i64 = sqlx::query_scalar("select count(*) from orders")
                .fetch_one(&mut app)
                .await
                .unwrap();
            assert_eq!(unset, 0);
        }
    }
    // A row of another tenant than the one that is bound is refused.
    let insert = format!(
        "{bound} insert into flags (tenant_id, env, name, rollout_pct, updated_at)
         select $2::uuid, 'dev', 'theirs', 1, now() from bound"
    );
    let refused = sqlx::query(AssertSqlSafe(insert))
        .bind(full.a.as_uuid())
        .bind(full.b.as_uuid())
        .execute(&mut app)
        .await
        .unwrap_err();
    let code = refused.as_database_error().and_then(DatabaseError::code);
    assert_eq!(code.as_deref(), Some("42501"));
}
