//! Schemas of the domain's texts (ids, names, scopes) for the API description. They describe; the
//! domain's own parsers decide.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident = $pattern:literal, $example:literal;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text(concat!($($doc),+).trim(), $pattern, $example).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

fn text(description: &str, pattern: &str, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .examples([serde_json::Value::from(example)])
        .build()
}

texts! {
    /// A tenant's id.
    TenantId = "^tnt_[0-9a-f]{32}$", "tnt_0199a6b0c0007000800000000000002a";
    /// A principal's id, which is also its OAuth client id.
    PrincipalId = "^prn_[0-9a-f]{32}$", "prn_0199a6b0c0007000800000000000002a";
    /// A grant's id.
    GrantId = "^grt_[0-9a-f]{32}$", "grt_0199a6b0c0007000800000000000002a";
    /// The id of a client's public key.
    ClientKeyId = "^cky_[0-9a-f]{32}$", "cky_0199a6b0c0007000800000000000002a";
    /// A client secret's id. It is no secret itself.
    ClientSecretId = "^sec_[0-9a-f]{32}$", "sec_0199a6b0c0007000800000000000002a";
    /// The id of a claimed idempotency key.
    ClaimId = "^clm_[0-9a-f]{32}$", "clm_0199a6b0c0007000800000000000002a";
    /// A change ticket's id.
    TicketId = "^tkt_[0-9a-f]{32}$", "tkt_0199a6b0c0007000800000000000002a";
    /// A tool's id.
    ToolId = "^tol_[0-9a-f]{32}$", "tol_0199a6b0c0007000800000000000002a";
    /// A record's id.
    RecordId = "^rec_[0-9a-f]{32}$", "rec_0199a6b0c0007000800000000000002a";
    /// A service token's id. It is no secret itself.
    ServiceTokenId = "^svt_[0-9a-f]{32}$", "svt_0199a6b0c0007000800000000000002a";
    /// A kill switch's id.
    SwitchId = "^swt_[0-9a-f]{32}$", "swt_0199a6b0c0007000800000000000002a";
    /// A replica's id.
    ReplicaId = "^rpl_[0-9a-f]{32}$", "rpl_0199a6b0c0007000800000000000002a";
    /// What a kill switch stops: mutating calls of everybody or of one tenant, every call of a tool or
    /// of a server's tools, everything of a principal, every call of a tenant, every call to a host.
    SwitchKind = "^(platform-read-only|tenant-read-only|tool-quarantine|server-quarantine|principal-suspension|tenant-freeze|egress-block)$", "tool-quarantine";
    /// A principal's name within its tenant, with its type.
    PrincipalName = "^(agent|user|service):[A-Za-z0-9][A-Za-z0-9._@-]*$", "agent:copilot";
    /// A purpose scope, `resource.verb` or `resource.verb:qualifier`. There are no wildcards.
    Scope = "^[a-z0-9_-]+\\.[a-z0-9_-]+(:[a-z0-9_-]+)?$", "orders.read";
    /// A tenant's name in URLs.
    TenantSlug = "^[a-z][a-z0-9-]{0,61}[a-z0-9]$", "acme";
    /// A W3C trace id.
    TraceId = "^[0-9a-f]{32}$", "4bf92f3577b34da6a3ce929d0e0e4736";
    /// A SHA-256 digest.
    Sha256 = "^[0-9a-f]{64}$", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// Where data lives and calls run.
    Pool = "^(eu-west|us-east)$", "eu-west";
    /// Whose law applies.
    Jurisdiction = "^(EU|US)$", "EU";
    /// What a second use of an access token means: it has to come from the network of the first,
    /// it is refused, or plain bearer tokens are refused altogether.
    ReplayMode = "^(network|one-time|sender-constrained)$", "network";
}

/// Rates, concurrency and money, as `policies/limits.json` writes them.
#[derive(Debug, ToSchema)]
pub struct Limits {
    /// Calls a minute, sustained.
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub rpm: u32,
    /// Calls that may come at once before `rpm` holds.
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub burst: u32,
    /// Calls under way at once.
    #[schema(minimum = 1, maximum = 100_000)]
    pub concurrency: u32,
    /// What a day (UTC) may cost, in dollars with at most six decimals.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub daily_cost_usd: f64,
}

/// When a plan has to stop.
#[derive(Debug, ToSchema)]
pub struct StopRules {
    /// The deepest nesting of plans that may call a tool.
    pub max_plan_depth: u32,
    /// The highest number of repeats of one step; attempt 0 is the first try.
    pub max_retries: u32,
}

/// How bad a wrong call can be.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Risk {
    /// Reads, or writes that are easily undone.
    Low,
    /// Writes that take work to undo.
    Medium,
    /// What cannot be undone, or moves money or access.
    High,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    fn properties(schema: &impl serde::Serialize) -> Vec<String> {
        let schema = serde_json::to_value(schema).unwrap();
        let mut names: Vec<_> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort_unstable();
        names
    }

    fn members(value: &Value) -> Vec<String> {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_described_limits_are_the_domains_limits() {
        let file = json!({
            "limits": {"rpm": 1, "burst": 1, "concurrency": 1, "daily_cost_usd": 1},
            "stop_rules": {"max_plan_depth": 1, "max_retries": 1},
        });
        let limits: portcullis_domain::Limits =
            serde_json::from_value(file["limits"].clone()).unwrap();
        let rules: portcullis_domain::StopRules =
            serde_json::from_value(file["stop_rules"].clone()).unwrap();
        let limits = serde_json::to_value(limits).unwrap();
        let rules = serde_json::to_value(rules).unwrap();
        assert_eq!(properties(&super::Limits::schema()), members(&limits));
        assert_eq!(properties(&super::StopRules::schema()), members(&rules));
    }
}
