//! What stops a call besides policy, and the words for it: the kind, the reason, since when, whom to
//! ask. It must never tell one tenant who works for the platform.

use std::sync::Arc;

use portcullis_domain::SwitchKind;
use portcullis_store::switches::SwitchRow;
use portcullis_wire::Slug;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What stops a call.
#[derive(Debug, Clone)]
pub enum Stop {
    /// A switch that is down.
    Switch(Arc<SwitchRow>),
    /// This replica refuses to change anything.
    ReadOnlyReplica,
    /// This replica has not confirmed its configuration for 2 s, and the call changes something.
    Late,
    /// This replica has not confirmed its configuration for 10 s.
    Lost,
}

impl Stop {
    /// The problem's type.
    pub fn slug(&self) -> Slug {
        match self {
            Self::Switch(row) => match row.kind {
                SwitchKind::PlatformReadOnly | SwitchKind::TenantReadOnly => Slug::ReadOnly,
                SwitchKind::ToolQuarantine => Slug::ToolQuarantined,
                SwitchKind::ServerQuarantine => Slug::ServerQuarantined,
                SwitchKind::PrincipalSuspension => Slug::PrincipalSuspended,
                SwitchKind::TenantFreeze => Slug::TenantFrozen,
                SwitchKind::EgressBlock => Slug::EgressBlocked,
            },
            Self::ReadOnlyReplica => Slug::ReadOnly,
            Self::Late | Self::Lost => Slug::ConfigurationStale,
        }
    }

    /// What the call runs into, why and since when.
    pub fn reason(&self) -> String {
        match self {
            Self::Switch(row) => {
                let target = row.target.as_ref().map(|name| format!(" on {name}"));
                format!(
                    "the switch {}{} is down since {}: {}",
                    row.kind,
                    target.unwrap_or_default(),
                    written(row.dropped_at),
                    row.reason
                )
            }
            Self::ReadOnlyReplica => {
                "this replica was started read-only, so it changes nothing".to_owned()
            }
            Self::Late => {
                "this replica has not confirmed its configuration for more than 2 s, so it \
                           changes nothing"
                    .to_owned()
            }
            Self::Lost => {
                "this replica has not confirmed its configuration for more than 10 s, so it \
                           answers no call"
                    .to_owned()
            }
        }
    }

    /// What would let the call through.
    pub fn remedy(&self) -> String {
        match self {
            Self::Switch(row) => {
                let who = if row.by_platform {
                    "the platform's operator"
                } else {
                    &row.dropped_by
                };
                match row.expires_at {
                    Some(end) => format!("Ask {who}, or wait until {}.", written(end)),
                    None => format!("Ask {who} to lift it."),
                }
            }
            Self::ReadOnlyReplica => "Ask the platform's operator.".to_owned(),
            // Answers of 500 and above have no detail: the remedy has to say it.
            Self::Late | Self::Lost => format!(
                "Repeat the call; another replica may answer it, since {}.",
                self.reason()
            ),
        }
    }

    /// What a program can read of it.
    pub fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        if let Self::Switch(row) = self {
            let mut add = |name: &str, value: String| {
                facts.insert(name.to_owned(), Value::String(value));
            };
            add("switch", row.id.to_string());
            add("kind", row.kind.to_string());
            add("dropped_at", written(row.dropped_at));
            if let Some(target) = &row.target {
                add("target", target.clone());
            }
            if let Some(end) = row.expires_at {
                add("expires_at", written(end));
            }
        }
        facts
    }

    /// What a call is told that it stopped on its way.
    pub fn words_under_way(&self) -> &'static str {
        match self {
            Self::Switch(row) => match row.kind {
                SwitchKind::PlatformReadOnly | SwitchKind::TenantReadOnly => {
                    "the call was stopped on its way: nothing may change anything now"
                }
                SwitchKind::ToolQuarantine | SwitchKind::ServerQuarantine => {
                    "the call was stopped on its way: its tool was put in quarantine"
                }
                SwitchKind::PrincipalSuspension => {
                    "the call was stopped on its way: its principal was suspended"
                }
                SwitchKind::TenantFreeze => {
                    "the call was stopped on its way: the tenant was frozen"
                }
                SwitchKind::EgressBlock => {
                    "the call was stopped on its way: a host that it reaches was blocked"
                }
            },
            Self::ReadOnlyReplica | Self::Late | Self::Lost => "the call was stopped on its way",
        }
    }
}

fn written(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}
