//! What leaves the platform and what does not: `web.fetchSafe` through the running binary, against web and
//! name servers of the test's own. Every refusal leaves its record.
//!
//! No test dials an address outside of this machine: servers on the loopback are opened to the tool, or
//! the network has no way out.

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_e2e::agent::PATIENCE;
use portcullis_e2e::dns::Dns;
use portcullis_e2e::mcp::PROBLEM;
use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::web::{Answer, Web};
use portcullis_e2e::{
    Agent, Grants, Http, Management, McpClient, Options, Platform, Replica, Reply, wait,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answers::{assert_denied, assert_result};

const TOOL: &str = "web.fetchSafe";
const LIST: &str = "/tenants/acme/egress-allowlist";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Another address of this machine, which nobody opened.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A platform whose operator opened one web server of this machine to the tool, and asks a name server
/// of the test.
struct Stage {
    web: Web,
    dns: Dns,
    owner: Management,
    client: McpClient,
    /// Serves with the opening.
    replica: Replica,
    platform: Platform,
}

fn settings(platform: &Platform, dns: SocketAddr, port: u16) -> PathBuf {
    let written = std::fs::read_to_string(platform.data().join("portcullis.toml")).unwrap();
    let own = platform.data().join("egress.toml");
    let opened = format!(
        "\n[egress]\nname_servers = [\"{dns}\"]\n\n[[egress.internal_networks]]\n\
         network = \"127.0.0.1/32\"\nports = [{port}]\ntenants = [\"acme\"]\nservers = [\"native\"]\n"
    );
    assert!(!written.contains("[egress]"), "{written}");
    std::fs::write(&own, format!("{written}{opened}")).unwrap();
    own
}

impl Stage {
    async fn set(manners: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let web = Web::start(manners).await.unwrap();
        let dns = Dns::start().await.unwrap();
        dns.at("site.example.com", &[LOCAL]);
        dns.at("other.example.com", &[LOCAL]);
        let platform = Platform::start_with(Options::default().roomy())
            .await
            .unwrap();
        let own = settings(&platform, dns.address(), web.port());
        let replica = Replica::configured(&platform, &own, &[]).await.unwrap();
        let token = platform.operator().owner_token("acme").unwrap();
        let owner = Management::new(&replica.url(), token).unwrap();
        let port = web.port();
        let hosts = json!([
            format!("site.example.com:{port}"),
            format!("other.example.com:{port}")
        ]);
        owner
            .put(LIST, &json!({"hosts": [], "tools": {TOOL: hosts}}))
            .await
            .unwrap();
        let url = replica.url();
        let grants = Grants::of(&["web.fetch"]);
        let agent = Agent::create(&owner, (&url, platform.url()), "acme", &grants);
        let agent = agent.await.unwrap();
        let token = agent.token().await.unwrap();
        let client = McpClient::new(&Http::new().unwrap(), agent.mcp_url().to_owned(), token);
        let stage = Self {
            client: client.at(replica.address()),
            web,
            dns,
            owner,
            replica,
            platform,
        };
        stage.until_listed("site.example.com").await;
        stage
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.web.port())
    }

    async fn fetch(&self, url: &str) -> Reply {
        self.client.call(TOOL, json!({"url": url})).await.unwrap()
    }

    async fn page(&self, path: &str) -> Reply {
        self.fetch(&self.url("site.example.com", path)).await
    }

    /// Waits until the replica has taken in the list.
    async fn until_listed(&self, host: &str) {
        let url = self.url(host, "/");
        wait::until("a list that is in force", PATIENCE, || async {
            let reply = self.client.call(TOOL, json!({"url": url})).await?;
            Ok((reply.status == 200 && !reply.is_tool_error()).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Lists hosts for the tool, as they stand.
    async fn list(&self, hosts: &[&str]) {
        let port = self.web.port();
        let own = [
            format!("site.example.com:{port}"),
            format!("other.example.com:{port}"),
        ];
        let all: Vec<_> = own
            .iter()
            .map(String::as_str)
            .chain(hosts.iter().copied())
            .collect();
        self.owner
            .put(LIST, &json!({"hosts": [], "tools": {TOOL: all}}))
            .await
            .unwrap();
    }

    /// A refusal's one record, and what it says.
    async fn assert_recorded(&self, reply: &Reply, problem: &str) {
        let trace = reply.meta(PROBLEM)["trace_id"].as_str().unwrap().to_owned();
        let records = self.owner.records("acme", &trace).await.unwrap();
        assert_eq!(records.len(), 1, "{records:?}");
        assert!(records[0].to_string().contains(problem), "{}", records[0]);
    }

    /// Runs a command against the replica, as the tenant's owner. It holds its thread until it ends: the
    /// servers of the test need another one.
    fn portcullis(&self, words: &str) -> Ran {
        let file = self.platform.data().join("owner.token");
        let token = self.platform.operator().owner_token("acme").unwrap();
        std::fs::write(&file, token).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let script = format!(
            "portcullis --server '{}' --token-file '{}' {words}",
            self.replica.url(),
            file.display()
        );
        shell::run(&script, self.platform.binary()).unwrap()
    }
}

/// Nothing of the inside in the words of a refusal.
#[track_caller]
fn assert_tells_no_address(reply: &Reply) {
    let told = reply.text();
    for inside in ["127.0.0", "10.0.0.1", "169.254.", "fd00:", "192.168."] {
        assert!(!told.contains(inside), "{told}");
    }
}

/// Public names that lead inside, each in its way.
fn name_the_inside(dns: &Dns) {
    dns.at("inside.example.com", &["10.0.0.1".parse().unwrap()]);
    dns.at(
        "translated.example.com",
        &["64:ff9b::a00:1".parse().unwrap()],
    );
    dns.alias(
        "alias.example.com",
        "db.example.net",
        &["192.168.1.1".parse().unwrap()],
    );
    let mixed = [
        "93.184.216.34".parse().unwrap(),
        "127.0.0.1".parse().unwrap(),
    ];
    dns.at("mixed.example.com", &mixed);
}

/// What somebody lists by mistake.
const LISTED_BY_MISTAKE: [&str; 13] = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "[::1]",
    "[fd00:ec2::254]",
    "localhost",
    "metadata.google.internal",
    "inside.example.com",
    "alias.example.com",
    "mixed.example.com",
    "translated.example.com",
];

/// Spellings that another parser reads otherwise.
const SPELLED: [&str; 16] = [
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://\u{ff11}27.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "http://[::ffff:127.0.0.1]/",
    "http://site.example.com@127.0.0.1/",
    "http://site.example.com\\@127.0.0.1/",
    "http://site.example.com#@127.0.0.1/",
    "http://site.example.com./",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "http://site.example.com/%0d%0aHost:%20evil",
    "http://site.example.com/\r\nMetadata: true",
    "http://exa\tmple.com/",
];

#[tokio::test]
async fn owasp_ssrf_nobody_is_led_inside_by_an_address_a_name_or_a_spelling() {
    let stage = Stage::set(|_path| Answer::text("hello")).await;
    let result = assert_result(&stage.page("/").await);
    assert_eq!(
        (&result["status"], &result["text"]),
        (&json!(200), &json!("hello"))
    );
    // Listed by mistake, and refused all the same.
    let inside = LISTED_BY_MISTAKE;
    name_the_inside(&stage.dns);
    stage.list(&inside).await;
    wait::until("the list with the inside", PATIENCE, || async {
        let reply = stage
            .client
            .call(TOOL, json!({"url": "http://mixed.example.com/"}))
            .await?;
        Ok((reply.meta(PROBLEM)["type"] == "/problems/egress-blocked").then_some(()))
    })
    .await
    .unwrap();
    let before = stage.web.requests().len();
    for host in inside {
        let reply = stage
            .fetch(&format!("http://{host}/latest/meta-data/"))
            .await;
        assert_denied(&reply, "egress-blocked");
        let reason = reply.meta(PROBLEM)["detail"].to_string();
        assert!(
            !reason.contains("10.0.0.1") && !reason.contains("192.168."),
            "{reason}"
        );
        stage.assert_recorded(&reply, "egress-blocked").await;
    }
    for url in SPELLED {
        let reply = stage.fetch(url).await;
        assert_denied(&reply, "invalid-arguments");
        assert!(reply.words().contains("url"), "{}", reply.words());
        stage.assert_recorded(&reply, "invalid-arguments").await;
    }
    assert_eq!(stage.web.requests().len(), before, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owasp_ssrf_only_listed_hosts_are_fetched_and_a_refusal_says_how_to_list_one() {
    let stage = Stage::set(|_path| Answer::text("hello")).await;
    let before = stage.web.requests().len();
    let port = stage.web.port();
    for host in [
        format!("elsewhere.example.com:{port}"),
        format!("site.example.com.evil.net:{port}"),
        format!("evilsite.example.com:{port}"),
        format!("sub.site.example.com:{port}"),
        "site.example.com".to_owned(),
        "site.example.com:443".to_owned(),
        "93.184.216.34".to_owned(),
    ] {
        let reply = stage.fetch(&format!("http://{host}/")).await;
        assert_denied(&reply, "policy-denied");
        let problem = reply.meta(PROBLEM);
        assert_eq!(problem["rule"], "vendor-allow-list", "{host}");
        assert!(
            problem["remedy"].as_str().unwrap().contains("allow-list"),
            "{problem}"
        );
        stage.assert_recorded(&reply, "deny").await;
    }
    assert_eq!(stage.web.requests().len(), before, "nothing was sent");
    // What the refusal says is what helps: by the command line, for this tool alone.
    stage.dns.at("a.listed.example.com", &[LOCAL]);
    let listed = format!("*.listed.example.com:{port}");
    let ran = stage.portcullis(&format!(
        "egress allow '{listed}' --tenant acme --tool {TOOL}"
    ));
    assert!(
        ran.success && ran.out.contains(&listed),
        "{} {}",
        ran.out,
        ran.err
    );
    stage.until_listed("a.listed.example.com").await;
    let ran = stage.portcullis(&format!(
        "egress disallow '{listed}' --tenant acme --tool {TOOL}"
    ));
    assert!(
        ran.success && !ran.out.contains(&listed),
        "{} {}",
        ran.out,
        ran.err
    );
    // Also without any policy about hosts, the list holds.
    let all = "- { rule: all, when: { tool: web.fetchSafe }, decision: allow }";
    stage.owner.publish("acme", all).await.unwrap();
    let url = stage.url("a.listed.example.com", "/");
    wait::until("a policy that allows everything", PATIENCE, || async {
        let reply = stage.client.call(TOOL, json!({"url": url})).await?;
        Ok((reply.meta(PROBLEM)["type"] == "/problems/egress-blocked").then_some(reply))
    })
    .await
    .map(|reply| {
        let words = reply.words();
        assert!(
            words.contains("egress allow a.listed.example.com"),
            "{words}"
        );
    })
    .unwrap();
}

#[tokio::test]
async fn owasp_ssrf_no_redirect_leads_inside_or_off_the_list() {
    let inside = Web::start(|_path| Answer::text("secret")).await.unwrap();
    let hidden = inside.port();
    let stage = Stage::set(move |path| match path {
        "/inside" => Answer::redirect(&format!("http://127.0.0.1:{hidden}/")),
        "/metadata" => Answer::redirect("http://169.254.169.254/latest/meta-data/"),
        "/elsewhere" => Answer::redirect("http://elsewhere.example.com/"),
        "/local" => Answer::redirect("http://localhost/"),
        "/file" => Answer::redirect("file:///etc/passwd"),
        "/spelled" => Answer::redirect("http://0x7f000001/"),
        "/userinfo" => Answer::redirect("http://site.example.com@127.0.0.1/"),
        "/round" => Answer::redirect("/round"),
        "/good" => Answer::redirect("/end"),
        _ => Answer::text("the end"),
    })
    .await;
    for path in [
        "/inside",
        "/metadata",
        "/elsewhere",
        "/local",
        "/file",
        "/spelled",
        "/userinfo",
        "/round",
    ] {
        let reply = stage.page(path).await;
        assert_denied(&reply, "egress-blocked");
        assert_tells_no_address(&reply);
        assert!(!reply.text().contains("secret"), "{}", reply.told());
        stage.assert_recorded(&reply, "egress-blocked").await;
    }
    assert!(inside.requests().is_empty(), "the inside was reached");
    let reply = stage.page("/elsewhere").await;
    assert!(
        reply.words().contains("elsewhere.example.com"),
        "{}",
        reply.words()
    );
    let result = assert_result(&stage.page("/good").await);
    assert_eq!(
        (&result["text"], &result["redirects"]),
        (&json!("the end"), &json!(1))
    );
}

#[tokio::test]
async fn owasp_ssrf_a_name_that_is_rebound_reaches_no_other_address() {
    let stage = Stage::set(|_path| Answer::text("outside")).await;
    let at = SocketAddr::new(INSIDE, stage.web.port());
    let inside = Web::start_at(at, |_path| Answer::text("inside"))
        .await
        .unwrap();
    stage
        .dns
        .turns("site.example.com", &[&[LOCAL], &[INSIDE], &[INSIDE, LOCAL]]);
    let (mut served, mut refused) = (0, 0);
    for _ in 0..30 {
        let reply = stage.page("/").await;
        if reply.is_tool_error() {
            assert_denied(&reply, "egress-blocked");
            refused += 1;
        } else {
            assert_eq!(assert_result(&reply)["text"], "outside");
            served += 1;
        }
    }
    assert!(inside.requests().is_empty(), "the inside was reached");
    assert_eq!((served, refused), (10, 20));
}

fn hostile(path: &str, most: &str) -> Answer {
    match path {
        "/most" => Answer::text(most),
        "/more" => Answer::text(&format!("{most}y")),
        "/gzip" => Answer::Zeros(Some("gzip"), 1 << 33),
        "/br" => Answer::Zeros(Some("br"), 1 << 33),
        "/zstd" => Answer::Zeros(Some("zstd"), 1 << 33),
        "/endless" => Answer::Zeros(None, u64::MAX),
        "/image" => Answer::said("200 OK", "content-type: image/png", "x"),
        "/nothing-said" => Answer::said("200 OK", "x-a: b", "x"),
        "/twice" => Answer::said(
            "200 OK",
            "content-type: text/plain\r\ncontent-encoding: gzip, gzip",
            "x",
        ),
        "/mail" => Answer::text("write to dana@example.com"),
        "/missing" => Answer::said("404 Not Found", "content-type: text/plain", "no such page"),
        _ => Answer::text("hello"),
    }
}

#[tokio::test]
async fn owasp_ssrf_a_caller_injects_no_header_and_gets_nothing_but_a_small_text() {
    let big = "x".repeat(64 * 1024);
    let most = big.clone();
    let stage = Stage::set(move |path| hostile(path, &most)).await;
    for (name, value) in [
        ("headers", json!({"Metadata": "true"})),
        ("method", json!("POST")),
        ("body", json!("x")),
        ("Host", json!("127.0.0.1")),
    ] {
        let url = stage.url("site.example.com", "/");
        let reply = stage
            .client
            .call(TOOL, json!({"url": url, name: value}))
            .await
            .unwrap();
        assert_denied(&reply, "invalid-arguments");
    }
    stage.page("/?q=a%20b").await;
    let sent = stage.web.requests().pop().unwrap().to_lowercase();
    let mut lines: Vec<_> = sent.trim_end().lines().collect();
    assert_eq!(lines.remove(0), "get /?q=a%20b http/1.1");
    lines.sort_unstable();
    let host = format!("host: site.example.com:{}", stage.web.port());
    let expected = [
        "accept-encoding: gzip, br, zstd",
        "accept: text/*, */*;q=0.5",
        "connection: close",
        host.as_str(),
        "user-agent: portcullis",
    ];
    assert_eq!(lines, expected);
    for path in [
        "/more",
        "/gzip",
        "/br",
        "/zstd",
        "/endless",
        "/image",
        "/nothing-said",
        "/twice",
    ] {
        let reply = stage.page(path).await;
        assert_denied(&reply, "egress-blocked");
        stage.assert_recorded(&reply, "egress-blocked").await;
    }
    assert_eq!(assert_result(&stage.page("/most").await)["text"], big);
    assert_eq!(assert_result(&stage.page("/missing").await)["status"], 404);
    // Personal data in what was fetched is masked like any other.
    let text = assert_result(&stage.page("/mail").await)["text"].to_string();
    assert!(!text.contains("dana@example.com"), "{text}");
}

/// What would block nothing is refused.
fn assert_no_block(stage: &Stage) {
    for wrong in ["'*.example.com'", "https://example.com", "example.com:443"] {
        let ran = stage.portcullis(&format!(
            "switch drop egress-block {wrong} --tenant acme --reason 'odd answers'"
        ));
        assert!(
            !ran.success && ran.err.contains("target"),
            "{wrong}: {}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owasp_ssrf_a_block_stops_calls_under_way_and_new_ones_until_it_is_lifted() {
    let stage = Stage::set(|path| match path {
        "/hang" => Answer::Hang(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nx".to_vec()),
        "/away" => Answer::redirect("/end"),
        _ => Answer::text("hello"),
    })
    .await;
    let asked = stage.web.requests().len();
    let (client, url) = (stage.client.clone(), stage.url("site.example.com", "/hang"));
    let mut calls = JoinSet::new();
    calls.spawn(async move { client.call(TOOL, json!({"url": url})).await.unwrap() });
    stage.web.until_asked(asked + 1).await;
    let dropped = stage.portcullis(
        "--json switch drop egress-block site.example.com --tenant acme --reason 'odd answers'",
    );
    assert!(dropped.success, "{}", dropped.err);
    let stopped = tokio::time::timeout(Duration::from_secs(5), calls.join_next()).await;
    let stopped = stopped.expect("it goes on").unwrap().unwrap();
    assert!(stopped.is_tool_error(), "{}", stopped.told());
    assert_eq!(stopped.meta(PROBLEM)["type"], "/problems/egress-blocked");
    stage.assert_recorded(&stopped, "egress-blocked").await;
    let asked = stage.web.requests().len();
    for path in ["/", "/away"] {
        let reply = stage.page(path).await;
        assert_denied(&reply, "egress-blocked");
        assert!(reply.words().contains("odd answers"), "{}", reply.words());
        stage.assert_recorded(&reply, "egress-blocked").await;
    }
    assert_eq!(stage.web.requests().len(), asked, "nothing was sent");
    let other = stage.fetch(&stage.url("other.example.com", "/")).await;
    assert_result(&other);
    let check = stage.portcullis(&format!(
        "egress check --tenant acme {}",
        stage.url("site.example.com", "/")
    ));
    assert!(
        !check.success && check.out.contains("egress-block is down"),
        "{}",
        check.out
    );
    let switch: Value = serde_json::from_str(&dropped.out).unwrap();
    let id = switch["switch"]["id"].as_str().unwrap();
    let lifted = stage.portcullis(&format!(
        "switch lift {id} --tenant acme --reason 'looked at'"
    ));
    assert!(lifted.success, "{}", lifted.err);
    stage.until_listed("site.example.com").await;
    // By address: whatever leads there.
    let words = "--json switch drop egress-block 127.0.0.1 --tenant acme --reason 'odd answers'";
    assert!(stage.portcullis(words).success);
    let reply = stage.page("/").await;
    assert!(reply.is_tool_error(), "{}", reply.told());
    assert_eq!(reply.meta(PROBLEM)["type"], "/problems/egress-blocked");
    assert_no_block(&stage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_explains_each_step_and_shows_no_address_inside() {
    let stage = Stage::set(|_path| Answer::text("hello")).await;
    stage
        .dns
        .at("inside.example.com", &["10.9.8.7".parse().unwrap()]);
    stage.list(&["inside.example.com"]).await;
    let good = stage.url("site.example.com", "/");
    let ran = stage.portcullis(&format!("egress check --tenant acme '{good}'"));
    assert!(ran.success, "{} {}", ran.out, ran.err);
    for step in [
        "url",
        "scheme",
        "host",
        "port",
        "allow-list",
        "block-list",
        "addresses",
    ] {
        assert!(ran.out.contains(step), "{}", ran.out);
    }
    for (url, words) in [
        ("http://inside.example.com/", "private use"),
        ("http://0x7f.1/", "unusual spelling"),
        ("http://169.254.169.254/", "reached by nobody"),
        ("http://elsewhere.example.com/", "egress allow"),
        ("http://localhost/", "inside"),
        ("http://site.example.com:2222/", "neither 80 nor 443"),
    ] {
        let ran = stage.portcullis(&format!("egress check --tenant acme '{url}'"));
        assert!(
            !ran.success && ran.out.contains(words),
            "{url}: {} {}",
            ran.out,
            ran.err
        );
        assert!(!ran.out.contains("10.9.8.7"), "{}", ran.out);
    }
    let ran = stage.portcullis("--json egress check --tenant acme http://inside.example.com/");
    let check: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(check["may_be_reached"], false);
    assert_eq!(check["steps"][6]["passed"], false);
}
