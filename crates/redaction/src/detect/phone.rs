//! Phone numbers: international ones, and national ones by the ways in which people group digits.
//!
//! Plain integers, dates, times, versions and codes look alike, so a number without a `+` counts only
//! in a known grouping, after a word such as `phone`, or as the value of a property so named.

use crate::class::{at, before};
use crate::detect::groups::{BREAK, CLOSE, DOT, HYPHEN, Numbers, OPEN, SLASH, SPACE, UNDERSCORE};
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
            .or_else(|| national(numbers, index))
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
    let last = longest(numbers, index, 8..=15, |_| true)?;
    Some(Found { start, last })
}

/// A national number in a grouping that is known.
fn national(numbers: &Numbers<'_>, index: usize) -> Option<Found> {
    let group = numbers.group(index)?;
    // A single plain group is never a phone number by its form.
    if numbers.gap_after(index) & BREAK != 0 || !numbers.begins(group) {
        return None;
    }
    let start = group.start;
    if before(numbers.bytes, start).is_ascii_alphanumeric() {
        return None;
    }
    let last = grouped(numbers, index)
        .or_else(|| trunk(numbers, index))
        .or_else(|| bracketed(numbers, index))?;
    (!numbers.meets_date(index, last)
        && !numbers.in_uuid(group)
        && !is_amount(numbers, index, last))
    .then_some(Found { start, last })
}

/// Digits in groups of these lengths, if the first digits fit.
struct Grouping {
    lengths: &'static [usize],
    /// What may stand between.
    gaps: u8,
    first: fn(&[u8]) -> bool,
}

const GROUPINGS: &[Grouping] = &[
    // North America, and the form of most example numbers; Italian and other mobiles
    Grouping {
        lengths: &[3, 3, 4],
        gaps: HYPHEN | DOT | SLASH,
        first: |_| true,
    },
    Grouping {
        lengths: &[3, 3, 4],
        gaps: HYPHEN | SPACE,
        first: |digits| leads(digits, b'2', b'9'),
    },
    Grouping {
        lengths: &[1, 3, 3, 4],
        gaps: HYPHEN | DOT | SPACE,
        first: |digits| leads(digits, b'1', b'1'),
    },
    // Russia and Kazakhstan
    Grouping {
        lengths: &[1, 3, 3, 2, 2],
        gaps: HYPHEN | SPACE,
        first: |digits| leads(digits, b'7', b'8'),
    },
    // Spain, Portugal, Poland, Norway
    Grouping {
        lengths: &[3, 3, 3],
        gaps: HYPHEN,
        first: |digits| leads(digits, b'2', b'9'),
    },
    Grouping {
        lengths: &[3, 3, 3],
        gaps: SPACE,
        first: |digits| leads(digits, b'5', b'9'),
    },
    Grouping {
        lengths: &[3, 2, 2, 2],
        gaps: HYPHEN | SPACE | DOT,
        first: |digits| leads(digits, b'4', b'9'),
    },
    Grouping {
        lengths: &[2, 3, 2, 2],
        gaps: HYPHEN | SPACE,
        first: |digits| leads(digits, b'2', b'9'),
    },
    Grouping {
        lengths: &[3, 2, 3],
        gaps: SPACE,
        first: |digits| leads(digits, b'4', b'9'),
    },
    // India, Mexico and Brazil, China
    Grouping {
        lengths: &[5, 5],
        gaps: SPACE,
        first: |digits| leads(digits, b'6', b'9'),
    },
    Grouping {
        lengths: &[2, 4, 4],
        gaps: SPACE | HYPHEN,
        first: |digits| leads(digits, b'2', b'9'),
    },
    Grouping {
        lengths: &[2, 5, 4],
        gaps: SPACE | HYPHEN,
        first: |digits| leads(digits, b'1', b'9'),
    },
    Grouping {
        lengths: &[3, 4, 4],
        gaps: SPACE | HYPHEN,
        first: |digits| leads(digits, b'1', b'1'),
    },
    // Toll-free and local-rate numbers of Australia and others
    Grouping {
        lengths: &[4, 3, 3],
        gaps: SPACE | HYPHEN,
        first: |digits| matches!(digits, b"1300" | b"1800" | b"1850" | b"1890"),
    },
];

fn leads(digits: &[u8], from: u8, to: u8) -> bool {
    digits
        .first()
        .is_some_and(|digit| (from..=to).contains(digit))
}

fn grouped(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let first = numbers.group(index)?;
    GROUPINGS.iter().find_map(|grouping| {
        let last = index + grouping.lengths.len() - 1;
        if first.len() != *grouping.lengths.first()? || !(grouping.first)(numbers.digits(first)) {
            return None;
        }
        let groups = numbers.groups.get(index..=last)?;
        let fits = groups
            .iter()
            .zip(grouping.lengths)
            .all(|(group, length)| group.len() == *length);
        let gaps = groups
            .iter()
            .skip(1)
            .fold(0, |gaps, group| gaps | group.gap)
            & !(OPEN | CLOSE);
        let dotted = gaps & DOT != 0 && gaps != DOT;
        // Four-digit groups that read as years are more likely a list of years.
        let years = grouping.lengths == [2, 4, 4] && gaps & SPACE != 0 && {
            groups
                .iter()
                .skip(1)
                .all(|group| matches!(numbers.digits(*group), [b'1', b'9', ..] | [b'2', b'0', ..]))
        };
        (fits && gaps & !grouping.gaps == 0 && !dotted && !years && numbers.ends(last))
            .then_some(last)
    })
}

/// A number with a trunk zero (`030 1234567`, `06 12 34 56 78`) or `00` and a country (`0049 30 …`).
fn trunk(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let first = numbers.digits(numbers.group(index)?);
    let allowed = match first {
        [b'0', b'0', b'1'..=b'9', ..] => 10..=17,
        [b'0', b'1'..=b'9', ..] if first.len() <= 6 => 9..=11,
        _ => return None,
    };
    let last = longest(numbers, index, allowed, |last| {
        let groups = numbers.groups.get(index..=last).unwrap_or(&[]);
        let gaps = groups
            .iter()
            .skip(1)
            .fold(0, |gaps, group| gaps | group.gap);
        let short = groups.iter().any(|group| group.len() < 2);
        let dotted = gaps & DOT != 0 && (gaps != DOT || groups.len() < 3);
        !short && !dotted && numbers.ends(last)
    })?;
    (last > index).then_some(last)
}

/// An area code in brackets: `(11) 91234-5678`, `(02) 9876 5432`.
fn bracketed(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let area = numbers.group(index)?;
    let bracket =
        before(numbers.bytes, area.start) == b'(' && numbers.gap_after(index) & CLOSE != 0;
    let digits = numbers.digits(area);
    let year = matches!(digits, [b'1', b'9', _, _] | [b'2', b'0', _, _]);
    if !bracket || year || !(2..=5).contains(&digits.len()) {
        return None;
    }
    longest(numbers, index, 8..=12, |last| {
        let groups = numbers.groups.get(index + 1..=last).unwrap_or(&[]);
        !groups.is_empty() && groups.iter().all(|group| group.len() >= 2) && numbers.ends(last)
    })
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
        Hint::Ssn | Hint::None => false,
    };
    (told && !numbers.meets_date(index, last)).then_some(Found {
        start: group.start,
        last,
    })
}

/// The last group of the longest run from `index` with as many digits, at which `accept` agrees.
fn longest(
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

/// An amount whose thousands are set apart by spaces: `612 345 678 EUR`, `612 345 678,50`.
fn is_amount(numbers: &Numbers<'_>, first: usize, last: usize) -> bool {
    const UNITS: &[&str] = &[
        "eur", "usd", "gbp", "chf", "kr", "sek", "nok", "dkk", "pln", "zł", "€", "$", "£", "%",
    ];
    let groups = numbers.groups.get(first..=last).unwrap_or(&[]);
    let (Some(from), Some(to)) = (groups.first(), groups.last()) else {
        return false;
    };
    let thousands = groups.iter().all(|group| group.len() == 3)
        && groups.iter().skip(1).all(|group| group.gap == SPACE);
    if !thousands {
        return false;
    }
    let before = numbers.text.get(..from.start).unwrap_or("").trim_end();
    let after = numbers.text.get(to.end..).unwrap_or("").trim_start();
    let decimals = after.starts_with(',') && at(after.as_bytes(), 1).is_ascii_digit();
    let unit = |unit: &&str| {
        let tail = before
            .len()
            .checked_sub(unit.len())
            .and_then(|at| before.get(at..));
        after
            .get(..unit.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(unit))
            || tail.is_some_and(|tail| tail.eq_ignore_ascii_case(unit))
    };
    decimals || UNITS.iter().any(unit)
}

/// Whether a whole string is a phone number, given that the name of its property says so.
pub(crate) fn is_named(numbers: &Numbers<'_>) -> bool {
    let number = numbers.text.trim();
    let digits: usize = numbers.groups.iter().map(|group| group.len()).sum();
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
        && !numbers.meets_date(0, numbers.groups.len())
}
