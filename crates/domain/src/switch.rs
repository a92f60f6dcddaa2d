//! Kill switches: what each kind stops. This module must never decide whether a switch is down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a kill switch stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchKind {
    /// Every mutating call of every tenant.
    PlatformReadOnly,
    /// Every mutating call of one tenant.
    TenantReadOnly,
    /// Every call of one tool.
    ToolQuarantine,
    /// Every call of the tools of one server, of one tenant or of all.
    ServerQuarantine,
    /// Everything of one principal; its tokens work no longer.
    PrincipalSuspension,
    /// Every call of one tenant.
    TenantFreeze,
    /// Every call to one host, of one tenant or of all.
    EgressBlock,
}

impl SwitchKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::PlatformReadOnly,
        Self::TenantReadOnly,
        Self::ToolQuarantine,
        Self::ServerQuarantine,
        Self::PrincipalSuspension,
        Self::TenantFreeze,
        Self::EgressBlock,
    ];

    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PlatformReadOnly => "platform-read-only",
            Self::TenantReadOnly => "tenant-read-only",
            Self::ToolQuarantine => "tool-quarantine",
            Self::ServerQuarantine => "server-quarantine",
            Self::PrincipalSuspension => "principal-suspension",
            Self::TenantFreeze => "tenant-freeze",
            Self::EgressBlock => "egress-block",
        }
    }

    /// Whether it stops mutating calls alone.
    pub const fn stops_only_mutating(self) -> bool {
        match self {
            Self::PlatformReadOnly | Self::TenantReadOnly => true,
            Self::ToolQuarantine
            | Self::ServerQuarantine
            | Self::PrincipalSuspension
            | Self::TenantFreeze
            | Self::EgressBlock => false,
        }
    }

    /// Whether it names a tool, a server, a principal or a host.
    pub const fn takes_target(self) -> bool {
        match self {
            Self::ToolQuarantine
            | Self::ServerQuarantine
            | Self::PrincipalSuspension
            | Self::EgressBlock => true,
            Self::PlatformReadOnly | Self::TenantReadOnly | Self::TenantFreeze => false,
        }
    }
}

impl fmt::Display for SwitchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no kind of switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a switch is platform-read-only, tenant-read-only, tool-quarantine, server-quarantine, \
     principal-suspension, tenant-freeze or egress-block"
)]
pub struct SwitchKindError;

impl FromStr for SwitchKind {
    type Err = SwitchKindError;

    fn from_str(text: &str) -> Result<Self, SwitchKindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(SwitchKindError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_name_and_another_name_is_refused() {
        for kind in SwitchKind::ALL {
            assert_eq!(kind.as_str().parse::<SwitchKind>().unwrap(), kind);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert!("freeze".parse::<SwitchKind>().is_err());
        assert!("".parse::<SwitchKind>().is_err());
    }

    #[test]
    fn what_stops_reads_as_well_is_never_taken_for_read_only() {
        let partial: Vec<_> = SwitchKind::ALL
            .into_iter()
            .filter(|kind| kind.stops_only_mutating())
            .collect();
        let expected = [SwitchKind::PlatformReadOnly, SwitchKind::TenantReadOnly];
        assert_eq!(partial, expected);
    }
}
