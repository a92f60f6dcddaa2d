//! Money is integer micro-USD inside, dollars with cents outside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Millionths of a US dollar.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// From a number of dollars with at most six decimals.
    ///
    /// # Errors
    /// Refuses what is negative, not finite, finer than a micro-dollar or above a billion dollars.
    pub fn from_usd(usd: &serde_json::Number) -> Result<Self, MoneyError> {
        let text = usd.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 || whole.len() > 10 {
            return Err(MoneyError);
        }
        let whole: u64 = whole.parse().unwrap_or(0);
        let micros: u64 = format!("{fraction:0<6}").parse().unwrap_or(0);
        if whole > 1_000_000_000 {
            return Err(MoneyError);
        }
        Ok(Self(whole.saturating_mul(1_000_000).saturating_add(micros)))
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "${}.{:02}",
            self.0 / 1_000_000,
            self.0 % 1_000_000 / 10_000
        )
    }
}

/// A number that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is between 0 and 1000000000 dollars with at most six decimals")]
pub struct MoneyError;

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Result<MicroUsd, MoneyError> {
        MicroUsd::from_usd(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn dollars_keep_their_value() {
        assert_eq!(usd("50"), Ok(MicroUsd(50_000_000)));
        assert_eq!(usd("0.1"), Ok(MicroUsd(100_000)));
        assert_eq!(usd("12.345678"), Ok(MicroUsd(12_345_678)));
        assert_eq!(usd("12.5").unwrap().to_string(), "$12.50");
    }

    #[test]
    fn amounts_that_lose_value_are_refused() {
        for text in ["-1", "0.0000001", "1e30", "1000000001"] {
            assert!(usd(text).is_err(), "{text}");
        }
    }
}
