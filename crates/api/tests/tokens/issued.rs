//! What the authorization server reads from the database, and what it refuses because of it.

use http::StatusCode;
use portcullis_store::principals::PrincipalStatus;
use portcullis_store::{clients, grants, principals};
use time::Duration;

use crate::platform::{Platform, at};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_what_the_database_grants_it_and_no_longer_than_that() {
    let platform = Platform::start(0).await;
    let acme = platform.tenant("acme").await;
    let scope = async || {
        let (status, body) = platform.ask(&acme, "").await;
        (
            status,
            body["scope"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let elevated = Some(at(60));
    let granted = platform.grant(acme.tenant, acme.principal, "flags.write:dev", elevated);
    let granted = granted.await;
    assert_eq!(
        scope().await,
        (StatusCode::OK, "flags.write:dev orders.read".to_owned())
    );
    platform.clock.advance(Duration::seconds(60));
    assert_eq!(scope().await, (StatusCode::OK, "orders.read".to_owned()));

    let mut tx = platform.store.begin(acme.tenant).await.unwrap();
    grants::revoke(&mut tx, acme.principal, granted, at(60))
        .await
        .unwrap();
    let held = grants::live(&mut tx, acme.principal, at(60)).await.unwrap();
    for grant in held {
        grants::revoke(&mut tx, acme.principal, grant.id, at(60))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let (status, body) = platform.ask(&acme, "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"], "invalid_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_suspended_or_whose_secret_is_revoked_gets_nothing() {
    let platform = Platform::start(0).await;
    let acme = platform.tenant("acme").await;
    let globex = platform.tenant("globex").await;
    platform.token(&acme).await;
    platform.token(&globex).await;

    let mut tx = platform.store.begin(acme.tenant).await.unwrap();
    let used = clients::list_secrets(&mut tx, acme.principal)
        .await
        .unwrap();
    assert_eq!(used[0].last_used_at, Some(at(0)));
    clients::revoke_secret(&mut tx, acme.secret_id, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (status, revoked) = platform.ask(&acme, "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let mut tx = platform.store.begin(globex.tenant).await.unwrap();
    let suspended = PrincipalStatus::Suspended;
    principals::set_status(&mut tx, globex.principal, None, suspended, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (status, refused) = platform.ask(&globex, "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused, revoked);

    let nobody = crate::platform::Known {
        principal: portcullis_domain::Id::mint(at(0), [0xee; 10]),
        ..globex
    };
    let (status, absent) = platform.ask(&nobody, "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(absent, revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_within_its_own_tenant() {
    let platform = Platform::start(0).await;
    let acme = platform.tenant("acme").await;
    let globex = platform.tenant("globex").await;
    let foreign = "&resource=https%3A%2F%2Fgate.example.com%2Ft%2Facme%2Fmcp";
    let (status, body) = platform.ask(&globex, foreign).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"], "invalid_target");
    // One tenant's secret proves nothing of another tenant's client.
    let mixed = crate::platform::Known {
        principal: acme.principal,
        ..globex
    };
    let (status, _) = platform.ask(&mixed, "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_gives_503() {
    let platform = Platform::start(0).await;
    let acme = platform.tenant("acme").await;
    platform.token(&acme).await;
    platform.store.close().await;
    let (status, body) = platform.ask(&acme, "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body,
        serde_json::json!({"error": "temporarily_unavailable"})
    );
}
