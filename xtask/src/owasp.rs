//! Which lines of the OWASP table have their end-to-end test: read from the names of the tests that
//! there are. It must never take a line for tested because somebody wrote so.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::outcome::Outcome;
use crate::root;

/// Where the lines are.
const TABLE: &str = "docs/owasp.md";
/// Where the tests are.
const TESTS: &str = "e2e/tests/e2e";
/// How each of their names begins.
const MARK: &str = "owasp_";

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line<'t> {
    seen: &'t str,
    prefix: &'t str,
}

/// Says which lines have no test; fails where a test belongs to no line.
pub(crate) fn check(say: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let path = root().join(TABLE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {TABLE}"))?;
    let lines = lines(&text);
    ensure!(!lines.is_empty(), "{TABLE} has no lines");
    let mut names = BTreeSet::new();
    collect(&root().join(TESTS), &mut names)?;
    for line in &lines {
        let count = names
            .iter()
            .filter(|name| name.starts_with(line.prefix))
            .count();
        say(&format!("{count:3}  {}  {}", line.prefix, line.seen));
    }
    Ok(judged(&lines, &names))
}

fn judged(lines: &[Line<'_>], names: &BTreeSet<String>) -> Outcome {
    let belongs = |name: &&String| lines.iter().any(|line| name.starts_with(line.prefix));
    let strays: Vec<_> = names.iter().filter(|name| !belongs(name)).collect();
    let has_test = |line: &&Line<'_>| names.iter().any(|name| name.starts_with(line.prefix));
    let missing: Vec<_> = lines.iter().filter(|line| !has_test(line)).collect();
    if !strays.is_empty() {
        return Outcome::Failed(format!("tests of no line of {TABLE}: {strays:?}"));
    }
    if missing.is_empty() {
        return Outcome::Passed;
    }
    let missing: Vec<_> = missing.iter().map(|line| line.seen).collect();
    Outcome::Skipped(format!("no test yet: {}", missing.join("; ")))
}

/// The lines of the table, in their order.
fn lines(text: &str) -> Vec<Line<'_>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let (_row, seen, prefix) = (cells.next()?, cells.next()?, cells.next()?);
        let prefix = prefix.strip_prefix('`')?.strip_suffix('`')?;
        prefix.starts_with(MARK).then_some(Line { seen, prefix })
    })
    .collect()
}

/// The names of tests in the Rust files of a folder.
fn collect(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("read {}", path.display()))?;
            names.extend(tests(&text).map(str::to_owned));
        }
    }
    Ok(())
}

/// The names of a file's tests that bear the mark: a function right below its attribute, unless that is
/// ignored.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut before = "";
    text.lines().filter_map(move |line| {
        let line = line.trim();
        let attribute = std::mem::replace(&mut before, line);
        let name = line
            .strip_prefix("async fn ")
            .or(line.strip_prefix("fn "))?;
        let name = name.split('(').next()?;
        let is_test = attribute.starts_with("#[tokio::test") || attribute == "#[test]";
        (is_test && name.starts_with(MARK)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| row | what | begins with |
|---|---|---|
| auth | a replay is 401 | `owasp_auth_a_replay` |
| auth | no certificate, no answer | `owasp_auth_mtls` |
";

    fn names(text: &str) -> BTreeSet<String> {
        tests(text).map(str::to_owned).collect()
    }

    #[test]
    fn a_line_without_a_test_is_named_and_a_test_without_a_line_fails() {
        let lines = lines(PAGE);
        assert_eq!(lines.len(), 2);
        let one = names("#[tokio::test]\nasync fn owasp_auth_a_replay_is_refused() {");
        let told = "no test yet: no certificate, no answer".to_owned();
        assert_eq!(judged(&lines, &one), Outcome::Skipped(told));
        let both = &one | &names("#[test]\nfn owasp_auth_mtls_x() {");
        assert_eq!(judged(&lines, &both), Outcome::Passed);
        let stray = names("#[test]\nfn owasp_nonsense() {");
        assert!(matches!(judged(&lines, &stray), Outcome::Failed(_)));
    }

    #[test]
    fn only_a_test_counts() {
        for nothing in [
            "fn owasp_auth_a_replay() {",
            "// #[test]\nfn owasp_auth_a_replay() {",
            "#[test]\n#[ignore]\nfn owasp_auth_a_replay() {",
            "#[test]\nfn another() {",
            "let name = \"owasp_auth_a_replay\";",
        ] {
            assert!(names(nothing).is_empty(), "{nothing}");
        }
    }
}
