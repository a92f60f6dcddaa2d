//! Which tools a caller is shown: all but those denied for every argument.

use serde_json::{Value, json};

use super::{Call, policy};

fn shown(source: &str, facts: Value) -> bool {
    policy(source).may_allow(&Call::new(facts))
}

#[test]
fn a_tool_that_no_rule_could_allow_is_hidden() {
    let facts = || json!({"tool": "orders.get", "tool.risk": "low", "subject.type": "agent"});
    for source in [
        "[]",
        "- { rule: r, route: eu-west }",
        "- { rule: r, when: { tool: flag.set }, decision: allow }",
        "- { rule: r, when: { tool.risk: high }, decision: allow }",
        "- { rule: r, when: { subject.type: user, args.order_id: x }, decision: allow }",
        "- { rule: r, when: { args.env: prod }, decision: allow }",
        "- { rule: r, decision: allow }\n- { rule: d, when: { subject.type: agent }, decision: deny }",
        "- { rule: r, decision: allow }\n- { rule: d, unless: { args.env: prod }, decision: deny }",
    ] {
        assert!(!shown(source, facts()), "{source}");
    }
}

#[test]
fn a_tool_that_some_call_may_use_is_shown() {
    let facts = || {
        json!({"tool": "flag.set", "time.hour": 3, "ticket.valid": false, "plan.depth": 40,
            "budget.used_ratio": 1, "data.contains_pii": false})
    };
    for source in [
        "- { rule: r, decision: allow }",
        "- { rule: r, decision: require_approval }",
        "- { rule: r, when: { args.env: prod }, decision: allow }",
        "- { rule: r, when: { ticket.valid: true }, decision: allow }",
        "- { rule: r, when: { data.contains_pii: true }, decision: allow }",
        "- { rule: r, decision: allow }\n- { rule: d, when: { args.env: prod }, decision: deny }",
        "- { rule: r, decision: allow }\n- { rule: d, when: { time.hour: 3 }, decision: deny }",
        "- { rule: r, decision: allow }\n- { rule: d, when: { plan.depth: { gt: 3 } }, decision: deny }",
        "- { rule: r, decision: allow }\n- { rule: d, when: { budget.used_ratio: 1 }, decision: deny }",
        "- { rule: r, decision: allow }\n- { rule: d, unless: { ticket.valid: true }, decision: deny }",
    ] {
        assert!(shown(source, facts()), "{source}");
    }
}

#[test]
fn what_a_definition_declares_holds_for_every_argument() {
    let source = "
- { rule: base, decision: allow }
- { rule: pii, when: { data.contains_pii: true }, decision: deny }
";
    assert!(!shown(
        source,
        json!({"tool": "orders.export", "data.contains_pii": true})
    ));
    assert!(shown(
        source,
        json!({"tool": "orders.get", "data.contains_pii": false})
    ));
    let egress = "
- { rule: base, when: { egress.domain: \"*\" }, decision: allow }
";
    assert!(!shown(egress, json!({"tool": "orders.get"})));
    assert!(shown(
        egress,
        json!({"tool": "orders.get", "egress.domain": "?"})
    ));
}
