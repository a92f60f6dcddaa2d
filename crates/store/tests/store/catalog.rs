//! The tables as the database itself lists them, so that a table that somebody adds is tested without
//! anybody thinking of it.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use crate::cluster::{Database, SUPERUSER};

/// What of a platform table is seen without a tenant, and why: reviewed by hand.
const PLATFORM: &str = include_str!("../ratchet/platform_tables.txt");

/// What keeps tenants apart in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only the transaction's tenant's rows exist.
    Tenant,
    /// Without a tenant all rows exist, with one only its own.
    PlatformOrOwn,
    /// As `PlatformOrOwn`, but a tenant also reads the platform's rows, and those of its own that the
    /// platform wrote (`by_platform`), and writes neither.
    PlatformReadable,
    /// Rows exist only without a tenant.
    PlatformOnly,
    /// Only the rows of the service token that the transaction names exist.
    OwnToken,
    /// It holds nothing of any tenant.
    Open,
}

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The column that names whose a row is.
    pub(crate) key: String,
}

impl Table {
    /// The setting that names whose rows exist.
    pub(crate) const fn setting(&self) -> &'static str {
        match self.kind {
            Kind::OwnToken => "app.service_token_id",
            Kind::Tenant
            | Kind::PlatformOrOwn
            | Kind::PlatformReadable
            | Kind::PlatformOnly
            | Kind::Open => "app.tenant_id",
        }
    }

    /// Its policies for the role that serves: each one's name, what it is for, its text as it is
    /// written.
    pub(crate) fn policies(&self) -> Vec<(&'static str, &'static str, String)> {
        let setting = format!("nullif(current_setting('{}', true), '')", self.setting());
        self.policies_over(&setting, &WRITTEN)
    }

    /// The same, as the catalog shows them.
    fn stored_policies(&self) -> Vec<(&'static str, &'static str, String)> {
        let setting = format!(
            "NULLIF(current_setting('{}'::text, true), ''::text)",
            self.setting()
        );
        self.policies_over(&setting, &STORED)
    }

    fn policies_over(
        &self,
        setting: &str,
        Words {
            is_null,
            or,
            and,
            not,
        }: &Words,
    ) -> Vec<(&'static str, &'static str, String)> {
        let key = &self.key;
        let own = format!("({key} = ({setting})::uuid)");
        let unset = format!("({setting} {is_null})");
        match self.kind {
            Kind::Tenant | Kind::Open => vec![("tenant_isolation", "ALL", own)],
            Kind::OwnToken => vec![("own_token", "ALL", own)],
            Kind::PlatformOnly => vec![("platform_only", "ALL", unset)],
            Kind::PlatformOrOwn => {
                vec![("platform_or_own", "ALL", format!("({unset} {or} {own})"))]
            }
            Kind::PlatformReadable => vec![
                (
                    "platform_or_own",
                    "ALL",
                    format!("({unset} {or} ({own} {and} ({not} by_platform)))"),
                ),
                (
                    "platform_readable",
                    "SELECT",
                    format!("(({key} {is_null}) {or} {own})"),
                ),
            ],
        }
    }
}

/// How the words of a policy are spelt.
struct Words {
    is_null: &'static str,
    or: &'static str,
    and: &'static str,
    not: &'static str,
}

const WRITTEN: Words = Words {
    is_null: "is null",
    or: "or",
    and: "and",
    not: "not",
};

const STORED: Words = Words {
    is_null: "IS NULL",
    or: "OR",
    and: "AND",
    not: "NOT",
};

/// Every table of the database but partitions and the history of migrations.
pub(crate) async fn tables(database: &Database<'_>) -> Vec<Table> {
    let platform = platform();
    let mut connection = database.connect(SUPERUSER).await;
    let names = names(&mut connection).await;
    names
        .into_iter()
        .map(|name| match platform.get(name.as_str()) {
            None => Table {
                name,
                kind: Kind::Tenant,
                key: "tenant_id".to_owned(),
            },
            Some((kind, key)) => Table {
                name,
                kind: *kind,
                key: (*key).to_owned(),
            },
        })
        .collect()
}

async fn names(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
           and not relispartition and relname <> '_sqlx_migrations' order by relname",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

fn platform() -> BTreeMap<&'static str, (Kind, &'static str)> {
    PLATFORM
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let (table, rule) = (words.next().unwrap(), words.next().unwrap());
            let (rule, key) = rule.split_once(':').unwrap_or((rule, ""));
            let kind = match rule {
                "platform_or_own" => Kind::PlatformOrOwn,
                "platform_readable" => Kind::PlatformReadable,
                "platform_only" => Kind::PlatformOnly,
                "own_token" => Kind::OwnToken,
                "open" => Kind::Open,
                _ => panic!("{line}: there is no such rule"),
            };
            (table, (kind, key))
        })
        .collect()
}

/// What is wrong with how tables are guarded, read from the catalog.
pub(crate) async fn faults(database: &Database<'_>) -> Vec<String> {
    let mut connection = database.connect(SUPERUSER).await;
    let mut faults = Vec::new();
    for table in tables(database).await {
        if table.kind != Kind::Open {
            faults.extend(unguarded(&mut connection, &table.name).await);
            faults.extend(wrong_policies(&mut connection, &table).await);
        }
        if matches!(table.kind, Kind::Tenant | Kind::OwnToken) {
            faults.extend(keys_without_tenant(&mut connection, &table).await);
        }
    }
    faults.extend(open_partitions(&mut connection).await);
    faults.extend(ways_around(&mut connection).await);
    faults
}

async fn unguarded(connection: &mut PgConnection, table: &str) -> Option<String> {
    let row = sqlx::query(
        "select relrowsecurity, relforcerowsecurity from pg_class where oid = $1::regclass",
    )
    .bind(table)
    .fetch_one(connection)
    .await
    .unwrap();
    let forced = row.get::<bool, _>(0) && row.get::<bool, _>(1);
    (!forced).then(|| format!("{table}: row-level security is not enabled and forced"))
}

/// The permissive policies for the role that serves have to say exactly what is agreed.
async fn wrong_policies(connection: &mut PgConnection, table: &Table) -> Vec<String> {
    let policies = sqlx::query(
        "select policyname::text, cmd, coalesce(qual, ''), coalesce(with_check, ''), roles::text[]
         from pg_policies
         where schemaname = 'public' and tablename = $1 and permissive = 'PERMISSIVE'
           and (roles && array['public', 'portcullis_app', 'portcullis_owner']::name[])
         order by policyname",
    )
    .bind(&table.name)
    .fetch_all(connection)
    .await
    .unwrap();
    let found: Vec<_> = policies
        .iter()
        .map(|row| {
            (
                row.get::<String, _>(0),
                row.get::<String, _>(1),
                row.get::<String, _>(2),
                row.get::<String, _>(3),
                row.get::<Vec<String>, _>(4),
            )
        })
        .collect();
    let expected: Vec<_> = table
        .stored_policies()
        .into_iter()
        .map(|(name, command, text)| {
            let check = if command == "SELECT" {
                String::new()
            } else {
                text.clone()
            };
            let roles = vec!["portcullis_app".to_owned()];
            (name.to_owned(), command.to_owned(), text, check, roles)
        })
        .collect();
    if found == expected {
        Vec::new()
    } else {
        vec![format!("{}: the policies are {found:?}", table.name)]
    }
}

/// Primary, unique and foreign keys of tenants' tables lead with the tenant.
async fn keys_without_tenant(connection: &mut PgConnection, table: &Table) -> Vec<String> {
    let indexes: Vec<(String, String, bool)> = sqlx::query_as(
        "select i.indexrelid::regclass::text, a.attname::text, i.indisprimary
         from pg_index i join pg_attribute a
           on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indrelid = $1::regclass and (i.indisunique or i.indisprimary)",
    )
    .bind(&table.name)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let references: Vec<(String, String)> = sqlx::query_as(
        "select c.conname::text, a.attname::text
         from pg_constraint c join pg_attribute a
           on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
         where c.contype = 'f' and c.conrelid = $1::regclass",
    )
    .bind(&table.name)
    .fetch_all(connection)
    .await
    .unwrap();
    let mut faults = Vec::new();
    if !indexes.iter().any(|(_, _, primary)| *primary) {
        faults.push(format!("{}: there is no primary key", table.name));
    }
    let keys = indexes
        .into_iter()
        .map(|(key, column, _)| (key, column))
        .chain(references);
    for (key, column) in keys.filter(|(_, column)| *column != table.key) {
        faults.push(format!("{}: {key} leads with {column}", table.name));
    }
    faults
}

/// A partition is reached through its parent alone: nobody has a right on it or a policy in it.
async fn open_partitions(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text || ': the partition is open' from pg_class c
         where c.relispartition and c.relkind = 'r'
           and c.relnamespace = 'public'::regnamespace
           and (not (c.relrowsecurity and c.relforcerowsecurity)
                or exists (select from pg_policy p where p.polrelid = c.oid)
                or exists (select from aclexplode(c.relacl) a where a.grantee <> c.relowner))",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Views and functions through which a policy would not be asked, and rights to empty a table.
async fn ways_around(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text || ': the view is not security_invoker' from pg_class c
         where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
           and not coalesce(c.reloptions @> array['security_invoker=true'], false)
         union all
         select c.relname::text || ': materialised views have no policies' from pg_class c
         where c.relkind = 'm' and c.relnamespace = 'public'::regnamespace
         union all
         select p.proname::text || ': the function runs as a role that bypasses'
         from pg_proc p join pg_roles r on r.oid = p.proowner
         where p.prosecdef and p.pronamespace = 'public'::regnamespace
           and (r.rolsuper or r.rolbypassrls)
         union all
         select c.relname::text || ': somebody may truncate'
         from pg_class c, aclexplode(c.relacl) a
         where c.relnamespace = 'public'::regnamespace and a.privilege_type = 'TRUNCATE'
           and a.grantee <> c.relowner
         union all
         select r.rolname::text || ': the role bypasses row-level security' from pg_roles r
         where r.rolname like 'portcullis%' and (r.rolsuper or r.rolbypassrls)
         union all
         select c.relname::text || ': the owner is not portcullis_owner' from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
           and c.relowner <> 'portcullis_owner'::regrole",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}
