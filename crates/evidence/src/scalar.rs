//! The scalars of a record: counts that every JSON reader keeps exact, times in one spelling, labels
//! that cannot carry a personal value, and names of members.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use portcullis_domain::MicroUsd;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::canonical::{MAX_SAFE_INTEGER, member_order};

/// A number of things, bytes, microseconds or micro-dollars: 0 to 2⁵³ − 1, so that no reader of JSON
/// rounds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Count(u64);

impl Count {
    /// The largest count.
    pub const MAX: Self = Self(MAX_SAFE_INTEGER);

    /// A count; what lies beyond [`Self::MAX`] is recorded as that. No length, duration or amount
    /// that the platform admits comes near it.
    pub const fn saturating(number: u64) -> Self {
        if number > MAX_SAFE_INTEGER {
            Self::MAX
        } else {
            Self(number)
        }
    }

    /// The number of bytes or of elements of something in memory.
    pub fn of_len(length: usize) -> Self {
        Self::saturating(u64::try_from(length).unwrap_or(u64::MAX))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u32> for Count {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl From<MicroUsd> for Count {
    fn from(money: MicroUsd) -> Self {
        Self::saturating(money.0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > MAX_SAFE_INTEGER {
            return Err(serde::de::Error::custom("a count is at most 2^53 - 1"));
        }
        Ok(Self(number))
    }
}

/// An instant in UTC to the microsecond, always written `2025-08-25T12:34:56.123456Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_micros: i64,
}

const FORM: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
);
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what four digits of a year can say.
const FIRST: i64 = -62_167_219_200_000_000;
const LAST: i64 = 253_402_300_799_999_999;

impl Timestamp {
    /// The time, for a database row.
    pub fn to_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_micros) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Timestamp {
    /// Drops what is finer than a microsecond.
    fn from(time: OffsetDateTime) -> Self {
        let micros = time.unix_timestamp_nanos().div_euclid(1_000);
        Self {
            unix_micros: i64::try_from(micros).unwrap_or(LAST).clamp(FIRST, LAST),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.to_time();
        let year = u32::try_from(time.year()).unwrap_or(0);
        let mut text = String::with_capacity(27);
        let mut put = |number: u32, digits: &[u32], after: char| {
            for digit in digits {
                text.push(char::from_digit(number / digit % 10, 10).unwrap_or('0'));
            }
            text.push(after);
        };
        put(year, &[1_000, 100, 10, 1], '-');
        put(u8::from(time.month()).into(), &[10, 1], '-');
        put(time.day().into(), &[10, 1], 'T');
        put(time.hour().into(), &[10, 1], ':');
        put(time.minute().into(), &[10, 1], ':');
        put(time.second().into(), &[10, 1], '.');
        put(
            time.microsecond(),
            &[100_000, 10_000, 1_000, 100, 10, 1],
            'Z',
        );
        f.write_str(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = PrimitiveDateTime::parse(&text, FORM).map_err(serde::de::Error::custom)?;
        let time = Self::from(time.assume_utc());
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(serde::de::Error::custom(
                "a time is written 2025-08-25T12:34:56.123456Z",
            ))
        }
    }
}

/// A short machine-readable word: a problem's slug, a reason, an action, a kind of personal data.
/// Lower-case ASCII letters, digits and `._-`, 1 to 64 characters. It is made from what the program
/// itself says, never from what a caller sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Cow<'static, str>);

impl Label {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_sound(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    }
}

impl From<&'static str> for Label {
    /// A word of the program's own text. One outside the rule is refused when its record is sealed.
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// A text that is no label. It does not quote the text, which may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label is 1 to 64 lower-case letters, digits and ._-")]
pub struct LabelError;

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if Self::is_sound(text) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(LabelError)
        }
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if Self::is_sound(&self.0) {
            serializer.serialize_str(&self.0)
        } else {
            Err(serde::ser::Error::custom(LabelError))
        }
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The name of a member of a JSON object, in the order of RFC 8785, so that a map of them is written
/// in canonical order as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberName(Arc<str>);

impl MemberName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for MemberName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for MemberName {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl PartialOrd for MemberName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MemberName {
    fn cmp(&self, other: &Self) -> Ordering {
        member_order(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_always_has_six_decimals() {
        let time = Timestamp::from(datetime!(2025-08-25 12:34:56.100 +02:00));
        assert_eq!(time.to_string(), "2025-08-25T10:34:56.100000Z");
        let time = Timestamp::from(datetime!(2025-08-25 12:34:56.999_999_999 UTC));
        assert_eq!(time.to_string(), "2025-08-25T12:34:56.999999Z");
    }

    #[test]
    fn times_beyond_four_digits_of_a_year_stop_there() {
        let far = OffsetDateTime::UNIX_EPOCH - time::Duration::days(1_000_000);
        assert_eq!(
            Timestamp::from(far).to_string(),
            "0000-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            Timestamp { unix_micros: LAST }.to_string(),
            "9999-12-31T23:59:59.999999Z"
        );
    }

    #[test]
    fn other_spellings_of_a_time_are_refused() {
        for text in [
            "2025-08-25T12:34:56Z",
            "2025-08-25T12:34:56.1Z",
            "2025-08-25T12:34:56.1234567Z",
            "2025-08-25t12:34:56.123456z",
            "2025-08-25 12:34:56.123456Z",
            "2025-08-25T12:34:56.123456+00:00",
            "2025-08-25T12:34:60.123456Z",
            "2025-02-30T12:34:56.123456Z",
            "+2025-08-25T12:34:56.123456Z",
            "",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Timestamp>(&json).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_that_a_reader_would_round_are_refused() {
        assert_eq!(Count::saturating(u64::MAX), Count::MAX);
        assert!(serde_json::from_str::<Count>("9007199254740991").is_ok());
        for text in ["9007199254740992", "-1", "1.0", "\"1\""] {
            assert!(serde_json::from_str::<Count>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_outside_the_rule_are_neither_read_nor_written() {
        let long = "x".repeat(65);
        for text in ["", "A", "a b", "a@example.com", "é", &long] {
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Label>(&json).is_err(), "{text}");
            assert_eq!(text.parse::<Label>(), Err(LabelError), "{text}");
        }
        assert!(serde_json::to_string(&Label::from("Not so")).is_err());
        assert_eq!(
            serde_json::to_string(&Label::from("policy-denied")).unwrap(),
            "\"policy-denied\""
        );
    }

    proptest! {
        #[test]
        fn a_time_survives_its_text(unix_micros in FIRST..=LAST) {
            let time = Timestamp { unix_micros };
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(json.len(), 29);
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
            prop_assert_eq!(Timestamp::from(time.to_time()), time);
        }
    }
}
