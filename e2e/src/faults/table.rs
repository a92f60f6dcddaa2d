//! What came of each scenario: one row each.

use std::fmt::Write as _;
use std::time::Duration;

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was done.
    pub scenario: String,
    /// How often.
    pub number: usize,
    /// What was seen, in figures.
    pub result: String,
    /// Everything that is not as promised; nothing where the promise held.
    pub broken: Vec<String>,
}

impl Row {
    /// A row of a scenario that was done so often.
    pub fn new(scenario: &str, number: usize) -> Self {
        Self {
            scenario: scenario.to_owned(),
            number,
            result: String::new(),
            broken: Vec::new(),
        }
    }

    /// With what was seen.
    #[must_use]
    pub fn seen(mut self, result: String) -> Self {
        self.result = result;
        self
    }

    /// Notes a promise and whether it held.
    pub fn promise(&mut self, held: bool, promise: impl FnOnce() -> String) {
        if !held {
            self.broken.push(promise());
        }
    }

    /// Whether every promise held.
    pub const fn held(&self) -> bool {
        self.broken.is_empty()
    }
}

/// The rows as a table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| scenario | N | result | |\n|---|---:|---|---|\n");
    for row in rows {
        let verdict = if row.held() {
            "held".to_owned()
        } else {
            format!("BROKEN: {}", row.broken.join("; "))
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {verdict} |",
            row.scenario, row.number, row.result
        );
    }
    text
}

/// The time that `percent` of the times are not above; zero without any.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_seen() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times, 100), Duration::from_millis(200));
        assert_eq!(percentile(&times[..1], 50), Duration::from_millis(200));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_broken_promise_is_told_in_its_row() {
        let mut row = Row::new("kills", 3).seen("1 effect".to_owned());
        row.promise(true, || "none".to_owned());
        assert!(row.held());
        row.promise(false, || "2 double effects".to_owned());
        let text = markdown(&[row]);
        assert!(
            text.contains("| kills | 3 | 1 effect | BROKEN: 2 double effects |"),
            "{text}"
        );
    }
}
