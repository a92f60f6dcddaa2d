//! Names of spans and their attributes, as dashboards and alerts know them.

/// The span of the step of a plan that a call belongs to. It is there only where the caller names a plan.
pub const SPAN_AGENT_PLAN: &str = "agent.plan";
/// The span of one tool call.
pub const SPAN_TOOL_INVOKE: &str = "mcp.tool.invoke";
/// The child span of the policy's decision.
pub const SPAN_POLICY_EVALUATE: &str = "policy.evaluate";
/// The child span of the tool's own work.
pub const SPAN_SERVICE_CALL: &str = "service.api.call";
/// The child span of redaction.
pub const SPAN_REDACT: &str = "dlp.redact";

/// The principal's id; never its name, which may be a person's.
pub const ACTOR_ID: &str = "actor.id";
/// `agent`, `user` or `service`.
pub const ACTOR_TYPE: &str = "actor.type";
/// The tool's name, where the tenant's catalog has it.
pub const TOOL_NAME: &str = "tool.name";
/// The scopes of the caller's token, with a space between.
pub const SCOPE_GRANTS: &str = "scope.grants";
/// What policy decided: `allow`, `deny` or `require_approval`.
pub const POLICY_DECISION: &str = "policy.decision";
/// How many values room 7 took out.
pub const PII_COUNT: &str = "pii.count";
/// A keyed hash of the idempotency key, the same for each repeat of a call.
pub const IDEM_KEY: &str = "idem.key";
/// The tenant's id.
pub const TENANT_ID: &str = "tenant.id";
/// Micro-USD that the call cost, as its record says.
pub const BUDGET_USED: &str = "budget.used_micro_usd";
/// Micro-USD that the principal's day may still cost, as far as the replica knows.
pub const BUDGET_LEFT: &str = "budget.left_micro_usd";
/// The pool that the call was placed in.
pub const ROUTE_POOL: &str = "route.pool";
/// The id of the call's record.
pub const RECORD_ID: &str = "record.id";
/// The problem that ended the call.
pub const ERROR_TYPE: &str = "error.type";
/// How the call ended.
pub const OUTCOME: &str = "portcullis.outcome";
/// How deeply the plan is nested.
pub const PLAN_DEPTH: &str = "plan.depth";
/// How often the step was tried before.
pub const PLAN_ATTEMPT: &str = "plan.attempt";

/// The eight attributes that every span bears.
pub const ON_EVERY_SPAN: [&str; 8] = [
    ACTOR_ID,
    ACTOR_TYPE,
    TOOL_NAME,
    SCOPE_GRANTS,
    POLICY_DECISION,
    PII_COUNT,
    IDEM_KEY,
    TENANT_ID,
];

/// The value of an attribute that is not known.
pub const NONE: &str = "none";
