//! Phone numbers: international ones, those that a word announces, and national ones by their form.
//!
//! Plain integers, dates, times, versions and codes look alike, so a number without a `+` counts only
//! in a known grouping, after a word such as `phone`, or as the value of a property so named.

use crate::class::{at, before};
use crate::detect::groups::{BREAK, Numbers, UNDERSCORE};
use crate::detect::national;
use crate::hint::{self, Hint};
use crate::hit::Hit;
use crate::kind::Kind;

/// A number of groups, from the first to the last group.
#[derive(Debug, Clone, Copy)]
struct Found {
    start: usize,
    last: usize,
}

/// Reports each phone number.
pub(crate) fn find(numbers: &Numbers<'_>, hits: &mut Vec<Hit>) {
    let mut next = 0;
    for index in 0..numbers.groups.len() {
        if index < next {
            continue;
        }
        let found = international(numbers, index)
            .or_else(|| national::find(numbers, index).map(|(start, last)| Found { start, last }))
            .or_else(|| announced(numbers, index));
        if let Some(found) = found
            && let Some(last) = numbers.group(found.last)
        {
            hits.push(Hit {
                kind: Kind::Phone,
                start: found.start,
                end: last.end,
            });
            next = found.last + 1;
        }
    }
}

/// `+49 (0)30 123456`: the `+` makes it nearly certain.
fn international(numbers: &Numbers<'_>, index: usize) -> Option<Found> {
    let group = numbers.group(index)?;
    let mut start = group.start.checked_sub(1)?;
    if at(numbers.bytes, start) == b'(' {
        start = start.checked_sub(1)?;
    }
    let after_digit = before(numbers.bytes, start).is_ascii_digit();
    let country = numbers.digits(group).first()?;
    if at(numbers.bytes, start) != b'+' || after_digit || *country == b'0' {
        return None;
    }
    // Only the calling codes of small islands have numbers of seven digits in all.
    let small = matches!(
        numbers.digits(group),
        [b'2', b'4' | b'9', ..] | [b'6', b'7' | b'8' | b'9', ..]
    );
    let last = longest(numbers, index, if small { 7..=15 } else { 8..=15 }, |_| {
        true
    })?;
    Some(Found { start, last })
}

/// Any digits after a word that announces a phone number.
fn announced(numbers: &Numbers<'_>, index: usize) -> Option<Found> {
    let group = numbers.group(index)?;
    let continues = group.gap & BREAK == 0;
    let after_letter = before(numbers.bytes, group.start).is_ascii_alphabetic();
    let single = group.len() >= 7 || numbers.gap_after(index) & BREAK == 0;
    if continues || after_letter || !single {
        return None;
    }
    let last = longest(numbers, index, 7..=15, |_| true)?;
    let groups = numbers.groups.get(index..=last)?;
    let digits: usize = groups.iter().map(|group| group.len()).sum();
    let told = match hint::before_number(numbers.text, group.start) {
        Hint::Phone => true,
        Hint::Call => digits >= 9,
        Hint::Ssn | Hint::National | Hint::Id | Hint::None => false,
    };
    (told && !numbers.meets_date(index, last)).then_some(Found {
        start: group.start,
        last,
    })
}

/// The last group of the longest run from `index` with as many digits, at which `accept` agrees.
pub(super) fn longest(
    numbers: &Numbers<'_>,
    index: usize,
    digits: std::ops::RangeInclusive<usize>,
    accept: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut total = 0;
    let mut found = None;
    for (last, group) in numbers.groups.iter().enumerate().skip(index) {
        let broken = last > index && group.gap & (BREAK | UNDERSCORE) != 0;
        total += group.len();
        if broken || total > *digits.end() || (last > index && numbers.is_date(last)) {
            break;
        }
        if total >= *digits.start() && accept(last) {
            found = Some(last);
        }
    }
    found
}

/// Whether a whole string has the form of a phone number or of a date: then its property's name tells.
pub(crate) fn may_be_named(text: &str, digits: usize) -> bool {
    let number = text.trim();
    let separator = |byte: u8| matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')');
    let enough = if number.bytes().any(separator) {
        5..=17
    } else {
        7..=17
    };
    enough.contains(&digits)
        && number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || separator(byte) || byte == b'+')
}
