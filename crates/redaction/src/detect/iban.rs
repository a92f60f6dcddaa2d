//! IBANs: a country of the registry, its length and structure, and the mod 97 check.
//!
//! Structure and checksum together are strict enough to look inside longer words.

use crate::class::{at, before};
use crate::detect::groups::Numbers;
use crate::hit::Hit;
use crate::kind::Kind;

/// Reports each IBAN.
pub(crate) fn find(numbers: &Numbers<'_>, hits: &mut Vec<Hit>) {
    for group in numbers.groups {
        // The two check digits follow the country's letters without a gap, also in print.
        let Some(start) = group.start.checked_sub(2) else {
            continue;
        };
        let letters = (
            before(numbers.bytes, group.start - 1),
            before(numbers.bytes, group.start),
        );
        if letters.0.is_ascii_alphabetic()
            && letters.1.is_ascii_alphabetic()
            && let Some(end) = end(numbers.bytes, start).or_else(|| other(numbers.bytes, start))
        {
            hits.push(Hit {
                kind: Kind::Iban,
                start,
                end,
            });
        }
    }
}

/// Where the IBAN ends that begins at `start`.
fn end(bytes: &[u8], start: usize) -> Option<usize> {
    let country = [
        at(bytes, start).to_ascii_uppercase(),
        at(bytes, start + 1).to_ascii_uppercase(),
    ];
    let structure = structure(country)?;
    let check = [at(bytes, start + 2), at(bytes, start + 3)];
    if !check.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut position = start + 4;
    let mut remainder = 0;
    let mut count = 0_usize;
    for part in structure.bytes() {
        if part.is_ascii_digit() {
            count = count * 10 + usize::from(part - b'0');
            continue;
        }
        for _ in 0..count {
            while matches!(at(bytes, position), b' ' | b'-' | b'.' | b'\t')
                && separates(bytes, position)
            {
                position += 1;
            }
            let byte = at(bytes, position);
            let fits = match part {
                b'n' => byte.is_ascii_digit(),
                b'a' => byte.is_ascii_alphabetic(),
                _ => byte.is_ascii_alphanumeric(),
            };
            if !fits {
                return None;
            }
            remainder = push(remainder, byte);
            position += 1;
        }
        count = 0;
    }
    for byte in country.into_iter().chain(check) {
        remainder = push(remainder, byte);
    }
    (remainder == 1).then_some(position)
}

/// Where a number ends that has a country and the checksum of an IBAN, but not the country's structure: one
/// that changed, or a slip. Only as a word of its own.
fn other(bytes: &[u8], start: usize) -> Option<usize> {
    let joint = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if joint(before(bytes, start)) {
        return None;
    }
    let word = bytes.get(start..)?;
    let length = word
        .iter()
        .take(35)
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let word = word.get(..length)?;
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let mixed = word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    let alone = !matches!(at(bytes, start + length), b'-' | b'_');
    let country = [at(bytes, start), at(bytes, start + 1)].map(|byte| byte.to_ascii_uppercase());
    if structure(country).is_none()
        || !(15..=34).contains(&length)
        || digits < 10
        || mixed
        || !alone
    {
        return None;
    }
    let (head, body) = word.split_at_checked(4)?;
    let form = head.get(2..)?.iter().all(u8::is_ascii_digit);
    let remainder = body
        .iter()
        .chain(head)
        .fold(0, |remainder, byte| push(remainder, *byte));
    (form && remainder == 1).then_some(start + length)
}

/// At most two separators stand together.
fn separates(bytes: &[u8], position: usize) -> bool {
    before(bytes, position).is_ascii_alphanumeric()
        || before(bytes, position - 1).is_ascii_alphanumeric()
}

/// One more character of the number whose remainder by 97 is sought.
fn push(remainder: u32, byte: u8) -> u32 {
    if byte.is_ascii_digit() {
        (remainder * 10 + u32::from(byte - b'0')) % 97
    } else {
        (remainder * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97
    }
}

/// The structure after the check digits, from SWIFT's IBAN registry: `n` digits, `a` letters, `c` both.
fn structure(country: [u8; 2]) -> Option<&'static str> {
    Some(match &country {
        b"NO" => "11n",
        b"BE" => "12n",
        b"DK" | b"FI" | b"FO" | b"GL" | b"SD" => "14n",
        b"SI" => "15n",
        b"AT" | b"BA" | b"EE" | b"LT" | b"MN" | b"XK" => "16n",
        b"HR" => "17n",
        b"DE" | b"CR" | b"ME" | b"RS" | b"VA" => "18n",
        b"AE" | b"IL" | b"SO" | b"TL" => "19n",
        b"CZ" | b"ES" | b"SE" | b"SK" | b"TN" => "20n",
        b"LY" | b"PT" | b"ST" => "21n",
        b"IS" => "22n",
        b"BI" | b"DJ" | b"MR" => "23n",
        b"HU" | b"PL" => "24n",
        b"EG" => "25n",
        b"AD" => "8n12c",
        b"AL" | b"CY" => "8n16c",
        b"AZ" => "4a20c",
        b"BG" => "4a6n8c",
        b"BH" => "4a14c",
        b"BR" => "23n1a1c",
        b"BY" => "4c4n16c",
        b"CH" | b"LI" => "5n12c",
        b"DO" => "4c20n",
        b"FK" => "2a12n",
        b"FR" | b"MC" => "10n11c2n",
        b"GB" | b"IE" => "4a14n",
        b"GE" => "2a16n",
        b"GI" => "4a15c",
        b"GR" => "7n16c",
        b"GT" => "24c",
        b"HN" | b"NI" | b"SV" => "4a20n",
        b"IQ" => "4a15n",
        b"IT" | b"SM" => "1a10n12c",
        b"JO" | b"YE" => "4a4n18c",
        b"KW" => "4a22c",
        b"KZ" | b"LU" => "3n13c",
        b"LB" => "4n20c",
        b"LC" => "4a24c",
        b"LV" => "4a13c",
        b"MD" => "20c",
        b"MK" => "3n10c2n",
        b"MT" => "4a5n18c",
        b"MU" => "4a19n3a",
        b"NL" => "4a10n",
        b"OM" => "3n16c",
        b"PK" | b"RO" => "4a16c",
        b"PS" | b"QA" => "4a21c",
        b"RU" => "14n15c",
        b"SA" => "2n18c",
        b"SC" => "4a20n3a",
        b"TR" => "6n16c",
        b"UA" => "6n19c",
        b"VG" => "4a16n",
        _ => return None,
    })
}
