//! Runs of base64 characters, and the readable text in them.
//!
//! A run may begin in the middle of a base64 quantum (`path/YWxp…`), so long runs are read at all four
//! alignments. Must stay linear in the run.

use std::ops::Range;

use crate::class::{TOKEN, at, class};

/// Shorter runs cannot hold anything that a detector knows.
const SHORTEST: usize = 8;
/// Readable text inside something else counts from this many quanta (of 3 bytes) on.
const QUANTA: usize = 4;
/// Runs shorter than this are read only as a whole.
const PARTIAL: usize = 20;

/// The next run at or after `from`. Base64 folded into lines is one run.
pub(crate) fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let token = |position: usize| position < bytes.len() && class(at(bytes, position)) & TOKEN != 0;
    let mut start = from;
    loop {
        while start < bytes.len() && !token(start) {
            start += 1;
        }
        if start >= bytes.len() {
            return None;
        }
        let mut end = start;
        let mut line = start;
        loop {
            while token(end) {
                end += 1;
            }
            let fold = match (at(bytes, end), at(bytes, end + 1)) {
                (b'\n', _) => 1,
                (b'\r', b'\n') => 2,
                _ => 0,
            };
            let whole_line = end - line >= 40 && (end - line).is_multiple_of(4);
            if fold == 0 || !whole_line || !token(end + fold) {
                break;
            }
            end += fold;
            line = end;
        }
        if end - start >= SHORTEST {
            return Some(start..end);
        }
        start = end;
    }
}

/// The texts inside a run: the whole if it is text, else each readable stretch.
pub(crate) fn texts(run: &[u8], scratch: &mut Vec<u8>) -> Vec<String> {
    if let Some(text) = whole(run, scratch) {
        return vec![text];
    }
    let mut texts = Vec::new();
    if run.len() >= PARTIAL {
        for alignment in 0..4 {
            stretches(run, alignment, &mut texts);
        }
    }
    texts
}

const fn sextet(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        // `/` and `_`
        _ => 63,
    }
}

const fn is_fold(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const fn is_readable(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

fn quantum(sextets: [u8; 4]) -> [u8; 3] {
    let [a, b, c, d] = sextets.map(sextet);
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

/// The run decoded from its beginning, if that is text to the end.
fn whole(run: &[u8], scratch: &mut Vec<u8>) -> Option<String> {
    let mut symbols = run.iter().copied().filter(|byte| !is_fold(*byte));
    scratch.clear();
    while let (Some(a), Some(b)) = (symbols.next(), symbols.next()) {
        let (c, d) = (symbols.next(), symbols.next());
        let bytes = quantum([a, b, c.unwrap_or(b'A'), d.unwrap_or(b'A')]);
        let count = 1 + usize::from(c.is_some()) + usize::from(d.is_some());
        for byte in bytes.into_iter().take(count) {
            if byte < 128 && !is_readable(byte) {
                return None;
            }
            scratch.push(byte);
        }
    }
    str::from_utf8(scratch)
        .ok()
        .filter(|text| text.len() >= 6)
        .map(str::to_owned)
}

/// Stretches of readable ASCII in the run decoded at one alignment.
fn stretches(run: &[u8], alignment: usize, texts: &mut Vec<String>) {
    let mut symbols = run
        .iter()
        .copied()
        .filter(|byte| !is_fold(*byte))
        .skip(alignment);
    let mut stretch = String::new();
    let mut readable = 0;
    loop {
        let first = symbols.next();
        let rest = [symbols.next(), symbols.next(), symbols.next()];
        let [b, c, d] = rest.map(|symbol| symbol.unwrap_or(b'A'));
        let bytes = first.map_or([0; 3], |a| quantum([a, b, c, d]));
        // The quanta at both ends may be readable in part.
        let shown = bytes.map(|byte| {
            if is_readable(byte) {
                char::from(byte)
            } else {
                ' '
            }
        });
        if bytes.iter().all(|byte| is_readable(*byte)) {
            readable += 1;
            stretch.extend(shown);
        } else {
            stretch.extend(shown);
            if readable >= QUANTA {
                texts.push(std::mem::take(&mut stretch));
            }
            stretch.clear();
            stretch.extend(shown);
            readable = 0;
        }
        if first.is_none() {
            return;
        }
    }
}
