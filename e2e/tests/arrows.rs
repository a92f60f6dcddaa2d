//! Holds the shape of the house: which crate may know which, what pure crates may not contain, and
//! the marks that every source file bears. `docs/ARCHITECTURE.md` explains the arrows.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each crate of ours may depend on. A crate that is not listed may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("portcullis-domain", &[]),
    ("portcullis-wire", &["domain"]),
    ("portcullis-policy", &["domain"]),
    ("portcullis-redaction", &["domain"]),
    ("portcullis-evidence", &["domain"]),
    ("portcullis-egress", &["domain"]),
    ("portcullis-keys", &["domain"]),
    ("portcullis-store", &["domain"]),
    ("portcullis-telemetry", &["domain"]),
    (
        "portcullis-mcp-runtime",
        &[
            "domain",
            "wire",
            "policy",
            "redaction",
            "evidence",
            "egress",
            "keys",
            "store",
        ],
    ),
    (
        "portcullis-api",
        &[
            "domain",
            "wire",
            "policy",
            "redaction",
            "evidence",
            "egress",
            "keys",
            "store",
            "telemetry",
            "mcp-runtime",
        ],
    ),
    // Development tools: a running platform contains neither.
    (
        "portcullis-e2e",
        &[
            "domain",
            "wire",
            "policy",
            "redaction",
            "evidence",
            "egress",
            "keys",
            "store",
            "telemetry",
            "mcp-runtime",
            "api",
        ],
    ),
    ("xtask", &[]),
];

/// Crates without I/O, async or randomness; they compile to wasm.
const PURE: &[&str] = &[
    "portcullis-domain",
    "portcullis-wire",
    "portcullis-policy",
    "portcullis-redaction",
    "portcullis-evidence",
];
/// What no pure crate contains, however deep.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "axum",
    "hyper",
    "reqwest",
    "getrandom",
    "rand",
    "aws-lc-rs",
    "aws-lc-sys",
    "ring",
    "nix",
    "socket2",
];
/// Names under which anything ends up.
const DRAWERS: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "manager", "core", "misc", "shared",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    // Manifests alone: what only other platforms need was never downloaded.
    command.no_deps();
    command.other_options(["--locked".to_owned(), "--offline".to_owned()]);
    command.exec().unwrap()
}

fn ours(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

/// Direct dependencies of a package, by the kinds given.
fn direct<'a>(package: &'a Package, kinds: &[DependencyKind]) -> BTreeSet<&'a str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| kinds.contains(&dependency.kind))
        .map(|dependency| dependency.name.as_str())
        .collect()
}

const SHIPPED: &[DependencyKind] = &[DependencyKind::Normal, DependencyKind::Build];

#[test]
fn every_crate_knows_only_what_its_arrows_allow() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let names: BTreeSet<String> = ours(&metadata)
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let mut wrong = Vec::new();
    for package in ours(&metadata) {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} has no arrows", package.name));
            continue;
        };
        for known in direct(package, SHIPPED) {
            let short = known.trim_start_matches("portcullis-");
            if names.contains(known) && !allowed.contains(&short) {
                wrong.push(format!("{} -> {known}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let listed: BTreeSet<_> = allowed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed, names, "the list of arrows and the workspace differ");
}

#[test]
fn a_crate_under_test_knows_no_crate_above_it() {
    let metadata = metadata();
    let order: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let height = |name: &str| order.iter().position(|listed| *listed == name);
    let mut wrong = Vec::new();
    for package in ours(&metadata) {
        for known in direct(package, &[DependencyKind::Development]) {
            if let (Some(here), Some(there)) = (height(&package.name), height(known))
                && there > here
            {
                wrong.push(format!("{} -> {known}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Everything that a package contains when it is built by itself. `cargo metadata` would mix in the
/// features that its neighbours ask for.
fn contents(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", name])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(name), "cargo tree told nothing of {name}");
    names
}

#[test]
fn pure_crates_contain_no_io_no_async_and_no_randomness() {
    let mut wrong = Vec::new();
    for name in PURE {
        let contents = contents(name);
        wrong.extend(
            IMPURE
                .iter()
                .filter(|bad| contents.contains(**bad))
                .map(|bad| format!("{name} contains {bad}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_store_speaks_sql() {
    let metadata = metadata();
    for package in ours(&metadata) {
        let named = direct(
            package,
            &[
                DependencyKind::Normal,
                DependencyKind::Build,
                DependencyKind::Development,
            ],
        );
        let sql = [
            "sqlx",
            "sqlx-core",
            "sqlx-postgres",
            "tokio-postgres",
            "diesel",
        ];
        let speaks = named.iter().any(|name| sql.contains(name));
        assert!(
            !speaks || package.name.as_str() == "portcullis-store",
            "{} names a database client",
            package.name
        );
    }
    for (path, text) in sources() {
        let in_store = path.starts_with(root().join("crates/store"));
        let mentions = text.contains("sqlx::");
        assert!(
            in_store || !mentions || path.ends_with("e2e/tests/arrows.rs"),
            "{} uses sqlx",
            path.display()
        );
    }
}

#[test]
fn cryptography_stays_where_it_belongs() {
    let metadata = metadata();
    let allowed = [
        "portcullis-keys",
        "portcullis-mcp-runtime",
        "portcullis-api",
    ];
    for package in ours(&metadata) {
        let named = direct(package, SHIPPED);
        // Outbound TLS is one crate's business; it signs and verifies nothing by itself.
        let outbound = ("portcullis-egress", "rustls");
        for name in ["aws-lc-rs", "jsonwebtoken", "rustls"] {
            let own = package.name.as_str();
            assert!(
                !named.contains(name) || allowed.contains(&own) || (own, name) == outbound,
                "{} names {name}",
                package.name
            );
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let metadata = metadata();
    for package in ours(&metadata) {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true\n"),
            "{}",
            package.name
        );
    }
}

/// Every Rust file of ours.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![
        root().join("crates"),
        root().join("xtask"),
        root().join("e2e"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 40, "the sources were not found");
    files
}

#[test]
fn nothing_is_named_like_a_drawer() {
    let metadata = metadata();
    for package in ours(&metadata) {
        let short = package.name.trim_start_matches("portcullis-");
        assert!(!DRAWERS.contains(&short), "{}", package.name);
    }
    let root = root();
    for (path, _) in sources() {
        for part in &path.strip_prefix(&root).unwrap().with_extension("") {
            let part = part.to_string_lossy();
            assert!(!DRAWERS.contains(&&*part), "{}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn no_lint_is_switched_off_silently() {
    // Written in two parts, so that this file does not find itself.
    let marks = [
        ["#[", "allow"].concat(),
        ["#![", "allow"].concat(),
        ["cfg_attr(", "allow"].concat(),
    ];
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)))
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
