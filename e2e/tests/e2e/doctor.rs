//! `portcullis doctor`: what works is told so, each thing that does not is named with what helps, and
//! no secret is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::{Agent, Grants, Options, Platform};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// A person's machine: a home of its own, and the program.
struct Person {
    home: TempDir,
    binary: PathBuf,
}

/// What the command found.
struct Found {
    ran: Ran,
    checks: Vec<Value>,
}

impl Found {
    /// That a check of this name ended so, with these words, and with these as the remedy.
    #[track_caller]
    fn has(&self, check: &str, state: &str, found: &str, remedy: &str) {
        let text = |row: &Value, member: &str| row[member].as_str().unwrap_or("").to_owned();
        let fits = |row: &&Value| {
            row["check"] == check
                && row["state"] == state
                && text(row, "found").contains(found)
                && text(row, "remedy").contains(remedy)
        };
        let hit = self.checks.iter().find(fits);
        assert!(
            hit.is_some(),
            "{check} {state} {found} {remedy}: {}",
            self.ran.out
        );
    }

    #[track_caller]
    fn ends_with(&self, code: i32) {
        assert_eq!(
            self.ran.code,
            Some(code),
            "{} {}",
            self.ran.out,
            self.ran.err
        );
    }
}

impl Person {
    fn of(platform: &Platform) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            binary: platform.binary().to_owned(),
        }
    }

    fn run(&self, arguments: &str) -> Ran {
        let (home, binary) = (self.home.path().display(), self.binary.display());
        let script =
            format!("cd {home} && HOME={home} XDG_CONFIG_HOME={home}/.config {binary} {arguments}");
        shell::run(&script, &self.binary).unwrap()
    }

    /// Runs the check for programs. Every time, no secret is shown, to people neither.
    fn doctor(&self, arguments: &str) -> Found {
        let told = self.run(&format!("doctor {arguments}"));
        let ran = self.run(&format!("doctor --json {arguments}"));
        for shown in [&told.out, &told.err, &ran.out, &ran.err] {
            for secret in ["pcs_", "pst_", "eyJ"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert_eq!(told.code, ran.code, "{} {}", told.out, ran.out);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        for row in &checks {
            let state = row["state"].as_str().unwrap();
            assert!(["ok", "warning", "failed", "skipped"].contains(&state));
            // Between the two runs time goes on.
            let same = row["check"] == "clock" || told.out.contains(row["found"].as_str().unwrap());
            assert!(same, "{row}: {}", told.out);
        }
        Found { ran, checks }
    }

    /// Runs it on a connection file.
    fn doctor_of(&self, connection: &Value) -> Found {
        let path = self.home.path().join("connection.json");
        write_private(&path, &connection.to_string());
        self.doctor(&format!("--connection {}", path.display()))
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn operator(platform: &Platform) -> String {
    format!(
        "--operator-file {}/operator.json",
        platform.data().display()
    )
}

fn connection(agent: &Agent, url: &str) -> Value {
    json!({"url": url, "client_id": agent.client_id, "client_secret": agent.client_secret})
}

const COPILOT: &str = "connect claude --tenant acme --principal agent:copilot";

#[tokio::test]
async fn what_works_is_told_so_for_the_host_and_for_the_operator() {
    for options in [Options::default(), Options::default().by_https()] {
        let platform = Platform::start_with(options).await.unwrap();
        let (person, file) = (Person::of(&platform), operator(&platform));
        assert!(person.run(&format!("{COPILOT} {file}")).success);
        let found = person.doctor(&file);
        found.ends_with(0);
        found.has("host", "ok", "are there", "");
        found.has("tools", "ok", "orders.export", "");
        found.has("replicas", "ok", "1 serve", "");
        found.has("clock", "ok", "the same", "");
        found.has("version", "ok", "as here", "");
        let shown = if platform.authority().is_some() {
            "ok"
        } else {
            "skipped"
        };
        found.has("certificate", shown, "", "");
        // Whoever has the host alone has no operator file.
        let found = person.doctor("--operator-file /nonexistent/operator.json");
        found.ends_with(0);
        found.has("operator file", "skipped", "", "");
    }
}

#[tokio::test]
async fn a_host_that_cannot_start_the_bridge_is_named_with_the_command_that_mends_it() {
    let platform = Platform::shared().unwrap();
    let (person, file) = (Person::of(platform), operator(platform));
    assert!(person.run(&format!("{COPILOT} {file}")).success);
    let hosts_file = person
        .home
        .path()
        .join(".config/Claude/claude_desktop_config.json");
    let text = fs::read_to_string(&hosts_file).unwrap();
    let program = person.binary.display().to_string();
    fs::write(
        &hosts_file,
        text.replace(&program, "/nonexistent/portcullis"),
    )
    .unwrap();
    let found = person.doctor(&file);
    found.ends_with(6);
    found.has(
        "host",
        "failed",
        "no program at /nonexistent",
        "portcullis connect claude",
    );
    fs::write(&hosts_file, "{").unwrap();
    let found = person.doctor(&file);
    found.ends_with(6);
    found.has("host", "failed", "is not in its form", "");
}

#[tokio::test]
async fn files_that_are_exposed_or_absent_are_told() {
    let platform = Platform::shared().unwrap();
    let person = Person::of(platform);
    let path = person.home.path().join("c.json");
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    write_private(
        &path,
        &connection(&agent, &platform.mcp_url("acme")).to_string(),
    );
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let found = person.doctor(&format!("--connection {}", path.display()));
    found.ends_with(6);
    found.has("connection file", "failed", "read by others", "chmod 600");
    let found = person.doctor("--operator-file /nonexistent/operator.json");
    found.ends_with(6);
    found.has(
        "operator file",
        "failed",
        "there is no operator file",
        "portcullis up",
    );
}

#[tokio::test]
async fn credentials_that_do_not_work_or_are_good_for_nothing_are_told() {
    let platform = Platform::shared().unwrap();
    let person = Person::of(platform);
    let url = platform.mcp_url("acme");
    let agent = platform.agent("acme", &Grants::of(&[])).await.unwrap();
    let found = person.doctor_of(&connection(&agent, &url));
    found.ends_with(7);
    let remedy = format!("portcullis grant add --tenant acme {}", agent.client_id);
    found.has("token", "warning", "invalid_scope", &remedy);
    found.has("tools", "skipped", "no token", "");
    let mut wrong = connection(&agent, &url);
    wrong["client_secret"] = format!("pcs_{}", "A".repeat(43)).into();
    let found = person.doctor_of(&wrong);
    found.ends_with(6);
    found.has(
        "token",
        "failed",
        "invalid_client",
        "principal secret create",
    );
    let found = person.doctor_of(&connection(&agent, &platform.mcp_url("nobody")));
    found.ends_with(6);
    let odd = agent_that_sees_no_tool(platform).await;
    let found = person.doctor_of(&connection(&odd, &url));
    found.ends_with(7);
    found.has("tools", "warning", "sees none", "portcullis grant add");
}

/// One whose only scope no tool needs.
async fn agent_that_sees_no_tool(platform: &Platform) -> Agent {
    platform
        .agent("acme", &Grants::of(&["nothing.read"]))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_switch_that_is_down_and_a_server_that_is_away_are_told() {
    let mut platform = Platform::start().await.unwrap();
    let (person, file) = (Person::of(&platform), operator(&platform));
    let dropped = person.run(&format!(
        "switch drop tool-quarantine orders.get --tenant acme --reason Incident {file}"
    ));
    assert!(dropped.success, "{}", dropped.err);
    let found = person.doctor(&file);
    found.ends_with(7);
    found.has(
        "switches",
        "warning",
        "orders.get is down: Incident",
        "portcullis switch lift",
    );
    // What helps is a command that works.
    let remedy = found
        .checks
        .iter()
        .find(|row| row["state"] == "warning")
        .unwrap();
    let lift = remedy["remedy"]
        .as_str()
        .unwrap()
        .trim_start_matches("portcullis ");
    let lifted = person.run(&format!("{} {file}", lift.replace('…', "Over")));
    assert!(lifted.success, "{}", lifted.err);
    person.doctor(&file).ends_with(0);
    platform.kill().unwrap();
    let found = person.doctor(&file);
    found.ends_with(6);
    found.has("address", "failed", "refused", "portcullis up");
    found.has("management API", "skipped", "cannot be reached", "");
    found.has("endpoint", "skipped", "cannot be reached", "");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_and_the_wrong_scheme_are_told() {
    let platform = Platform::start_with(Options::default().by_https())
        .await
        .unwrap();
    let person = Person::of(&platform);
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let url = platform.mcp_url("acme");
    let found = person.doctor_of(&connection(&agent, &url));
    found.ends_with(6);
    found.has(
        "certificate",
        "failed",
        "nobody whom this machine trusts",
        "--ca-file",
    );
    let plain = Platform::shared().unwrap();
    let asked = plain.mcp_url("acme").replace("http://", "https://");
    let found = person.doctor_of(&connection(&agent, &asked));
    found.ends_with(6);
    found.has("certificate", "failed", "does not speak TLS", "http://");
    let asked = url.replace("https://", "http://");
    let found = person.doctor_of(&connection(&agent, &asked));
    found.ends_with(6);
    // Another name of the same server is not the address that tokens are for.
    let mut other = connection(&agent, &url.replace("127.0.0.1", "localhost"));
    other["ca_file"] = json!(platform.authority().unwrap());
    let found = person.doctor_of(&other);
    found.ends_with(6);
    found.has(
        "metadata",
        "failed",
        "calls itself https://127.0.0.1",
        "portcullis connect",
    );
}

/// A certificate that stands for itself, for one name, valid between these days from now.
fn made(name: &str, from: i64, until: i64) -> (String, String) {
    let now = OffsetDateTime::from(fs::metadata("/proc/self").unwrap().modified().unwrap());
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = now + time::Duration::days(from);
    params.not_after = now + time::Duration::days(until);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A server that shows a certificate and answers everything with 404.
async fn showing((certificate, key): &(String, String), tasks: &TaskTracker) -> u16 {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _asked = stream.read(&mut [0; 4_096]).await;
                let answer =
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _gone = stream.write_all(answer).await;
                let _gone = stream.shutdown().await;
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_or_time_is_told() {
    let platform = Platform::shared().unwrap();
    let person = Person::of(platform);
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let tasks = TaskTracker::new();
    for (name, from, until, state, words) in [
        ("gate.example.com", -1, 60, "failed", "good for"),
        ("localhost", -9, -2, "failed", "has ended"),
        ("localhost", 2, 9, "failed", "not begun"),
        ("localhost", -1, 3, "warning", "until"),
    ] {
        let pair = made(name, from, until);
        let port = showing(&pair, &tasks).await;
        let authority = person.home.path().join(format!("{port}.pem"));
        fs::write(&authority, &pair.0).unwrap();
        let mut asked = connection(&agent, &format!("https://localhost:{port}/t/acme/mcp"));
        asked["ca_file"] = json!(authority);
        let found = person.doctor_of(&asked);
        found.ends_with(6);
        found.has("certificate", state, words, "certificate");
        if state == "warning" {
            found.has("readiness", "failed", "404", "Portcullis server");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_apart_and_a_replica_that_is_not_ready_are_told() {
    let platform = Platform::shared().unwrap();
    let person = Person::of(platform);
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _asked = stream.read(&mut [0; 4_096]).await;
            let answer =
                b"HTTP/1.1 503 Service Unavailable\r\ndate: Sat, 01 Jan 2000 00:00:00 GMT\r\n\
                           content-length: 0\r\nconnection: close\r\n\r\n";
            let _gone = stream.write_all(answer).await;
        }
    });
    let found = person.doctor_of(&connection(
        &agent,
        &format!("http://127.0.0.1:{port}/t/acme/mcp"),
    ));
    found.ends_with(6);
    found.has("clock", "failed", "apart", "NTP");
    found.has("readiness", "failed", "takes no calls", "/health");
    found.has("metadata", "failed", "", "");
}
