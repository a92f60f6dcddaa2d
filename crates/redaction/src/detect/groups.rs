//! Groups of digits and what stands between them: the common ground of all number detectors.
//!
//! Built once a text in a buffer that is used again. Must never judge: it only measures.

use crate::class::{at, before};

/// Spaces and tabs.
pub(crate) const SPACE: u8 = 1;
/// `-`.
pub(crate) const HYPHEN: u8 = 2;
/// `.`.
pub(crate) const DOT: u8 = 4;
/// `/`.
pub(crate) const SLASH: u8 = 8;
/// `(`.
pub(crate) const OPEN: u8 = 16;
/// `)`.
pub(crate) const CLOSE: u8 = 32;
/// `_`.
pub(crate) const UNDERSCORE: u8 = 64;
/// Anything else, or too much of the above.
pub(crate) const BREAK: u8 = 128;

/// A maximal run of digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What stands between the group before and this one; `BREAK` for the first.
    pub(crate) gap: u8,
}

impl Group {
    /// How many digits.
    pub(crate) const fn len(self) -> usize {
        self.end - self.start
    }
}

/// Measures the groups of a text. Short ones that stand alone and cannot be the check digits of an IBAN
/// mean nothing to any detector and are left out.
pub(crate) fn measure(bytes: &[u8], groups: &mut Vec<Group>) {
    groups.clear();
    let mut position = 0;
    let mut last_end = None;
    loop {
        while position < bytes.len() && !at(bytes, position).is_ascii_digit() {
            position += 1;
        }
        if position >= bytes.len() {
            drop_meaningless(bytes, groups, BREAK);
            return;
        }
        let start = position;
        while at(bytes, position).is_ascii_digit() {
            position += 1;
        }
        let gap = last_end.map_or(BREAK, |end| gap(bytes.get(end..start).unwrap_or(&[])));
        drop_meaningless(bytes, groups, gap);
        groups.push(Group {
            start,
            end: position,
            gap,
        });
        last_end = Some(position);
    }
}

/// Takes the last group off again, now that it is known what follows it.
fn drop_meaningless(bytes: &[u8], groups: &mut Vec<Group>, gap_after: u8) {
    let meaningless = groups.last().is_some_and(|group| {
        let alone = group.gap & gap_after & BREAK != 0;
        let after_letters =
            follows_letter(bytes, group.start) && follows_letter(bytes, group.start - 1);
        alone && group.len() < 7 && !(after_letters && group.len() > 1)
    });
    if meaningless {
        groups.pop();
    }
}

fn follows_letter(bytes: &[u8], index: usize) -> bool {
    before(bytes, index).is_ascii_alphabetic()
}

fn gap(between: &[u8]) -> u8 {
    if between.len() > 4 {
        return BREAK;
    }
    between.iter().fold(0, |gap, byte| {
        gap | match byte {
            b' ' | b'\t' => SPACE,
            b'-' => HYPHEN,
            b'.' => DOT,
            b'/' => SLASH,
            b'(' => OPEN,
            b')' => CLOSE,
            b'_' => UNDERSCORE,
            _ => BREAK,
        }
    })
}

/// A text with its groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'t> {
    pub(crate) text: &'t str,
    pub(crate) bytes: &'t [u8],
    pub(crate) groups: &'t [Group],
    /// The property that holds the text.
    pub(crate) name: Option<&'t str>,
}

impl<'t> Numbers<'t> {
    /// The group at an index.
    pub(crate) fn group(&self, index: usize) -> Option<Group> {
        self.groups.get(index).copied()
    }

    /// The digits of a group.
    pub(crate) fn digits(&self, group: Group) -> &'t [u8] {
        self.bytes.get(group.start..group.end).unwrap_or(&[])
    }

    /// The value of a short group.
    fn value(&self, group: Group) -> u32 {
        self.digits(group)
            .iter()
            .take(6)
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
    }

    /// The gap after a group: `BREAK` after the last.
    pub(crate) fn gap_after(&self, index: usize) -> u8 {
        self.group(index + 1).map_or(BREAK, |group| group.gap)
    }

    /// Whether a number may begin here: not in the middle of a longer code (`ORD-555-…`, `0.4111…`).
    pub(crate) fn begins(&self, group: Group) -> bool {
        if tied(group.gap) {
            return false;
        }
        let first = before(self.bytes, group.start);
        let tie = matches!(first, b'-' | b'_' | b'.');
        let at_word = before(self.bytes, group.start.saturating_sub(1)).is_ascii_alphanumeric();
        !(tie && at_word && group.gap & SPACE == 0)
    }

    /// Whether a number may end with this group.
    pub(crate) fn ends(&self, index: usize) -> bool {
        let Some(group) = self.group(index) else {
            return false;
        };
        if tied(self.gap_after(index)) {
            return false;
        }
        let tie = matches!(at(self.bytes, group.end), b'-' | b'_');
        !(tie && at(self.bytes, group.end + 1).is_ascii_alphanumeric())
    }

    /// Whether the groups `first..=last`, apart by spaces alone, stand in a longer list of plain numbers.
    pub(crate) fn is_listed(&self, first: usize, last: usize) -> bool {
        let spaced = self
            .groups
            .iter()
            .take(last + 1)
            .skip(first + 1)
            .all(|group| group.gap == SPACE);
        let joint = |byte: u8| matches!(byte, b':' | b'-' | b'.' | b'/' | b'+');
        let after_plain = self.group(first).is_some_and(|group| group.gap == SPACE)
            && first
                .checked_sub(1)
                .and_then(|index| self.group(index))
                .is_some_and(|group| !joint(before(self.bytes, group.start)));
        let before_plain = self.gap_after(last) == SPACE
            && self
                .group(last + 1)
                .is_some_and(|group| !joint(at(self.bytes, group.end)));
        spaced && (after_plain || before_plain)
    }

    /// Whether three groups from `index` on are a calendar date: `2025-08-25`, `25.08.2025`.
    pub(crate) fn is_date(&self, index: usize) -> bool {
        let (Some(a), Some(b), Some(c)) = (
            self.group(index),
            self.group(index + 1),
            self.group(index + 2),
        ) else {
            return false;
        };
        let same_gap = b.gap == c.gap && matches!(b.gap, HYPHEN | DOT | SLASH | SPACE);
        let small = |group: Group| group.len() <= 2 && (1..=31).contains(&self.value(group));
        let year = |group: Group| group.len() == 4 && (1800..=2199).contains(&self.value(group));
        same_gap
            && (a.len() == 4 || c.len() == 4)
            && small(b)
            && ((year(a) && small(c)) || (small(a) && year(c)))
    }

    /// Whether a date overlaps the groups `first..=last`.
    pub(crate) fn meets_date(&self, first: usize, last: usize) -> bool {
        (first.saturating_sub(2)..=last).any(|index| self.is_date(index))
    }

    /// Whether the group is part of a UUID.
    pub(crate) fn in_uuid(&self, group: Group) -> bool {
        let part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let mut start = group.start;
        while part(before(self.bytes, start)) && group.start - start < 36 {
            start -= 1;
        }
        let uuid = self.bytes.get(start..start + 36).unwrap_or(&[]);
        group.end <= start + 36
            && !part(before(self.bytes, start))
            && !part(at(self.bytes, start + 36))
            && uuid.len() == 36
            && uuid.iter().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    }
}

/// Whether a gap holds two groups together as one code.
const fn tied(gap: u8) -> bool {
    gap & BREAK == 0 && gap & SPACE == 0 && gap & (HYPHEN | DOT | SLASH | UNDERSCORE) != 0
}
