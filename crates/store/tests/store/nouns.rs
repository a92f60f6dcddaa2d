//! Each noun of the control database: what it does, and that another tenant's is as one that does not
//! exist.

use std::collections::BTreeMap;

use portcullis_domain::id::Tenant;
use portcullis_domain::{Id, Jurisdiction, Limits, MicroUsd, Pool, PrincipalName, ReplayMode};
use portcullis_store::principals::PrincipalStatus;
use portcullis_store::sweeper::ControlSweeper;
use portcullis_store::tools::Registered;
use portcullis_store::{
    ControlStore, Page, StoreError, clients, data_keys, egress_allowlists, grants, limits, outbox,
    policies, principals, replies, roles, service_tokens, tenants, tools,
};
use time::Duration;

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, LIMITS, NOW, STOP_RULES, id, service_token};

struct Two {
    store: ControlStore,
    acme: Id<Tenant>,
    globex: Id<Tenant>,
}

async fn two(database: &Database<'_>) -> Two {
    let store = fixture::control(database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    Two {
        store,
        acme,
        globex,
    }
}

#[tokio::test]
async fn a_tenant_is_found_by_its_slug_and_changed_only_in_the_version_that_was_read() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.platform().await.unwrap();
    let found = tenants::by_slug(&mut tx, "acme").await.unwrap().unwrap();
    assert_eq!((found.id, found.home_pool), (acme, Pool::EuWest));
    assert!(tenants::by_slug(&mut tx, "Acme").await.unwrap().is_none());
    drop(tx);
    let mut tx = store.begin(acme).await.unwrap();
    let change = tenants::TenantChange {
        name: None,
        replay: Some(ReplayMode::OneTime),
        two_person_lift: None,
    };
    let changed = tenants::update(&mut tx, found.version, change, NOW)
        .await
        .unwrap();
    assert_eq!((changed.replay, changed.version), (ReplayMode::OneTime, 2));
    assert_eq!(changed.name, found.name);
    let error = tenants::update(&mut tx, found.version, change, NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Stale { .. }), "{error}");
}

#[tokio::test]
async fn a_slug_is_taken_once_and_spelled_one_way() {
    let database = Cluster::shared().await.control().await;
    let Two { store, .. } = two(&database).await;
    let long = "x".repeat(64);
    for slug in ["acme", "Acme", "-acme", "acme-", "ac me", "", "a/b", &long] {
        let mut tx = store.begin(id()).await.unwrap();
        let new = tenants::NewTenant {
            slug,
            name: "Another",
            home_pool: Pool::UsEast,
            region: Jurisdiction::Us,
            replay: ReplayMode::Network,
        };
        let error = tenants::create(&mut tx, &new, NOW).await.unwrap_err();
        match slug {
            "acme" => assert!(matches!(error, StoreError::Conflict { .. }), "{error}"),
            _ => assert!(
                matches!(error, StoreError::Invalid { .. }),
                "{slug}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn lists_go_on_after_their_last_id() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.platform().await.unwrap();
    let first = tenants::list(&mut tx, Page::first(1)).await.unwrap();
    assert_eq!(first[0].id, acme);
    let page = Page {
        after: Some(acme.as_uuid()),
        limit: 10,
    };
    let rest = tenants::list(&mut tx, page).await.unwrap();
    assert_eq!(rest.iter().map(|t| t.id).collect::<Vec<_>>(), [globex]);
    drop(tx);
    let mut tx = store.begin(acme).await.unwrap();
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(fixture::principal(&mut tx, &format!("agent:a{number}")).await);
    }
    let mut seen = Vec::new();
    let mut page = Page::first(2);
    loop {
        let rows = principals::list(&mut tx, page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some(last.id.as_uuid());
        seen.extend(rows.into_iter().map(|row| row.id));
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_principal_is_a_client_of_its_tenant_and_of_no_other() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let copilot = fixture::principal(&mut tx, "agent:copilot").await;
    let name: PrincipalName = "agent:copilot".parse().unwrap();
    let again = principals::create(&mut tx, id(), &name, Jurisdiction::Eu, NOW).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    // A failed statement ends its transaction: nothing of it stays.
    drop(tx);
    let mut tx = store.begin(acme).await.unwrap();
    let gone = principals::get(&mut tx, copilot).await.unwrap();
    assert_eq!(gone, None);
    let copilot = fixture::principal(&mut tx, "agent:copilot").await;
    tx.commit().await.unwrap();
    let mut tx = store.platform().await.unwrap();
    assert_eq!(
        clients::tenant_of(&mut tx, copilot).await.unwrap(),
        Some(acme)
    );
    assert_eq!(clients::tenant_of(&mut tx, id()).await.unwrap(), None);
    drop(tx);
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(principals::get(&mut tx, copilot).await.unwrap(), None);
    assert_eq!(principals::by_name(&mut tx, &name).await.unwrap(), None);
    // The same name is free in another tenant.
    fixture::principal(&mut tx, "agent:copilot").await;
}

#[tokio::test]
async fn a_status_is_set_in_the_version_that_was_read_and_never_from_outside() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let who = fixture::principal(&mut tx, "user:dana").await;
    let suspend = PrincipalStatus::Suspended;
    let row = principals::set_status(&mut tx, who, Some(1), suspend, NOW)
        .await
        .unwrap();
    assert_eq!((row.status, row.version), (suspend, 2));
    let stale = principals::set_status(&mut tx, who, Some(1), suspend, NOW).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })));
    let whatever = principals::set_status(&mut tx, who, None, PrincipalStatus::Active, NOW).await;
    assert_eq!(whatever.unwrap().version, 3);
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    let foreign = principals::set_status(&mut tx, who, None, suspend, NOW).await;
    let absent = principals::set_status(&mut tx, id(), None, suspend, NOW).await;
    assert_eq!(
        foreign.unwrap_err().to_string(),
        absent.unwrap_err().to_string()
    );
}

#[tokio::test]
async fn a_secret_works_until_it_ends_or_is_revoked() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let who = fixture::principal(&mut tx, "agent:copilot").await;
    let (ending, lasting) = (id(), id());
    let end = Some(NOW + Duration::HOUR);
    clients::create_secret(&mut tx, ending, who, &[1; 32], end, NOW)
        .await
        .unwrap();
    clients::create_secret(&mut tx, lasting, who, &[2; 32], None, NOW)
        .await
        .unwrap();
    let live = clients::live_secrets(&mut tx, who, NOW).await.unwrap();
    assert_eq!(live.len(), 2);
    let later = NOW + Duration::HOUR;
    let live = clients::live_secrets(&mut tx, who, later).await.unwrap();
    assert_eq!(live.iter().map(|s| s.id).collect::<Vec<_>>(), [lasting]);
    clients::touch_secret(&mut tx, lasting, NOW).await.unwrap();
    clients::touch_secret(&mut tx, lasting, NOW + Duration::SECOND)
        .await
        .unwrap();
    clients::revoke_secret(&mut tx, lasting, NOW).await.unwrap();
    clients::revoke_secret(&mut tx, lasting, later)
        .await
        .unwrap();
    assert_eq!(
        clients::live_secrets(&mut tx, who, later).await.unwrap(),
        []
    );
    let all = clients::list_secrets(&mut tx, who).await.unwrap();
    let row = all.iter().find(|s| s.id == lasting).unwrap();
    assert_eq!((row.last_used_at, row.revoked_at), (Some(NOW), Some(NOW)));
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(clients::list_secrets(&mut tx, who).await.unwrap(), []);
    let error = clients::revoke_secret(&mut tx, lasting, NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn nothing_can_be_hung_on_another_tenants_principal() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let theirs = fixture::principal(&mut tx, "agent:copilot").await;
    tx.commit().await.unwrap();
    for whose in [theirs, id()] {
        let mut tx = store.begin(globex).await.unwrap();
        let secret = clients::create_secret(&mut tx, id(), whose, &[1; 32], None, NOW).await;
        assert!(matches!(secret, Err(StoreError::NotFound { .. })));
        let mut tx = store.begin(globex).await.unwrap();
        let grant = grants::NewGrant {
            id: id(),
            principal: whose,
            scope: &"orders.read".parse().unwrap(),
            purpose: None,
            granted_by: "user:dana",
            expires_at: None,
        };
        let granted = grants::create(&mut tx, &grant, NOW).await;
        assert!(matches!(granted, Err(StoreError::NotFound { .. })));
        let mut tx = store.begin(globex).await.unwrap();
        let set = limits::set(&mut tx, Some(whose), LIMITS, STOP_RULES, NOW).await;
        assert!(matches!(set, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_grant_holds_until_it_ends_or_is_revoked() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let who = fixture::principal(&mut tx, "agent:copilot").await;
    let other = fixture::principal(&mut tx, "agent:other").await;
    let scope = "flags.write:staging".parse().unwrap();
    let grant = grants::NewGrant {
        id: id(),
        principal: who,
        scope: &scope,
        purpose: Some("support"),
        granted_by: "user:dana",
        expires_at: Some(NOW + Duration::HOUR),
    };
    let made = grants::create(&mut tx, &grant, NOW).await.unwrap();
    assert_eq!(
        (&made.scope, made.purpose.as_deref()),
        (&scope, Some("support"))
    );
    assert_eq!(
        grants::live(&mut tx, who, NOW).await.unwrap(),
        std::slice::from_ref(&made)
    );
    assert_eq!(grants::live(&mut tx, other, NOW).await.unwrap(), []);
    let end = NOW + Duration::HOUR;
    assert_eq!(grants::live(&mut tx, who, end).await.unwrap(), []);
    let wrong = grants::revoke(&mut tx, other, made.id, NOW).await;
    assert!(matches!(wrong, Err(StoreError::NotFound { .. })));
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(grants::live(&mut tx, who, NOW).await.unwrap(), []);
    let foreign = grants::revoke(&mut tx, who, made.id, NOW).await;
    assert!(matches!(foreign, Err(StoreError::NotFound { .. })));
    let mut tx = store.begin(acme).await.unwrap();
    grants::revoke(&mut tx, who, made.id, NOW).await.unwrap();
    assert_eq!(grants::live(&mut tx, who, NOW).await.unwrap(), []);
    let page = Page::first(10);
    assert_eq!(grants::list(&mut tx, who, page).await.unwrap().len(), 1);
}

#[tokio::test]
async fn limits_are_set_for_the_tenant_and_for_a_principal_apart() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let who = fixture::principal(&mut tx, "agent:copilot").await;
    assert_eq!(limits::get(&mut tx, Some(who)).await.unwrap(), None);
    let whole = limits::set(&mut tx, None, LIMITS, STOP_RULES, NOW)
        .await
        .unwrap();
    assert_eq!((whole.principal, whole.version), (None, 1));
    let tighter = Limits { rpm: 1, ..LIMITS };
    for version in 1..=2 {
        let own = limits::set(&mut tx, Some(who), tighter, STOP_RULES, NOW)
            .await
            .unwrap();
        assert_eq!((own.principal, own.version), (Some(who), version));
    }
    let own = limits::get(&mut tx, Some(who)).await.unwrap().unwrap();
    assert_eq!((own.limits, own.stop_rules), (tighter, STOP_RULES));
    let whole = limits::get(&mut tx, None).await.unwrap().unwrap();
    assert_eq!(whole.limits, LIMITS);
    assert_eq!(limits::list(&mut tx).await.unwrap(), [own]);
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(limits::get(&mut tx, Some(who)).await.unwrap(), None);
    assert_eq!(limits::get(&mut tx, None).await.unwrap(), None);
}

#[tokio::test]
async fn limits_outside_their_bounds_are_refused_by_the_database_too() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    for wrong in [
        Limits { rpm: 0, ..LIMITS },
        Limits {
            burst: 10_000_001,
            ..LIMITS
        },
        Limits {
            concurrency: 0,
            ..LIMITS
        },
        Limits {
            daily_cost: MicroUsd(u64::MAX),
            ..LIMITS
        },
    ] {
        let mut tx = store.begin(acme).await.unwrap();
        let error = limits::set(&mut tx, None, wrong, STOP_RULES, NOW)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
}

#[tokio::test]
async fn registering_a_tool_makes_a_version_only_where_the_definition_differs() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let first = fixture::tool("orders.get");
    let made = tools::register(&mut tx, &first, NOW).await.unwrap();
    assert!(matches!(&made, Registered::Created(tool) if tool.current_version == 1));
    let same = tools::NewTool {
        id: id(),
        ..first.clone()
    };
    let again = tools::register(&mut tx, &same, NOW).await.unwrap();
    assert!(matches!(&again, Registered::Unchanged(tool) if tool.id == first.id));
    let second = tools::NewTool {
        definition: "{\"title\":\"Get\"}",
        sha256: [9; 32],
        ..same.clone()
    };
    let next = tools::register(&mut tx, &second, NOW).await.unwrap();
    assert!(matches!(&next, Registered::Updated(tool) if tool.current_version == 2));
    assert_eq!(next.tool().definition, second.definition);
    let moved = tools::NewTool {
        connector: "http",
        ..second
    };
    let moved = tools::register(&mut tx, &moved, NOW).await.unwrap();
    assert_eq!(
        (
            moved.tool().current_version,
            moved.tool().connector.as_str()
        ),
        (2, "http")
    );
    let versions = tools::versions(&mut tx, first.id).await.unwrap();
    assert_eq!(
        versions.iter().map(|v| v.number).collect::<Vec<_>>(),
        [2, 1]
    );
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(tools::by_name(&mut tx, "orders.get").await.unwrap(), None);
    assert_eq!(tools::versions(&mut tx, first.id).await.unwrap(), []);
    let off = tools::set_enabled(&mut tx, "orders.get", None, false, NOW).await;
    assert!(matches!(off, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn another_configuration_is_another_version_of_the_tool() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let first = tools::NewTool {
        connector: "http",
        config: Some(("{}", [1; 32])),
        ..fixture::tool("orders.refund")
    };
    tools::register(&mut tx, &first, NOW).await.unwrap();
    let again = tools::register(&mut tx, &first, NOW).await.unwrap();
    assert!(matches!(again, Registered::Unchanged(_)));
    let second = tools::NewTool {
        config: Some(("{\"a\":1}", [2; 32])),
        ..first.clone()
    };
    let next = tools::register(&mut tx, &second, NOW).await.unwrap();
    assert_eq!(next.tool().current_version, 2);
    let held = next.tool().config.clone().unwrap();
    assert_eq!((held.config.as_str(), held.sha256), ("{\"a\":1}", [2; 32]));
    let versions = tools::versions(&mut tx, first.id).await.unwrap();
    let configs: Vec<_> = versions
        .into_iter()
        .map(|version| version.config.unwrap().sha256)
        .collect();
    assert_eq!(configs, [[2; 32], [1; 32]]);
}

#[tokio::test]
async fn an_allow_list_is_set_in_the_version_that_was_read_and_by_its_tenant_alone() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    assert_eq!(egress_allowlists::get(&mut tx).await.unwrap(), None);
    let hosts = ["api.example.com".to_owned()];
    let tools = BTreeMap::from([("web.fetchSafe".to_owned(), hosts.to_vec())]);
    let none = BTreeMap::new();
    let set = egress_allowlists::set(&mut tx, &hosts, &tools, Some(0), NOW)
        .await
        .unwrap();
    assert_eq!((set.hosts.as_slice(), set.version), (&hosts[..], 1));
    assert_eq!(set.tools.0, tools);
    let stale = egress_allowlists::set(&mut tx, &[], &none, Some(0), NOW).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })));
    let emptied = egress_allowlists::set(&mut tx, &[], &none, Some(1), NOW).await;
    assert_eq!(emptied.unwrap().version, 2);
    egress_allowlists::set(&mut tx, &hosts, &tools, None, NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(egress_allowlists::get(&mut tx).await.unwrap(), None);
}

#[tokio::test]
async fn a_tool_is_switched_off_in_the_version_that_was_read() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    tools::register(&mut tx, &fixture::tool("orders.get"), NOW)
        .await
        .unwrap();
    let off = tools::set_enabled(&mut tx, "orders.get", Some(1), false, NOW)
        .await
        .unwrap();
    assert_eq!(
        (off.enabled, off.version, off.current_version),
        (false, 2, 1)
    );
    let stale = tools::set_enabled(&mut tx, "orders.get", Some(1), true, NOW).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })));
    let listed = tools::list(&mut tx, Page::first(10)).await.unwrap();
    assert_eq!(listed, [off]);
}

#[tokio::test]
async fn at_most_one_policy_is_in_force_and_an_older_one_can_be_again() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    assert_eq!(policies::published(&mut tx).await.unwrap(), None);
    for source in ["one", "two"] {
        policies::draft(&mut tx, &fixture::policy(source), NOW)
            .await
            .unwrap();
    }
    for number in [1, 2, 1, 1] {
        policies::publish(&mut tx, number, "user:eve", NOW)
            .await
            .unwrap();
        let in_force = policies::published(&mut tx).await.unwrap().unwrap();
        assert_eq!(in_force.number, number);
    }
    let absent = policies::publish(&mut tx, 3, "user:eve", NOW)
        .await
        .unwrap_err();
    assert!(matches!(absent, StoreError::NotFound { .. }), "{absent}");
    let listed = policies::list(&mut tx, None, 10).await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|p| (p.number, p.status.as_str()))
        .collect();
    assert_eq!(shown, [(2, "superseded"), (1, "published")]);
    assert_eq!(policies::list(&mut tx, Some(2), 10).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(policies::get(&mut tx, 1).await.unwrap(), None);
    // Numbers are each tenant's own.
    let own = policies::draft(&mut tx, &fixture::policy("x"), NOW)
        .await
        .unwrap();
    assert_eq!(own.number, 1);
}

#[tokio::test]
async fn two_replicas_that_make_a_data_key_at_once_get_the_same() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut makers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = store.clone();
        makers.spawn(async move {
            let mut tx = store.begin(acme).await.unwrap();
            let wrapped = [number; 40];
            let key = data_keys::insert_if_none(&mut tx, id(), "call-inputs", &wrapped, NOW).await;
            tx.commit().await.unwrap();
            key.unwrap()
        });
    }
    let mut keys = makers.join_all().await;
    keys.dedup();
    assert_eq!(keys.len(), 1);
    let mut tx = store.begin(acme).await.unwrap();
    let key = data_keys::get(&mut tx, keys[0].id).await.unwrap();
    assert_eq!(key.as_ref(), keys.first());
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(data_keys::get(&mut tx, keys[0].id).await.unwrap(), None);
    assert_eq!(
        data_keys::current(&mut tx, "call-inputs").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn service_tokens_are_of_a_tenant_or_of_the_platform() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let of_acme = service_tokens::create(&mut tx, &service_token("owner"), NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.platform().await.unwrap();
    let new = service_token("platform");
    let of_all = service_tokens::create_platform(&mut tx, &new, NOW)
        .await
        .unwrap();
    assert_eq!((of_acme.tenant, of_all.tenant), (Some(acme), None));
    let found = service_tokens::by_id(&mut tx, of_acme.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&of_acme));
    service_tokens::touch(&mut tx, of_acme.id, NOW)
        .await
        .unwrap();
    let page = Page::first(10);
    let own = service_tokens::list_platform(&mut tx, page).await.unwrap();
    assert_eq!(own, std::slice::from_ref(&of_all));
    let wrong = service_tokens::revoke_platform(&mut tx, of_acme.id, NOW).await;
    assert!(matches!(wrong, Err(StoreError::NotFound { .. })));
    service_tokens::revoke_platform(&mut tx, of_all.id, NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for tenant in [acme, globex] {
        let mut tx = store.begin(tenant).await.unwrap();
        let seen = service_tokens::list(&mut tx, page).await.unwrap();
        assert_eq!(seen.len(), usize::from(tenant == acme));
        let revoked = service_tokens::revoke(&mut tx, of_acme.id, NOW).await;
        assert_eq!(revoked.is_ok(), tenant == acme);
    }
}

#[tokio::test]
async fn an_idempotency_key_is_its_tokens_alone_and_is_swept_after_a_day() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let tokens = [service_token("owner"), service_token("viewer")];
    for token in &tokens {
        service_tokens::create(&mut tx, token, NOW).await.unwrap();
        let claim = replies::Claim {
            token: token.id,
            key: "the same key",
            fingerprint: [1; 32],
        };
        let claimed = replies::claim((&mut tx).into(), claim, NOW).await.unwrap();
        assert_eq!(claimed, replies::Claimed::Fresh);
        replies::settle((&mut tx).into(), token.id, claim.key, b"sealed")
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let old = tokens[0].id.as_uuid();
    database
        .administer(&format!(
            "update replies set created_at = now() - case token_id when '{old}'
               then interval '25 hours' else interval '23 hours' end"
        ))
        .await;
    let sweeper = ControlSweeper::connect(database.url(roles::SWEEPER))
        .await
        .unwrap();
    assert_eq!(sweeper.remove_old_replies(10).await.unwrap(), 1);
    assert_eq!(database.count("select count(*) from replies").await, 1);
}

#[tokio::test]
async fn a_tenant_cannot_be_given_the_platforms_role_nor_the_platform_a_tenants() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let error = service_tokens::create(&mut tx, &service_token("platform"), NOW).await;
    assert!(matches!(error, Err(StoreError::Invalid { .. })));
    for role in ["owner", "root"] {
        let mut tx = store.platform().await.unwrap();
        let new = service_token(role);
        let error = service_tokens::create_platform(&mut tx, &new, NOW).await;
        assert!(matches!(error, Err(StoreError::Invalid { .. })), "{role}");
    }
}

#[tokio::test]
async fn an_administrative_change_is_written_with_what_it_changes_or_not_at_all() {
    let database = Cluster::shared().await.control().await;
    let Two {
        store,
        acme,
        globex,
    } = two(&database).await;
    let entry = outbox::NewOutboxEntry {
        id: id(),
        actor: "user:dana",
        action: "tenant.update",
        subject: "acme",
        detail: "{}",
    };
    let mut tx = store.begin(acme).await.unwrap();
    outbox::insert(&mut tx, entry, NOW).await.unwrap();
    drop(tx);
    let mut tx = store.begin(acme).await.unwrap();
    let page = Page::first(10);
    assert_eq!(outbox::list(&mut tx, page).await.unwrap(), []);
    outbox::insert(&mut tx, entry, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(acme).await.unwrap();
    assert_eq!(outbox::list(&mut tx, page).await.unwrap()[0].id, entry.id);
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(outbox::list(&mut tx, page).await.unwrap(), []);
}

#[tokio::test]
async fn an_error_never_quotes_a_row() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut tx = store.begin(acme).await.unwrap();
    let entry = outbox::NewOutboxEntry {
        id: id(),
        actor: "user:secret-person",
        action: "NOT VALID",
        subject: "secret-subject",
        detail: "secret-detail",
    };
    let error = outbox::insert(&mut tx, entry, NOW).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_pool_that_is_used_up_answers_unavailable_in_time() {
    let database = Cluster::shared().await.control().await;
    let mut options = fixture::options(1);
    options.acquire_timeout = std::time::Duration::from_millis(100);
    let url = database.url(roles::APP);
    let store = ControlStore::connect(url, options).await.unwrap();
    let held = store.platform().await.unwrap();
    let error = store.platform().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    drop(held);
    store.platform().await.unwrap();
}

#[tokio::test]
async fn connections_that_died_in_the_pool_are_replaced_unseen() {
    let database = Cluster::shared().await.control().await;
    let Two { store, acme, .. } = two(&database).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(store.begin(acme).await.unwrap());
    }
    drop(held);
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where usename = 'portcullis_app' and datname = current_database()";
    assert_eq!(database.count(end).await, 4);
    for _ in 0..4 {
        let mut tx = store.begin(acme).await.unwrap();
        assert_eq!(tenants::get(&mut tx).await.unwrap().id, acme);
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let database = Cluster::shared().await.control().await;
    let mut options = fixture::options(2);
    options.statement_timeout = std::time::Duration::from_millis(100);
    let url = database.url(roles::APP);
    let store = ControlStore::connect(url, options).await.unwrap();
    let acme = fixture::tenant(&store, "acme").await;
    let mut holder = store.begin(acme).await.unwrap();
    let change = tenants::TenantChange {
        name: Some("Held"),
        replay: None,
        two_person_lift: None,
    };
    tenants::update(&mut holder, 1, change, NOW).await.unwrap();
    let mut waiter = store.begin(acme).await.unwrap();
    let error = tenants::update(&mut waiter, 1, change, NOW)
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}
