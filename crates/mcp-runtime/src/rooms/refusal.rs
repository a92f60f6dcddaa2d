//! Why a call goes no further: at the door (rooms 1 and 2, counted), or later (recorded).

use portcullis_domain::Scope;
use portcullis_wire::{Problem, Slug};
use serde_json::{Map, Value};

/// A refusal of rooms 1 and 2, or of the transport before them. Answered with a true HTTP status
/// and counted, never recorded one by one: a flood must not become database writes.
#[derive(Debug, Clone)]
pub struct DoorRefusal {
    /// What went wrong, in words.
    pub problem: Box<Problem>,
    /// The problem's type, for counting.
    pub slug: Slug,
    /// The value of `WWW-Authenticate`, for a 401 or 403.
    pub challenge: Option<String>,
    /// Whole seconds after which a repeat may pass.
    pub retry_after_seconds: Option<u64>,
    /// The value of `RateLimit` and `RateLimit-Policy`, where a rate refused.
    pub rate: Option<RateFields>,
}

/// The rate fields of an answer (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateFields {
    /// `RateLimit`.
    pub limit: String,
    /// `RateLimit-Policy`.
    pub policy: String,
}

impl DoorRefusal {
    /// A refusal without any further header, but for what the platform itself lacks for a moment: that
    /// may be repeated after a second.
    pub fn new(slug: Slug, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(slug, detail)),
            slug,
            challenge: None,
            retry_after_seconds: (slug.status() == 503).then_some(1),
            rate: None,
        }
    }
}

/// A refusal after room 2: the call leaves a record and, over MCP, a tool result that starts with
/// `DENY:`.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The problem's type.
    pub slug: Slug,
    /// What went wrong, without any personal value.
    pub reason: String,
    /// The rule that refused.
    pub rule: Option<Box<str>>,
    /// What the rule saw, without any personal value.
    pub facts: Map<String, Value>,
    /// What would allow the call.
    pub remedy: Option<String>,
    /// The scope to step up to (RFC 6750 §3.1), where that is what lacks.
    pub needed_scope: Option<Scope>,
}

impl Refusal {
    /// A refusal with its reason and remedy.
    pub fn new(slug: Slug, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            slug,
            reason: reason.into(),
            rule: None,
            facts: Map::new(),
            remedy: Some(remedy.into()),
            needed_scope: None,
        }
    }

    /// The problem document of this refusal.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.slug, self.reason.clone());
        problem.rule = self.rule.as_deref().map(str::to_owned);
        problem.facts.clone_from(&self.facts);
        problem.remedy.clone_from(&self.remedy);
        problem
    }
}
