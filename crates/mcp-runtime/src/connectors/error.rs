//! Why a tool gave no result, and whether it certainly had no effect: an error must never claim that
//! without knowing it.

use portcullis_store::StoreError;
use portcullis_wire::Slug;

use crate::catalog::Violation;
use crate::switchboard::Stop;

/// What a connector refuses to do, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, without any address inside.
    pub reason: String,
    /// What would allow it.
    pub remedy: String,
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The regional database failed.
    #[error("the regional database failed")]
    Store(#[source] StoreError),
    /// The tool panicked.
    #[error("the tool panicked")]
    Panicked,
    /// The call's deadline passed.
    #[error("the call's deadline passed")]
    DeadlineExceeded,
    /// The caller hung up, or the call was stopped.
    #[error("the call was cancelled")]
    Cancelled,
    /// The claim on the call's idempotency key was lost while it ran.
    #[error("the call lost its claim while it ran")]
    LeaseLost,
    /// A switch stopped the call on its way.
    #[error("a switch stopped the call on its way: {}", .0.reason())]
    Stopped(Stop),
    /// The destination may not be reached, or what it answered may not be passed on. Not to be used where
    /// an earlier try of the same call may have had an effect.
    #[error("egress refuses: {}", .0.reason)]
    Refused(Box<Refused>),
    /// The result does not fit the tool's output schema.
    #[error("the result does not fit the tool's output schema: {0}")]
    MalformedResult(#[source] Violation),
    /// The result has no canonical form.
    #[error("the result cannot be written as canonical JSON")]
    Canonical(#[source] portcullis_evidence::CanonicalError),
    /// No connector runs this tool here.
    #[error("no connector runs this tool")]
    NoConnector,
    /// Every try was refused by the upstream with a status that says that nothing was done. Not to be
    /// used where an earlier try of the same call may have had an effect.
    #[error("the upstream refused the call with the status {status}")]
    UpstreamRefused {
        /// The status.
        status: u16,
    },
    /// Nothing was sent, since no connection to the upstream came about, or none was allowed.
    #[error("the upstream could not be reached, and nothing was sent")]
    UpstreamUnreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something was sent, and how it ended cannot be known: no answer, a broken one, or a status that
    /// leaves it open.
    #[error("the upstream was called, and the outcome is uncertain")]
    OutcomeUncertain(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ToolError {
    /// Whether the error itself says that the call certainly had no effect. Where it does not, that
    /// depends on where the connector's effects happen.
    pub const fn effect_absent(&self) -> bool {
        match self {
            Self::NoConnector
            | Self::UpstreamRefused { .. }
            | Self::UpstreamUnreachable(_)
            | Self::Refused(_) => true,
            Self::Store(_)
            | Self::Panicked
            | Self::DeadlineExceeded
            | Self::Cancelled
            | Self::LeaseLost
            | Self::Stopped(_)
            | Self::MalformedResult(_)
            | Self::Canonical(_)
            | Self::OutcomeUncertain(_) => false,
        }
    }

    /// The problem's type.
    pub fn slug(&self) -> Slug {
        match self {
            Self::Store(error) if error.is_overload() => Slug::Overloaded,
            Self::Store(_)
            | Self::Panicked
            | Self::MalformedResult(_)
            | Self::Canonical(_)
            | Self::NoConnector
            | Self::UpstreamRefused { .. }
            | Self::UpstreamUnreachable(_)
            | Self::OutcomeUncertain(_) => Slug::ToolFailed,
            Self::DeadlineExceeded => Slug::DeadlineExceeded,
            Self::Cancelled | Self::LeaseLost => Slug::Cancelled,
            Self::Stopped(stop) => stop.slug(),
            Self::Refused(_) => Slug::EgressBlocked,
        }
    }

    /// What the caller may know.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Store(error) if error.is_overload() => {
                "too many calls are under way; repeat the call in a second"
            }
            Self::Store(_)
            | Self::Panicked
            | Self::MalformedResult(_)
            | Self::Canonical(_)
            | Self::NoConnector
            | Self::UpstreamRefused { .. }
            | Self::UpstreamUnreachable(_)
            | Self::OutcomeUncertain(_) => {
                "the tool failed; the operator finds the cause under the trace id"
            }
            Self::DeadlineExceeded => "the call took longer than its deadline",
            Self::Cancelled | Self::LeaseLost => "the call was cancelled",
            Self::Stopped(stop) => stop.words_under_way(),
            Self::Refused(_) => "the tool's destination may not be reached",
        }
    }
}
