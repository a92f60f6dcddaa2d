//! Kill switches: who reads them, who writes them, and that none is down twice.

use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Switch, Tenant};
use portcullis_store::epoch::{self, Change, Changes};
use portcullis_store::switches::{self, Concern, NewSwitch, SwitchRow, Which};
use portcullis_store::{ControlStore, Page, StoreError, replicas};
use time::Duration;

use crate::cluster::Cluster;
use crate::fixture::{self, NOW, id, switch};

async fn dropped(store: &ControlStore, tenant: Id<Tenant>, new: NewSwitch<'_>) -> SwitchRow {
    let mut tx = store.begin(tenant).await.unwrap();
    let row = switches::create((&mut tx).into(), new, NOW).await.unwrap();
    switches::raise((&mut tx).into(), &row, NOW).await.unwrap();
    tx.commit().await.unwrap();
    row
}

async fn dropped_by_platform(store: &ControlStore, new: NewSwitch<'_>) -> SwitchRow {
    let mut tx = store.platform().await.unwrap();
    let row = switches::create((&mut tx).into(), new, NOW).await.unwrap();
    switches::raise((&mut tx).into(), &row, NOW).await.unwrap();
    tx.commit().await.unwrap();
    row
}

fn freeze(tenant: Id<Tenant>) -> NewSwitch<'static> {
    NewSwitch {
        tenant: Some(tenant),
        ..switch(SwitchKind::TenantFreeze, None)
    }
}

async fn down(store: &ControlStore, concern: Concern) -> Vec<Id<Switch>> {
    let mut tx = store.platform().await.unwrap();
    let rows = switches::down(&mut tx, concern).await.unwrap();
    rows.iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn what_is_down_is_found_by_whom_it_concerns_and_under_nobody_else() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let quarantine = switch(SwitchKind::ToolQuarantine, Some("flag.set"));
    let own = dropped(&store, acme, quarantine).await;
    let read_only = dropped_by_platform(&store, switch(SwitchKind::PlatformReadOnly, None)).await;
    let frozen = dropped_by_platform(&store, freeze(globex)).await;
    assert_eq!(down(&store, Concern::One(acme)).await, [own.id]);
    assert_eq!(down(&store, Concern::One(globex)).await, [frozen.id]);
    assert_eq!(down(&store, Concern::Everyone).await, [read_only.id]);
    let all = [own.id, read_only.id, frozen.id];
    assert_eq!(down(&store, Concern::All).await, all);
}

#[tokio::test]
async fn a_lifted_switch_is_not_down_and_an_expired_one_says_so_itself() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let until = NewSwitch {
        expires_at: Some(NOW + Duration::SECOND),
        ..switch(SwitchKind::TenantFreeze, None)
    };
    let row = dropped(&store, acme, until).await;
    assert_eq!(down(&store, Concern::One(acme)).await, [row.id]);
    assert_eq!(row.expires_at, Some(NOW + Duration::SECOND));
    let mut tx = store.begin(acme).await.unwrap();
    let lifted = switches::lift((&mut tx).into(), row.id, "user:eve", "it is over", NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(lifted.lifted.unwrap().by, "user:eve");
    assert_eq!(down(&store, Concern::One(acme)).await, []);
}

#[tokio::test]
async fn the_same_switch_is_down_once_and_the_one_in_the_way_is_found() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let quarantine = || switch(SwitchKind::ToolQuarantine, Some("flag.set"));
    let first = dropped(&store, acme, quarantine()).await;
    let mut tx = store.begin(acme).await.unwrap();
    let error = switches::create((&mut tx).into(), quarantine(), NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let mut tx = store.begin(acme).await.unwrap();
    let found = switches::present(
        (&mut tx).into(),
        SwitchKind::ToolQuarantine,
        None,
        Some("flag.set"),
    );
    assert_eq!(found.await.unwrap().unwrap().id, first.id);
    // Another tool, another tenant, and the platform's are none of its business.
    let other = switch(SwitchKind::ToolQuarantine, Some("orders.get"));
    dropped(&store, acme, other).await;
    dropped(&store, globex, quarantine()).await;
    dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    dropped_by_platform(&store, freeze(acme)).await;
    let mut tx = store.platform().await.unwrap();
    let error = switches::create((&mut tx).into(), freeze(acme), NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn a_platform_wide_switch_is_down_once() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let read_only = || switch(SwitchKind::PlatformReadOnly, None);
    let row = dropped_by_platform(&store, read_only()).await;
    let mut tx = store.platform().await.unwrap();
    let error = switches::create((&mut tx).into(), read_only(), NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let mut tx = store.platform().await.unwrap();
    switches::lift((&mut tx).into(), row.id, "user:eve", "it is over", NOW)
        .await
        .unwrap();
    switches::create((&mut tx).into(), read_only(), NOW)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tenant_sees_what_the_platform_dropped_and_can_neither_hold_nor_lift_it() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let read_only = dropped_by_platform(&store, switch(SwitchKind::PlatformReadOnly, None)).await;
    let frozen = dropped_by_platform(&store, freeze(acme)).await;
    for row in [read_only, frozen] {
        let mut tx = store.begin(acme).await.unwrap();
        let seen = switches::get((&mut tx).into(), row.id).await.unwrap();
        assert_eq!(seen.unwrap().id, row.id);
        assert_eq!(
            switches::hold((&mut tx).into(), row.id).await.unwrap(),
            None
        );
        let asked = switches::request_lift((&mut tx).into(), row.id, "user:eve", NOW).await;
        assert!(matches!(asked, Err(StoreError::NotFound { .. })));
        let lifted = switches::lift((&mut tx).into(), row.id, "user:eve", "let go", NOW).await;
        assert!(matches!(lifted, Err(StoreError::NotFound { .. })));
    }
    let mut tx = store.begin(acme).await.unwrap();
    let list = switches::list(&mut tx, Which::Down, Page::first(10));
    assert_eq!(list.await.unwrap().len(), 2);
    assert_eq!(switches::count_down((&mut tx).into()).await.unwrap(), 0);
}

#[tokio::test]
async fn another_tenants_switch_does_not_exist() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let row = dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(switches::get((&mut tx).into(), row.id).await.unwrap(), None);
    assert_eq!(
        switches::hold((&mut tx).into(), row.id).await.unwrap(),
        None
    );
    let lifted = switches::lift((&mut tx).into(), row.id, "user:eve", "let go", NOW).await;
    assert!(matches!(lifted, Err(StoreError::NotFound { .. })));
    let all = switches::list(&mut tx, Which::All, Page::first(10)).await;
    assert_eq!(all.unwrap(), []);
}

#[tokio::test]
async fn the_platform_lifts_and_lists_what_it_dropped_and_nothing_else() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let own = dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    let frozen = dropped_by_platform(&store, freeze(acme)).await;
    let mut tx = store.platform().await.unwrap();
    assert_eq!(
        switches::hold((&mut tx).into(), own.id).await.unwrap(),
        None
    );
    let lifted = switches::lift((&mut tx).into(), own.id, "user:eve", "let go", NOW).await;
    assert!(matches!(lifted, Err(StoreError::NotFound { .. })));
    let rows = switches::list_platform(&mut tx, Which::Down, Page::first(10)).await;
    let ids: Vec<_> = rows.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(ids, [frozen.id]);
}

#[tokio::test]
async fn a_kind_of_the_other_plane_or_without_its_target_is_refused() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    for new in [
        switch(SwitchKind::PlatformReadOnly, None),
        switch(SwitchKind::ToolQuarantine, None),
        switch(SwitchKind::TenantFreeze, Some("acme")),
        NewSwitch {
            reason: "no",
            ..switch(SwitchKind::TenantFreeze, None)
        },
        NewSwitch {
            expires_at: Some(NOW),
            ..switch(SwitchKind::TenantFreeze, None)
        },
    ] {
        let mut tx = store.begin(acme).await.unwrap();
        let error = switches::create((&mut tx).into(), new, NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Invalid { .. }),
            "{new:?} {error}"
        );
    }
    for new in [
        switch(SwitchKind::TenantFreeze, None),
        switch(SwitchKind::TenantReadOnly, None),
        switch(SwitchKind::ToolQuarantine, Some("flag.set")),
        NewSwitch {
            tenant: Some(acme),
            ..switch(SwitchKind::TenantReadOnly, None)
        },
        NewSwitch {
            tenant: Some(acme),
            ..switch(SwitchKind::ServerQuarantine, Some("native"))
        },
    ] {
        let mut tx = store.platform().await.unwrap();
        let error = switches::create((&mut tx).into(), new, NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Invalid { .. }),
            "{new:?} {error}"
        );
    }
}

#[tokio::test]
async fn the_epoch_of_a_flip_is_noted_and_told_to_whom_it_concerns() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let own = dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    dropped_by_platform(&store, freeze(acme)).await;
    dropped_by_platform(&store, switch(SwitchKind::PlatformReadOnly, None)).await;
    let mut tx = store.platform().await.unwrap();
    let raised = epoch::raise((&mut tx).into(), replicas::DRILL, NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(raised.epoch, 4);
    let change = |epoch, tenant, kind: &str| Change {
        epoch,
        tenant,
        kind: kind.to_owned(),
    };
    let mut tx = store.platform().await.unwrap();
    let expected = Changes::Since {
        epoch: 4,
        changes: vec![
            change(1, Some(acme), "switch"),
            change(2, Some(acme), "switch"),
            change(3, None, "switch"),
            change(4, None, replicas::DRILL),
        ],
    };
    assert_eq!(epoch::since(&mut tx, 0).await.unwrap(), expected);
    let mut tx = store.begin(acme).await.unwrap();
    let noted = switches::get((&mut tx).into(), own.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(noted.epoch, 1);
    assert!(noted.raised_at.is_some());
}

#[tokio::test]
async fn expired_switches_are_found_wherever_they_are_and_others_are_not() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let in_a_minute = NewSwitch {
        expires_at: Some(NOW + Duration::MINUTE),
        ..switch(SwitchKind::TenantReadOnly, None)
    };
    let own = dropped(&store, acme, in_a_minute).await;
    dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    let in_a_second = NewSwitch {
        expires_at: Some(NOW + Duration::SECOND),
        ..switch(SwitchKind::PlatformReadOnly, None)
    };
    let platforms = dropped_by_platform(&store, in_a_second).await;
    let mut tx = store.platform().await.unwrap();
    for (at, expected) in [
        (NOW, vec![]),
        (NOW + Duration::SECOND, vec![platforms.id]),
        (NOW + Duration::MINUTE, vec![platforms.id, own.id]),
    ] {
        let found = switches::expired(&mut tx, at, 10).await.unwrap();
        let ids: Vec<_> = found.iter().map(|row| row.id).collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn a_later_request_to_lift_takes_the_place_of_the_earlier() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let row = dropped(&store, acme, switch(SwitchKind::TenantFreeze, None)).await;
    let mut tx = store.begin(acme).await.unwrap();
    for who in ["user:dana", "user:eve"] {
        let asked = switches::request_lift((&mut tx).into(), row.id, who, NOW).await;
        assert_eq!(asked.unwrap().lift_request.unwrap().by, who);
    }
    let held = switches::hold((&mut tx).into(), row.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.lifted, None);
    switches::lift((&mut tx).into(), row.id, "user:dana", "it is over", NOW)
        .await
        .unwrap();
    let again = switches::lift((&mut tx).into(), row.id, "user:dana", "it is over", NOW).await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })));
    let absent: Id<Switch> = id();
    assert_eq!(switches::get((&mut tx).into(), absent).await.unwrap(), None);
}
