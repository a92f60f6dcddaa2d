//! The binary's `up` and `serve`, started and stopped as a person does it, and killed as a machine
//! does it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use reqwest::blocking::Client;
use serde_json::Value;
use tempfile::TempDir;

/// A folder that the database server's user can reach.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    place
}

fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running `up`; killed, and its server with it, when a test fails.
struct Up {
    child: Child,
    ready: Value,
    took: Duration,
}

impl Up {
    fn start(data: &Path) -> Self {
        let begun = Instant::now();
        let data = data.to_str().unwrap();
        let mut child = portcullis(&[
            "up",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data,
        ])
        .spawn()
        .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut said = String::new();
        if line.is_empty() {
            let mut errors = child.stderr.take().unwrap();
            errors.read_to_string(&mut said).unwrap();
        }
        assert!(!line.is_empty(), "it did not start: {said}");
        Self {
            child,
            ready: serde_json::from_str(&line).unwrap(),
            took: begun.elapsed(),
        }
    }

    fn text(&self, field: &str) -> String {
        self.ready[field].as_str().unwrap().to_owned()
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(&self.text("public_url"), path)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended as the test wanted.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn get(origin: &str, path: &str) -> (u16, String) {
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{origin}{path}")).send().unwrap();
    (response.status().as_u16(), response.text().unwrap())
}

/// The process number of the database server of a data folder.
fn postmaster(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postgres/postmaster.pid")).ok()?;
    Some(Pid::from_raw(text.lines().next()?.parse().unwrap()))
}

fn is_gone(pid: Pid) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if kill(pid, None).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// What a start that must fail says, in one line.
fn refusal(arguments: &[&str]) -> String {
    let output = portcullis(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn the_platform_starts_serves_keeps_its_data_and_stops() {
    let place = place();
    let data = place.path().join("data");
    let mut first = Up::start(&data);
    assert_eq!(first.get("/livez").0, 200);
    assert_eq!(first.get("/readyz").0, 200);
    let server = postmaster(&data).unwrap();
    let operator = std::fs::read_to_string(first.text("operator_file")).unwrap();
    let file = first.text("operator_file");
    let listed = portcullis(&["tenant", "list", "--operator-file", &file])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("acme") && listed.contains("globex"),
        "{listed}"
    );
    for file in [
        "operator.json",
        "keys.json",
        "portcullis.toml",
        "secrets/app.password",
    ] {
        let mode = data.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
    assert!(first.end(Signal::SIGTERM).success());
    assert!(is_gone(server), "the database server was left behind");

    let mut second = Up::start(&data);
    assert_eq!(second.get("/readyz").0, 200);
    assert_eq!(
        std::fs::read_to_string(second.text("operator_file"))
            .unwrap()
            .len(),
        operator.len()
    );
    let clients = |up: &Up| up.ready["tenants"][0]["client_id"].clone();
    assert_eq!(clients(&first), clients(&second));
    println!(
        "first start {:?}, second start {:?}",
        first.took, second.took
    );
    assert!(second.end(Signal::SIGINT).success());
}

/// The commands of the instructions that a start prints.
fn printed(child: &mut Child) -> Vec<String> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let sets = ["ACME", "GLOBEX", "TICKET"].map(|name| format!("  {name}="));
    out.lines()
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .filter(|line| line.contains("curl") || sets.iter().any(|set| line.starts_with(set)))
        .collect()
}

#[test]
fn the_printed_commands_work_as_they_are_printed() {
    let place = place();
    let data = place.path().join("data");
    let folder = data.to_str().unwrap();
    let mut child = portcullis(&["up", "--listen", "127.0.0.1:0", "--data-dir", folder])
        .spawn()
        .unwrap();
    let commands = printed(&mut child);
    assert_eq!(commands.len(), 13, "{commands:#?}");
    // Both ways to a token, each with the calls after it.
    let told = [0, 1].map(|way| {
        let tokens = commands[way..way + 2].join("\n");
        let calls = commands[3..8].iter();
        let answers = calls.map(|call| shell(&format!("{tokens}\n{call}")));
        answers.collect::<Vec<_>>()
    });
    let changed = changes(&commands[..2].join("\n"), &commands[8..]);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    for answers in told {
        for answer in &answers[..2] {
            assert!(
                answer.contains("***@***") && answer.contains("receipt"),
                "{answer}"
            );
            assert!(!answer.contains("@example.org"), "{answer}");
        }
        let (unknown, foreign, absent) = (&answers[2], &answers[3], &answers[4]);
        assert!(unknown.contains("unknown field `evil`"), "{unknown}");
        assert!(foreign.contains("\"status\":401"), "{foreign}");
        assert!(absent.contains("\"found\":false"), "{absent}");
    }
    let words = [
        "Flag checkout_v2 set to 25% in staging",
        "OK (idempotent)",
        "DENY: prod change >10% requires change ticket",
        "Flag checkout_v2 set to 50% in prod",
    ];
    for (answer, words) in changed.iter().zip(words) {
        assert!(answer.contains(words), "{words}: {answer}");
    }
}

/// What the four calls that change something answer, the last with the ticket that is opened before.
fn changes(tokens: &str, commands: &[String]) -> [String; 4] {
    let call = |number: usize| shell(&format!("{tokens}\n{}", commands[number]));
    let before = [call(0), call(1), call(2)];
    let opened = shell(&format!("{}\necho \"TICKET=$TICKET\"", commands[3]));
    let with_ticket = format!("{tokens}\n{opened}\n{}", commands[4]);
    // The replica may hear of the ticket a moment later; a denied call has used up no key.
    let mut answer = shell(&with_ticket);
    let deadline = Instant::now() + Duration::from_secs(20);
    while answer.contains("DENY") && Instant::now() < deadline {
        answer = shell(&with_ticket);
    }
    let [set, again, denied] = before;
    [set, again, denied, answer]
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_killed_start_does_not_block_the_next() {
    let place = place();
    let data = place.path().join("data");
    let mut up = Up::start(&data);
    // The whole tree at once, as a machine that loses power does it: lock files and socket stay.
    let server = postmaster(&data).unwrap();
    kill(server, Signal::SIGKILL).unwrap();
    up.end(Signal::SIGKILL);
    assert!(data.join("postgres/postmaster.pid").exists());
    let mut up = Up::start(&data);
    assert_eq!(up.get("/readyz").0, 200);
    println!("start after a crash of everything {:?}", up.took);

    // Us alone: the server may still be running, or be on its way out.
    up.end(Signal::SIGKILL);
    let mut up = Up::start(&data);
    assert_eq!(up.get("/readyz").0, 200);
    println!("start after a crash of ours {:?}", up.took);
    let server = postmaster(&data).unwrap();
    let program = std::fs::read_link(format!("/proc/{server}/exe")).unwrap();
    assert!(up.end(Signal::SIGTERM).success());

    // A server that nobody stops by himself.
    let mut orphan = orphan(&program, &data);
    let mut up = Up::start(&data);
    assert!(
        orphan.wait().unwrap().success(),
        "the orphan was not stopped in good order"
    );
    assert_eq!(up.get("/readyz").0, 200);
    assert!(up.end(Signal::SIGTERM).success());
}

/// A server on this data whose parent is not `up`.
fn orphan(program: &Path, data: &Path) -> Child {
    let mut command = Command::new(program);
    command
        .arg("-D")
        .arg(data.join("postgres"))
        .args(["-c", "listen_addresses=", "-c"])
        .arg(format!(
            "unix_socket_directories={}",
            data.join("run").display()
        ))
        .current_dir("/")
        .stderr(Stdio::null());
    if Uid::effective().is_root() {
        let user = User::from_name("postgres")
            .unwrap()
            .or(User::from_name("nobody").unwrap())
            .unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && postmaster(data).is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_database_that_dies_stops_the_platform_with_the_reason() {
    let place = place();
    let data = place.path().join("data");
    let mut up = Up::start(&data);
    kill(postmaster(&data).unwrap(), Signal::SIGKILL).unwrap();
    assert_eq!(up.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    let mut errors = up.child.stderr.take().unwrap();
    errors.read_to_string(&mut said).unwrap();
    assert!(said.contains("PostgreSQL stopped by itself"), "{said}");
}

#[test]
fn two_starts_on_one_folder_and_one_port_are_told_apart() {
    let place = place();
    let data = place.path().join("data");
    let up = Up::start(&data);
    let folder = data.to_str().unwrap();
    let said = refusal(&["up", "--listen", "127.0.0.1:0", "--data-dir", folder]);
    assert!(said.contains("another `portcullis up`"), "{said}");
    assert!(said.contains(&up.child.id().to_string()), "{said}");
    // The first goes on.
    assert_eq!(up.get("/readyz").0, 200);
    let other = place.path().join("other");
    let taken = up.text("listen");
    let said = refusal(&[
        "up",
        "--listen",
        &taken,
        "--data-dir",
        other.to_str().unwrap(),
    ]);
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");
    assert!(
        !other.join("postgres").exists(),
        "a database was made all the same"
    );
}

#[test]
fn a_second_replica_serves_beside_and_tells_when_its_databases_are_gone() {
    let place = place();
    let mut up = Up::start(&place.path().join("data"));
    let mut replica = portcullis(&["serve", "--config", &up.text("config")])
        .env("PORTCULLIS_SERVER_LISTEN", "127.0.0.1:0")
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(replica.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let address = said.trim_end().strip_prefix("listening on ").unwrap();
    let origin = format!("http://{address}");
    // Requests may name the port that was really given: without a token, not with a wrong host.
    let client = Client::builder().no_proxy().build().unwrap();
    let tenants = client.get(format!("{origin}/api/v1/tenants")).send();
    assert_eq!(tenants.unwrap().status().as_u16(), 401);
    let answers = |path: &str, status: u16| {
        let deadline = Instant::now() + Duration::from_secs(20);
        let client = Client::builder().no_proxy().build().unwrap();
        while Instant::now() < deadline {
            let answer = client.get(format!("{origin}{path}")).send();
            if answer.is_ok_and(|answer| answer.status().as_u16() == status) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    };
    assert!(answers("/readyz", 200));
    // Bringing databases to this version where they have it already changes nothing.
    let migrated = portcullis(&["migrate", "--config", &up.text("config")])
        .output()
        .unwrap();
    assert!(migrated.status.success());
    assert!(answers("/readyz", 200));
    assert!(up.end(Signal::SIGTERM).success());
    assert!(
        answers("/readyz", 503),
        "it claims to be ready without databases"
    );
    assert!(answers("/livez", 200));
    kill(
        Pid::from_raw(i32::try_from(replica.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(replica.wait().unwrap().success());
}

#[test]
fn folders_that_cannot_be_used_are_told_in_one_line() {
    let place = place();
    let full = place.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("letter.txt"), "mine").unwrap();
    let before = full.metadata().unwrap().permissions().mode();
    let said = refusal(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        full.to_str().unwrap(),
    ]);
    assert!(said.contains("not empty"), "{said}");
    assert_eq!(full.metadata().unwrap().permissions().mode(), before);

    if Uid::effective().is_root() {
        let closed = place.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let inside = closed.join("data");
        let arguments = [
            "up",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            inside.to_str().unwrap(),
        ];
        let said = refusal(&arguments);
        assert!(
            said.contains("may not enter") && said.contains("--data-dir"),
            "{said}"
        );
        assert!(!inside.exists(), "a folder was made all the same");
    }
}

#[test]
fn production_is_refused_with_the_reason() {
    let place = place();
    let config = place.path().join("portcullis.toml");
    let text = include_str!("production.toml");
    std::fs::write(&config, text).unwrap();
    let output = portcullis(&["serve", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("this release cannot start with profile = \"production\""),
        "{said}"
    );
}

#[test]
fn an_unknown_variable_stops_every_start() {
    let place = place();
    let data = place.path().join("data");
    let output = portcullis(&["up", "--data-dir", data.to_str().unwrap()])
        .env("PORTCULLIS_READ_OMLY", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PORTCULLIS_READ_OMLY"), "{said}");
    assert!(!PathBuf::from(&data).exists());
}
