//! What came of each check, and the counts at the end.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, or could not be run.
    Failed(String),
    /// It was not run, and why.
    Skipped(String),
}

/// How many tests a runner ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed or timed out.
    pub(crate) failed: u64,
    /// Tests that were not run.
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds what one line of a runner's output says: the last lines of `cargo test` and `nextest`.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim();
        let told = line.strip_prefix("test result: ").or_else(|| {
            line.strip_prefix("Summary [")
                .and_then(|rest| {
                    rest.split_once("tests run: ")
                        .or(rest.split_once("test run: "))
                })
                .map(|(_, rest)| rest)
        });
        for part in told.unwrap_or_default().split([',', ';', '.']) {
            let mut words = part.split_whitespace();
            let number = words.by_ref().find_map(|word| word.parse::<u64>().ok());
            let (Some(number), Some(what)) = (number, words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" | "timed" | "exec" => self.failed += number,
                "skipped" | "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[derive(Debug)]
struct Line {
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// All checks of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    tests: Counts,
    skipped_tests: Vec<String>,
}

impl Report {
    /// Notes a check.
    pub(crate) fn add(&mut self, name: &str, outcome: Outcome, took: Duration) {
        self.lines.push(Line {
            name: name.to_owned(),
            outcome,
            took,
        });
    }

    /// Notes a runner's tests.
    pub(crate) fn add_tests(&mut self, counts: Counts, skipped: Vec<String>) {
        self.tests.passed += counts.passed;
        self.tests.failed += counts.failed;
        self.tests.skipped += counts.skipped;
        self.skipped_tests.extend(skipped);
    }

    /// Whether everything that ran holds.
    pub(crate) fn is_green(&self) -> bool {
        let failed = |line: &Line| matches!(line.outcome, Outcome::Failed(_));
        self.tests.failed == 0 && self.tests.passed > 0 && !self.lines.iter().any(failed)
    }

    /// Every check and every test, each counted once.
    fn totals(&self) -> Counts {
        let mut totals = self.tests;
        for line in &self.lines {
            match line.outcome {
                Outcome::Passed => totals.passed += 1,
                Outcome::Failed(_) => totals.failed += 1,
                Outcome::Skipped(_) => totals.skipped += 1,
            }
        }
        totals
    }

    /// Writes the table, the names of what was skipped, and the counts.
    pub(crate) fn print(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "\n{:<44} {:>9}  result", "check", "seconds")?;
        for line in &self.lines {
            let said = match &line.outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(why) => format!("FAILED: {why}"),
                Outcome::Skipped(why) => format!("skipped: {why}"),
            };
            let took = line.took.as_secs_f32();
            writeln!(out, "{:<44} {took:>9.1}  {said}", line.name)?;
        }
        for name in &self.skipped_tests {
            writeln!(out, "skipped test: {name}")?;
        }
        let all: Duration = self.lines.iter().map(|line| line.took).sum();
        let tests = self.tests.passed + self.tests.failed;
        writeln!(
            out,
            "{} checks, {tests} tests run, {:.0} s\n",
            self.lines.len(),
            all.as_secs_f32()
        )?;
        let Counts {
            passed,
            failed,
            skipped,
        } = self.totals();
        writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(lines: &[&str]) -> (u64, u64, u64) {
        let mut counts = Counts::default();
        for line in lines {
            counts.read(line);
        }
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn both_runners_are_understood() {
        let nextest = "     Summary [   1.212s] 24 tests run: 21 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(counts(&[nextest]), (21, 3, 4));
        let one = "     Summary [   0.004s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(counts(&[one]), (1, 0, 0));
        let cargo = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.05s";
        assert_eq!(counts(&[cargo, cargo]), (6, 2, 4));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            counts(&["3 passed", "test x ... ok", "1 failed"]),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_run_without_tests_is_not_green() {
        let mut report = Report::default();
        report.add("fmt", Outcome::Passed, Duration::ZERO);
        assert!(!report.is_green());
        report.add_tests(
            Counts {
                passed: 1,
                ..Counts::default()
            },
            Vec::new(),
        );
        assert!(report.is_green());
        report.add("deny", Outcome::Failed("x".to_owned()), Duration::ZERO);
        assert!(!report.is_green());
    }
}
