//! What a check found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::secret_file::SecretFileError;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// What was checked works.
    Ok,
    /// It works, and will not for long or not for everybody.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be checked.
    Skipped,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    check: &'static str,
    subject: String,
    pub(super) state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Every check, in the order in which one rests on another.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) checks: Vec<Row>,
}

impl Report {
    fn add(
        &mut self,
        (check, subject): (&'static str, &str),
        state: State,
        found: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.checks.push(Row {
            check,
            subject: subject.to_owned(),
            state,
            found: found.into(),
            remedy,
        });
    }

    /// What was checked works.
    pub(super) fn ok(&mut self, of: (&'static str, &str), found: impl Into<String>) {
        self.add(of, State::Ok, found, None);
    }

    /// It works, and something helps against what is to come.
    pub(super) fn warning(
        &mut self,
        of: (&'static str, &str),
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(of, State::Warning, found, Some(remedy.into()));
    }

    /// It does not work, and something helps.
    pub(super) fn failed(
        &mut self,
        of: (&'static str, &str),
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(of, State::Failed, found, Some(remedy.into()));
    }

    /// It could not be checked.
    pub(super) fn skipped(&mut self, of: (&'static str, &str), why: impl Into<String>) {
        self.add(of, State::Skipped, why, None);
    }

    /// A command's error; it tells its own remedy, after the reason or on a line of its own.
    pub(super) fn error(&mut self, of: (&'static str, &str), error: &CliError) {
        let text = error.to_string();
        let (found, remedy) = if let CliError::SecretFile(error) = error {
            (exposed(error).unwrap_or(text), remedy_of(error))
        } else {
            match text.split_once('\n') {
                Some((found, remedy)) => (found.to_owned(), Some(remedy.to_owned())),
                None => (text, None),
            }
        };
        self.add(of, State::Failed, found, remedy);
    }

    /// How many ended so.
    pub(super) fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|row| row.state == state).count()
    }

    /// The rows for people: what helps stands below what was found.
    pub(super) fn told(&self) -> String {
        let name = |row: &Row| match row.subject.as_str() {
            "" => row.check.to_owned(),
            subject => format!("{} of {subject}", row.check),
        };
        let mut text = String::new();
        for row in &self.checks {
            let found = output::plain(&row.found);
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "{:8} {}: {found}",
                row.state.as_str(),
                output::plain(&name(row))
            );
            for line in row.remedy.iter().flat_map(|remedy| remedy.lines()) {
                let _ = writeln!(text, "         -> {}", output::plain(line));
            }
        }
        let _ = write!(
            text,
            "\n{} ok, {} warnings, {} failed, {} skipped",
            self.count(State::Ok),
            self.count(State::Warning),
            self.count(State::Failed),
            self.count(State::Skipped)
        );
        text
    }
}

fn exposed(error: &SecretFileError) -> Option<String> {
    match error {
        SecretFileError::Exposed { path, .. } => {
            Some(format!("{} can be read by others", path.display()))
        }
        SecretFileError::Absent { kind, path } => {
            Some(format!("there is no {} at {}", kind.name, path.display()))
        }
        SecretFileError::Io { .. } | SecretFileError::Malformed { .. } => None,
    }
}

fn remedy_of(error: &SecretFileError) -> Option<String> {
    match error {
        SecretFileError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
        SecretFileError::Absent { kind, .. } => Some(kind.absent.to_owned()),
        SecretFileError::Io { .. } | SecretFileError::Malformed { .. } => None,
    }
}
