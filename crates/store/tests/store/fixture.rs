//! Two tenants with a row in every table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_domain::id::{DataKey, Id, Principal, Record, Tenant};
use portcullis_domain::{
    Jurisdiction, Limits, MicroUsd, Pool, ReplayMode, StopRules, SwitchKind, TraceId,
};
use portcullis_store::orders::OrderRow;
use portcullis_store::records::RecordRow;
use portcullis_store::writer::{NewCallInputs, NewRecord};
use portcullis_store::{
    ConnectOptions, ControlStore, ControlTx, RecordWriter, RegionStore, WriterOptions, bindings,
    claims, clients, data_keys, egress_allowlists, epoch, flags, grants, limits, orders, outbox,
    policies, principals, replicas, replies, roles, service_tokens, switches, tenants, tickets,
    tools,
};
use time::macros::{date, datetime};
use time::{Duration, OffsetDateTime};

use crate::claims::{new_claim, recorded};
use crate::cluster::Database;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

pub(crate) const LIMITS: Limits = Limits {
    rpm: 60,
    burst: 100,
    concurrency: 5,
    daily_cost: MicroUsd(50_000_000),
};
pub(crate) const STOP_RULES: StopRules = StopRules {
    max_plan_depth: 12,
    max_retries: 3,
};

/// An id that no other test of this process has.
pub(crate) fn id<K>() -> Id<K> {
    id_at(NOW)
}

pub(crate) fn id_at<K>(at: OffsetDateTime) -> Id<K> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Id::mint(at, random)
}

pub(crate) fn options(max_connections: u32) -> ConnectOptions {
    ConnectOptions {
        max_connections,
        acquire_timeout: std::time::Duration::from_secs(20),
        ..ConnectOptions::default()
    }
}

pub(crate) async fn control(database: &Database<'_>) -> ControlStore {
    ControlStore::connect(database.url(roles::APP), options(4))
        .await
        .unwrap()
}

pub(crate) async fn region(database: &Database<'_>) -> RegionStore {
    RegionStore::connect(
        Pool::EuWest,
        database.url(roles::APP),
        database.url(roles::RECORDER),
        options(4),
    )
    .await
    .unwrap()
}

/// Makes a tenant with nothing in it.
pub(crate) async fn tenant(store: &ControlStore, slug: &str) -> Id<Tenant> {
    let mut tx = store.begin(id()).await.unwrap();
    create_tenant(&mut tx, slug).await;
    let tenant = tx.tenant();
    tx.commit().await.unwrap();
    tenant
}

async fn create_tenant(tx: &mut ControlTx, slug: &str) {
    let new = tenants::NewTenant {
        slug,
        name: "A tenant",
        home_pool: Pool::EuWest,
        region: Jurisdiction::Eu,
        replay: ReplayMode::Network,
    };
    tenants::create(tx, &new, NOW).await.unwrap();
}

pub(crate) async fn principal(tx: &mut ControlTx, name: &str) -> Id<Principal> {
    let name = name.parse().unwrap();
    principals::create(tx, id(), &name, Jurisdiction::Eu, NOW)
        .await
        .unwrap()
        .id
}

/// Makes a tenant with a row in every table of the control database.
pub(crate) async fn full_tenant(store: &ControlStore, slug: &str) -> Id<Tenant> {
    let mut tx = store.begin(id()).await.unwrap();
    create_tenant(&mut tx, slug).await;
    let principal = principal(&mut tx, "agent:copilot").await;
    fill_principal(&mut tx, principal).await;
    fill_catalog(&mut tx).await;
    fill_tokens(&mut tx).await;
    let change = outbox::NewOutboxEntry {
        id: id(),
        actor: "user:dana",
        action: "tenant.create",
        subject: slug,
        detail: "{}",
    };
    outbox::insert(&mut tx, change, NOW).await.unwrap();
    let quarantine = switch(SwitchKind::ToolQuarantine, Some("orders.get"));
    switches::create((&mut tx).into(), quarantine, NOW)
        .await
        .unwrap();
    epoch::bump(&mut tx, "tenant", NOW).await.unwrap();
    let tenant = tx.tenant();
    tx.commit().await.unwrap();
    let mut tx = store.platform().await.unwrap();
    let freeze = switches::NewSwitch {
        tenant: Some(tenant),
        ..switch(SwitchKind::TenantFreeze, None)
    };
    switches::create((&mut tx).into(), freeze, NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    tenant
}

pub(crate) fn switch(kind: SwitchKind, target: Option<&str>) -> switches::NewSwitch<'_> {
    switches::NewSwitch {
        id: id(),
        tenant: None,
        kind,
        target,
        reason: "an incident",
        dropped_by: "user:dana",
        expires_at: None,
    }
}

async fn fill_principal(tx: &mut ControlTx, principal: Id<Principal>) {
    clients::create_secret(tx, id(), principal, &[1; 32], None, NOW)
        .await
        .unwrap();
    let key = clients::NewKey {
        id: id(),
        principal,
        kid: "laptop",
        jwk: "{}",
        expires_at: None,
    };
    clients::create_key(tx, key, NOW).await.unwrap();
    let grant = grants::NewGrant {
        id: id(),
        principal,
        scope: &"orders.read".parse().unwrap(),
        purpose: None,
        granted_by: "user:dana",
        expires_at: None,
    };
    grants::create(tx, &grant, NOW).await.unwrap();
    for whose in [None, Some(principal)] {
        limits::set(tx, whose, LIMITS, STOP_RULES, NOW)
            .await
            .unwrap();
    }
}

pub(crate) fn tool(name: &str) -> tools::NewTool<'_> {
    tools::NewTool {
        id: id(),
        name,
        connector: "native",
        definition: "{}",
        sha256: [2; 32],
        config: None,
        created_by: "user:dana",
    }
}

pub(crate) fn policy(source: &str) -> policies::NewPolicy<'_> {
    policies::NewPolicy {
        id: id(),
        source,
        sha256: [3; 32],
        created_by: "user:dana",
    }
}

async fn fill_catalog(tx: &mut ControlTx) {
    let configured = tools::NewTool {
        connector: "http",
        config: Some(("{}", [7; 32])),
        ..tool("orders.get")
    };
    tools::register(tx, &configured, NOW).await.unwrap();
    let hosts = ["api.example.com".to_owned()];
    egress_allowlists::set(tx, &hosts, &BTreeMap::new(), None, NOW)
        .await
        .unwrap();
    let drafted = policies::draft(tx, &policy("- rule: x"), NOW)
        .await
        .unwrap();
    policies::publish(tx, drafted.number, "user:eve", NOW)
        .await
        .unwrap();
    tickets::open(tx, ticket("orders.get"), NOW).await.unwrap();
}

pub(crate) fn ticket(tool: &str) -> tickets::NewTicket<'_> {
    tickets::NewTicket {
        id: id(),
        tool,
        arguments: r#"{"env":"prod","name":"checkout_v2"}"#,
        reason: "Launch",
        opened_by: "user:dana",
        expires_at: NOW + Duration::hours(4),
    }
}

async fn fill_tokens(tx: &mut ControlTx) {
    bindings::bind_or_compare(tx, token_use("jti", b"network"), NOW)
        .await
        .unwrap();
    data_keys::insert_if_none(tx, id(), "call-inputs", b"wrapped", NOW)
        .await
        .unwrap();
    let token = service_token("auditor");
    service_tokens::create(tx, &token, NOW).await.unwrap();
    let claim = replies::Claim {
        token: token.id,
        key: "a key",
        fingerprint: [5; 32],
    };
    replies::claim((&mut *tx).into(), claim, NOW).await.unwrap();
    replies::settle(tx.into(), token.id, claim.key, b"sealed")
        .await
        .unwrap();
}

/// Gives the platform a row in each of its own tables.
pub(crate) async fn fill_platform(store: &ControlStore) {
    let mut tx = store.platform().await.unwrap();
    let change = outbox::NewOutboxEntry {
        id: id(),
        actor: "user:dana",
        action: "service_token.create",
        subject: "continuous integration",
        detail: "{}",
    };
    outbox::insert_platform(&mut tx, change, NOW).await.unwrap();
    let read_only = switch(SwitchKind::PlatformReadOnly, None);
    switches::create((&mut tx).into(), read_only, NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let presence = replicas::Presence {
        replica: id(),
        started_at: NOW,
    };
    replicas::poll(store, presence, None).await.unwrap();
}

pub(crate) fn token_use<'a>(jti: &'a str, binding: &'a [u8]) -> bindings::TokenUse<'a> {
    bindings::TokenUse {
        iss: "https://issuer.example.com",
        jti,
        binding,
        kind: "network",
        expires_at: NOW + Duration::minutes(10),
    }
}

pub(crate) fn service_token(role: &str) -> service_tokens::NewServiceToken<'_> {
    service_tokens::NewServiceToken {
        id: id(),
        name: "continuous integration",
        role,
        hash: [4; 32],
        created_by: "user:dana",
        expires_at: NOW + Duration::days(30),
    }
}

pub(crate) fn order(id: &str) -> OrderRow {
    OrderRow {
        id: id.to_owned(),
        customer_id: "cus_1".to_owned(),
        customer_name: "Customer One".to_owned(),
        email: "one@example.com".to_owned(),
        phone: "+49 30 1234567".to_owned(),
        jurisdiction: "EU".to_owned(),
        total_cents: 3_050,
        currency: "EUR".to_owned(),
        status: "paid".to_owned(),
        placed_on: date!(2025 - 08 - 25),
        note: String::new(),
    }
}

pub(crate) fn record(tenant: Id<Tenant>) -> NewRecord {
    NewRecord {
        tenant,
        record: RecordRow {
            id: id::<Record>(),
            kind: "call".to_owned(),
            trace_id: TraceId::from_bytes([7; 16]),
            intent: None,
            principal: Some(id()),
            tool: Some("orders.get".to_owned()),
            verdict: "allow".to_owned(),
            started_at: NOW,
            ended_at: NOW + Duration::milliseconds(5),
            canonical: b"{\"n\":\"\\u0000\"}".to_vec(),
            leaf_hash: [8; 32],
            signature: vec![9; 64],
            key_id: "replica-1".to_owned(),
        },
        inputs: Some(NewCallInputs {
            data_key: id::<DataKey>(),
            salts: vec![0, 255],
            arguments: b"ciphertext".to_vec(),
            answer: None,
        }),
    }
}

async fn fill_claims(store: &RegionStore, tenant: Id<Tenant>) {
    let new = new_claim(id());
    let intent = recorded(tenant, new.principal, new.intent);
    claims::claim(store, &new, &intent).await.unwrap();
    let outcome = recorded(tenant, new.principal, new.outcome);
    let answer = claims::StoredAnswer {
        data_key: id(),
        ciphertext: b"sealed".to_vec(),
    };
    let mut tx = store.begin(tenant).await.unwrap();
    claims::complete(&mut tx, new.id, &outcome, Some(&answer))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// A change of the flag `checkout_v2` in `prod`.
pub(crate) fn flag_change(to: i64) -> flags::NewFlagChange<'static> {
    flags::NewFlagChange {
        flag: flags::FlagKey {
            env: "prod",
            name: "checkout_v2",
        },
        to,
        principal: id(),
        ticket: None,
        record: id(),
    }
}

/// Gives a tenant a row in every table of a region's database.
pub(crate) async fn full_region_tenant(store: &RegionStore) -> Id<Tenant> {
    let tenant = id();
    fill_claims(store, tenant).await;
    let mut tx = store.begin(tenant).await.unwrap();
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    flags::set(&mut tx, &flag_change(5_000), NOW).await.unwrap();
    tx.commit().await.unwrap();
    let writer = RecordWriter::start(store, WriterOptions::default());
    writer.submit(record(tenant)).await.unwrap();
    writer.shutdown().await;
    tenant
}
