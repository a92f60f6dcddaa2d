//! Pools (where data lives and calls run) and jurisdictions (whose law it falls under).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A legal space that personal data belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Jurisdiction {
    /// The European Union.
    #[serde(rename = "EU")]
    Eu,
    /// The United States.
    #[serde(rename = "US")]
    Us,
}

impl Jurisdiction {
    /// Every jurisdiction.
    pub const ALL: [Self; 2] = [Self::Eu, Self::Us];

    /// The name used in SQL, JSON and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eu => "EU",
            Self::Us => "US",
        }
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A region's database, executors and endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pool {
    /// In the European Union.
    #[serde(rename = "eu-west")]
    EuWest,
    /// In the United States.
    #[serde(rename = "us-east")]
    UsEast,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 2] = [Self::EuWest, Self::UsEast];

    /// The name used in SQL, JSON, policies and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EuWest => "eu-west",
            Self::UsEast => "us-east",
        }
    }

    /// Whose law applies there.
    pub const fn jurisdiction(self) -> Jurisdiction {
        match self {
            Self::EuWest => Jurisdiction::Eu,
            Self::UsEast => Jurisdiction::Us,
        }
    }

    /// The pool of a jurisdiction.
    pub const fn of(jurisdiction: Jurisdiction) -> Self {
        match jurisdiction {
            Jurisdiction::Eu => Self::EuWest,
            Jurisdiction::Us => Self::UsEast,
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no pool or no jurisdiction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of: {known}")]
pub struct RegionError {
    given: String,
    known: &'static str,
}

impl FromStr for Pool {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        Self::ALL
            .into_iter()
            .find(|pool| pool.as_str() == text)
            .ok_or_else(|| RegionError {
                given: text.to_owned(),
                known: "eu-west, us-east",
            })
    }
}

impl FromStr for Jurisdiction {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        Self::ALL
            .into_iter()
            .find(|jurisdiction| jurisdiction.as_str() == text)
            .ok_or_else(|| RegionError {
                given: text.to_owned(),
                known: "EU, US",
            })
    }
}
