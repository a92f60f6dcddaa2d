//! US social security numbers (and taxpayer numbers of the same form).
//!
//! Nine plain digits are one only where the surroundings say so.

use crate::detect::groups::{HYPHEN, Numbers, SPACE};
use crate::hint::{self, Hint};
use crate::hit::Hit;
use crate::kind::Kind;

/// Reports each number.
pub(crate) fn find(numbers: &Numbers<'_>, hits: &mut Vec<Hit>) {
    for (index, group) in numbers.groups.iter().enumerate() {
        let end = match group.len() {
            3 => separated(numbers, index),
            9 if is_valid(numbers.digits(*group)) => {
                (hint::before_number(numbers.text, group.start) == Hint::Ssn).then_some(group.end)
            }
            _ => None,
        };
        if let Some(end) = end {
            hits.push(Hit {
                kind: Kind::Ssn,
                start: group.start,
                end,
            });
        }
    }
}

/// The end of `123-45-6789` or `123 45 6789`.
fn separated(numbers: &Numbers<'_>, index: usize) -> Option<usize> {
    let (area, group, serial) = (
        numbers.group(index)?,
        numbers.group(index + 1)?,
        numbers.group(index + 2)?,
    );
    let form = group.len() == 2 && serial.len() == 4;
    let gaps = group.gap == serial.gap && matches!(group.gap, HYPHEN | SPACE);
    if !form
        || !gaps
        || !numbers.begins(area)
        || !numbers.ends(index + 2)
        || numbers.is_listed(index, index + 2)
    {
        return None;
    }
    let mut digits = [0; 9];
    let parts = [area, group, serial];
    for (to, from) in digits
        .iter_mut()
        .zip(parts.iter().flat_map(|part| numbers.digits(*part)))
    {
        *to = *from;
    }
    is_valid(&digits).then_some(serial.end)
}

/// Whether nine digits can be a number that was given out.
pub(crate) fn is_valid(digits: &[u8]) -> bool {
    let Some((area, rest)) = digits.split_at_checked(3) else {
        return false;
    };
    let Some((group, serial)) = rest.split_at_checked(2) else {
        return false;
    };
    // From 900 on they are taxpayer numbers, whose group begins with 5 to 9.
    let taxpayer = area.starts_with(b"9") && group < b"50";
    serial.len() == 4
        && area != b"000"
        && area != b"666"
        && group != b"00"
        && serial != b"0000"
        && !taxpayer
}
