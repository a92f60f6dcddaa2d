//! A decoded view of a text: one layer of percent, HTML and backslash escapes taken off, full-width
//! and other digits as ASCII, characters that cannot be seen left out.
//!
//! The view is only looked at, never sent on. It knows which stretch of the original each of its
//! bytes came from, so that what is found in it can be masked in the original.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use crate::class::{ESCAPE, HIGH, at, class};

/// A decoded text and where it came from.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) text: String,
    segments: Vec<Segment>,
}

/// A stretch of the view and the stretch of the original it came from.
#[derive(Debug, Clone, Copy)]
struct Segment {
    at: usize,
    from: usize,
    to: usize,
    /// Copied byte for byte.
    literal: bool,
}

impl View {
    fn push(&mut self, text: &str, origin: Range<usize>, literal: bool) {
        if !text.is_empty() {
            self.segments.push(Segment {
                at: self.text.len(),
                from: origin.start,
                to: origin.end,
                literal,
            });
            self.text.push_str(text);
        }
    }

    /// The stretch of the original that became this stretch of the view.
    pub(crate) fn origin(&self, range: Range<usize>) -> Range<usize> {
        let segment = |position: usize| {
            let next = self
                .segments
                .partition_point(|segment| segment.at <= position);
            next.checked_sub(1)
                .and_then(|index| self.segments.get(index))
        };
        let start = segment(range.start).map_or(0, |found| {
            found.from
                + if found.literal {
                    range.start - found.at
                } else {
                    0
                }
        });
        let last = range.end.saturating_sub(1);
        let end = segment(last).map_or(0, |found| {
            if found.literal {
                found.from + (last - found.at) + 1
            } else {
                found.to
            }
        });
        start..end
    }
}

/// Takes one layer off; nothing if there is none.
pub(crate) fn decode(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let mut view = View::default();
    let (mut copied, mut position) = (0, 0);
    let mut changed = false;
    while position < bytes.len() {
        let byte = at(bytes, position);
        if class(byte) & (ESCAPE | HIGH) == 0 {
            position += 1;
            continue;
        }
        let Some((unit, length)) = text.get(position..).and_then(unit) else {
            position += char_length(byte);
            continue;
        };
        changed = true;
        view.push(
            text.get(copied..position).unwrap_or(""),
            copied..position,
            true,
        );
        let origin = position..position + length;
        match unit {
            Unit::Nothing => {}
            Unit::Char(c) => view.push(c.encode_utf8(&mut [0; 4]), origin, false),
            Unit::Text(text) => view.push(&text, origin, false),
        }
        position += length;
        copied = position;
    }
    changed.then(|| {
        view.push(text.get(copied..).unwrap_or(""), copied..text.len(), true);
        view
    })
}

const fn char_length(first: u8) -> usize {
    match first {
        0xf0..=0xff => 4,
        0xe0..=0xef => 3,
        0xc0..=0xdf => 2,
        _ => 1,
    }
}

/// What an escape or a look-alike stands for.
#[derive(Debug)]
enum Unit {
    Nothing,
    Char(char),
    Text(String),
}

impl From<char> for Unit {
    fn from(c: char) -> Self {
        Self::Char(c)
    }
}

/// The unit at the beginning of `rest` and its length, if it stands for something else.
fn unit(rest: &str) -> Option<(Unit, usize)> {
    match rest.as_bytes().first()? {
        b'%' => percent(rest.as_bytes()),
        b'&' => entity(rest),
        b'\\' => backslash(rest.as_bytes()),
        0..=127 => Some((Unit::Nothing, 1)),
        128..=255 => {
            let c = rest.chars().next()?;
            Some((fold(c)?, c.len_utf8()))
        }
    }
}

/// `%40`, and a UTF-8 sequence of such bytes.
fn percent(rest: &[u8]) -> Option<(Unit, usize)> {
    let octet = |index: usize| {
        let triple = rest.get(index * 3..index * 3 + 3)?;
        let [b'%', high, low] = triple else {
            return None;
        };
        u8::try_from(hex(&[*high, *low])?).ok()
    };
    let first = octet(0)?;
    let length = char_length(first);
    let mut bytes = [0; 4];
    for (index, byte) in bytes.iter_mut().enumerate().take(length) {
        *byte = octet(index).unwrap_or(0);
    }
    let decoded = bytes
        .get(..length)
        .and_then(|bytes| str::from_utf8(bytes).ok());
    match decoded.and_then(|text| text.chars().next()) {
        Some(c) => Some((c.into(), length * 3)),
        None => Some((char::REPLACEMENT_CHARACTER.into(), 3)),
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        value.checked_mul(16)?.checked_add(digit)
    })
}

/// `\u0040`, `\x40`, `\u{40}`, `\n`, `\/`, `\\`.
fn backslash(rest: &[u8]) -> Option<(Unit, usize)> {
    let fixed = |count: usize| {
        let c = rest
            .get(2..2 + count)
            .and_then(hex)
            .and_then(char::from_u32)?;
        Some((c.into(), 2 + count))
    };
    match rest.get(1)? {
        b'u' if rest.get(2) == Some(&b'{') => {
            let length = rest.iter().take(12).position(|byte| *byte == b'}')?;
            let c = rest.get(3..length).and_then(hex).and_then(char::from_u32)?;
            Some((c.into(), length + 1))
        }
        b'u' => fixed(4).or_else(|| surrogates(rest)),
        b'x' => fixed(2),
        b'n' | b'r' => Some(('\n'.into(), 2)),
        b't' => Some(('\t'.into(), 2)),
        b'\\' => Some(('\\'.into(), 2)),
        b'/' => Some(('/'.into(), 2)),
        b'"' => Some(('"'.into(), 2)),
        _ => None,
    }
}

/// `\ud835\udfd8`: a character outside the basic plane in JSON's notation.
fn surrogates(rest: &[u8]) -> Option<(Unit, usize)> {
    let high = rest.get(2..6).and_then(hex)?.checked_sub(0xd800)?;
    let [b'\\', b'u', low @ ..] = rest.get(6..12)? else {
        return None;
    };
    let low = hex(low)?.checked_sub(0xdc00)?;
    let c = char::from_u32(0x1_0000 + high.checked_mul(0x400)? + low)?;
    (high < 0x400 && low < 0x400).then_some((c.into(), 12))
}

const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("apos", '\''),
    ("bsol", '\\'),
    ("colon", ':'),
    ("commat", '@'),
    ("comma", ','),
    ("dash", '-'),
    ("equals", '='),
    ("gt", '>'),
    ("hyphen", '-'),
    ("lowbar", '_'),
    ("lpar", '('),
    ("lt", '<'),
    ("nbsp", ' '),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quot", '"'),
    ("rpar", ')'),
    ("shy", '\u{ad}'),
    ("sol", '/'),
    ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'),
    ("ZeroWidthSpace", '\u{200b}'),
];

/// `&#64;`, `&#x40;` (browsers take them without the `;` too) and names of punctuation.
fn entity(rest: &str) -> Option<(Unit, usize)> {
    let name = rest.strip_prefix('&')?;
    let closed = |length: usize| length + usize::from(name.as_bytes().get(length) == Some(&b';'));
    if let Some(number) = name.strip_prefix('#') {
        let (digits, radix, lead) = match number.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16, 2),
            None => (number, 10, 1),
        };
        let count = digits
            .chars()
            .take(16)
            .take_while(|c| c.is_digit(radix))
            .count();
        let c = u32::from_str_radix(digits.get(..count)?, radix)
            .ok()
            .and_then(char::from_u32)?;
        return Some((c.into(), 1 + closed(lead + count)));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    ENTITIES
        .iter()
        .find(|(known, _)| {
            name.strip_prefix(known)
                .is_some_and(|after| after.starts_with(';'))
        })
        .map(|(known, c)| ((*c).into(), 1 + closed(known.len())))
}

/// The zeros of the decimal digits of other scripts.
const ZEROS: &[u32] = &[
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x1_04a0, 0x1_0d30, 0x1_1066, 0x1_10f0, 0x1_1136, 0x1_11d0, 0x1_12f0, 0x1_1450, 0x1_14d0,
    0x1_1650, 0x1_16c0, 0x1_1730, 0x1_18e0, 0x1_1950, 0x1_1c50, 0x1_1d50, 0x1_1da0, 0x1_1f50,
    0x1_6a60, 0x1_6ac0, 0x1_6b50, 0x1_e140, 0x1_e2f0, 0x1_e4f0, 0x1_e950,
];

/// What a character outside ASCII stands for, where that is ASCII or nothing.
fn fold(c: char) -> Option<Unit> {
    match c {
        // The letters of everyday texts, first since they are most.
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{5ff}' | '\u{3041}'..='\u{30fa}' | '\u{30fc}'..='\u{3163}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' => None,
        // Controls, soft hyphen, joiners, direction marks, fillers, variation selectors, tags
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
        | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
        // Marks that combine with the character before, key caps among them
        | '\u{300}'..='\u{34e}' | '\u{350}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' => Some(Unit::Nothing),
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}'
        | '\u{3000}' => Some(' '.into()),
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{30fb}' => {
            Some('-'.into())
        }
        '\u{3002}' | '\u{ff61}' | '\u{2024}' | '\u{b7}' | '\u{2022}' => Some('.'.into()),
        _ => digit(c).map(Unit::Char).or_else(|| compatible(c)),
    }
}

fn digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = ZEROS
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Full-width, circled, superscript, mathematical: whatever Unicode calls compatible with ASCII.
fn compatible(c: char) -> Option<Unit> {
    let mut folded = std::iter::once(c).nfkc();
    let first = folded.next().filter(char::is_ascii)?;
    let rest: String = folded.collect();
    if rest.is_empty() {
        return Some(first.into());
    }
    rest.is_ascii()
        .then(|| Unit::Text(format!("{first}{rest}")))
}
