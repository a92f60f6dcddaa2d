//! What can go wrong in the management API, and the one place where it becomes an RFC 9457 answer.
//!
//! A 5xx tells its trace id and nothing else; its cause is logged here, once. A foreign thing and an
//! absent one give the same bytes, so a 404 has no trace id in its body.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use portcullis_domain::TraceId;
use portcullis_wire::api::{PolicyDiagnostic, PolicySeverity, Role};
use portcullis_wire::{Problem, Slug};
use serde_json::{Map, Value};

use super::access::Action;
use crate::attempts::TooMany;

/// Why a request was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No service token, or none that works.
    #[error("the request has no working service token: {0}")]
    Unauthenticated(&'static str),
    /// Somebody in the caller's network showed too many tokens that are none.
    #[error("too many requests of this network came with a service token that is none")]
    TooManyAttempts {
        /// When to come back.
        retry_after_seconds: u64,
    },
    /// The role does not allow the action.
    #[error("the role {role} does not allow {}", action.as_str())]
    Forbidden {
        /// The caller's role.
        role: Role,
        /// What was asked.
        action: Action,
    },
    /// The role allows the action, but not with these values.
    #[error("{detail}")]
    ForbiddenValue {
        /// What is not allowed.
        detail: String,
        /// What would be.
        remedy: &'static str,
    },
    /// There is no such thing, or it is another tenant's.
    #[error("there is no such thing, or it is another tenant's")]
    NotFound,
    /// The method is not served at this path.
    #[error("the method is not served at this path")]
    MethodNotAllowed,
    /// The body or a header cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The body is of another content type.
    #[error("the body must be {0}")]
    MediaType(&'static str),
    /// The body is larger than this route takes.
    #[error("the body must be at most {0} bytes")]
    TooLarge(usize),
    /// A field breaks a rule.
    #[error("`{field}`: {rule}")]
    Invalid {
        /// The field's path.
        field: String,
        /// The rule that it breaks.
        rule: String,
        /// What to send instead.
        remedy: String,
    },
    /// A policy does not compile.
    #[error("the policy does not compile")]
    Policy(Vec<PolicyDiagnostic>),
    /// A policy compiles with warnings that nobody has accepted.
    #[error("the compiler warns of this policy")]
    PolicyWarnings(Vec<PolicyDiagnostic>),
    /// The present state does not allow the change.
    #[error("{detail}")]
    Conflict {
        /// What stands in the way.
        detail: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// An update names no version.
    #[error("the update names no version")]
    PreconditionRequired,
    /// An update names a version that is no longer the present one.
    #[error("the update names another version than the present one")]
    PreconditionFailed,
    /// An idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// Something that the platform needs does not answer.
    #[error("a dependency does not answer: {0}")]
    Unavailable(String),
    /// A fault of the platform.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl ApiError {
    /// A field that breaks a rule.
    pub fn invalid(
        field: impl Into<String>,
        rule: impl ToString,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            rule: rule.to_string(),
            remedy: remedy.into(),
        }
    }

    /// A fault of the platform, with every cause of it for the log.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Internal(chain(error))
    }

    /// A dependency that does not answer, with every cause of it for the log.
    pub fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unavailable(chain(error))
    }

    /// The problem's type.
    pub const fn slug(&self) -> Slug {
        match self {
            Self::Unauthenticated(_) => Slug::Unauthenticated,
            Self::TooManyAttempts { .. } => Slug::RateLimited,
            Self::Forbidden { .. } | Self::ForbiddenValue { .. } => Slug::Forbidden,
            Self::NotFound => Slug::NotFound,
            Self::MethodNotAllowed => Slug::MethodNotAllowed,
            Self::Malformed(_) => Slug::MalformedRequest,
            Self::MediaType(_) => Slug::UnsupportedMediaType,
            Self::TooLarge(_) => Slug::BodyTooLarge,
            Self::Invalid { .. } | Self::Policy(_) => Slug::InvalidRequest,
            Self::Conflict { .. } | Self::PolicyWarnings(_) => Slug::Conflict,
            Self::PreconditionRequired => Slug::PreconditionRequired,
            Self::PreconditionFailed => Slug::PreconditionFailed,
            Self::IdempotencyKeyReused => Slug::IdempotencyKeyReused,
            Self::Unavailable(_) => Slug::Unavailable,
            Self::Internal(_) => Slug::Internal,
        }
    }

    fn problem(&self) -> Problem {
        let problem = Problem::new(self.slug(), self.to_string());
        match self {
            Self::Unauthenticated(_) => problem.with_remedy(
                "Send `Authorization: Bearer pst_…` with a service token that is neither expired \
                 nor revoked",
            ),
            Self::Forbidden { action, .. } => {
                let roles: Vec<_> = action.roles().iter().map(|role| role.as_str()).collect();
                problem.with_remedy(format!(
                    "Use a service token of one of the roles: {}",
                    roles.join(", ")
                ))
            }
            Self::ForbiddenValue { remedy, .. } | Self::Conflict { remedy, .. } => {
                problem.with_remedy(*remedy)
            }
            Self::Invalid {
                field,
                rule,
                remedy,
            } => {
                let mut problem = problem.with_remedy(remedy.clone());
                problem.facts = facts([("field", field.as_str()), ("rule", rule.as_str())]);
                problem
            }
            Self::Policy(diagnostics) => with_diagnostics(problem, diagnostics)
                .with_remedy("Correct the places that `facts.diagnostics` names"),
            Self::PolicyWarnings(diagnostics) => with_diagnostics(problem, diagnostics)
                .with_remedy("Read `facts.diagnostics`, then publish with `accept_warnings: true`"),
            Self::PreconditionRequired => problem.with_remedy(
                "Read the thing, and send its `ETag` back as `If-Match` (`*` names no version)",
            ),
            Self::PreconditionFailed => {
                problem.with_remedy("Read the thing again, and decide anew what to change")
            }
            Self::IdempotencyKeyReused => {
                problem.with_remedy("Send a new `Idempotency-Key` for a new request")
            }
            Self::TooManyAttempts {
                retry_after_seconds,
            } => problem.with_remedy(format!(
                "Repeat after {retry_after_seconds} s, with a service token that works"
            )),
            Self::NotFound
            | Self::MethodNotAllowed
            | Self::Malformed(_)
            | Self::MediaType(_)
            | Self::TooLarge(_)
            | Self::Unavailable(_)
            | Self::Internal(_) => problem,
        }
    }

    /// The answer's bytes. This is the only place that writes them, and that logs a 5xx.
    pub(super) fn render(&self, trace: TraceId) -> Response {
        let mut problem = self.problem();
        if problem.status >= 500 {
            tracing::error!(trace_id = %trace, error = %self, "the management API failed");
        }
        if !matches!(self, Self::NotFound) {
            problem = problem.with_trace(trace);
        }
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self {
            Self::Unauthenticated(_) => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="portcullis management""#);
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::TooManyAttempts {
                retry_after_seconds,
            } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
            }
            Self::Unavailable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Forbidden { .. }
            | Self::ForbiddenValue { .. }
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Malformed(_)
            | Self::MediaType(_)
            | Self::TooLarge(_)
            | Self::Invalid { .. }
            | Self::Policy(_)
            | Self::PolicyWarnings(_)
            | Self::Conflict { .. }
            | Self::PreconditionRequired
            | Self::PreconditionFailed
            | Self::IdempotencyKeyReused
            | Self::Internal(_) => {}
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// A mark that the outermost layer turns into the answer: only there is the trace id known.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<TooMany> for ApiError {
    fn from(too_many: TooMany) -> Self {
        Self::TooManyAttempts {
            retry_after_seconds: too_many.retry_after_seconds,
        }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn facts<const N: usize>(pairs: [(&str, &str); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn with_diagnostics(mut problem: Problem, diagnostics: &[PolicyDiagnostic]) -> Problem {
    let list = diagnostics
        .iter()
        .map(|diagnostic| {
            serde_json::json!({
                "line": diagnostic.line,
                "column": diagnostic.column,
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "remedy": diagnostic.remedy,
            })
        })
        .collect::<Vec<_>>();
    // A warning before the first error is not what refuses the policy.
    let is_error = |found: &&PolicyDiagnostic| found.severity == PolicySeverity::Error;
    let first = diagnostics.iter().find(is_error).or(diagnostics.first());
    if let Some(first) = first {
        problem.detail = format!(
            "{}: line {}, column {}: {}",
            problem.detail, first.line, first.column, first.message
        );
    }
    problem
        .facts
        .insert("diagnostics".to_owned(), Value::Array(list));
    problem
}

impl From<portcullis_store::StoreError> for ApiError {
    /// What the database says, where the handler has nothing better to say. A value that the schema
    /// refuses should have been refused before: that is a fault.
    fn from(error: portcullis_store::StoreError) -> Self {
        use portcullis_store::StoreError;
        match &error {
            StoreError::Unavailable { .. } => Self::unavailable(&error),
            StoreError::NotFound { .. } => Self::NotFound,
            StoreError::Stale { .. } => Self::PreconditionFailed,
            StoreError::Conflict { .. } => Self::Conflict {
                detail: "another change was made at the same moment".to_owned(),
                remedy: "Send the request again",
            },
            StoreError::Invalid { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Internal { .. } => Self::internal(&error),
        }
    }
}
