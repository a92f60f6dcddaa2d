//! Switches that stop calls on every replica, also on one that hears late or nothing at all. The
//! scenarios are those of `cargo xtask faults`, at a small size.

use std::time::Duration;

use portcullis_e2e::agent::Grants;
use portcullis_e2e::faults::{Stage, lines, run, switches};
use portcullis_e2e::proxy::Line;
use portcullis_e2e::{Http, Platform, shell};

use serde_json::{Value, json};

use crate::exactly_once::held;

/// On a machine that runs other tests at the same time, a drop may take longer than promised; that no
/// call starts after the acknowledgement holds all the same.
const BUSY: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_switch_stops_calls_everywhere_and_none_starts_once_it_is_acknowledged() {
    let stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    let within = run::DROPPED * BUSY;
    println!(
        "{}",
        held(
            &switches::drops(&stage, 6, Line::Open, within)
                .await
                .unwrap()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_reaches_replicas_that_hear_no_notification() {
    let stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    let within = run::DROPPED_MUTE + Duration::from_secs(2);
    println!(
        "{}",
        held(
            &switches::drops(&stage, 3, Line::Mute, within)
                .await
                .unwrap()
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_starts_no_call_after_the_acknowledgement() {
    let stage = Stage::set(2).await.unwrap();
    println!("on {}", stage.postgres());
    println!("{}", held(&switches::cut_off(&stage, 2).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_control_database_mutating_calls_stop_first_and_then_all_do() {
    let stage = Stage::set(1).await.unwrap();
    println!("on {}", stage.postgres());
    println!("{}", held(&lines::control_away(&stage, 2).await.unwrap()));
}

#[tokio::test]
async fn a_suspended_principal_loses_its_token_and_gets_no_other_until_two_commands_later() {
    let platform = Platform::shared().unwrap();
    let http = Http::new().unwrap();
    let [suspended, neighbour] = [
        platform.agent("acme", &Grants::default()).await.unwrap(),
        platform.agent("acme", &Grants::default()).await.unwrap(),
    ];
    let client = suspended.caller().await.unwrap();
    let portcullis = |words: &str| {
        let file = platform.data().join("operator.json");
        let script = format!(
            "portcullis --operator-file '{}' --json {words}",
            file.display()
        );
        let ran = shell::run(&script, platform.binary()).unwrap();
        assert!(ran.success, "{script}: {}", ran.err);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let dropped = portcullis(&format!(
        "switch drop principal-suspension {} --tenant acme --reason 'A test'",
        suspended.name
    ));
    let refused = client.send("tools/list", json!({})).await.unwrap();
    assert_eq!(refused.status, 403, "{}", refused.told());
    let refused = suspended.ask_for_token(&http, None).await.unwrap();
    assert_eq!(refused.status, 400, "{}", refused.told());
    assert_eq!(refused.at("/error"), "unauthorized_client");
    neighbour.token().await.unwrap();
    let id = dropped["id"].as_str().or(dropped["switch"]["id"].as_str());
    portcullis(&format!(
        "switch lift {} --tenant acme --reason 'A test'",
        id.unwrap_or_else(|| panic!("{dropped}"))
    ));
    suspended.token().await.unwrap();
}
