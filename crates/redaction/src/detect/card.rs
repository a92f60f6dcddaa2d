//! Payment card numbers: 12 to 19 digits, a known issuer prefix and the Luhn check.
//!
//! Numbers that are not cards pass the Luhn check one time in ten, so the prefix must fit the length.

use crate::detect::groups::{BREAK, CLOSE, DOT, Numbers, OPEN, SLASH};
use crate::hit::Hit;
use crate::kind::Kind;

/// Reports each card number.
pub(crate) fn find(numbers: &Numbers<'_>, hits: &mut Vec<Hit>) {
    let mut next = 0;
    for (index, group) in numbers.groups.iter().enumerate() {
        if index < next || !begins_card(numbers, index) || !numbers.begins(*group) {
            continue;
        }
        if let Some(last) = window(numbers, index)
            && let Some(end) = numbers.group(last)
            && !numbers.in_uuid(*group)
        {
            hits.push(Hit {
                kind: Kind::Card,
                start: group.start,
                end: end.end,
            });
            next = last + 1;
        }
    }
}

/// A cheap look at the first two digits.
fn begins_card(numbers: &Numbers<'_>, index: usize) -> bool {
    let digits = numbers
        .group(index)
        .map_or(&[][..], |group| numbers.digits(group));
    let next = || {
        numbers
            .group(index + 1)
            .and_then(|group| numbers.digits(group).first().copied())
    };
    match (digits.first(), digits.get(1).copied().or_else(next)) {
        (Some(b'0'), Some(second)) => second == b'6',
        (Some(b'1'), Some(second)) => second == b'8',
        (Some(b'2'), Some(second)) => matches!(second, b'1'..=b'7'),
        (Some(b'3'), Some(second)) => !matches!(second, b'1'..=b'3'),
        (Some(b'4' | b'5' | b'6'), _) => true,
        (Some(b'8'), Some(second)) => matches!(second, b'1' | b'2'),
        (Some(b'9'), Some(second)) => second == b'7',
        _ => false,
    }
}

/// The last group of the longest card number that begins with the group `first`.
fn window(numbers: &Numbers<'_>, first: usize) -> Option<usize> {
    let mut number = Luhn::default();
    let mut gaps = 0;
    let mut found = None;
    for (index, group) in numbers.groups.iter().enumerate().skip(first) {
        if index > first {
            gaps |= group.gap;
        }
        let dotted = gaps & DOT != 0 && gaps != DOT;
        if gaps & (BREAK | SLASH | OPEN | CLOSE) != 0 || dotted || number.count + group.len() > 19 {
            break;
        }
        numbers
            .digits(*group)
            .iter()
            .for_each(|digit| number.push(digit - b'0'));
        let fraction = gaps & DOT != 0 && index == first + 1;
        if number.is_card() && !fraction && numbers.ends(index) && !is_list(numbers, first, index) {
            found = Some(index);
        }
    }
    found
}

/// Numbers of a list that only happen to pass; in the groups that are printed on cards, nothing is a list.
fn is_list(numbers: &Numbers<'_>, first: usize, last: usize) -> bool {
    let mut lengths = [0; 8];
    let groups = numbers.groups.get(first..=last).unwrap_or(&[]);
    for (to, group) in lengths.iter_mut().zip(groups) {
        *to = group.len();
    }
    let printed = match lengths {
        [4, 4, 4, 4, end, 0, 0, 0] => end <= 4,
        [4, 4, 4, end, 0, 0, 0, 0] => (1..4).contains(&end),
        [4, 6, 4 | 5, 0, ..] | [4, 3, 3, 3, 0, ..] => true,
        _ => false,
    };
    !printed && numbers.is_listed(first, last)
}

/// Whether a JSON integer is a card number.
pub(crate) fn is_card(number: u64) -> bool {
    let mut luhn = Luhn::default();
    number
        .to_string()
        .bytes()
        .for_each(|digit| luhn.push(digit - b'0'));
    luhn.is_card()
}

/// The Luhn sum for both parities of the length at once, and the leading digits.
#[derive(Debug, Default)]
struct Luhn {
    count: usize,
    prefix: u32,
    doubled_even: u32,
    doubled_odd: u32,
}

impl Luhn {
    fn push(&mut self, digit: u8) {
        let digit = u32::from(digit);
        let doubled = if digit > 4 { digit * 2 - 9 } else { digit * 2 };
        let even = self.count.is_multiple_of(2);
        self.doubled_even += if even { doubled } else { digit };
        self.doubled_odd += if even { digit } else { doubled };
        if self.count < 6 {
            self.prefix = self.prefix * 10 + digit;
        }
        self.count += 1;
    }

    fn is_card(&self) -> bool {
        let sum = if self.count.is_multiple_of(2) {
            self.doubled_even
        } else {
            self.doubled_odd
        };
        self.count >= 12
            && self.count <= 19
            && sum.is_multiple_of(10)
            && is_issued(self.prefix, self.count)
    }
}

/// First six digits from, to, and the lengths that are given out with them.
const ISSUERS: &[(u32, u32, &[usize])] = &[
    // Visa
    (400_000, 499_999, &[13, 16, 19]),
    // Mastercard
    (510_000, 559_999, &[16]),
    (222_100, 272_099, &[16]),
    // American Express
    (340_000, 349_999, &[15]),
    (370_000, 379_999, &[15]),
    // Diners Club
    (300_000, 305_999, &[14, 16, 19]),
    (309_500, 309_599, &[14, 16, 19]),
    (360_000, 369_999, &[14, 16, 19]),
    (380_000, 399_999, &[14, 16, 19]),
    // JCB, and its old form
    (350_000, 359_999, &[16, 19]),
    (180_000, 180_099, &[15]),
    (213_100, 213_199, &[15]),
    // Discover
    (601_100, 601_199, &[16, 19]),
    (644_000, 659_999, &[16, 19]),
    // UnionPay
    (620_000, 629_999, &[16, 17, 18, 19]),
    (810_000, 817_199, &[16, 17, 18, 19]),
    // RuPay
    (508_000, 508_999, &[16]),
    (600_000, 609_999, &[16]),
    (817_200, 829_999, &[16]),
    // Mir and Troy
    (220_000, 220_499, &[16, 17, 18, 19]),
    (979_200, 979_299, &[16]),
    // Maestro, Dankort, Verve, Elo
    (501_800, 502_099, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (503_800, 503_899, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (506_000, 506_799, &[16, 18, 19]),
    (509_000, 509_999, &[16]),
    (560_000, 589_999, &[12, 16, 18, 19]),
    (60_400, 60_499, &[12, 16, 18, 19]),
    (630_400, 630_499, &[12, 13, 14, 15, 16, 17, 18, 19]),
    (636_200, 636_999, &[16, 18, 19]),
    (637_000, 639_099, &[12, 16, 18, 19]),
    (675_900, 676_999, &[12, 13, 14, 15, 16, 17, 18, 19]),
];

/// Whether an issuer gives out numbers of this length with these first six digits.
fn is_issued(prefix: u32, length: usize) -> bool {
    ISSUERS
        .iter()
        .any(|(from, to, lengths)| (*from..=*to).contains(&prefix) && lengths.contains(&length))
}
