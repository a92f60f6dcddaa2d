//! The conformance suite of the protocol against the running binary, in both eras. A scenario that needs
//! no fixture of the suite's own must come out exactly as listed here; every other is named with the
//! reason why it cannot apply. Nothing is left out in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portcullis_e2e::doorman::Post;
use portcullis_e2e::node::{Node, node};
use portcullis_e2e::{Grants, Options, Platform};
use serde_json::Value;

/// A check that cannot succeed here, how it comes out, and why.
type Left = (&'static str, &'static str, &'static str);

/// A scenario, how many of its checks succeed, and those that cannot.
type Scenario = (&'static str, usize, &'static [Left]);

const NO_SESSION: &str = "there are no sessions: every request stands for itself";
const NO_RESOURCES: &str = "the platform offers no resources, so the method is unknown (-32601)";
const NO_PROMPTS: &str = "the platform offers no prompts";
const TOOL: &str = "needs one of the suite's own tools";
const LISTEN: &str = "the platform announces no subscriptions";

const OLDER: &[Scenario] = &[
    ("server-initialize", 2, &[]),
    ("ping", 2, &[]),
    ("tools-list", 3, &[]),
    ("dns-rebinding-protection", 2, &[]),
    ("server-session-lifecycle", 0, &[]),
    (
        "server-sse-multiple-streams",
        0,
        &[("server-sse-multiple-streams-session", "WARNING", NO_SESSION)],
    ),
    (
        "server-sse-polling",
        0,
        &[("server-sse-polling-session", "WARNING", NO_SESSION)],
    ),
];

const NEWEST: &[Scenario] = &[
    ("tools-list", 4, &[]),
    ("server-sse-multiple-streams", 1, &[]),
    ("dns-rebinding-protection", 2, &[]),
    ("http-header-validation", 14, &[]),
    ("input-required-result-unsupported-methods", 2, &[]),
    ("input-required-result-validate-input", 3, &[]),
    (
        "input-required-result-ignore-extra-params",
        1,
        &[("sep-2322-ignore-unexpected-params", "WARNING", TOOL)],
    ),
    (
        "input-required-result-missing-input-response",
        1,
        &[("sep-2322-missing-response-rerequests", "WARNING", TOOL)],
    ),
    (
        "sep-2164-resource-not-found",
        2,
        &[
            ("sep-2164-error-code", "WARNING", NO_RESOURCES),
            ("sep-2164-data-uri", "WARNING", NO_RESOURCES),
        ],
    ),
    (
        "caching",
        4,
        &[
            ("sep-2549-prompts-list-caching-hints", "FAILURE", NO_PROMPTS),
            (
                "sep-2549-resources-list-caching-hints",
                "FAILURE",
                NO_RESOURCES,
            ),
            (
                "sep-2549-resources-templates-list-caching-hints",
                "FAILURE",
                NO_RESOURCES,
            ),
            (
                "sep-2549-resources-read-caching-hints",
                "SKIPPED",
                NO_RESOURCES,
            ),
        ],
    ),
    (
        "server-stateless",
        21,
        &[
            (
                "sep-2575-server-rejects-undeclared-capability",
                "FAILURE",
                TOOL,
            ),
            ("sep-2575-missing-capability-http-400", "FAILURE", TOOL),
            (
                "sep-2575-http-server-no-independent-requests-on-stream",
                "FAILURE",
                TOOL,
            ),
            ("sep-2575-server-no-log-without-loglevel", "FAILURE", TOOL),
            ("sep-2575-server-sends-subscription-ack", "SKIPPED", LISTEN),
            ("sep-2575-server-tags-subscription-id", "SKIPPED", LISTEN),
            (
                "sep-2575-server-honors-notification-filter",
                "SKIPPED",
                LISTEN,
            ),
            (
                "sep-2575-server-sends-prompts-list-changed-on-subscription",
                "SKIPPED",
                LISTEN,
            ),
            (
                "sep-2575-server-sends-tools-list-changed-on-subscription",
                "SKIPPED",
                LISTEN,
            ),
        ],
    ),
];

/// What scenarios are about that need a fixture, by the beginning of their names, and which fixture.
const FIXTURES: &[(&str, &str)] = &[
    (
        "completion-complete",
        "a prompt that completes its arguments",
    ),
    (
        "elicitation-",
        "a tool that asks its caller, over a session",
    ),
    ("http-custom-header-", "a tool with an x-mcp-header"),
    ("input-required-result-", "a tool that asks its caller"),
    ("json-schema-2020-12", "a tool of the suite's own"),
    (
        "logging-set-level",
        "log messages for the caller, which the platform sends none of",
    ),
    ("prompts-", "prompts of the suite's own"),
    ("resources-", "resources of the suite's own"),
    ("tools-call-", "tools of the suite's own"),
];

/// What a run wrote down: the checks of each scenario, each with how it came out.
type Written = BTreeMap<String, Vec<(String, String)>>;

#[tokio::test]
async fn the_conformance_suite_comes_out_as_listed_in_both_eras() {
    let post = Post::take().await.unwrap();
    // A page of the suite's own origin is one that an operator lets in.
    let options = Options::default()
        .roomy()
        .with("PORTCULLIS_SERVER_ALLOWED_ORIGINS", &post.origin());
    let platform = Platform::start_with(options).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let token = agent.caller().await.unwrap().token().to_owned();
    let doorman = post.before(agent.mcp_url(), &token).unwrap();
    for (revision, scenarios) in [("2025-11-25", OLDER), ("2026-07-28", NEWEST)] {
        let url = doorman.url();
        let written = tokio::task::spawn_blocking(move || {
            let packages = node().unwrap();
            run(&packages, &url, revision)
        });
        compare(revision, &written.await.unwrap(), scenarios);
    }
}

fn run(packages: &Node, url: &str, revision: &str) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let mut command = packages.command();
    command
        .arg(packages.file("@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", url, "--suite", "all"])
        .args(["--spec-version", revision, "--output-dir"])
        .arg(folder.path());
    // Its exit code speaks of the scenarios that need fixtures, too.
    let output = command.output().unwrap();
    let written = read(folder.path());
    assert!(!written.is_empty(), "the suite ran nothing: {output:?}");
    written
}

fn read(folder: &Path) -> Written {
    let mut written = Written::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // `server-SCENARIO-2026-12-01T06-07-04-385Z`
        let scenario = name.strip_prefix("server-").unwrap();
        let scenario = scenario.get(..scenario.len() - 25).unwrap().to_owned();
        let text = std::fs::read_to_string(path.join("checks.json")).unwrap();
        let checks: Vec<Value> = serde_json::from_str(&text).unwrap();
        let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
        let checks = checks
            .iter()
            .map(|check| (text(check, "id"), text(check, "status")));
        written.insert(scenario, checks.collect());
    }
    written
}

fn compare(revision: &str, written: &Written, scenarios: &[Scenario]) {
    let mut known = BTreeSet::new();
    for (scenario, green, left) in scenarios {
        known.insert(*scenario);
        assert!(
            written.contains_key(*scenario),
            "{revision} {scenario} was not run"
        );
        let checks = &written[*scenario];
        let green_now = checks.iter().filter(|(_, status)| status == "SUCCESS");
        assert_eq!(
            green_now.count(),
            *green,
            "{revision} {scenario}: {checks:?}"
        );
        let others = checks
            .iter()
            .filter(|(_, status)| status != "SUCCESS" && status != "INFO")
            .map(|(id, status)| (id.as_str(), status.as_str()));
        let listed = left.iter().map(|(id, status, why)| {
            assert!(!why.is_empty());
            (*id, *status)
        });
        let (others, listed): (BTreeSet<_>, BTreeSet<_>) = (others.collect(), listed.collect());
        assert_eq!(others, listed, "{revision} {scenario}");
    }
    for scenario in written.keys().filter(|name| !known.contains(name.as_str())) {
        let mut fixtures = FIXTURES.iter();
        let named = fixtures.any(|(start, _)| scenario.starts_with(start));
        assert!(
            named,
            "{revision} {scenario} is neither expected nor excused"
        );
    }
}
