//! What a decision carries: redactions, routes, reasons, facts and remedies.

use serde_json::json;

use super::{Call, Tools, policy};
use crate::{Attribute, Fact, Facts, RedactionMode, Verdict, load_published};

#[test]
fn the_empty_policy_denies_everything() {
    for source in [
        "",
        "[]",
        "# nothing yet",
        "rules: []",
        "{ rules: [], tests: [] }",
    ] {
        let decision = policy(source).decide(&Call::new(json!({"tool": "orders.get"})));
        assert_eq!(decision.verdict, Verdict::Deny, "{source}");
        assert!(decision.rules.is_empty());
        assert_eq!(decision.reason, "no rule allows this call of `orders.get`");
        assert_eq!(
            decision.remedy.as_deref(),
            Some("Ask an operator to add an allow rule for this call of `orders.get`.")
        );
    }
}

#[test]
fn rules_that_only_redact_or_route_grant_nothing() {
    let source = "
- { rule: masks, redact: [{ field: email, mode: mask }] }
- { rule: routes, route: eu-west }
";
    let decision = policy(source).decide(&Call::new(json!({"tool": "orders.get"})));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert!(decision.rules.is_empty());
}

#[test]
fn redactions_add_up_and_the_first_route_wins() {
    let source = "
- { rule: base, decision: allow }
- { rule: unsaid, when: { tool: flag.set }, route: us-east }
- { rule: first, route: eu-west, redact: [{ field: email, mode: mask }] }
- { rule: second, route: us-east, redact: [{ field: email, mode: hash }, { field: phone, mode: drop }] }
";
    let decision = policy(source).decide(&Call::new(json!({"tool": "orders.get"})));
    let found: Vec<_> = decision
        .redactions
        .iter()
        .map(|redaction| {
            (
                redaction.field.as_str(),
                redaction.mode,
                redaction.rule.as_ref(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("email", RedactionMode::Mask, "first"),
            ("email", RedactionMode::Hash, "second"),
            ("phone", RedactionMode::Drop, "second"),
        ]
    );
    let route = decision.route.unwrap();
    assert_eq!(
        (route.pool.as_str(), route.rule.as_ref()),
        ("eu-west", "first")
    );
}

#[test]
fn rules_of_another_tool_are_not_even_asked() {
    struct Counting(std::cell::Cell<usize>);
    impl Facts for Counting {
        fn fact(&self, attribute: &Attribute) -> Fact<'_> {
            if *attribute == Attribute::Tool {
                return Fact::text("orders.get");
            }
            self.0.set(self.0.get() + 1);
            Fact::Absent
        }
    }
    let source = "
- { rule: flags, when: { args.name: x, tool: flag.set }, decision: deny }
- { rule: listed, when: { all: [{ args.name: x }, { tool: [flag.set] }] }, decision: deny }
- { rule: either, when: { any: [{ tool: flag.set, args.name: x }, { tool: flag.set, args.name: y }] }, decision: deny }
- { rule: own, when: { tool: [orders.get, flag.set], args.order_id: x }, decision: allow }
";
    let call = Counting(std::cell::Cell::new(0));
    policy(source).decide(&call);
    assert_eq!(call.0.get(), 1);
}

#[test]
fn a_null_argument_is_as_good_as_none() {
    assert_eq!(Fact::argument(Some(&json!(null))), Fact::Absent);
    assert_eq!(Fact::ratio(f64::NAN), Fact::Unknown);
}

#[test]
fn a_call_whose_tool_is_unknown_meets_every_rule() {
    let source = "
- { rule: base, decision: allow }
- { rule: flags, when: { tool: flag.set }, decision: deny }
";
    let unknown = Call::new(json!({"tool": "?"}));
    assert_eq!(policy(source).decide(&unknown).verdict, Verdict::Deny);
}

#[test]
fn a_refusal_tells_no_text_of_an_argument_and_no_person() {
    let source = "
- rule: base
  when:
    any:
      - { args.name: { ne: x } }
      - { subject.id: agent:copilot, egress.domain: example.com }
      - { args.env: prod, args.rolloutPct: { gt: 1 }, args.dry_run: true, args.mask: { contains: email } }
      - { args.ticket: \"*\", args.owner: \"*\", tool.risk: low, plan.depth: 1, ticket.valid: true }
  decision: deny
";
    let facts = json!({
        "tool": "flag.set", "args.name": "secret-name", "subject.id": "agent:dana",
        "egress.domain": "dana.example.com", "args.env": "prod", "args.rolloutPct": 5,
        "args.dry_run": true, "args.mask": ["email"], "args.owner": {"team": "secret-team"},
        "tool.risk": "low", "plan.depth": 3, "ticket.valid": "?"
    });
    let decision = policy(source).decide(&Call::new(facts));
    assert_eq!(
        serde_json::Value::Object(decision.facts),
        json!({
            "args.name": "(string)", "subject.id": "(present)", "egress.domain": "(present)",
            "args.env": "prod", "args.rolloutPct": 5, "args.dry_run": true,
            "args.mask": "(array)", "args.ticket": "(absent)", "args.owner": "(object)",
            "tool.risk": "low", "plan.depth": 3, "ticket.valid": "(unknown)"
        })
    );
}

#[test]
fn a_text_outside_the_schemas_list_is_not_told() {
    let source = "- { rule: r, when: { args.env: \"*\" }, decision: deny }";
    for (tool, told) in [("flag.set", "(string)"), ("orders.get", "(string)")] {
        let call = Call::new(json!({"tool": tool, "args.env": "dana@example.com"}));
        assert_eq!(policy(source).decide(&call).facts["args.env"], told);
    }
}

#[test]
fn a_remedy_is_taken_from_the_rule() {
    let remedy = |rule: &str, facts| {
        let decision = policy(rule).decide(&Call::new(facts));
        assert_eq!(decision.verdict, Verdict::Deny);
        decision.remedy.unwrap()
    };
    let prod = json!({"tool": "flag.set", "args.env": "prod", "args.rolloutPct": 50});
    assert_eq!(
        remedy(
            "- { rule: r, when: { tool: flag.set, args.rolloutPct: { gt: 10 } }, unless: { ticket.valid: true }, decision: deny }",
            prod.clone()
        ),
        "Send a `rolloutPct` of at most 10, or have a person open a change ticket for this \
         change (`portcullis ticket open`), and send that ticket's id."
    );
    assert_eq!(
        remedy(
            "- { rule: r, unless: { subject.scopes: { contains: flags.admin } }, decision: deny }",
            prod.clone()
        ),
        "Ask an operator to grant the scope `flags.admin`."
    );
    assert_eq!(
        remedy(
            "- { rule: r, when: { tool: flag.set }, decision: deny }",
            prod
        ),
        "Ask an operator about the rule `r`."
    );
}

#[test]
fn a_remedy_never_asks_an_agent_to_supply_what_a_person_decides() {
    let facts = json!({"tool": "flag.set"});
    for unless in [
        "{ args.ticket: \"*\" }",
        "{ args.dry_run: true }",
        "{ args.name: approved }",
        "{ subject.purpose: audit }",
        "{ subject.id: user:dana }",
        "{ plan.depth: { lt: 3 } }",
        "{ not: { tool.risk: high } }",
        "{ all: [{ ticket.valid: true }, { args.ticket: \"*\" }] }",
    ] {
        let source = format!(
            "- {{ rule: r, when: {{ tool: flag.set }}, unless: {unless}, decision: deny }}"
        );
        let call = Call::new(json!({"tool": "flag.set", "tool.risk": "high"}));
        let decision = policy(&source).decide(&call);
        assert_eq!(
            decision.remedy.as_deref(),
            Some("Ask an operator about the rule `r`."),
            "{unless} {facts}"
        );
    }
}

#[test]
fn a_refusal_for_want_of_knowledge_says_so() {
    let source = "
- { rule: base, decision: allow }
- rule: ticket
  unless: { ticket.valid: true }
  decision: deny
  reason: a ticket is needed
";
    let decision = policy(source).decide(&Call::new(json!({"ticket.valid": "?"})));
    assert_eq!(
        decision.reason,
        "a ticket is needed (`ticket.valid` could not be computed)"
    );
    assert_eq!(
        decision.remedy.as_deref(),
        Some("Try again later; if it stays so, ask an operator about the rule `ticket`.")
    );
    let sure = policy(source).decide(&Call::new(json!({"ticket.valid": false})));
    assert_eq!(sure.reason, "a ticket is needed");
}

#[test]
fn a_published_policy_outlives_a_changed_tool_and_fails_closed() {
    let source = "
- { rule: base, when: { tool: flag.set }, decision: allow }
- { rule: gone, when: { tool: flag.set, args.stage: prod }, decision: deny }
- { rule: retyped, when: { tool: flag.set, args.env: { gt: 5 } }, decision: deny }
tests: []
";
    let source = source.replace("tests: []\n", "");
    let tools = Tools::new();
    assert!(crate::load(&source, &tools.shapes()).is_err());
    let loaded = load_published(&source, &tools.shapes()).unwrap();
    let places: Vec<_> = loaded.warnings.iter().map(|found| found.line).collect();
    assert_eq!(places, [3, 4]);
    let call = Call::new(json!({"tool": "flag.set", "args.env": "dev"}));
    let decision = loaded.policy.decide(&call);
    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.rules, ["gone".into(), "retyped".into()]);
    let other = "
- { rule: base, when: { tool: orders.get }, decision: allow }
- { rule: gone, when: { args.stage: prod }, decision: deny }
";
    let other = load_published(other, &tools.shapes()).unwrap().policy;
    let call = Call::new(json!({"tool": "orders.get"}));
    assert_eq!(other.decide(&call).verdict, Verdict::Allow);
}

#[test]
fn a_published_policy_with_a_broken_text_is_still_refused() {
    for source in [
        "- { rule: r }",
        "- { rule: r, when: { tol: x }, decision: deny }",
        "{",
    ] {
        assert!(load_published(source, &[]).is_err(), "{source}");
    }
}
