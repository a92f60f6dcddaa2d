//! What is wrong with a policy's text, where, and what to write instead.
//!
//! Never quotes more than a few words of the text: diagnostics go into answers and logs.

use std::fmt;

/// The most diagnostics that one load reports.
const MAX_REPORTED: usize = 100;

/// Whether a diagnostic stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy loads; whoever publishes it is asked.
    Warning,
}

impl Severity {
    /// The word before the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding about a policy's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Whether it stops the load.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.as_str();
        write!(
            f,
            "{}:{}: {severity}: {}; {}",
            self.line, self.column, self.message, self.remedy
        )
    }
}

/// A place in the text, both numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// Where every text begins.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// Collects the findings of one load.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
    errors: usize,
}

impl Report {
    /// Notes what stops the load.
    pub(crate) fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors = self.errors.saturating_add(1);
        self.note(Severity::Error, place, message.into(), remedy.into());
    }

    /// Notes what does not stop the load.
    pub(crate) fn warning(
        &mut self,
        place: Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Warning, place, message.into(), remedy.into());
    }

    fn note(&mut self, severity: Severity, place: Place, message: String, remedy: String) {
        // The first error is always kept, however many warnings came before it.
        let first_error = severity == Severity::Error && self.errors == 1;
        if self.found.len() < MAX_REPORTED || first_error {
            self.found.push(Diagnostic {
                line: place.line,
                column: place.column,
                severity,
                message,
                remedy,
            });
        }
    }

    /// Whether anything stops the load.
    pub(crate) fn failed(&self) -> bool {
        self.errors > 0
    }

    /// The findings in the order of the text.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| (found.line, found.column));
        self.found
    }
}

/// A few words of the text, in backticks, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The remedy for a name that is not known: the nearest known one, or all of them.
pub(crate) fn did_you_mean<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(given, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("write one of: {}", listed(known)),
    }
}

/// The known name that a misspelt one most likely means.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance takes time in the product of the lengths.
    let length = given.chars().take(129).count();
    if length > 128 {
        return None;
    }
    let reach = (length / 3).max(1);
    let lower = given.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
            (distance, name)
        })
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names with commas between, at most thirty.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 30;
    let mut names = names.into_iter();
    let mut shown: Vec<&str> = names.by_ref().take(MOST).collect();
    if names.next().is_some() {
        shown.push("…");
    }
    shown.join(", ")
}
