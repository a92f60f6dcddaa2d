//! What a command prints: its result on standard output, as a table for people or as JSON for
//! programs, and hints on standard error.

use std::io::Write;

use serde::Serialize;

use super::error::CliError;

/// Where a command prints.
pub struct Output<'a> {
    json: bool,
    out: &'a mut (dyn Write + Send),
    hints: &'a mut (dyn Write + Send),
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

impl<'a> Output<'a> {
    /// Prints results to `out` and hints to `hints`.
    pub fn new(
        json: bool,
        out: &'a mut (dyn Write + Send),
        hints: &'a mut (dyn Write + Send),
    ) -> Self {
        Self { json, out, hints }
    }

    /// Whether the result is wanted as JSON.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value: as JSON where asked for, else as `people` writes it.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn value<T: Serialize>(
        &mut self,
        value: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .map_err(|error| CliError::Output(error.into()))?;
            self.line(&text)
        } else {
            let text = people(value);
            self.line(text.trim_end())
        }
    }

    /// Prints a list: as one JSON array, or as a table.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn list<T: Serialize, const N: usize>(
        &mut self,
        items: &[T],
        head: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<(), CliError> {
        self.value(&items, |items| table_of(items, head, row))
    }

    /// Prints one line of the result.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}")
            .and_then(|()| self.out.flush())
            .map_err(CliError::Output)
    }

    /// Tells a person what to do next; programs are told nothing.
    ///
    /// # Errors
    /// Standard error is gone.
    pub fn hint(&mut self, text: &str) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        writeln!(self.hints, "{text}").map_err(CliError::Output)
    }
}

/// Pairs of a name and a value, one a line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let name = format!("{name:width$}");
        text.extend([&name, "  ", &plain(value), "\n"]);
    }
    text
}

/// A table of things, one a line.
pub fn table_of<T, const N: usize>(
    items: &[T],
    head: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> String {
    let rows = items.iter().map(row).collect::<Vec<_>>();
    table(head, &rows)
}

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return "(none)".to_owned();
    }
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(plain(cell).chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{:width$}", plain(cell)))
            .collect::<Vec<_>>()
            .join("  ");
        text.extend([cells.trim_end(), "\n"]);
    }
    text
}

/// A text that cannot move the cursor or colour the terminal, whatever the server sent.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A time that may be absent.
pub fn time(time: Option<time::OffsetDateTime>) -> String {
    time.and_then(|time| {
        time.replace_nanosecond(0)
            .ok()?
            .format(&time::format_description::well_known::Rfc3339)
            .ok()
    })
    .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [
            ["acme".to_owned(), "x".to_owned()],
            ["globex-long".to_owned(), "y".to_owned()],
        ];
        assert_eq!(
            table(["SLUG", "N"], &rows),
            "SLUG         N\nacme         x\nglobex-long  y\n"
        );
    }

    #[test]
    fn a_servers_text_cannot_command_the_terminal() {
        let shown = pairs(&[("name", "\u{1b}[2Jx\r\n".to_owned())]);
        assert!(!shown.trim_end().contains(char::is_control), "{shown:?}");
    }

    #[test]
    fn programs_get_json_and_no_hints() {
        let (mut out, mut hints) = (Vec::new(), Vec::new());
        let mut output = Output::new(true, &mut out, &mut hints);
        output.list(&[1, 2], ["N"], |n| [n.to_string()]).unwrap();
        output.hint("next: …").unwrap();
        let value: Vec<i32> = serde_json::from_slice(&out).unwrap();
        assert_eq!((value, hints.len()), (vec![1, 2], 0));
    }
}
