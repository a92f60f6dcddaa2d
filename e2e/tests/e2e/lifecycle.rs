//! Starting and stopping: from nothing, again on the same data, twice at once, as another user.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_e2e::{Platform, Reply, folder, processes, wait};
use serde_json::json;

use crate::answers::{assert_result, fresh_trace};

#[tokio::test]
async fn stopping_ends_every_process_that_was_started() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut platform = Platform::start().await.unwrap();
        assert!(
            processes::inside(platform.data()).unwrap().len() > 3,
            "a database server"
        );
        let status = platform.stop(signal).await.unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(
            processes::inside(platform.data()).unwrap().is_empty(),
            "{signal}"
        );
        let refused = Reply::to(portcullis_e2e::Http::new().unwrap().get(platform.url())).await;
        assert!(refused.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn killing_it_leaves_no_database_server_behind() {
    let mut platform = Platform::start().await.unwrap();
    platform.kill().unwrap();
    platform.nothing_left().await.unwrap();
}

#[tokio::test]
async fn a_second_start_has_the_same_data_keys_and_records() {
    let mut platform = Platform::start_from_nothing().await.unwrap();
    println!("from nothing in {:?}", platform.started_in());
    let agent = platform
        .agent("acme", &portcullis_e2e::Grants::default())
        .await
        .unwrap();
    let client = agent.caller().await.unwrap();
    let trace = fresh_trace();
    let order = json!({"orderId": platform.an_order("acme").unwrap()});
    let first = client
        .call_traced("orders.get", order.clone(), &trace)
        .await
        .unwrap();
    let secrets = platform.operator().secrets();
    platform.stop(Signal::SIGTERM).await.unwrap();
    platform.start_again().await.unwrap();
    println!("again in {:?}", platform.started_in());
    assert_eq!(platform.operator().secrets(), secrets, "credentials stay");
    let again = client.call("orders.get", order).await.unwrap();
    assert_eq!(
        assert_result(&again),
        assert_result(&first),
        "the token and the data are good"
    );
    let records = platform
        .owner("acme")
        .unwrap()
        .records("acme", &trace)
        .await
        .unwrap();
    assert_eq!(records.len(), 1);
    agent.caller().await.unwrap();
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused_in_one_line() {
    let platform = Platform::shared().unwrap();
    let output = Command::new(platform.binary())
        .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(platform.data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(words.trim().lines().count(), 1, "{words}");
    assert!(
        words.contains(&platform.pid().to_string()),
        "it names who holds it: {words}"
    );
    let live = portcullis_e2e::Http::new()
        .unwrap()
        .get(&format!("{}/livez", platform.url()));
    assert_eq!(
        Reply::to(live).await.unwrap().status,
        200,
        "the first one is unharmed"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_in_one_line_and_leaves_nothing_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = folder::scratch().unwrap();
    let data = scratch.path().join("data");
    let binary = portcullis_e2e::binary::portcullis().unwrap();
    folder::copy(&folder::template(&binary).await.unwrap(), &data).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = tokio::process::Command::new(&binary)
        .args(["up", "--json", "--listen", &address, "--data-dir"])
        .arg(&data)
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(&address), "{words}");
    assert!(processes::inside(&data).unwrap().is_empty());
}

#[tokio::test]
async fn a_setting_that_does_not_exist_stops_the_start() {
    let options =
        portcullis_e2e::Options::default().with("PORTCULLIS_ADMISSION_PRINCIPAL_RPS", "1");
    let error = Platform::start_with(options).await.unwrap_err();
    let words = format!("{error:#}");
    assert!(
        words.contains("PORTCULLIS_ADMISSION_PRINCIPAL_RPS"),
        "{words}"
    );
}

#[tokio::test]
async fn when_its_database_server_dies_it_says_so_and_ends() {
    let mut platform = Platform::start().await.unwrap();
    let server = std::fs::read_to_string(platform.data().join("postgres/postmaster.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(server.lines().next().unwrap().parse().unwrap());
    processes::signal(pid, Signal::SIGKILL).unwrap();
    let status = wait::until("its end", Duration::from_mins(1), || {
        let ended = platform.ended();
        async move { ended }
    })
    .await
    .unwrap();
    assert!(!status.success(), "{status}");
    platform.nothing_left().await.unwrap();
}

#[tokio::test]
async fn an_ordinary_user_can_run_it() {
    if !nix::unistd::geteuid().is_root() {
        // The other tests of this file are this test then.
        Platform::start().await.unwrap();
        return;
    }
    let nobody = 65_534;
    let scratch = folder::scratch().unwrap();
    let home = scratch.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(nobody), Some(nobody)).unwrap();
    let binary = portcullis_e2e::binary::portcullis().unwrap();
    // The build may stand where only root can go.
    let program = scratch.path().join("portcullis");
    std::fs::copy(&binary, &program).unwrap();
    let out = std::fs::File::create(scratch.path().join("out")).unwrap();
    let err = std::fs::File::create(scratch.path().join("err")).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--pdeathsig", "TERM", "--"])
        .arg(&program)
        .args(["up", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(home.join("data"))
        .env("HOME", &home)
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(scratch.path().join(name)).unwrap();
    let ready = wait::until("its ready line", Duration::from_mins(2), || {
        let ended = child.try_wait();
        let line = read("out");
        let words = read("err");
        async move {
            anyhow::ensure!(ended?.is_none(), "it ended: {words}");
            Ok(line.contains('\n').then_some(line))
        }
    })
    .await
    .unwrap();
    let line: serde_json::Value = serde_json::from_str(ready.lines().next().unwrap()).unwrap();
    assert!(line.is_object(), "{line}");
    for pid in processes::inside(&home).unwrap() {
        let owner = std::os::unix::fs::MetadataExt::uid(
            &std::fs::metadata(format!("/proc/{pid}")).unwrap(),
        );
        assert_eq!(owner, nobody, "a process of the wrong user");
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    processes::signal(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(processes::inside(&home).unwrap().is_empty());
}
