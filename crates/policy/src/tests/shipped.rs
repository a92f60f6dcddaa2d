//! The policies in `policies/` load as they are, and do what they are there for.

use serde_json::{Value, json};

use super::{Call, Tools, policy};
use crate::{Decision, Severity, Verdict, load};

const PLAYBOOK: &str = include_str!("../../../../policies/playbook.yaml");
const DEFAULT: &str = include_str!("../../../../policies/default.yaml");

fn by_default(facts: Value) -> Decision {
    policy(DEFAULT).decide(&Call::new(facts))
}

#[test]
fn the_playbook_loads_unchanged_and_means_what_it_says() {
    let playbook = load(PLAYBOOK, &Tools::new().shapes()).unwrap();
    assert_eq!(playbook.warnings, []);
    let export = Call::new(json!({
        "tool": "orders.export", "data.contains_pii": true, "subject.region": "EU"
    }));
    let decision = playbook.policy.decide(&export);
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(decision.rules, ["redact-email-by-default".into()]);
    assert_eq!(decision.redactions[0].field, "email");
    assert_eq!(decision.route.unwrap().pool.as_str(), "eu-west");
    for (facts, rules) in [
        (json!({"tool": "orders.get"}), vec![]),
        (
            json!({"tool": "orders.export", "egress.domain": "example.net", "egress.domain_in_allowlist": false}),
            vec!["vendor-allow-list".into()],
        ),
        (
            json!({"tool": "orders.export", "egress.domain": "example.net", "egress.domain_in_allowlist": "?"}),
            vec!["vendor-allow-list".into()],
        ),
        (
            json!({"tool": "orders.export", "egress.domain": "example.net"}),
            vec!["vendor-allow-list".into()],
        ),
    ] {
        let decision = playbook.policy.decide(&Call::new(facts.clone()));
        assert_eq!(decision.verdict, Verdict::Deny, "{facts}");
        assert_eq!(decision.rules, rules, "{facts}");
    }
    let listed = json!({"tool": "orders.export", "egress.domain": "example.com", "egress.domain_in_allowlist": true});
    assert_eq!(
        playbook.policy.decide(&Call::new(listed)).verdict,
        Verdict::Allow
    );
}

#[test]
fn the_default_policy_loads_before_its_tools_are_there() {
    let all = Tools::new();
    for count in 0..=3 {
        let shapes = all.shapes();
        let loaded = load(DEFAULT, &shapes[..count]).unwrap();
        for warning in &loaded.warnings {
            assert_eq!(warning.severity, Severity::Warning);
            assert!(
                warning.message.contains("is not in the catalog"),
                "{warning}"
            );
        }
    }
    let with_flags = load(DEFAULT, &all.shapes()).unwrap();
    assert_eq!(
        with_flags.warnings.len(),
        1,
        "only web.fetchSafe is missing"
    );
}

#[test]
fn low_risk_reads_are_allowed_and_nothing_unnamed_is() {
    let verdict = |facts| by_default(facts).verdict;
    for (facts, expected) in [
        (
            json!({"tool": "orders.get", "tool.mutating": false, "tool.risk": "low"}),
            Verdict::Allow,
        ),
        (
            json!({"tool": "orders.get", "tool.mutating": true, "tool.risk": "low"}),
            Verdict::Deny,
        ),
        (
            json!({"tool": "orders.get", "tool.mutating": false, "tool.risk": "medium"}),
            Verdict::Deny,
        ),
        (
            json!({"tool": "orders.get", "tool.mutating": "?", "tool.risk": "low"}),
            Verdict::Deny,
        ),
        (
            json!({"tool": "wire.send", "tool.mutating": true, "tool.risk": "high"}),
            Verdict::RequireApproval,
        ),
        (
            json!({"tool": "wire.send", "tool.mutating": true, "tool.risk": "?"}),
            Verdict::RequireApproval,
        ),
        (json!({}), Verdict::Deny),
    ] {
        assert_eq!(verdict(facts.clone()), expected, "{facts}");
    }
}

#[test]
fn flags_follow_the_ten_percent_rule() {
    let flag = |env: &str, pct: Value, ticket: Value| {
        by_default(json!({
            "tool": "flag.set", "tool.mutating": true, "tool.risk": "medium",
            "args.env": env, "args.rolloutPct": pct, "ticket.valid": ticket
        }))
    };
    for (env, pct, ticket, verdict) in [
        ("dev", json!(100), Value::Null, Verdict::Allow),
        ("staging", json!(100), Value::Null, Verdict::Allow),
        ("prod", json!(10), Value::Null, Verdict::Allow),
        (
            "prod",
            json!(10.000_000_000_000_002),
            Value::Null,
            Verdict::Deny,
        ),
        ("prod", json!(12.5), json!(false), Verdict::Deny),
        ("prod", json!(12.5), json!("?"), Verdict::Deny),
        ("prod", json!(12.5), json!(true), Verdict::Allow),
        ("prod", Value::Null, Value::Null, Verdict::Deny),
        ("qa", json!(1), Value::Null, Verdict::Deny),
    ] {
        let decision = flag(env, pct.clone(), ticket.clone());
        assert_eq!(decision.verdict, verdict, "{env} {pct} {ticket}");
    }
    let refused = flag("prod", json!(50), Value::Null);
    assert_eq!(refused.reason, "prod change >10% requires change ticket");
    assert_eq!(refused.rules, ["ticket-for-large-prod-rollouts".into()]);
    assert_eq!(
        refused.remedy.as_deref(),
        Some(
            "Send a `rolloutPct` of at most 10, or have a person open a change ticket for this \
             change (`portcullis ticket open`), and send that ticket's id."
        )
    );
    assert_eq!(refused.facts["args.rolloutPct"], 50);
}

#[test]
fn fetches_reach_the_allow_list_alone() {
    let fetch = |listed: Value| {
        by_default(json!({
            "tool": "web.fetchSafe", "tool.mutating": false, "tool.risk": "low",
            "egress.domain": "example.com", "egress.domain_in_allowlist": listed
        }))
        .verdict
    };
    assert_eq!(fetch(json!(true)), Verdict::Allow);
    for listed in [json!(false), json!("?"), Value::Null] {
        assert_eq!(fetch(listed.clone()), Verdict::Deny, "{listed}");
    }
}
