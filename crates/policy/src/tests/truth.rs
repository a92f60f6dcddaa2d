//! Each operator against present, absent and unknown facts; Kleene's tables; combination.

use serde_json::{Value, json};

use super::{Call, policy};
use crate::Verdict::{self, Allow, Deny, RequireApproval};

/// `true`, `false` or unknown, told apart by what an allowing and a denying rule do with it.
fn truth(condition: &str, facts: &Value) -> Option<bool> {
    let allowing = policy(&format!(
        "- {{ rule: r, when: {condition}, decision: allow }}"
    ));
    let denying = policy(&format!(
        "- {{ rule: base, decision: allow }}\n- {{ rule: r, when: {condition}, decision: deny }}"
    ));
    let call = Call::new(facts.clone());
    let allowed = allowing.decide(&call).verdict == Allow;
    let denied = denying.decide(&call).verdict == Deny;
    match (allowed, denied) {
        (true, true) => Some(true),
        (false, false) => Some(false),
        (false, true) => None,
        (true, false) => panic!("{condition} allows, but does not deny: {facts}"),
    }
}

fn check(table: &[(&str, Value, Option<bool>)]) {
    for (condition, facts, expected) in table {
        assert_eq!(truth(condition, facts), *expected, "{condition} on {facts}");
    }
}

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

#[test]
fn every_operator_reads_a_present_value() {
    let pct = |value: Value| json!({"tool": "flag.set", "args.rolloutPct": value});
    check(&[
        ("{ tool.risk: low }", json!({"tool.risk": "low"}), YES),
        ("{ tool.risk: low }", json!({"tool.risk": "high"}), NO),
        (
            "{ tool.risk: [low, medium] }",
            json!({"tool.risk": "medium"}),
            YES,
        ),
        (
            "{ tool.risk: [low, medium] }",
            json!({"tool.risk": "high"}),
            NO,
        ),
        (
            "{ tool.mutating: false }",
            json!({"tool.mutating": false}),
            YES,
        ),
        (
            "{ tool.mutating: false }",
            json!({"tool.mutating": true}),
            NO,
        ),
        ("{ args.rolloutPct: 10 }", pct(json!(10.0)), YES),
        ("{ args.rolloutPct: { ne: 10 } }", pct(json!(10.0)), NO),
        ("{ args.rolloutPct: { ne: 10 } }", pct(json!(12.5)), YES),
        ("{ args.rolloutPct: { gt: 10 } }", pct(json!(12.5)), YES),
        ("{ args.rolloutPct: { gt: 10 } }", pct(json!(10)), NO),
        ("{ args.rolloutPct: { gte: 10 } }", pct(json!(10)), YES),
        (
            "{ args.rolloutPct: { gte: 10 } }",
            pct(json!(9.999_999)),
            NO,
        ),
        ("{ args.rolloutPct: { lt: 0.3 } }", pct(json!(0.3)), NO),
        ("{ args.rolloutPct: { lte: 0.3 } }", pct(json!(0.3)), YES),
        (
            "{ args.rolloutPct: { gt: 5, lte: 10 } }",
            pct(json!(10)),
            YES,
        ),
        ("{ args.rolloutPct: { gt: 5, lte: 10 } }", pct(json!(5)), NO),
    ]);
}

#[test]
fn every_operator_reads_a_present_text_or_list() {
    let name = |value: &str| json!({"args.name": value});
    check(&[
        ("{ args.name: { in: [a, b] } }", name("b"), YES),
        ("{ args.name: { not_in: [a, b] } }", name("b"), NO),
        ("{ args.name: { not_in: [a, b] } }", name("c"), YES),
        ("{ args.name: { starts_with: ab } }", name("abc"), YES),
        ("{ args.name: { starts_with: ab } }", name("cab"), NO),
        ("{ args.name: { ends_with: ab } }", name("cab"), YES),
        ("{ args.name: { ends_with: ab } }", name("abc"), NO),
        ("{ args.name: { contains: b } }", name("abc"), YES),
        ("{ args.name: { contains: B } }", name("abc"), NO),
        ("{ args.name: { matches: '^a.c$' } }", name("abc"), YES),
        ("{ args.name: { matches: '^a.c$' } }", name("abcd"), NO),
        ("{ args.name: { exists: true } }", name("a"), YES),
        ("{ args.name: { exists: false } }", name("a"), NO),
        ("{ args.name: \"*\" }", name("a"), YES),
        (
            "{ args.mask: { contains: email } }",
            json!({"args.mask": ["phone", "email"]}),
            YES,
        ),
        (
            "{ args.mask: { contains: email } }",
            json!({"args.mask": ["phone"]}),
            NO,
        ),
        (
            "{ subject.scopes: { contains: orders.read } }",
            json!({"subject.scopes": ["orders.read"]}),
            YES,
        ),
        (
            "{ subject.scopes: { contains: orders.read } }",
            json!({"subject.scopes": ["orders.readall"]}),
            NO,
        ),
    ]);
}

#[test]
fn a_comparison_with_what_is_absent_is_false() {
    let nothing = json!({});
    let null = json!({"args.rolloutPct": null});
    for condition in [
        "{ args.rolloutPct: 10 }",
        "{ args.rolloutPct: { ne: 10 } }",
        "{ args.rolloutPct: { gt: 10 } }",
        "{ args.rolloutPct: { in: [10] } }",
        "{ args.rolloutPct: { not_in: [10] } }",
        "{ args.rolloutPct: \"*\" }",
        "{ args.rolloutPct: { exists: true } }",
        "{ args.name: { starts_with: a } }",
        "{ args.name: { ends_with: a } }",
        "{ args.name: { contains: a } }",
        "{ args.name: { matches: '^a$' } }",
        "{ tool.risk: low }",
        "{ tool.risk: { ne: low } }",
    ] {
        assert_eq!(truth(condition, &nothing), NO, "{condition}");
        assert_eq!(truth(condition, &null), NO, "{condition}");
        assert_eq!(truth(&format!("{{ not: {condition} }}"), &nothing), YES);
    }
    assert_eq!(truth("{ args.name: { exists: false } }", &nothing), YES);
}

#[test]
fn any_test_of_what_is_unknown_is_unknown() {
    let unknown = json!({"egress.domain": "?", "egress.domain_in_allowlist": "?"});
    for condition in [
        "{ egress.domain: \"*\" }",
        "{ egress.domain: { exists: false } }",
        "{ egress.domain: example.com }",
        "{ egress.domain: { ne: example.com } }",
        "{ egress.domain: { not_in: [example.com] } }",
        "{ egress.domain: { ends_with: .example.com } }",
        "{ egress.domain_in_allowlist: true }",
        "{ not: { egress.domain_in_allowlist: true } }",
    ] {
        assert_eq!(truth(condition, &unknown), None, "{condition}");
    }
}

#[test]
fn nesting_follows_kleene() {
    let facts = json!({"tool.mutating": true, "tool.signed": false, "ticket.valid": "?"});
    let (t, f, u) = (
        "{ tool.mutating: true }",
        "{ tool.signed: true }",
        "{ ticket.valid: true }",
    );
    let table: [(&str, &str, Option<bool>, Option<bool>); 9] = [
        (t, t, YES, YES),
        (t, f, NO, YES),
        (t, u, None, YES),
        (f, t, NO, YES),
        (f, f, NO, NO),
        (f, u, NO, None),
        (u, t, None, YES),
        (u, f, NO, None),
        (u, u, None, None),
    ];
    for (left, right, all, any) in table {
        assert_eq!(truth(&format!("{{ all: [{left}, {right}] }}"), &facts), all);
        assert_eq!(truth(&format!("{{ any: [{left}, {right}] }}"), &facts), any);
        let negated = format!("{{ not: {{ all: [{left}, {right}] }} }}");
        assert_eq!(truth(&negated, &facts), all.map(|all| !all));
    }
    let deep = "{ any: [{ all: [{ tool.mutating: true }, { not: { tool.signed: true } }] }] }";
    assert_eq!(truth(deep, &facts), YES);
}

#[test]
fn unless_lifts_a_rule_only_when_it_surely_holds() {
    let source = "
- { rule: base, decision: allow }
- { rule: ticket, when: { tool.mutating: true }, unless: { ticket.valid: true }, decision: deny }
";
    let policy = policy(source);
    for (ticket, verdict) in [
        (json!(true), Allow),
        (json!(false), Deny),
        (json!("?"), Deny),
        (Value::Null, Deny),
    ] {
        let call = Call::new(json!({"tool.mutating": true, "ticket.valid": ticket}));
        assert_eq!(policy.decide(&call).verdict, verdict, "{ticket}");
    }
    let source = "- { rule: r, unless: { ticket.valid: true }, decision: allow }";
    let policy = super::policy(source);
    for (ticket, verdict) in [
        (json!(true), Deny),
        (json!(false), Allow),
        (json!("?"), Deny),
    ] {
        let call = Call::new(json!({"ticket.valid": ticket}));
        assert_eq!(policy.decide(&call).verdict, verdict, "{ticket}");
    }
}

#[test]
fn an_order_of_what_is_no_number_is_unknown_and_not_false() {
    // A schema may leave the type open; a denying bound must not be escaped with a text.
    let facts = json!({"args.rolloutPct": "50"});
    assert_eq!(truth("{ args.rolloutPct: { gt: 10 } }", &facts), None);
    assert_eq!(
        truth(
            "{ args.name: { starts_with: a } }",
            &json!({"args.name": 5})
        ),
        None
    );
    assert_eq!(truth("{ args.name: a }", &json!({"args.name": 5})), NO);
}

#[test]
fn a_computed_fact_of_the_wrong_type_is_unknown() {
    assert_eq!(
        truth("{ ticket.valid: true }", &json!({"ticket.valid": "true"})),
        None
    );
    assert_eq!(
        truth("{ tool.risk: [low] }", &json!({"tool.risk": 1})),
        None
    );
    assert_eq!(
        truth("{ tool.risk: { not_in: [low] } }", &json!({"tool.risk": 1})),
        None
    );
    let ratio = json!({"budget.used_ratio": "0.9"});
    assert_eq!(truth("{ budget.used_ratio: { gt: 0.5 } }", &ratio), None);
}

#[test]
fn deny_is_over_approval_and_approval_over_allow() {
    let rule = |verdict: Verdict| format!("- {{ rule: {0}, decision: {0} }}\n", verdict.as_str());
    let subsets: [(&[Verdict], Verdict); 7] = [
        (&[Allow], Allow),
        (&[RequireApproval], RequireApproval),
        (&[Deny], Deny),
        (&[Allow, RequireApproval], RequireApproval),
        (&[Allow, Deny], Deny),
        (&[RequireApproval, Deny], Deny),
        (&[Allow, RequireApproval, Deny], Deny),
    ];
    for (verdicts, expected) in subsets {
        let forward: String = verdicts.iter().copied().map(rule).collect();
        let backward: String = verdicts.iter().rev().copied().map(rule).collect();
        for source in [forward, backward] {
            let decision = policy(&source).decide(&Call::new(json!({})));
            assert_eq!(decision.verdict, expected, "{source}");
            assert_eq!(decision.rules, [expected.as_str().into()]);
        }
    }
}

#[test]
fn an_unknown_restricts_and_never_allows() {
    let source = "
- rule: unsure
  when: { data.contains_pii: true }
  decision: allow
  redact: [{ field: email, mode: drop }]
  route: us-east
";
    let unknown = Call::new(json!({"data.contains_pii": "?"}));
    let decision = policy(source).decide(&unknown);
    assert_eq!(decision.verdict, Deny);
    assert_eq!(decision.redactions.len(), 1);
    assert!(decision.route.is_some());
    let approving =
        policy("- { rule: r, when: { ticket.valid: true }, decision: require_approval }");
    let unknown = Call::new(json!({"ticket.valid": "?"}));
    assert_eq!(approving.decide(&unknown).verdict, RequireApproval);
}
