//! Queries of lists. Unknown parameters are refused by name.

use portcullis_domain::TraceId;
use portcullis_wire::api::{ClaimState, TicketState};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which switches.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SwitchQuery {
    /// Those that were lifted, too.
    #[serde(default)]
    pub(super) all: bool,
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which URL, for which tool.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EgressCheckQuery {
    /// The URL, at most 2,048 characters.
    pub(super) url: String,
    /// The tool whose list counts beside the tenant's; `web.fetchSafe` where absent.
    pub(super) tool: Option<String>,
}

/// Which tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenQuery {
    /// The tenant's slug or id. Where absent: the caller's own, or the platform's tokens.
    pub(super) tenant: Option<String>,
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which claims.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ClaimQuery {
    /// Only those that stand so.
    #[param(inline)]
    pub(super) state: Option<ClaimState>,
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which change tickets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TicketQuery {
    /// Only those that stand so.
    #[param(inline)]
    pub(super) state: Option<TicketState>,
    /// Only those of a tool, by its name.
    pub(super) tool: Option<String>,
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which records: those of one trace, or those of a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordQuery {
    /// The trace of one call.
    #[param(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    pub(super) trace_id: Option<TraceId>,
    /// Not before this time.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) from: Option<OffsetDateTime>,
    /// Before this time; now where absent.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) to: Option<OffsetDateTime>,
    /// How many at most, 1 to 200; 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}
