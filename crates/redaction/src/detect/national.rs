//! National phone numbers, by the ways in which people group digits in each country.
//!
//! Without a `+`, only a known grouping tells a phone number from a code, a date or an amount; number lists,
//! amounts and dates must stay.

use crate::class::{at, before, follows_alphanumeric};
use crate::detect::groups::{BREAK, CLOSE, DOT, Group, HYPHEN, Numbers, OPEN, SLASH, SPACE};
use crate::detect::phone::longest;
use crate::hint::{self, Hint};

/// A national number that begins with this group: where it begins and its last group.
pub(crate) fn find(numbers: &Numbers<'_>, index: usize) -> Option<(usize, usize)> {
    let group = numbers.group(index)?;
    if group.len() > 11
        || !numbers.begins(group)
        || follows_alphanumeric(numbers.bytes, group.start)
    {
        return None;
    }
    if let Some(last) = plain(numbers, index) {
        return Some((group.start, last));
    }
    if numbers.gap_after(index) & BREAK != 0 {
        return None;
    }
    let last = grouped(numbers, index)
        .or_else(|| trunk(numbers, index))
        .or_else(|| bracketed(numbers, index))?;
    (!numbers.meets_date(index, last)
        && !numbers.in_uuid(group)
        && !is_amount(numbers, index, last))
    .then_some((group.start, last))
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
        gaps: HYPHEN | SPACE,
        first: |digits| leads(digits, b'4', b'9'),
    },
    Grouping {
        lengths: &[2, 3, 2, 2],
        gaps: HYPHEN | SPACE,
        first: |digits| leads(digits, b'1', b'9'),
    },
    Grouping {
        lengths: &[3, 2, 3],
        gaps: SPACE,
        first: |digits| leads(digits, b'4', b'9'),
    },
    Grouping {
        lengths: &[2, 3, 4],
        gaps: SPACE,
        first: |digits| leads(digits, b'2', b'9'),
    },
    Grouping {
        lengths: &[2, 2, 2, 2],
        gaps: SPACE,
        first: |digits| leads(digits, b'2', b'9'),
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
        lengths: &[4, 2, 4],
        gaps: SPACE | HYPHEN,
        first: |digits| digits == b"1800",
    },
    Grouping {
        lengths: &[4, 3, 4],
        gaps: SPACE | HYPHEN,
        first: |digits| digits == b"1800",
    },
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
        // Pairs are so common in lists that they must stand alone.
        let alone = grouping.lengths != [2, 2, 2, 2]
            || (first.gap & BREAK != 0 && numbers.gap_after(last) & BREAK != 0);
        let form = fits && gaps & !grouping.gaps == 0 && !dotted && !years && alone;
        (form && numbers.ends(last) && !numbers.is_listed(index, last)).then_some(last)
    })
}

/// A number with a trunk zero (`030 1234567`, `06 12 34 56 78`) or `00` and a country (`0049 30 …`).
fn trunk(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let first = numbers.digits(numbers.group(index)?);
    let allowed = match first {
        [b'0', b'0', b'1'..=b'9', ..] => 10..=17,
        b"0800" | b"0808" | b"0900" => 8..=14,
        [b'0', b'1'..=b'9', ..] if first.len() <= 6 => 8..=12,
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
        // Eight digits only where the area code stands apart: `08-12 39 67`, `0800 1262`.
        let eight = groups.iter().map(|group| group.len()).sum::<usize>() == 8;
        let apart = gaps == HYPHEN | SPACE || (first.len() == 4 && gaps == SPACE);
        !short
            && !dotted
            && !is_address(groups)
            && (!eight || apart)
            && numbers.ends(last)
            && !numbers.is_listed(index, last)
    })?;
    (last > index).then_some(last)
}

/// House numbers and postal codes: `08/93 61-611`, `016 41-748`.
fn is_address(groups: &[Group]) -> bool {
    let mut rest = groups.windows(2).skip(1);
    rest.any(|pair| match pair {
        [left, right] => {
            right.gap & SLASH != 0
                || (right.gap == HYPHEN && left.gap & (SPACE | SLASH) != 0 && left.len() < 3)
        }
        _ => false,
    })
}

/// Ten or eleven digits with a trunk zero, written without a gap (`0612345678`): integers and dates do not
/// begin with a zero, and identifiers are told by the word or the property's name before them.
fn plain(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let group = numbers.group(index)?;
    let form = matches!(numbers.digits(group), [b'0', b'1'..=b'9', ..])
        && (10..=11).contains(&group.len());
    if !form || !numbers.ends(index) || numbers.is_listed(index, index) {
        return None;
    }
    let next = at(numbers.bytes, group.end);
    let code = next.is_ascii_alphanumeric() || before(numbers.bytes, group.start) == b'#';
    let named = numbers.name.map_or(Hint::None, hint::of_name) == Hint::Id;
    let told = || hint::before_number(numbers.text, group.start) == Hint::Id;
    (!code && !named && !told()).then_some(index)
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
