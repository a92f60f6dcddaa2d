//! RFC 9457 problem documents with stable types.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

macro_rules! slugs {
    ($($name:ident = $slug:literal, $status:literal, $title:literal;)*) => {
        /// The stable last part of a problem's `type`, `/problems/{slug}`. Listed in
        /// `docs/problems.md`; a test compares the two.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Slug {
            $(#[doc = $title] $name,)*
        }

        impl Slug {
            /// Every slug.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The slug's text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The HTTP status of the answer where the transport is plain HTTP.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short, human-readable summary of the problem's type.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

slugs! {
    TokenMissing = "token-missing", 401, "No access token was sent";
    TokenInvalid = "token-invalid", 401, "The access token is not valid";
    TokenExpired = "token-expired", 401, "The access token has expired";
    TokenReplayed = "token-replayed", 401, "The access token was first used from elsewhere";
    InsufficientScope = "insufficient-scope", 403, "The access token lacks a scope";
    UnknownTool = "unknown-tool", 404, "There is no such tool";
    InvalidArguments = "invalid-arguments", 400, "The arguments do not fit the tool's schema";
    PolicyDenied = "policy-denied", 403, "Policy refuses this call";
    ApprovalRequired = "approval-required", 403, "A person has to approve this call";
    IdempotencyKeyRequired = "idempotency-key-required", 400, "A mutating call needs an idempotency key";
    BudgetExhausted = "budget-exhausted", 403, "The budget is spent";
    RateLimited = "rate-limited", 429, "Too many calls";
    ConcurrencyLimited = "concurrency-limited", 429, "Too many calls at once";
    PlanTooDeep = "plan-too-deep", 403, "The plan is nested too deeply";
    TooManyRetries = "too-many-retries", 403, "The step was repeated too often";
    PrincipalSuspended = "principal-suspended", 403, "The principal is suspended";
    TenantFrozen = "tenant-frozen", 403, "The tenant is frozen";
    ReadOnly = "read-only", 403, "Calls that change something are stopped";
    ToolQuarantined = "tool-quarantined", 403, "The tool is in quarantine";
    ServerQuarantined = "server-quarantined", 403, "The tool's server is in quarantine";
    EgressBlocked = "egress-blocked", 403, "The destination may not be reached";
    NoPoolForRegion = "no-pool-for-region", 403, "No pool serves the region";
    ToolFailed = "tool-failed", 502, "The tool failed";
    DeadlineExceeded = "deadline-exceeded", 504, "The call took too long";
    Cancelled = "cancelled", 499, "The call was cancelled";
    AuditUnavailable = "audit-unavailable", 503, "The call cannot be recorded now";
    Unavailable = "unavailable", 503, "The platform cannot decide this call now";
    ConfigurationStale = "configuration-stale", 503, "This replica has lost touch with its configuration";
    Overloaded = "overloaded", 429, "The replica is busy";
    MalformedRequest = "malformed-request", 400, "The request cannot be read";
    HeaderMismatch = "header-mismatch", 400, "A header contradicts the body";
    OriginNotAllowed = "origin-not-allowed", 403, "The web origin is not allowed";
    HostNotAllowed = "host-not-allowed", 403, "The host is not served here";
    BodyTooLarge = "body-too-large", 413, "The request body is too large";
    UriTooLong = "uri-too-long", 414, "The address is too long";
    MethodNotAllowed = "method-not-allowed", 405, "The method is not allowed here";
    UnsupportedMediaType = "unsupported-media-type", 415, "The content type is not supported";
    Unauthenticated = "unauthenticated", 401, "The management API needs a service token";
    Forbidden = "forbidden", 403, "The role does not allow this";
    NotFound = "not-found", 404, "There is no such thing";
    Conflict = "conflict", 409, "The change conflicts with the present state";
    PreconditionFailed = "precondition-failed", 412, "The thing has changed meanwhile";
    PreconditionRequired = "precondition-required", 428, "An update must name the version it changes";
    InvalidRequest = "invalid-request", 422, "A field of the request is not valid";
    IdempotencyKeyReused = "idempotency-key-reused", 409, "The idempotency key was used for another request";
    IdempotencyInProgress = "idempotency-in-progress", 409, "A call with this idempotency key is under way";
    OutcomeUnknown = "outcome-unknown", 409, "Nobody knows whether the call took effect";
    AnswerLost = "answer-lost", 409, "The call took effect, and its answer is gone";
    Internal = "internal", 500, "Something went wrong";
}

impl Serialize for Slug {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An RFC 9457 problem document. A refusal also names the rule, the facts it saw and the remedy; a
/// 5xx tells only its trace id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `/problems/{slug}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A summary of the problem's type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The trace of the call, for the operator's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The rule that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the rule saw. Never personal values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub facts: Map<String, Value>,
    /// What would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem of a type, with what went wrong this time. The detail of a 5xx is dropped.
    pub fn new(slug: Slug, detail: impl Into<String>) -> Self {
        let detail = if slug.status() >= 500 {
            String::new()
        } else {
            detail.into()
        };
        Self {
            kind: format!("/problems/{}", slug.as_str()),
            title: slug.title().to_owned(),
            status: slug.status(),
            detail,
            trace_id: None,
            rule: None,
            facts: Map::new(),
            remedy: None,
        }
    }

    /// With the trace id.
    #[must_use]
    pub fn with_trace(mut self, trace_id: impl std::fmt::Display) -> Self {
        self.trace_id = Some(trace_id.to_string());
        self
    }

    /// With what would allow it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_tells_no_detail() {
        let problem = Problem::new(Slug::Internal, "password=hunter2 at db:5432");
        assert!(!serde_json::to_string(&problem).unwrap().contains("hunter2"));
    }

    #[test]
    fn slugs_are_unique() {
        let mut seen: Vec<_> = Slug::ALL.iter().map(|slug| slug.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Slug::ALL.len());
    }
}
