//! What a principal may use: rate, burst, concurrency, money; and when a plan has to stop.

use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;
use crate::principal::PrincipalName;

/// Rates, concurrency and money of one principal or one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls a minute, sustained; 1 to 10,000,000.
    pub rpm: u32,
    /// Calls that may come at once before `rpm` holds; 1 to 10,000,000.
    pub burst: u32,
    /// Calls under way at once; 1 to 100,000.
    pub concurrency: u32,
    /// What a day (UTC) may cost.
    #[serde(rename = "daily_cost_usd", with = "usd")]
    pub daily_cost: MicroUsd,
}

/// When a plan has gone on too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRules {
    /// The deepest nesting of plans that may call a tool.
    pub max_plan_depth: u32,
    /// The highest number of repeats of one step; attempt 0 is the first try.
    pub max_retries: u32,
}

/// The file form of limits (`policies/limits.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalLimits {
    /// Whose limits these are.
    pub principal: PrincipalName,
    /// Rates, concurrency and money.
    pub limits: Limits,
    /// When a plan has to stop.
    pub stop_rules: StopRules,
}

/// A limit outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` must be between 1 and {max}")]
pub struct LimitsError {
    field: &'static str,
    max: u32,
}

impl Limits {
    /// Checks the bounds that the fields document.
    ///
    /// # Errors
    /// Names the first field outside its bounds.
    pub const fn check(self) -> Result<(), LimitsError> {
        if self.rpm == 0 || self.rpm > 10_000_000 {
            return Err(LimitsError {
                field: "rpm",
                max: 10_000_000,
            });
        }
        if self.burst == 0 || self.burst > 10_000_000 {
            return Err(LimitsError {
                field: "burst",
                max: 10_000_000,
            });
        }
        if self.concurrency == 0 || self.concurrency > 100_000 {
            return Err(LimitsError {
                field: "concurrency",
                max: 100_000,
            });
        }
        Ok(())
    }
}

mod usd {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::money::MicroUsd;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub(super) fn serialize<S: Serializer>(money: &MicroUsd, s: S) -> Result<S::Ok, S::Error> {
        let (whole, fraction) = (money.0 / 1_000_000, money.0 % 1_000_000);
        if fraction == 0 {
            return s.serialize_u64(whole);
        }
        let text = format!("{whole}.{fraction:06}");
        match text.parse::<f64>() {
            Ok(number) => s.serialize_f64(number),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<MicroUsd, D::Error> {
        let number = serde_json::Number::deserialize(d)?;
        MicroUsd::from_usd(&number).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_playbooks_file_loads_as_it_is() {
        let text = include_str!("../../../policies/limits.json");
        let file: PrincipalLimits = serde_json::from_str(text).unwrap();
        assert_eq!(file.principal.as_str(), "agent:copilot");
        assert_eq!(file.limits.daily_cost, MicroUsd(50_000_000));
        assert_eq!(
            file.stop_rules,
            StopRules {
                max_plan_depth: 12,
                max_retries: 3
            }
        );
        file.limits.check().unwrap();
    }

    #[test]
    fn limits_outside_their_bounds_are_named() {
        let limits = Limits {
            rpm: 0,
            burst: 1,
            concurrency: 1,
            daily_cost: MicroUsd(0),
        };
        assert_eq!(
            limits.check().unwrap_err().to_string(),
            "`rpm` must be between 1 and 10000000"
        );
    }
}
