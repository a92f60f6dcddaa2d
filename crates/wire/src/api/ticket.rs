//! Change tickets: what a person has agreed to.

use std::str::FromStr;

use portcullis_domain::id::{self, Id};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TicketState {
    /// A call may name it.
    Open,
    /// Somebody closed it.
    Closed,
    /// Its time is over, and nobody closed it.
    Expired,
}

impl TicketState {
    /// The name used in JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Expired => "expired",
        }
    }
}

/// A text that names no state of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ticket is open, closed or expired")]
pub struct TicketStateError;

impl FromStr for TicketState {
    type Err = TicketStateError;

    fn from_str(text: &str) -> Result<Self, TicketStateError> {
        [Self::Open, Self::Closed, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(TicketStateError)
    }
}

/// A change that a person agreed to: one tool with some of its arguments bound to values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// The ticket's id, which a call names.
    #[schema(value_type = schema::TicketId)]
    pub id: Id<id::Ticket>,
    /// The tool that it is for.
    pub tool: String,
    /// The arguments that it binds, with the values that a call must have.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// Why the change is made.
    pub reason: String,
    /// Where it stands.
    pub state: TicketState,
    /// Who opened it.
    pub opened_by: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub opened_at: OffsetDateTime,
    /// When it ends by itself.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// When it was closed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub closed_at: Option<OffsetDateTime>,
    /// Why it was closed, if that was said.
    pub closed_reason: Option<String>,
}

/// What opens a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenTicket {
    /// The tool that it is for. Its input schema says with `x-ticket` which arguments are bound.
    pub tool: String,
    /// Those arguments, all of them and no others, with the values that a call must have. Personal
    /// data is refused.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// Why the change is made: 1 to 200 characters.
    pub reason: String,
    /// When it ends by itself, at most 31 days from now.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// What closes a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseTicket {
    /// Why: 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_text_and_others_are_none() {
        for state in [TicketState::Open, TicketState::Closed, TicketState::Expired] {
            assert_eq!(state.as_str().parse(), Ok(state));
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str());
        }
        for text in ["", "Open", "void"] {
            assert_eq!(text.parse::<TicketState>(), Err(TicketStateError));
        }
    }
}
