//! What a server process has cost: its processor time, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of `/proc` in a second: the same on every Linux that we run on (`getconf CLK_TCK`).
const TICKS: u64 = 100;

/// The processor time, user and system, that a process has used.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse(&text).with_context(|| format!("understand {path}"))
}

/// The program's name may hold anything, so the fields are counted after its closing parenthesis.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_an_odd_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_process_that_works_costs_time() {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        assert!(cpu_time(std::process::id()).unwrap() > Duration::ZERO);
    }
}
