//! Everything that a load refuses or warns of, with its line and column.

use serde_json::json;

use super::Tools;
use crate::{Diagnostic, Severity, load};

fn refused(source: &str) -> Vec<Diagnostic> {
    match load(source, &Tools::new().shapes()) {
        Ok(_) => panic!("this loads:\n{source}"),
        Err(found) => found
            .into_iter()
            .filter(|one| one.severity == Severity::Error)
            .collect(),
    }
}

fn warned(source: &str) -> Vec<Diagnostic> {
    load(source, &Tools::new().shapes()).unwrap().warnings
}

/// Line, column, a part of the message, a part of the remedy.
type Expected<'a> = (usize, usize, &'a str, &'a str);

fn check(source: &str, (line, column, message, remedy): Expected<'_>) {
    let found = refused(source);
    let first = &found[0];
    assert_eq!(
        (first.line, first.column),
        (line, column),
        "{source}\n{first}"
    );
    assert!(first.message.contains(message), "{source}\n{first}");
    assert!(first.remedy.contains(remedy), "{source}\n{first}");
    assert_eq!(found.len(), 1, "{source}\n{found:#?}");
}

/// A policy whose third line is the rule's `when`, from column 9 on.
fn when(condition: &str, expected: Expected<'_>) {
    check(
        &format!("- rule: r\n  decision: deny\n  when: {condition}\n"),
        expected,
    );
}

#[test]
fn the_outer_form_is_strict() {
    check("hello", (1, 1, "a list of rules", "- rule"));
    check(
        "rulez: []",
        (1, 1, "unknown key `rulez`", "did you mean `rules`"),
    );
    check("rules: 5", (1, 8, "is a list", "-"));
    check("- hello", (1, 3, "a rule is a mapping", "rule: name"));
    check(
        "- { rule: r, decison: deny }",
        (1, 14, "unknown key `decison`", "`decision`"),
    );
    check("- { decision: deny }", (1, 3, "no id", "rule: name"));
    check("- { rule: r }", (1, 11, "does nothing", "decision"));
    check(
        "- { rule: r, decision: maybe }",
        (1, 24, "never `maybe`", "allow, require_approval, deny"),
    );
    check(
        "- { rule: r, decision: require_aproval }",
        (1, 24, "never", "`require_approval`"),
    );
    check(
        "- { rule: r, decision: true }",
        (1, 24, "a boolean", "quotes"),
    );
    check(
        "- { rule: 5, decision: deny }",
        (1, 11, "a number", "quotes"),
    );
    check(
        "- { rule: \"a b\", decision: deny }",
        (1, 11, "no rule id", "letters"),
    );
    check(
        "- { rule: r, decision: deny, reason: \"\" }",
        (1, 38, "not empty", ""),
    );
    check(
        "- { rule: r, decision: deny, reason: \"a\\nb\" }",
        (1, 38, "does not fit", "one line"),
    );
    check(
        "- { rule: r, route: eu-wset }",
        (1, 21, "never `eu-wset`", "`eu-west`"),
    );
    check(
        "- { rule: r, route: mars }",
        (1, 21, "never `mars`", "eu-west, us-east"),
    );
    check(
        "- { rule: r, decision: require_approval, approval: x }",
        (1, 42, "reserved", "require_approval"),
    );
}

#[test]
fn rule_ids_are_given_once() {
    check(
        "- { rule: r, decision: deny }\n- { rule: s, decision: deny }\n- { rule: r, decision: allow }",
        (3, 11, "`r` is taken since line 1", "of its own"),
    );
}

#[test]
fn keys_stand_once_at_every_depth() {
    check(
        "- rule: r\n  decision: deny\n  decision: allow",
        (3, 3, "`decision` stands here twice", "keep one"),
    );
    check("rules: []\nrules: []", (2, 1, "twice", ""));
    when(
        "{ tool.risk: low, tool.risk: high }",
        (3, 27, "twice", "operators"),
    );
    when("{ plan.depth: { gt: 1, gt: 2 } }", (3, 32, "twice", ""));
}

#[test]
fn yaml_that_means_more_than_it_says_is_refused() {
    check(
        "- &a { rule: r, decision: deny }",
        (1, 3, "anchors", "write the value out"),
    );
    let aliased = refused("- { rule: &a r, decision: deny }\n- { rule: *a, decision: allow }");
    assert_eq!(
        aliased.iter().map(|one| one.line).collect::<Vec<_>>(),
        [1, 2, 2],
        "anchor, alias, and the rule id that is missing for it"
    );
    check(
        "- { rule: !!str r, decision: deny }",
        (1, 17, "tags", "quote"),
    );
    check(
        "- { rule: r, decision: deny }\n---\n- { rule: s, decision: deny }",
        (2, 1, "second", "take out"),
    );
    check("- { rule: r, decision: deny", (2, 1, "not YAML", "syntax"));
    check(
        "- { rule: r, [a]: deny, decision: deny }",
        (1, 14, "a key must be a word", "key: value"),
    );
    check("a: b: c", (1, 5, "not YAML", "syntax"));
    let deep = format!(
        "- {{ rule: r, when: {}{} }}",
        "{ not: ".repeat(60),
        "}".repeat(60)
    );
    assert!(refused(&deep)[0].message.contains("nested more than"));
    let flow = "[".repeat(10_000);
    assert!(!refused(&flow).is_empty());
    let blocks: String = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(!refused(&blocks).is_empty());
    let long = format!("# {}", "x".repeat(1024 * 1024));
    check(&long, (1, 1, "bytes long", "shorter"));
}

#[test]
fn a_policy_has_at_most_a_thousand_rules() {
    let rules = |count: usize| -> String {
        (0..count)
            .map(|n| format!("- {{ rule: r{n}, decision: deny }}\n"))
            .collect()
    };
    assert!(load(&rules(1_000), &[]).is_ok());
    check(&rules(1_001), (1, 1, "at most 1000", "list of values"));
}

#[test]
fn unknown_attributes_are_refused_with_the_nearest_name() {
    when(
        "{ tol: x }",
        (3, 11, "unknown attribute `tol`", "did you mean `tool`?"),
    );
    when(
        "{ tool.risc: low }",
        (3, 11, "unknown attribute", "`tool.risk`"),
    );
    when(
        "{ subject.regoin: EU }",
        (3, 11, "unknown attribute", "`subject.region`"),
    );
    when(
        "{ egress.domain_in_allow_list: true }",
        (3, 11, "unknown", "`egress.domain_in_allowlist`"),
    );
    when(
        "{ subject: agent:copilot }",
        (3, 11, "unknown attribute", "subject.id, subject.type"),
    );
    when(
        "{ weather: sunny }",
        (3, 11, "unknown attribute", "write one of"),
    );
    when(
        "{ history.calls: { gt: 5 } }",
        (3, 11, "`history.calls` is reserved", "take it out"),
    );
    when(
        "{ approval.by: user:dana }",
        (3, 11, "reserved", "take it out"),
    );
    when("{ args: x }", (3, 11, "names no argument", "args."));
    when("{ args..x: x }", (3, 11, "names no argument", "args."));
    when(
        "{ any: [{ not: { tol: x } }] }",
        (3, 26, "unknown attribute", "`tool`"),
    );
    check(
        "- { rule: r, decision: deny, unless: { tickt.valid: true } }",
        (1, 40, "unknown attribute", "`ticket.valid`"),
    );
}

#[test]
fn conditions_have_one_form() {
    when("low", (3, 9, "a mapping of attributes", "any"));
    when("[{ tool.risk: low }]", (3, 9, "a mapping", "any"));
    when("{}", (3, 9, "empty", "leave the key out"));
    when("{ all: [] }", (3, 16, "at least one", "all: ["));
    when(
        "{ any: { tool.risk: low } }",
        (3, 16, "a list of conditions", "any: ["),
    );
    when("{ not: [] }", (3, 16, "a mapping", ""));
    when(
        "{ tool.risk: {} }",
        (3, 22, "held against nothing", "operator"),
    );
    when("{ tool.risk: [] }", (3, 22, "empty list", "at least one"));
    when("{ tool.risk: null }", (3, 22, "null", "exists: false"));
    when(
        "{ tool.risk: { eq: [low] } }",
        (3, 28, "a list", "single value"),
    );
    when(
        "{ tool.risk: { is: low } }",
        (3, 24, "unknown operator `is`", ""),
    );
    when(
        "{ tool.risk: { start_with: lo } }",
        (3, 24, "unknown operator", "`starts_with`"),
    );
    when(
        "{ tool: { mutating: true } }",
        (3, 19, "unknown operator", "write `tool.mutating: …`"),
    );
    when(
        "{ tool.risk: { exists: yes } }",
        (3, 32, "takes true or false", "true or false"),
    );
    when(
        "{ tool.risk: { in: low } }",
        (3, 28, "takes a list", "a list"),
    );
    when("{ tool.risk: [low, \"*\"] }", (3, 22, "stands alone", "*"));
    when("{ plan.depth: .inf }", (3, 23, "cannot be read", "finite"));
    when("{ plan.depth: 1e999 }", (3, 23, "cannot be read", "38"));
}

#[test]
fn an_operand_that_could_never_hold_is_refused() {
    when(
        "{ tool.mutating: \"true\" }",
        (3, 26, "is a boolean", "true or false"),
    );
    when(
        "{ tool.mutating: yes }",
        (3, 26, "is a boolean", "true or false"),
    );
    when("{ tool.risk: hgih }", (3, 22, "never `hgih`", "`high`"));
    when(
        "{ tool.risk: { ne: none } }",
        (3, 28, "never `none`", "low"),
    );
    when(
        "{ tool.risk: { in: [low, 5] } }",
        (3, 28, "a number", "low, medium, high"),
    );
    when("{ tool.risk: { gt: 5 } }", (3, 28, "only numbers", ""));
    when(
        "{ plan.depth: \"5\" }",
        (3, 23, "is a number", "without quotes"),
    );
    when(
        "{ plan.depth: { gt: \"5\" } }",
        (3, 29, "takes a number", ""),
    );
    when("{ plan.depth: { matches: a } }", (3, 34, "reads texts", ""));
    when(
        "{ time.weekday: Monday }",
        (3, 25, "never `Monday`", "`monday`"),
    );
    when("{ subject.region: DE }", (3, 27, "never `DE`", "EU"));
    when(
        "{ subject.id: copilot }",
        (3, 23, "never `copilot`", "agent:copilot"),
    );
    when(
        "{ subject.scopes: orders.read }",
        (3, 27, "is a list", "contains"),
    );
    when(
        "{ data.pii_types: [email] }",
        (3, 27, "is a list", "contains"),
    );
    when(
        "{ data.jurisdictions: { contains: eu } }",
        (3, 43, "never `eu`", "`EU`"),
    );
    when(
        "{ data.pii_types: { contains: 5 } }",
        (3, 39, "a list of texts", "quotes"),
    );
    when(
        "{ egress.domain: Example.com }",
        (3, 26, "never `Example.com`", "lower case"),
    );
    when(
        "{ egress.domain: { contains: \"\" } }",
        (3, 38, "every text", ""),
    );
    when(
        "{ egress.domain: { ends_with: \"\" } }",
        (3, 39, "not empty", ""),
    );
}

#[test]
fn there_are_no_wildcards_in_scopes() {
    when(
        "{ subject.scopes: \"*\" }",
        (3, 27, "no wildcards", "name the scope"),
    );
    when(
        "{ subject.scopes: { contains: \"*\" } }",
        (3, 39, "wildcards are refused", "whole scope"),
    );
    when(
        "{ subject.scopes: { contains: \"orders.*\" } }",
        (3, 39, "wildcards", "whole scope"),
    );
}

#[test]
fn patterns_are_bounded() {
    when(
        "{ egress.domain: { matches: \"(\" } }",
        (3, 37, "this pattern is refused", "regular"),
    );
    when(
        "{ egress.domain: { matches: \"(?=a)b\" } }",
        (3, 37, "refused", "look-around"),
    );
    when(
        "{ egress.domain: { matches: \"(\\\\w{100}){100}\" } }",
        (3, 37, "refused", ""),
    );
    let long = format!("{{ egress.domain: {{ matches: {} }} }}", "a".repeat(513));
    when(&long, (3, 37, "at most 512 bytes", "shorter"));
    let many: String = (0..65)
        .map(|n| {
            format!("- {{ rule: r{n}, when: {{ tool: {{ matches: a }} }}, decision: deny }}\n")
        })
        .collect();
    check(&many, (65, 41, "at most 64 patterns", "starts_with"));
}

#[test]
fn arguments_are_held_against_the_tools_schemas() {
    when(
        "{ args.evn: prod }",
        (3, 21, "no such argument: `args.evn`", "did you mean `env`?"),
    );
    when(
        "{ tool: orders.get, args.env: prod }",
        (3, 37, "no such argument", "order_id"),
    );
    when(
        "{ tool: flag.set, args.env: production }",
        (
            3,
            35,
            "`args.env` of `flag.set` never",
            "dev, staging, prod",
        ),
    );
    when(
        "{ tool: flag.set, args.env: prd }",
        (3, 35, "never", "`prod`"),
    );
    when(
        "{ tool: flag.set, args.env: 5 }",
        (3, 35, "of type string, and this is a number", "quotes"),
    );
    when(
        "{ args.rolloutPct: \"10\" }",
        (
            3,
            26,
            "of type number, and this is a text",
            "without quotes",
        ),
    );
    when(
        "{ args.rolloutPct: { contains: 1 } }",
        (3, 38, "reads a array", ""),
    );
    when(
        "{ args.env: { gt: 5 } }",
        (3, 25, "reads a number", "operator"),
    );
    when(
        "{ args.dry_run: { starts_with: t } }",
        (3, 38, "reads a string", ""),
    );
    when(
        "{ args.owner: ops }",
        (3, 21, "of type object", "args.owner.…"),
    );
    when(
        "{ args.owner.taem: ops }",
        (3, 26, "no such argument", "`team`"),
    );
    when(
        "{ args.owner.level: ops }",
        (3, 27, "of type number", "without quotes"),
    );
    when("{ args.name.first: ops }", (3, 26, "no such argument", ""));
    when("{ args.mask: email }", (3, 20, "of type array", "contains"));
    when(
        "{ args.mask: { contains: mail } }",
        (3, 32, "never", "`email`"),
    );
    when(
        "{ args.mask: { contains: 5 } }",
        (3, 32, "of type string", ""),
    );
    check(
        "- { rule: r, when: { tool: flag.set }, decision: deny, unless: { args.tiket: \"*\" } }",
        (1, 78, "no such argument", "`ticket`"),
    );
}

#[test]
fn an_alternative_is_held_against_its_own_tool() {
    let source = "
- rule: r
  decision: deny
  when:
    any:
      - { tool: flag.set, args.env: prod }
      - { tool: orders.get, args.env: prod }
";
    check(source, (7, 39, "no such argument", "order_id"));
}

#[test]
fn redactions_have_one_form() {
    let redact =
        |text: &str, expected| check(&format!("- {{ rule: r, redact: {text} }}"), expected);
    redact("email", (1, 22, "takes a list", "redact: ["));
    redact("[]", (1, 22, "at least one", "redact: ["));
    redact("[email]", (1, 23, "a mapping", "field"));
    redact(
        "[{ field: email, mode: msk }]",
        (1, 45, "never `msk`", "`mask`"),
    );
    redact(
        "[{ field: email, mode: blur }]",
        (1, 45, "never `blur`", "mask, hash, tokenize, drop"),
    );
    redact("[{ field: email }]", (1, 23, "both", "mode"));
    redact(
        "[{ feild: email, mode: mask }]",
        (1, 25, "unknown key", "`field`"),
    );
    redact(
        "[{ field: \"*\", mode: mask }]",
        (1, 32, "names no field", "wildcards"),
    );
    redact(
        "[{ field: a..b, mode: mask }]",
        (1, 32, "names no field", "path"),
    );
    redact(
        "[{ field: a, mode: mask }, { field: a, mode: drop }]",
        (1, 49, "`a` stands here twice", "one mode"),
    );
}

#[test]
fn several_faults_are_told_at_once_in_the_order_of_the_text() {
    let found =
        refused("- { rule: r, decision: maybe, when: { tol: x } }\n- { rule: s, route: mars }");
    let places: Vec<_> = found.iter().map(|one| (one.line, one.column)).collect();
    assert_eq!(places, [(1, 24), (1, 39), (2, 21)]);
    assert_eq!(
        found[1].to_string(),
        "1:39: error: unknown attribute `tol`; did you mean `tool`?"
    );
}

#[test]
fn a_flood_of_faults_is_cut_short() {
    let source: String = (0..900)
        .map(|n| format!("- {{ rule: r{n}, decision: x }}\n"))
        .collect();
    assert_eq!(refused(&source).len(), 100);
}

#[test]
fn columns_count_characters() {
    check(
        "- { rule: r, reason: \"é€𝄞\", decision: maybe }",
        (1, 39, "never", ""),
    );
}

#[test]
fn a_failing_test_refuses_the_policy() {
    let with = |test: &str| {
        format!(
            "rules:\n  - {{ rule: r, when: {{ tool: flag.set, args.dry_run: false }}, decision: allow }}\ntests:\n  - {test}\n"
        )
    };
    let holds =
        with("{ name: t, given: { tool: flag.set }, expect: { decision: allow, rule: r } }");
    assert!(
        load(&holds, &Tools::new().shapes()).is_ok(),
        "defaults are filled in"
    );
    for (test, expected) in [
        (
            "{ name: t, given: { tool: flag.set }, expect: { decision: deny } }",
            (
                4,
                5,
                "`t` fails: it expects deny, and the policy says allow (by r)",
                "correct",
            ),
        ),
        (
            "{ name: t, given: { tool: orders.get }, expect: { decision: allow } }",
            (4, 5, "says deny (by no rule)", "correct"),
        ),
        (
            "{ name: t, given: { tool: flag.set }, expect: { decision: allow, rule: s } }",
            (4, 5, "expects the rule `s`", "correct"),
        ),
        (
            "{ name: t, given: { tool: flag.set }, expect: { decision: allow, route: eu-west } }",
            (4, 5, "another route than none", "correct"),
        ),
        (
            "{ name: t, given: { tool: flag.set }, unknown: [args.dry_run], expect: { decision: allow } }",
            (4, 5, "says deny", "correct"),
        ),
        (
            "{ given: {}, expect: { decision: deny } }",
            (4, 5, "needs a `name`", "name"),
        ),
        (
            "{ name: t, expect: {} }",
            (4, 24, "expects no decision", "decision"),
        ),
        (
            "{ name: t, expect: { decision: denied } }",
            (4, 36, "never `denied`", "deny"),
        ),
        (
            "{ name: t, expect: { decision: deny, route: moon } }",
            (4, 49, "never `moon`", "eu-west"),
        ),
        (
            "{ name: t, gven: {}, expect: { decision: deny } }",
            (4, 16, "unknown key", "`given`"),
        ),
        (
            "{ name: t, given: { tol: x }, expect: { decision: deny } }",
            (4, 25, "unknown attribute", "`tool`"),
        ),
        (
            "{ name: t, given: { tool.risk: hi }, expect: { decision: deny } }",
            (4, 36, "never", "low"),
        ),
        (
            "{ name: t, given: { tool: [a] }, expect: { decision: deny } }",
            (4, 31, "not a list", ""),
        ),
        (
            "{ name: t, unknown: x, expect: { decision: deny } }",
            (4, 25, "a list", "unknown: ["),
        ),
        (
            "{ name: t, given: { tool: flag.set, args.evn: x }, expect: { decision: deny } }",
            (4, 5, "`flag.set` has no argument `args.evn`", "env"),
        ),
    ] {
        check(&with(test), expected);
    }
}

#[test]
fn what_only_looks_like_a_restriction_is_warned_of() {
    let source =
        "- rule: r\n  decision: deny\n  when: { tool: flag.set, args.ticket: { ne: x } }\n";
    let found = warned(source);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].line, found[0].column), (3, 46));
    assert!(
        found[0]
            .message
            .contains("`flag.set` that leaves `args.ticket` out")
    );
    assert_eq!(found[0].severity, Severity::Warning);
    for (rule, count) in [
        ("decision: deny, when: { args.env: prod }", 0),
        ("decision: deny, when: { args.dry_run: true }", 0),
        ("decision: deny, when: { args.ticket: x }", 1),
        ("decision: deny, unless: { args.ticket: x }", 0),
        ("decision: deny, when: { not: { args.ticket: x } }", 0),
        (
            "decision: deny, when: { any: [{ args.ticket: x }, { args.ticket: { exists: false } }] }",
            0,
        ),
        ("decision: allow, when: { args.ticket: x }", 0),
        ("decision: allow, unless: { args.ticket: x }", 1),
        ("route: eu-west, when: { args.ticket: x }", 1),
        (
            "redact: [{ field: a, mode: drop }], when: { args.owner.team: x }",
            1,
        ),
    ] {
        let source = format!("- {{ rule: r, {rule} }}");
        assert_eq!(warned(&source).len(), count, "{source}");
    }
}

#[test]
fn a_tool_that_is_not_there_is_warned_of_and_its_arguments_are_not_checked() {
    let found =
        warned("- { rule: r, when: { tool: web.fetch, args.anything: 5 }, decision: deny }");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].column), (1, 28));
    let found = warned("- { rule: r, when: { tool: [flag.sett, flag.set] }, decision: deny }");
    assert!(
        found[0].remedy.contains("did you mean `flag.set`?"),
        "{found:#?}"
    );
    let found = warned("[]");
    assert!(found[0].message.contains("denies every call"));
}

#[test]
fn diagnostics_quote_little_and_no_control_characters() {
    let long = json!(format!("x\u{1b}[31m{}", "y".repeat(500)));
    let found = refused(&format!(
        "- {{ rule: r, decision: deny, when: {{ {long}: 1 }} }}"
    ));
    assert!(found[0].message.chars().count() < 120, "{}", found[0]);
    assert!(!found[0].message.chars().any(char::is_control));
}
