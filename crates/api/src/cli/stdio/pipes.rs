//! Standard input and output as lines. Each is served by a thread of its own that the process does not
//! wait for when it ends: a host that neither writes nor reads keeps nobody alive.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// The longest line: more than the endpoint takes as a body.
const MAX_LINE_BYTES: u64 = 2 << 20;
/// Lines that wait to be taken.
const WAITING: usize = 64;

/// A line of the host's.
#[derive(Debug)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// One that is longer than any message; it was read over.
    TooLong,
}

/// The lines of standard input, until it ends.
///
/// # Errors
/// No thread can be started.
pub(super) fn input() -> io::Result<mpsc::Receiver<Line>> {
    let (send, lines) = mpsc::channel(WAITING);
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(io::stdin());
            // An input that breaks has ended.
            while let Ok(Some(line)) = read(&mut input) {
                if send.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
    Ok(lines)
}

/// Takes lines for standard output. The second part is told when the last one is written.
///
/// # Errors
/// No thread can be started.
pub(super) fn output() -> io::Result<(mpsc::Sender<Vec<u8>>, oneshot::Receiver<()>)> {
    let (send, mut lines) = mpsc::channel::<Vec<u8>>(WAITING);
    let (done, written) = oneshot::channel();
    thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || {
            let mut output = io::stdout();
            while let Some(mut line) = lines.blocking_recv() {
                line.push(b'\n');
                if output
                    .write_all(&line)
                    .and_then(|()| output.flush())
                    .is_err()
                {
                    break;
                }
            }
            // Nobody waits any more where this fails.
            let _ended = done.send(());
        })?;
    Ok((send, written))
}

fn read(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        let most = MAX_LINE_BYTES.saturating_add(1);
        let read = input.by_ref().take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if u64::try_from(read).unwrap_or(u64::MAX) == most {
            read_over(input)?;
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Whole(line)));
        }
    }
}

/// Reads to the end of a line, and keeps nothing of it.
fn read_over(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let held = input.fill_buf()?;
        let (taken, ended) = match held.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end.saturating_add(1), true),
            None => (held.len(), held.is_empty()),
        };
        input.consume(taken);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole_whatever_ends_them() {
        let mut input = &b"{}\n\r\n  \n{\"a\":1}\r\nlast"[..];
        let mut lines = Vec::new();
        while let Some(Line::Whole(line)) = read(&mut input).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["{}", "{\"a\":1}", "last"]);
    }

    #[test]
    fn a_line_without_end_is_read_over_and_the_next_is_read() {
        let mut text = vec![b'x'; 5 << 20];
        text.extend_from_slice(b"\n{}\n");
        let mut input = BufReader::new(&*text);
        assert!(matches!(read(&mut input).unwrap(), Some(Line::TooLong)));
        assert!(matches!(read(&mut input).unwrap(), Some(Line::Whole(line)) if line == b"{}"));
        assert!(read(&mut input).unwrap().is_none());
    }
}
