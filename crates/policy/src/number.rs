//! Numbers that keep their value: a policy's literal is an exact decimal, and is compared with a
//! call's number without going through binary fractions.
//!
//! Must never round a literal: `10.000000000000000001` is more than `10`.

use std::cmp::Ordering;
use std::fmt;

/// The most significant digits of a literal; any such number fits a `u128`.
const MOST_DIGITS: usize = 38;

/// The least whole number with more digits than that.
const LEAST_TOO_LONG: u128 = 10_u128.pow(38);

/// The furthest that the point may be from the digits.
const MOST_EXPONENT: i32 = 400;

/// `digits × 10^exponent`, negated where `negative`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    negative: bool,
    digits: u128,
    exponent: i32,
}

/// An exact number of a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    exact: Decimal,
    /// The nearest binary fraction.
    nearest: f64,
    /// How the shortest decimal that means `nearest` compares with `exact`.
    tie: Ordering,
}

impl Number {
    /// Reads decimal notation, with a sign, a point and an exponent as JSON and YAML write them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let exact = Decimal::parse(text)?;
        let nearest: f64 = text.parse().ok()?;
        // What a binary fraction cannot come near to cannot be compared with one.
        if !nearest.is_finite() || (nearest == 0.0 && exact.digits != 0) {
            return None;
        }
        let tie = Decimal::shortest(nearest)?.compare(&exact);
        Some(Self {
            exact,
            nearest,
            tie,
        })
    }

    /// How a call's number compares with this one. A number that came as a binary fraction counts
    /// as the shortest decimal that means it, which is how RFC 8785 writes it.
    pub(crate) fn order_of(&self, given: &serde_json::Number) -> Option<Ordering> {
        if let Some(integer) = given.as_u64() {
            if !self.exact.negative && self.exact.exponent == 0 {
                return Some(u128::from(integer).cmp(&self.exact.digits));
            }
            return Some(Decimal::integer(false, integer).compare(&self.exact));
        }
        if let Some(integer) = given.as_i64() {
            let size = integer.unsigned_abs();
            return Some(Decimal::integer(integer < 0, size).compare(&self.exact));
        }
        // Rounding keeps the order, so only an equal binary fraction needs the digits.
        let order = given.as_f64()?.partial_cmp(&self.nearest)?;
        Some(order.then(self.tie))
    }

    /// Whether a call's number has the same value.
    pub(crate) fn equals(&self, given: &serde_json::Number) -> bool {
        self.order_of(given) == Some(Ordering::Equal)
    }

    /// Whether both are the same number.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.exact.compare(&other.exact) == Ordering::Equal
    }

    /// The number as JSON.
    pub(crate) fn to_json(self) -> Option<serde_json::Number> {
        serde_json::from_str(&self.to_string()).ok()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exact.fmt(f)
    }
}

impl Decimal {
    fn integer(negative: bool, size: u64) -> Self {
        Self {
            negative,
            digits: u128::from(size),
            exponent: 0,
        }
    }

    fn shortest(value: f64) -> Option<Self> {
        Self::parse(&format!("{value:e}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let written = format!("{whole}{fraction}");
        if written.is_empty() || !written.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let leading = written.trim_start_matches('0');
        let significant = leading.trim_end_matches('0');
        if significant.len() > MOST_DIGITS {
            return None;
        }
        if significant.is_empty() {
            return Some(Self {
                negative: false,
                digits: 0,
                exponent: 0,
            });
        }
        let dropped = i32::try_from(leading.len().checked_sub(significant.len())?).ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        let exponent = power.checked_add(dropped)?.checked_sub(places)?;
        if exponent.checked_abs()? > MOST_EXPONENT {
            return None;
        }
        let digits: u128 = significant.parse().ok()?;
        // Whole numbers are kept as such, where they fit: they are compared at once.
        let whole = u32::try_from(exponent)
            .ok()
            .and_then(|zeros| 10_u128.checked_pow(zeros))
            .and_then(|factor| digits.checked_mul(factor))
            .filter(|whole| *whole < LEAST_TOO_LONG);
        Some(Self {
            negative,
            digits: whole.unwrap_or(digits),
            exponent: if whole.is_some() { 0 } else { exponent },
        })
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.digits, self.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let size = || match self.sign() {
            0 => Ordering::Equal,
            1 => self.size_order(other),
            _ => other.size_order(self),
        };
        self.sign().cmp(&other.sign()).then_with(size)
    }

    /// The order of the sizes of two numbers that are not zero.
    fn size_order(&self, other: &Self) -> Ordering {
        if self.exponent == other.exponent {
            return self.digits.cmp(&other.digits);
        }
        self.magnitude()
            .cmp(&other.magnitude())
            .then_with(|| self.aligned(other).cmp(&other.aligned(self)))
    }

    /// Where the first digit stands, counted from the point.
    fn magnitude(&self) -> i64 {
        i64::from(self.digits.checked_ilog10().unwrap_or(0)) + i64::from(self.exponent)
    }

    /// The digits, with zeros added where the other number of the same magnitude has more: both
    /// then have as many as the longer one, which fits a `u128`.
    fn aligned(&self, other: &Self) -> u128 {
        let zeros = self.exponent.saturating_sub(other.exponent);
        u32::try_from(zeros)
            .ok()
            .and_then(|zeros| 10_u128.checked_pow(zeros))
            .and_then(|factor| self.digits.checked_mul(factor))
            .unwrap_or(self.digits)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.digits.to_string();
        match (usize::try_from(self.exponent), self.exponent) {
            (Ok(zeros), ..=20) => write!(f, "{sign}{digits}{}", "0".repeat(zeros)),
            (Err(_), -20..) => {
                let places = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(0);
                let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
                let (whole, fraction) = padded
                    .split_at_checked(padded.len().saturating_sub(places))
                    .unwrap_or((&padded, "0"));
                write!(f, "{sign}{whole}.{fraction}")
            }
            _ => write!(f, "{sign}{digits}e{}", self.exponent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    fn given(text: &str) -> serde_json::Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_of_all_kinds_compare_by_value() {
        let cases = [
            ("12.5", "10", Ordering::Greater),
            ("10", "12.5", Ordering::Less),
            ("10.0", "10", Ordering::Equal),
            ("10", "10.000", Ordering::Equal),
            ("1e1", "10", Ordering::Equal),
            ("0.1", "0.1", Ordering::Equal),
            ("0.30000000000000004", "0.3", Ordering::Greater),
            ("-5", "3", Ordering::Less),
            ("-5", "-6", Ordering::Greater),
            ("-0.0", "0", Ordering::Equal),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            (
                "18446744073709551615",
                "18446744073709551614.5",
                Ordering::Greater,
            ),
            ("-9223372036854775808", "-9.3e18", Ordering::Greater),
            ("1e300", "1e-300", Ordering::Greater),
        ];
        for (left, right, order) in cases {
            assert_eq!(
                number(right).order_of(&given(left)),
                Some(order),
                "{left} {right}"
            );
        }
    }

    #[test]
    fn a_literal_is_never_rounded_to_what_it_nearly_is() {
        let literal = number("10.00000000000000000001");
        assert_eq!(literal.order_of(&given("10")), Some(Ordering::Less));
        assert_eq!(literal.order_of(&given("10.0")), Some(Ordering::Less));
        assert_eq!(
            number("0.1000000000000000055").order_of(&given("0.1")),
            Some(Ordering::Less)
        );
    }

    #[test]
    fn the_longest_numbers_keep_their_order() {
        let ascending = [
            "-9e38",
            "-3e38",
            "-99999999999999999999999999999999999999",
            "-1e-300",
            "0",
            "1.0000000000000000000000000000000000001",
            "1e37",
            "12345678901234567890123456789012345678",
            "99999999999999999999999999999999999999",
            "1e38",
            "3e38",
            "3.4e38",
            "9e38",
            "1.0000000000000000000000000000000000001e39",
        ];
        for (place, less) in ascending.iter().enumerate() {
            for (other, more) in ascending.iter().enumerate() {
                let order = number(less).exact.compare(&number(more).exact);
                assert_eq!(order, place.cmp(&other), "{less} {more}");
            }
        }
    }

    #[test]
    fn what_is_no_number_or_too_long_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "--1",
            "1.2.3",
            "1e999",
            "1e-500",
            "0x10",
            "1_000",
            "٣",
            "123456789012345678901234567890123456789",
        ] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_number_is_written_as_it_is_meant() {
        for (text, shown) in [
            ("10", "10"),
            ("1e3", "1000"),
            ("12.50", "12.5"),
            ("-0.001", "-0.001"),
            ("0", "0"),
            ("-0", "0"),
            ("5e-30", "5e-30"),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
    }
}
