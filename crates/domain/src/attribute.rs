//! Names of spans and their attributes, as dashboards and alerts know them.

/// The span of one tool call.
pub const SPAN_TOOL_INVOKE: &str = "mcp.tool.invoke";
/// The child span of the policy's decision.
pub const SPAN_POLICY_EVALUATE: &str = "policy.evaluate";
/// The child span of the tool's own work.
pub const SPAN_SERVICE_CALL: &str = "service.api.call";
/// The child span of redaction.
pub const SPAN_REDACT: &str = "dlp.redact";

/// The value of an attribute that is not known.
pub const NONE: &str = "none";
