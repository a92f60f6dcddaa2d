//! Every check and every test, in the order in which a mistake is cheapest to find.
//!
//! A check that fails does not stop those after it: one run tells everything. A check that cannot
//! be run is skipped by name or fails; it never passes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::outcome::{Counts, Outcome, Report};
use crate::{cargo, owasp, prepare, tools};

/// What a check does.
type Body<'b> = &'b mut dyn FnMut() -> Result<Outcome>;

/// Runs all of it; green means exit code 0. Without `containers`, a machine without a container engine
/// skips the tests on one, by name.
pub(crate) fn run(containers: bool) -> Result<ExitCode> {
    let mut report = Report::default();
    let mut check = |name: &str, body: Body<'_>| {
        say(&format!("\n==> {name}"));
        let begun = Instant::now();
        let outcome = body().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(why) = &outcome {
            say(&format!("{name}: {why}"));
        }
        report.add(name, outcome, begun.elapsed());
    };
    without_running(&mut check);
    let mut python = None;
    check("python of the end-to-end tests", &mut || {
        python = Some(tools::python()?);
        Ok(Outcome::Passed)
    });
    let mut node = None;
    check("npm packages of the end-to-end tests", &mut || {
        node = Some(tools::node()?);
        Ok(Outcome::Passed)
    });
    let mut postgres = "embedded";
    check("fault tests on PostgreSQL in a container", &mut || {
        let outcome = engine(containers);
        if outcome == Outcome::Passed {
            postgres = "container";
        }
        Ok(outcome)
    });
    let mut counts = Counts::default();
    let mut skipped = Vec::new();
    check("tests", &mut || {
        tools::curl()?;
        // Tests that are marked as ignored need root, for networks of their own.
        let mut command = test_runner(tools::is_root());
        command.env("E2E_POSTGRES", postgres);
        if let Some(python) = &python {
            command.env("E2E_PYTHON", python);
        }
        if let Some(node) = &node {
            command.env("E2E_NODE", node);
        }
        let outcome = counted(&mut command, &mut counts)?;
        if counts.skipped > 0 {
            skipped = ignored_tests();
        }
        Ok(outcome)
    });
    check("documentation's examples", &mut || {
        counted(
            cargo().args(["test", "--workspace", "--doc", "--locked"]),
            &mut counts,
        )
    });
    report.add_tests(counts, skipped);
    report.print()?;
    Ok(if report.is_green() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is found without running anything of ours.
fn without_running(check: &mut dyn FnMut(&str, Body<'_>)) {
    check("format", &mut || {
        passes(cargo().args(["fmt", "--all", "--check"]))
    });
    check("clippy", &mut || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked"];
        passes(cargo().args(arguments).args(["--", "-D", "warnings"]))
    });
    check("documentation", &mut documentation);
    for name in tools::PURE {
        check(&format!("wasm: {name}"), &mut || wasm(name));
    }
    check("queries (.sqlx)", &mut queries);
    check("dependencies (cargo-deny)", &mut dependencies);
    check("OWASP rows (docs/owasp.md)", &mut || owasp::check(&mut say));
}

fn say(text: &str) {
    // Nobody to tell is no reason to stop checking.
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

fn passes(command: &mut Command) -> Result<Outcome> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    Ok(if status.success() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{status}"))
    })
}

fn documentation() -> Result<Outcome> {
    let mut command = cargo();
    command
        .args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--locked",
        ])
        .env("RUSTDOCFLAGS", "-D warnings");
    passes(&mut command)
}

/// One pure crate for wasm, by itself: with others beside it, their features would be mixed in.
fn wasm(name: &str) -> Result<Outcome> {
    tools::wasm_target()?;
    let package = format!("portcullis-{name}");
    passes(cargo().args([
        "check",
        "--locked",
        "--package",
        &package,
        "--target",
        tools::WASM,
    ]))
}

fn queries() -> Result<Outcome> {
    prepare::run(true)?;
    Ok(Outcome::Passed)
}

/// Whether the tests can have containers; where they have to, it is a failure that they cannot.
fn engine(wanted: bool) -> Outcome {
    let why = "no container engine answers; they run on the embedded PostgreSQL".to_owned();
    match (tools::engine_answers(), wanted) {
        (true, _) => Outcome::Passed,
        (false, true) => Outcome::Failed(why),
        (false, false) => Outcome::Skipped(why),
    }
}

fn dependencies() -> Result<Outcome> {
    if !tools::has_cargo("deny") {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    passes(cargo().args(["deny", "check", "bans", "licenses", "sources"]))
}

fn test_runner(with_ignored: bool) -> Command {
    let mut command = cargo();
    if tools::has_cargo("nextest") {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ]);
        if with_ignored {
            command.args(["--run-ignored", "all"]);
        }
    } else {
        command.args([
            "test",
            "--workspace",
            "--all-targets",
            "--locked",
            "--no-fail-fast",
        ]);
        if with_ignored {
            command.args(["--", "--include-ignored"]);
        }
    }
    command
}

/// Runs a test runner, passing its words on and counting.
fn counted(command: &mut Command, counts: &mut Counts) -> Result<Outcome> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    // The command still holds the pipe's other end; without it the reading below ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).lines() {
        let line = line?;
        counts.read(&line);
        say(&line);
    }
    let status = child.wait()?;
    Ok(if status.success() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{status}"))
    })
}

/// The names of the tests that are marked as ignored.
fn ignored_tests() -> Vec<String> {
    let output = test_runner_list().output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .map(|line| line.trim().trim_end_matches(": test").to_owned())
        .filter(|line| line.contains("::") || line.contains(' '))
        .collect()
}

fn test_runner_list() -> Command {
    let mut command = cargo();
    if tools::has_cargo("nextest") {
        let arguments = ["nextest", "list", "--workspace", "--run-ignored", "only"];
        command
            .args(arguments)
            .args(["--message-format", "oneline"]);
    } else {
        command.args(["test", "--workspace", "--", "--list", "--ignored"]);
    }
    command
}
