//! What a second use of an access token means to a tenant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a second use of an access token means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayMode {
    /// A token stays with the network that used it first.
    #[default]
    Network,
    /// A token is spent by its first use.
    OneTime,
    /// A token must be bound to a key or a certificate; plain bearer tokens are refused.
    SenderConstrained,
}

impl ReplayMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Network, Self::OneTime, Self::SenderConstrained];

    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::OneTime => "one-time",
            Self::SenderConstrained => "sender-constrained",
        }
    }
}

impl fmt::Display for ReplayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no replay mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a replay mode is network, one-time or sender-constrained")]
pub struct ReplayModeError;

impl FromStr for ReplayMode {
    type Err = ReplayModeError;

    fn from_str(text: &str) -> Result<Self, ReplayModeError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(ReplayModeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_survives_its_name_and_another_name_is_refused() {
        for mode in ReplayMode::ALL {
            assert_eq!(mode.as_str().parse::<ReplayMode>().unwrap(), mode);
            let json = serde_json::to_string(&mode).unwrap();
            assert_eq!(json, format!("\"{mode}\""));
        }
        assert!("bearer".parse::<ReplayMode>().is_err());
        assert!("".parse::<ReplayMode>().is_err());
    }
}
