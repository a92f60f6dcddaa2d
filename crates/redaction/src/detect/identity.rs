//! National identity numbers that have a checksum: of Germany, France, Spain, Italy, the Netherlands,
//! Poland and Belgium.
//!
//! Form and checksum tell them. The Dutch number has nine digits and passes in one of eleven cases, so
//! without its dots it is one only where the surroundings say so.

use crate::class::{at, before};
use crate::detect::groups::Numbers;
use crate::hint::{self, Hint};
use crate::hit::Hit;
use crate::kind::Kind;

/// The most characters of a number, without what stands between them.
const LONGEST: usize = 16;

/// The characters of a number, in upper case.
type Characters = [u8; LONGEST];

/// A way in which a number is written, and what it has to pass.
struct Form {
    /// `n` a digit, `a` a letter, `x` either; `-` where a space, dot, hyphen or slash may stand. They
    /// stand at all such places or at none.
    pattern: &'static str,
    check: fn(&[u8]) -> bool,
    need: Need,
}

/// What has to be known beside form and checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nothing,
    /// Something stands between its parts, or the surroundings name it.
    PartsOrName,
    /// The surroundings name it.
    Name,
}

const FORMS: &[Form] = &[
    form("nn-nnn-nnn-nnn", german_tax),
    form("nn-nnnnnn-a-nnn", german_insurance),
    form("n-nn-nn-nx-nnn-nnn-nn", french),
    form("nnnnnnnnnxnnnnn", french),
    form("nnnnnnnnnnnnn-nn", french),
    form("nnnnnnnn-a", spanish),
    form("nn-nnn-nnn-a", spanish),
    form("a-nnnnnnn-a", spanish),
    form("aaaaaaxxaxxaxxxa", italian),
    form("nnnnnnnnnnn", polish),
    form("nn-nn-nn-nnn-nn", belgian),
    form("nnnnnn-nnn-nn", belgian),
    Form {
        pattern: "nnnn-nn-nnn",
        check: dutch,
        need: Need::PartsOrName,
    },
    Form {
        pattern: "nnn-nnn-nnn",
        check: dutch,
        need: Need::Name,
    },
];

const fn form(pattern: &'static str, check: fn(&[u8]) -> bool) -> Form {
    Form {
        pattern,
        check,
        need: Need::Nothing,
    }
}

/// Reports each number.
pub(crate) fn find(numbers: &Numbers<'_>, hits: &mut Vec<Hit>) {
    let name = numbers.name.map_or(Hint::None, hint::of_name);
    for group in numbers.groups {
        // One letter comes before the digits of a foreigner in Spain, perhaps with a hyphen, six before
        // an Italian's; and a Corsican's digits have a letter among them, after six.
        for before in [0, 1, 2, 6, 7] {
            let Some(start) = group.start.checked_sub(before) else {
                continue;
            };
            let end = FORMS
                .iter()
                .filter_map(|form| number(numbers, start, form, name))
                .max();
            hits.extend(end.map(|end| Hit {
                kind: Kind::NationalId,
                start,
                end,
            }));
        }
    }
}

/// Where a number of a form ends that begins at `start`.
fn number(numbers: &Numbers<'_>, start: usize, form: &Form, name: Hint) -> Option<usize> {
    let bytes = numbers.bytes;
    let mut characters: Characters = [0; LONGEST];
    let read = read(bytes, start, form.pattern, &mut characters)?;
    let characters = characters.get(..read.count)?;
    if !(form.check)(characters) || !alone(bytes, start, read.end) {
        return None;
    }
    let told = || match name {
        Hint::None => hint::before_number(numbers.text, start),
        Hint::Phone | Hint::Call | Hint::Id | Hint::Ssn | Hint::National => name,
    };
    let named = || told() == Hint::National;
    let fits = match form.need {
        // Digits without anything between them may be anything's identifier.
        Need::Nothing => read.parted || told() != Hint::Id,
        Need::PartsOrName => read.parted || named(),
        Need::Name => named(),
    };
    fits.then_some(read.end)
}

/// What was read.
struct Read {
    end: usize,
    count: usize,
    /// Whether something stands between the parts.
    parted: bool,
}

fn read(bytes: &[u8], start: usize, pattern: &str, into: &mut Characters) -> Option<Read> {
    let (mut position, mut count, mut parted) = (start, 0, None);
    for class in pattern.bytes() {
        let byte = at(bytes, position);
        if class == b'-' {
            let here = matches!(byte, b' ' | b'.' | b'-' | b'/');
            if parted.replace(here).is_some_and(|before| before != here) {
                return None;
            }
            position += usize::from(here);
            continue;
        }
        let fits = match class {
            b'n' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_alphabetic(),
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return None;
        }
        *into.get_mut(count)? = byte.to_ascii_uppercase();
        count += 1;
        position += 1;
    }
    Some(Read {
        end: position,
        count,
        parted: parted.unwrap_or(false),
    })
}

/// Not a part of a longer code or of a list of numbers.
fn alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let joint = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let tie = |byte: u8, beyond: u8| match byte {
        b'-' | b'.' | b'/' => beyond.is_ascii_alphanumeric(),
        b' ' => beyond.is_ascii_digit(),
        _ => joint(byte),
    };
    let first = before(bytes, start);
    let last = at(bytes, end);
    !tie(first, before(bytes, start.saturating_sub(1))) && !tie(last, at(bytes, end + 1))
}

fn digit(byte: u8) -> u64 {
    u64::from(byte.wrapping_sub(b'0'))
}

/// The value of digits; what is no digit makes none.
fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value.wrapping_mul(10).wrapping_add(digit(*byte)))
    })
}

/// The sum of digits, each times its weight.
fn weighed(digits: &[u8], weights: &[u64]) -> u64 {
    let pairs = digits.iter().zip(weights);
    pairs.map(|(byte, weight)| digit(*byte) * weight).sum()
}

/// The tax id (§ 139b AO): among its first ten digits one stands twice or three times and no other
/// more than once; the last checks them by ISO 7064 mod 11,10.
fn german_tax(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let counts = |wanted: u64| body.iter().filter(|byte| digit(**byte) == wanted).count();
    let repeated: Vec<_> = (0..10).map(counts).filter(|n| *n > 1).collect();
    let distributed = matches!(repeated.as_slice(), [2 | 3]);
    let product = body.iter().fold(10, |product, byte| {
        let sum = (digit(*byte) + product) % 10;
        (if sum == 0 { 10 } else { sum } * 2) % 11
    });
    digits.first() != Some(&b'0') && distributed && (11 - product) % 10 == digit(*check)
}

/// The pension insurance number: area, birthday, initial, serial, check digit.
fn german_insurance(text: &[u8]) -> bool {
    let (Some(head), Some(initial), Some(serial), Some(check)) =
        (text.get(..8), text.get(8), text.get(9..11), text.get(11))
    else {
        return false;
    };
    let letter = u64::from(initial.wrapping_sub(b'A')) + 1;
    let digits = head
        .iter()
        .chain(serial)
        .map(|byte| digit(*byte))
        .collect::<Vec<_>>();
    let Some((head, serial)) = digits.split_at_checked(8) else {
        return false;
    };
    let all = head
        .iter()
        .copied()
        .chain([letter / 10, letter % 10])
        .chain(serial.iter().copied());
    let sum: u64 = all
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(digit, weight)| digit * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    let born = value(text.get(2..4).unwrap_or(&[]))
        .zip(value(text.get(4..6).unwrap_or(&[])))
        .is_some_and(|(day, month)| (1..=31).contains(&day) && (1..=12).contains(&month));
    born && sum % 10 == digit(*check)
}

/// The NIR: sex, year, month, place, order, and a key of the rest by 97.
fn french(text: &[u8]) -> bool {
    let (Some(head), Some(place), Some(rest), Some(key)) = (
        text.get(..5),
        text.get(5..7),
        text.get(7..13),
        text.get(13..15),
    ) else {
        return false;
    };
    // Corsica's departments have letters.
    let department = match place {
        b"2A" => Some(19),
        b"2B" => Some(18),
        _ => value(place),
    };
    let parts = (value(head), department, value(rest), value(key));
    let (Some(head), Some(department), Some(rest), Some(key)) = parts else {
        return false;
    };
    let (sex, month) = (head / 10_000, head % 100);
    let number = (head * 100 + department) * 1_000_000 + rest;
    matches!(sex, 1..=4 | 7 | 8)
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && department > 0
        && key == 97 - number % 97
}

/// The DNI, eight digits, or the NIE, X, Y or Z and seven; then a letter that checks them by 23.
fn spanish(text: &[u8]) -> bool {
    let Some((check, body)) = text.split_last() else {
        return false;
    };
    let Some((first, rest)) = body.split_first() else {
        return false;
    };
    let number = match first {
        b'X'..=b'Z' => value(rest).map(|rest| u64::from(first - b'X') * 10_000_000 + rest),
        _ => value(body),
    };
    let letter = number
        .and_then(|number| usize::try_from(number % 23).ok())
        .and_then(|index| b"TRWAGMYFPDXBNJZSQVHLCKE".get(index));
    letter == Some(check)
}

/// The codice fiscale. Where two people would have the same, letters stand for some of its digits.
fn italian(text: &[u8]) -> bool {
    const ODD: &[u64; 26] = &[
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let Some((check, body)) = text.split_last() else {
        return false;
    };
    let order = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.wrapping_sub(b'A'),
    };
    let sum: u64 = body
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            let order = order(*byte);
            match index % 2 {
                0 => ODD.get(usize::from(order)).copied().unwrap_or(0),
                _ => u64::from(order),
            }
        })
        .sum();
    let month = text
        .get(8)
        .is_some_and(|month| b"ABCDEHLMPRST".contains(month));
    let digits = [6, 7, 9, 10, 12, 13, 14].iter().all(|index| {
        let byte = at(text, *index);
        byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte)
    });
    month && digits && u64::from(order(*check)) == sum % 26
}

/// The PESEL: a birthday whose month tells the century, a serial, a check digit.
fn polish(digits: &[u8]) -> bool {
    let sum = weighed(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    let month = value(digits.get(2..4).unwrap_or(&[])).unwrap_or(0);
    let day = value(digits.get(4..6).unwrap_or(&[])).unwrap_or(0);
    (1..=12).contains(&(month % 20)) && (1..=31).contains(&day) && sum.is_multiple_of(10)
}

/// The national number: a birthday (unknown parts are zero; months above 20 are of a foreigner's), a
/// serial, and a key of the rest by 97, of which those born since 2000 have a 2 before it.
fn belgian(digits: &[u8]) -> bool {
    let (Some(body), Some(key)) = (
        digits.get(..9).and_then(value),
        digits.get(9..11).and_then(value),
    ) else {
        return false;
    };
    let (month, day) = (body / 100_000 % 100, body / 1_000 % 100);
    let of = |number: u64| 97 - number % 97 == key;
    matches!(month, 0..=12 | 20..=32 | 40..=52)
        && day <= 31
        && body % 1_000 > 0
        && (of(body) || of(2_000_000_000 + body))
}

/// The BSN: nine digits whose weighed sum is divisible by 11.
fn dutch(digits: &[u8]) -> bool {
    // The last weight is -1, which by 11 is 10.
    let sum = weighed(digits, &[9, 8, 7, 6, 5, 4, 3, 2, 10]);
    digits.iter().any(|byte| *byte != b'0') && sum.is_multiple_of(11)
}
