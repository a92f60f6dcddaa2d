//! The command line against a server on a socket: a tenant set up from nothing, and every refusal with
//! its exit code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use portcullis_api::cli::{Command, OperatorFile, Options, run};
use portcullis_api::oauth::{self, OAuth, OAuthSettings};
use portcullis_domain::{ManualClock, Pool};
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::TrustedProxies;
use portcullis_store::RegionStore;
use portcullis_wire::api::Role;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

mod stops;

use crate::claims::unknown_claim;
use crate::cluster::Cluster;
use crate::platform::{Platform, at, token_id};

#[derive(Debug, Parser)]
#[command(name = "portcullis")]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// A server, and an operator's folder beside it.
struct Shell {
    platform: Platform,
    regions: BTreeMap<Pool, RegionStore>,
    folder: TempDir,
    url: String,
    _serving: TaskTracker,
}

/// What a command left behind.
#[derive(Debug)]
struct Outcome {
    code: u8,
    out: String,
    hints: String,
}

impl Outcome {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.hints);
        self
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).unwrap()
    }

    #[track_caller]
    fn fails(self, code: u8, words: &str) {
        assert_eq!(self.code, code, "{} {}", self.out, self.hints);
        assert!(self.hints.contains(words), "{}", self.hints);
    }
}

impl Shell {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut regions = BTreeMap::new();
        for pool in Pool::ALL {
            regions.insert(pool, Cluster::shared().await.region(pool).await);
        }
        let platform = Platform::over(regions.clone(), &url).await;
        let folder = tempfile::tempdir().unwrap();
        let oauth = authorization_server(&platform, &url, folder.path());
        let app = platform.router().merge(oauth::router(Arc::new(oauth)));
        let serving = TaskTracker::new();
        serving.spawn(async move {
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).await.unwrap();
        });
        let operator = OperatorFile {
            server: url.clone(),
            ca_file: None,
            platform_token: SecretString::from(platform.root.as_str()),
            tenants: BTreeMap::new(),
        };
        operator.save(&folder.path().join("operator.json")).unwrap();
        Self {
            platform,
            regions,
            folder,
            url,
            _serving: serving,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a command as the operator of this server.
    async fn run(&self, line: &str) -> Outcome {
        let operator = self.path("operator.json");
        let operator = ["--operator-file", operator.to_str().unwrap()];
        self.run_with(line, &operator).await
    }

    async fn run_with(&self, line: &str, more: &[&str]) -> Outcome {
        let arguments = std::iter::once("portcullis")
            .chain(line.split_whitespace())
            .chain(more.iter().copied());
        let parsed = CommandLine::try_parse_from(arguments).unwrap();
        let (mut out, mut hints) = (Vec::new(), Vec::new());
        let clock: &ManualClock = &self.platform.clock;
        let code = run(parsed.command, &parsed.options, clock, &mut out, &mut hints).await;
        Outcome {
            code,
            out: String::from_utf8(out).unwrap(),
            hints: String::from_utf8(hints).unwrap(),
        }
    }
}

fn authorization_server(platform: &Platform, url: &str, folder: &Path) -> OAuth {
    let keys = LocalKeys::open_or_create(&folder.join("keys.json"), at(0)).unwrap();
    let settings = OAuthSettings {
        public_url: url.to_owned(),
        lifetime: Duration::seconds(600),
        proxies: TrustedProxies::default(),
        requests: oauth::RequestRate::default(),
    };
    OAuth::new(
        Arc::new(platform.control.clone()),
        Arc::new(keys),
        Arc::<ManualClock>::clone(&platform.clock),
        Switchboard::default(),
        settings,
    )
    .unwrap()
}

#[tokio::test]
async fn an_operator_sets_a_tenant_up_from_nothing() {
    let shell = Shell::start().await;
    shell.run("tenant create initech --home eu-west").await.ok();
    let hint = shell.run("tenant show initech").await.ok();
    assert!(
        hint.out.contains(&format!("{}/t/initech/mcp", shell.url)),
        "{hint:?}"
    );
    shell
        .run("service-token create --tenant initech --role owner --save")
        .await
        .ok();
    shell
        .run("principal create --tenant initech agent:copilot")
        .await
        .ok();
    let granted = "grant add --tenant initech agent:copilot orders.read --expires-in 60m --json";
    let grant = shell.run(granted).await.json();
    assert_eq!(grant[0]["scope"], "orders.read");
    shell
        .run("principal secret create --tenant initech agent:copilot --save")
        .await
        .ok();
    let token = shell
        .run("token --tenant initech --principal agent:copilot")
        .await
        .ok();
    assert_eq!(token.out.trim().split('.').count(), 3, "{token:?}");
    let answer = shell
        .run("token --tenant initech --principal agent:copilot --json")
        .await
        .json();
    assert_eq!(answer["scope"], "orders.read");
    let limits = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/limits.json");
    let set = format!("limits set --tenant initech -f {limits} --json");
    assert_eq!(shell.run(&set).await.json()["version"], 2);
    let tools = shell.run("tool list --tenant initech --json").await.json();
    // Made within one millisecond, so their order is by chance.
    let mut tools = tools.as_array().unwrap().iter();
    assert!(tools.any(|tool| tool["name"] == "orders.export"));
    let records = format!("records --tenant initech --trace {}", "1".repeat(32));
    assert_eq!(shell.run(&records).await.ok().out, "");
    let revoke = format!(
        "grant revoke --tenant initech agent:copilot {}",
        grant[0]["id"].as_str().unwrap()
    );
    shell.run(&revoke).await.ok();
    shell
        .run("token --tenant initech --principal agent:copilot --scope orders.read")
        .await
        .fails(1, "invalid_scope");
    shell
        .run("principal suspend --tenant initech agent:copilot")
        .await
        .ok();
    shell
        .run("token --tenant initech --principal agent:copilot")
        .await
        .fails(4, "invalid_client");
}

#[tokio::test]
async fn a_policy_is_checked_drafted_and_published() {
    let shell = Shell::start().await;
    shell.run("tenant create initech --home eu-west").await.ok();
    shell
        .run("service-token create --tenant initech --role owner --save")
        .await
        .ok();
    let sound = shell.file(
        "sound.yaml",
        "- { rule: reads, when: { tool.risk: low, tool.mutating: false }, decision: allow }\n",
    );
    let broken = shell.file("broken.yaml", "- rule: x\n  when: { tool.rsk: low }\n");
    for against in ["--tenant initech", ""] {
        shell
            .run(&format!("policy check {sound} {against}"))
            .await
            .ok();
        let checked = shell.run(&format!("policy check {broken} {against}")).await;
        assert!(checked.out.contains("broken.yaml:2:"), "{checked:?}");
        checked.fails(1, "does not hold");
    }
    shell
        .run(&format!("policy draft --tenant initech {broken}"))
        .await
        .fails(1, "2:");
    let drafted = shell
        .run(&format!("policy draft --tenant initech {sound} --json"))
        .await
        .json();
    assert_eq!(drafted["number"], 2);
    shell.run("policy publish --tenant initech 2").await.ok();
    let empty = shell.file("empty.yaml", "[]\n");
    shell
        .run(&format!("policy draft --tenant initech {empty}"))
        .await
        .ok();
    let warned = "policy publish --tenant initech 3";
    shell.run(warned).await.fails(1, "--accept-warnings");
    let list = shell
        .run("policy list --tenant initech --json")
        .await
        .json();
    assert_eq!(
        (&list[1]["status"], &list[2]["status"]),
        (&"published".into(), &"superseded".into())
    );
    let shown = shell.run("policy show --tenant initech 2").await.ok().out;
    assert!(shown.starts_with("- { rule: reads"), "{shown}");
}

#[tokio::test]
async fn a_change_ticket_is_opened_listed_shown_and_closed() {
    let shell = Shell::start().await;
    shell.run("tenant create initech --home eu-west").await.ok();
    shell
        .run("service-token create --tenant initech --role owner --save")
        .await
        .ok();
    let bound = "--tool flag.set --arg name=checkout_v2 --arg env=prod";
    let open = format!("ticket open --tenant initech {bound} --reason Launch --expires-in 2h");
    let ticket = shell.run(&format!("{open} --json")).await.json();
    assert_eq!(ticket["arguments"]["env"], "prod");
    let id = ticket["id"].as_str().unwrap();
    let list = shell.run("ticket list --tenant initech --state open").await;
    let list = list.ok().out;
    assert!(list.contains("env=prod name=checkout_v2"), "{list}");
    let shown = shell
        .run(&format!("ticket show --tenant initech {id}"))
        .await;
    assert!(shown.ok().out.contains("Launch"));
    let close = format!("ticket close --tenant initech {id} --reason Done");
    shell.run(&close).await.ok();
    shell.run(&close).await.fails(1, "closed already");
    let open = shell.run("ticket list --tenant initech --state open").await;
    assert_eq!(open.ok().out.trim(), "(none)");
    let twice = "ticket open --tenant initech --tool flag.set --arg env=prod --arg env=dev";
    shell
        .run(&format!("{twice} --reason Launch"))
        .await
        .fails(2, "given twice");
    let half = "ticket open --tenant initech --tool flag.set --arg env=prod --reason Launch";
    shell.run(half).await.fails(1, "`name`");
}

#[tokio::test]
async fn a_claim_of_unknown_outcome_is_listed_shown_and_resolved_once() {
    let shell = Shell::start().await;
    shell.run("tenant create initech --home eu-west").await.ok();
    shell
        .run("service-token create --tenant initech --role owner --save")
        .await
        .ok();
    let tenant = shell.run("tenant show initech --json").await.json();
    let tenant = tenant["id"].as_str().unwrap().parse().unwrap();
    let claim = unknown_claim(&shell.regions[&Pool::EuWest], tenant).await;
    let list = shell
        .run("claim list --tenant initech --state unknown")
        .await;
    let list = list.ok().out;
    assert!(list.contains("flag.set"), "{list}");
    let show = format!("claim show --tenant initech {claim}");
    assert!(shell.run(&show).await.ok().out.contains("unknown"));
    let resolve =
        format!("claim resolve --tenant initech {claim} --outcome executed --reason Seen");
    let resolved = shell.run(&format!("{resolve} --json")).await.json();
    assert_eq!(resolved["outcome"], "executed");
    shell.run(&resolve).await.fails(1, "not unknown");
    assert!(shell.run(&show).await.ok().out.contains("Seen"));
    let none = shell
        .run("claim list --tenant initech --state unknown")
        .await;
    assert_eq!(none.ok().out.trim(), "(none)");
}

#[tokio::test]
async fn refusals_end_with_their_exit_codes_and_say_what_to_do() {
    let shell = Shell::start().await;
    // The platform's token sees no principals: the hint names roles that do.
    shell
        .run("principal list --tenant acme")
        .await
        .fails(4, "owner, operator, approver, auditor, viewer");
    shell
        .run("tenant show nothing")
        .await
        .fails(1, "no such thing");
    shell
        .run("tenant create acme --home eu-west")
        .await
        .fails(1, "the slug is taken");
    shell
        .run("tenant create Acme --home eu-west")
        .await
        .fails(1, "Choose one like `acme`");
    let viewer = shell
        .platform
        .token(&shell.platform.acme, "acme", Role::Viewer)
        .await;
    let file = shell.file("viewer.token", &format!("{viewer}\n"));
    let as_viewer = ["--server", &shell.url, "--token-file", &file];
    shell
        .run_with("principal list --tenant acme", &as_viewer)
        .await
        .ok();
    shell
        .run_with("principal create --tenant acme agent:x", &as_viewer)
        .await
        .fails(4, "owner, operator");
    let digits = token_id(&viewer).replace("svt_", "");
    let wrong = format!("pst_{digits}_{}", "A".repeat(43));
    let wrong = shell.file("wrong.token", &wrong);
    let with_wrong = ["--server", &shell.url, "--token-file", &wrong];
    shell
        .run_with("tenant list", &with_wrong)
        .await
        .fails(4, "service token");
    shell
        .run("token --tenant nothing --principal agent:x")
        .await
        .fails(2, "holds no credentials");
}

#[tokio::test]
async fn secrets_go_to_private_files_and_never_over_another_file() {
    let shell = Shell::start().await;
    shell.run("tenant create initech --home eu-west").await.ok();
    shell
        .run("service-token create --tenant initech --role owner --save")
        .await
        .ok();
    let operator = OperatorFile::load(&shell.path("operator.json")).unwrap();
    assert!(
        operator.tenants["initech"]
            .owner_token
            .expose_secret()
            .starts_with("pst_")
    );
    shell
        .run("principal create --tenant initech agent:copilot")
        .await
        .ok();
    let secret = shell.path("copilot.secret");
    let line = format!(
        "principal secret create --tenant initech agent:copilot --out {}",
        secret.display()
    );
    let outcome = shell.run(&line).await.ok();

    let printed = format!("{}{}", outcome.out, outcome.hints);
    assert!(!printed.contains("pcs_"), "{printed}");
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&secret).unwrap();
    shell.run(&line).await.fails(1, "cannot create");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), text);
    shell
        .run("grant add --tenant initech agent:copilot orders.read")
        .await
        .ok();
    let id = shell
        .run("principal show --tenant initech agent:copilot --json")
        .await
        .json()["id"]
        .clone();
    let token = format!(
        "token --tenant initech --client-id {} --client-secret-file {}",
        id.as_str().unwrap(),
        secret.display()
    );
    shell.run(&token).await.ok();
}

#[tokio::test]
async fn the_description_needs_no_server() {
    let shell = Shell::start().await;
    let printed = shell
        .run_with("openapi", &["--operator-file", "/nonexistent"])
        .await
        .ok();
    assert_eq!(printed.out, include_str!("../../../../docs/openapi.json"));
}
