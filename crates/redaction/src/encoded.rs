//! Runs of base64 or hexadecimal characters, and the readable text in them.
//!
//! A run may begin in the middle of a base64 quantum (`path/YWxp…`), so long runs are read at all four
//! alignments. Must stay linear in the run.

use std::ops::Range;

use crate::class::{ID, TOKEN, at, class};

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

/// Buffers for reading runs, used again from run to run.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    sextets: Vec<u8>,
    bytes: Vec<u8>,
}

/// The texts inside a run: the whole if it is text, else each readable stretch.
pub(crate) fn texts(run: &[u8], buffers: &mut Buffers) -> Vec<String> {
    if let Some(text) = hexadecimal(run) {
        return vec![text];
    }
    if is_plain_id(run) {
        return Vec::new();
    }
    let partial = run.len() >= PARTIAL;
    if !partial && !may_be_text(run) {
        return Vec::new();
    }
    buffers.sextets.clear();
    buffers.sextets.extend(
        run.iter()
            .copied()
            .filter(|byte| !is_fold(*byte))
            .map(sextet),
    );
    if let Some(text) = whole(&buffers.sextets, &mut buffers.bytes) {
        return vec![text];
    }
    let mut texts = Vec::new();
    if partial {
        for alignment in 0..4 {
            stretches(buffers.sextets.get(alignment..).unwrap_or(&[]), &mut texts);
        }
    }
    texts
}

/// Hashes and UUIDs in lower-case hexadecimal. Read as base64 they hold neither an `@` nor two digits side
/// by side, and no known secret begins like them, so they need no closer look.
pub(crate) fn is_plain_id(run: &[u8]) -> bool {
    run.iter().all(|byte| class(*byte) & ID != 0)
}

const fn sextet(symbol: u8) -> u8 {
    match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
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

const fn quantum([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

/// The run read as hexadecimal, if that is text.
fn hexadecimal(run: &[u8]) -> Option<String> {
    let (pairs, rest) = run.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for [high, low] in pairs {
        let byte = nibble(*high)? << 4 | nibble(*low)?;
        if byte < 128 && !is_readable(byte) {
            return None;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok().filter(|text| text.len() >= 6)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A cheap look at the first byte: a text begins with ASCII or the first byte of a character.
fn may_be_text(run: &[u8]) -> bool {
    let [first, second, ..] = run else {
        return false;
    };
    let byte = sextet(*first) << 2 | sextet(*second) >> 4;
    is_readable(byte) || (0xc2..=0xf4).contains(&byte)
}

/// The run decoded from its beginning, if that is text to the end.
fn whole(sextets: &[u8], bytes: &mut Vec<u8>) -> Option<String> {
    let (quanta, rest) = sextets.as_chunks::<4>();
    let end = match rest {
        [a, b] => quantum([*a, *b, 0, 0]).get(..1).map(<[u8]>::to_vec),
        [a, b, c] => quantum([*a, *b, *c, 0]).get(..2).map(<[u8]>::to_vec),
        _ => None,
    };
    bytes.clear();
    for quantum in quanta.iter().map(|sextets| quantum(*sextets)) {
        if quantum
            .iter()
            .any(|byte| *byte < 128 && !is_readable(*byte))
        {
            return None;
        }
        bytes.extend_from_slice(&quantum);
    }
    let end = end.unwrap_or_default();
    if end.iter().any(|byte| *byte < 128 && !is_readable(*byte)) {
        return None;
    }
    bytes.extend_from_slice(&end);
    str::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() >= 6)
        .map(str::to_owned)
}

/// Stretches of readable ASCII in sextets that begin at one alignment.
fn stretches(sextets: &[u8], texts: &mut Vec<String>) {
    let (quanta, rest) = sextets.as_chunks::<4>();
    let mut readable = 0;
    for (index, sextets) in quanta.iter().enumerate() {
        if quantum(*sextets).iter().all(|byte| is_readable(*byte)) {
            readable += 1;
            continue;
        }
        if readable >= QUANTA {
            // The quanta at both ends may be readable in part.
            let from = index.saturating_sub(readable + 1);
            texts.push(shown(quanta.get(from..=index).unwrap_or(&[]), &[]));
        }
        readable = 0;
    }
    if readable >= QUANTA {
        let from = quanta.len().saturating_sub(readable + 1);
        texts.push(shown(quanta.get(from..).unwrap_or(&[]), rest));
    }
}

/// The readable bytes of quanta, the others as spaces.
fn shown(quanta: &[[u8; 4]], rest: &[u8]) -> String {
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = (!rest.is_empty()).then_some(last);
    quanta
        .iter()
        .chain(last.as_ref())
        .flat_map(|sextets| quantum(*sextets))
        .map(|byte| {
            if is_readable(byte) {
                char::from(byte)
            } else {
                ' '
            }
        })
        .collect()
}
