//! One effect a key on several replicas, whatever is repeated, killed or restarted. The scenarios are
//! those of `cargo xtask faults`, at a small size.

use portcullis_e2e::faults::{Row, Stage, idempotency, kills, kills_of_flags, restarts};

/// What was seen, where every promise held.
#[track_caller]
pub(crate) fn held(row: &Row) -> String {
    assert!(row.held(), "{}: {:#?}", row.scenario, row.broken);
    format!("{} ({}): {}", row.scenario, row.number, row.result)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_at_once_on_three_replicas_have_one_effect_each() {
    let stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    println!(
        "{}",
        held(&idempotency::duplicates(&stage, 10, 20).await.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_gives_nothing_away_and_stands_for_one_call_alone() {
    let stage = Stage::set(2).await.unwrap();
    println!("on {}", stage.postgres());
    println!("{}", held(&idempotency::replays(&stage, 5).await.unwrap()));
    println!(
        "{}",
        held(&idempotency::reused_keys(&stage, 5).await.unwrap())
    );
    println!(
        "{}",
        held(&idempotency::foreign_keys(&stage, 5).await.unwrap())
    );
    println!(
        "{}",
        held(&idempotency::missing_keys(&stage, 5).await.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_killed_repeat_no_effect_and_leave_no_call_without_an_end() {
    let mut stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    println!("{}", held(&kills::kills(&mut stage, 6).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_killed_while_they_set_flags_change_each_once_and_leave_none_in_doubt() {
    let mut stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    println!(
        "{}",
        held(&kills_of_flags::kills(&mut stage, 6).await.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_replaced_one_by_one_fail_no_call() {
    let mut stage = Stage::set(3).await.unwrap();
    println!("on {}", stage.postgres());
    println!("{}", held(&restarts::rolling(&mut stage, 1).await.unwrap()));
}
