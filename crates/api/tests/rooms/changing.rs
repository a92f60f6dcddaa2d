//! A tenant whose configuration changes faster than it can be read: it is served, and never on what
//! the replica knew to be outdated when the call came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::platform::Platform;

const LONG: Duration = Duration::from_mins(1);
const CALLS: u32 = 40;

/// Changes the tenant without a pause until `stop`; gives back how often.
async fn keep_changing(platform: &Platform, stop: &CancellationToken) -> u32 {
    let mut changes = 0;
    while !stop.is_cancelled() {
        platform.change().await;
        changes += 1;
    }
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tenant_that_changes_without_a_pause_is_served_all_the_same() {
    let platform = Arc::new(Platform::start(LONG).await);
    let stop = CancellationToken::new();
    let changes = Arc::new(AtomicU32::new(0));
    let tasks = TaskTracker::new();
    for _ in 0..3 {
        let (platform, stop, changes) = (Arc::clone(&platform), stop.clone(), Arc::clone(&changes));
        tasks.spawn(async move {
            let made = keep_changing(&platform, &stop).await;
            changes.fetch_add(made, Ordering::SeqCst);
        });
    }
    tasks.close();
    for call in 0..CALLS {
        let answers = tokio::join!(platform.call("leaks"), platform.call("leaks"));
        for (status, body) in [answers.0, answers.1] {
            assert_eq!(status, StatusCode::OK, "call {call}: {body}");
        }
    }
    stop.cancel();
    tasks.wait().await;
    let changes = changes.load(Ordering::SeqCst);
    assert!(changes > CALLS, "{changes} changes during {CALLS} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_suspension_holds_while_the_tenant_goes_on_changing() {
    let platform = Platform::start(LONG).await;
    let stop = CancellationToken::new();
    let calls = async {
        let (status, body) = platform.call("leaks").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        platform.suspend().await;
        for call in 0..CALLS {
            let (status, body) = platform.call("leaks").await;
            assert_eq!(status, StatusCode::FORBIDDEN, "call {call}: {body}");
        }
        stop.cancel();
    };
    tokio::join!(keep_changing(&platform, &stop), calls);
}
