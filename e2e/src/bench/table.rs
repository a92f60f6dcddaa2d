//! The table of a run: one line a server and number of connections, with ratios to the bare rmcp
//! server of the same line and call.

use std::fmt::Write;

/// What one server came to at one number of connections: the median of its rounds.
#[derive(Debug, Clone)]
pub struct Line {
    /// What was called.
    pub call: String,
    /// The server.
    pub server: String,
    /// How many connections.
    pub connections: usize,
    /// Answers a second.
    pub rate: f64,
    /// Median time, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Processor time of the server a call, in milliseconds.
    pub cpu_ms: f64,
    /// Records that the database took a second, where the server writes any.
    pub rows: Option<f64>,
    /// Answers that were not what was expected.
    pub errors: usize,
}

/// The server that the others are compared with.
pub const BASE: &str = "bare rmcp";

/// The table as Markdown.
pub fn markdown(lines: &[Line]) -> String {
    let mut text = String::from(
        "| call | connections | server | calls/s | ratio to bare rmcp | p50 ms | p99 ms | CPU ms a call | \
         rows/s | errors |\n|---|---:|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for line in lines {
        let base = lines
            .iter()
            .find(|other| {
                other.server == BASE
                    && other.call == line.call
                    && other.connections == line.connections
            })
            .map_or(f64::NAN, |base| line.rate / base.rate);
        let rows = line
            .rows
            .map_or_else(|| "-".to_owned(), |rows| format!("{rows:.0}"));
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {base:.2} | {:.2} | {:.2} | {:.3} | {rows} | {} |",
            line.call,
            line.connections,
            line.server,
            line.rate,
            line.p50_ms,
            line.p99_ms,
            line.cpu_ms,
            line.errors
        );
    }
    text
}

/// The middle one of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: &str, connections: usize, rate: f64) -> Line {
        Line {
            call: "a.read".to_owned(),
            server: server.to_owned(),
            connections,
            rate,
            p50_ms: 1.0,
            p99_ms: 2.0,
            cpu_ms: 0.1,
            rows: None,
            errors: 0,
        }
    }

    #[test]
    fn ratios_are_to_the_base_of_the_same_number_of_connections() {
        let lines = [
            line(BASE, 1, 100.0),
            line("portcullis", 1, 50.0),
            line(BASE, 64, 1_000.0),
            line("portcullis", 64, 900.0),
            Line {
                call: "a.write".to_owned(),
                ..line(BASE, 64, 10.0)
            },
        ];
        let text = markdown(&lines);
        assert!(
            text.contains("| a.read | 1 | portcullis | 50 | 0.50 |"),
            "{text}"
        );
        assert!(
            text.contains("| a.read | 64 | portcullis | 900 | 0.90 |"),
            "{text}"
        );
    }

    #[test]
    fn the_median_is_not_moved_by_one_outlier() {
        assert!((median(vec![3.0, 1_000.0, 2.0]) - 3.0).abs() < f64::EPSILON);
    }
}
