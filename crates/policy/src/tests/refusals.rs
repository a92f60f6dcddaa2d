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

/// A text with `▸` where the fault is, a part of the message, a part of the remedy.
type Case = (&'static str, &'static str, &'static str);

/// Checks that a text is refused for one fault, at the `▸`, which is taken out first.
fn check(marked: &str, message: &str, remedy: &str) {
    let before = marked.split('▸').next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let source = marked.replacen('▸', "", 1);
    let found = refused(&source);
    let first = &found[0];
    let place = (first.line, first.column);
    assert_eq!(place, (line, column), "{source}\n{first}");
    assert!(first.message.contains(message), "{source}\n{first}");
    assert!(first.remedy.contains(remedy), "{source}\n{first}");
    assert_eq!(found.len(), 1, "{source}\n{found:#?}");
}

/// Checks conditions, each as a rule's `when`.
fn each_when(cases: &[Case]) {
    for (condition, message, remedy) in cases {
        let source = format!("- rule: r\n  decision: deny\n  when: {condition}\n");
        check(&source, message, remedy);
    }
}

#[test]
fn the_outer_form_is_strict() {
    check("▸hello", "a list of rules", "- rule");
    check("▸rulez: []", "unknown key `rulez`", "did you mean `rules`");
    check("rules: ▸5", "is a list", "-");
    check("- ▸hello", "a rule is a mapping", "rule: name");
    check(
        "- { rule: r, ▸decison: deny }",
        "unknown key `decison`",
        "`decision`",
    );
    check("- ▸{ decision: deny }", "no id", "rule: name");
    check("- { rule: ▸r }", "does nothing", "decision");
    check(
        "- { rule: r, decision: ▸maybe }",
        "never `maybe`",
        "allow, require_approval, deny",
    );
    check(
        "- { rule: r, decision: ▸require_aproval }",
        "never",
        "`require_approval`",
    );
    check("- { rule: r, decision: ▸true }", "a boolean", "quotes");
    check("- { rule: ▸5, decision: deny }", "a number", "quotes");
    check(
        "- { rule: ▸\"a b\", decision: deny }",
        "no rule id",
        "letters",
    );
    check(
        "- { rule: r, decision: deny, reason: ▸\"\" }",
        "not empty",
        "",
    );
    check(
        "- { rule: r, decision: deny, reason: ▸\"a\\nb\" }",
        "does not fit",
        "one line",
    );
    check(
        "- { rule: r, route: ▸eu-wset }",
        "never `eu-wset`",
        "`eu-west`",
    );
    check(
        "- { rule: r, route: ▸mars }",
        "never `mars`",
        "eu-west, us-east",
    );
    check(
        "- { rule: r, decision: require_approval, ▸approval: x }",
        "reserved",
        "require_approval",
    );
}

#[test]
fn rule_ids_are_given_once() {
    check(
        "- { rule: r, decision: deny }\n- { rule: s, decision: deny }\n- { rule: ▸r, decision: allow }",
        "`r` is taken since line 1",
        "of its own",
    );
}

const KEYS: &[Case] = &[
    ("{ tool.risk: low, ▸tool.risk: high }", "twice", "operators"),
    ("{ plan.depth: { gt: 1, ▸gt: 2 } }", "twice", ""),
];

#[test]
fn keys_stand_once_at_every_depth() {
    each_when(KEYS);
    check(
        "- rule: r\n  decision: deny\n  ▸decision: allow",
        "`decision` stands here twice",
        "keep one",
    );
    check("rules: []\n▸rules: []", "twice", "");
}

#[test]
fn yaml_that_means_more_than_it_says_is_refused() {
    check(
        "- ▸&a { rule: r, decision: deny }",
        "anchors",
        "write the value out",
    );
    let aliased = refused("- { rule: &a r, decision: deny }\n- { rule: *a, decision: allow }");
    assert_eq!(
        aliased.iter().map(|one| one.line).collect::<Vec<_>>(),
        [1, 2],
        "the anchor and the alias"
    );
    check("- { rule: ▸!!str r, decision: deny }", "tags", "quote");
    check(
        "- { rule: r, decision: deny }\n▸---\n- { rule: s, decision: deny }",
        "second",
        "take out",
    );
    check("- { rule: r, decision: deny\n▸", "not YAML", "syntax");
    check(
        "- { rule: r, ▸[a]: deny, decision: deny }",
        "a key must be a word",
        "key: value",
    );
    check("a: b▸: c", "not YAML", "syntax");
    let deep = format!(
        "- {{ rule: r, when: {}{} }}",
        "{ not: ".repeat(60),
        "}".repeat(60)
    );
    assert!(refused(&deep)[0].message.contains("nested more than"));
    let flow = "[".repeat(10_000);
    assert!(!refused(&flow).is_empty());
    let blocks: Vec<String> = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(!refused(&blocks.concat()).is_empty());
    let long = format!("# {}", "x".repeat(1024 * 1024));
    check(&format!("▸{long}"), "bytes long", "shorter");
}

#[test]
fn a_policy_has_at_most_a_thousand_rules() {
    let rules = |count: usize| -> String {
        let rules = (0..count).map(|n| format!("- {{ rule: r{n}, decision: deny }}\n"));
        rules.collect::<Vec<_>>().concat()
    };
    assert!(load(&rules(1_000), &[]).is_ok());
    check(
        &format!("▸{}", rules(1_001)),
        "at most 1000",
        "list of values",
    );
}

const ATTRIBUTES: &[Case] = &[
    (
        "{ ▸tol: x }",
        "unknown attribute `tol`",
        "did you mean `tool`?",
    ),
    ("{ ▸tool.risc: low }", "unknown attribute", "`tool.risk`"),
    (
        "{ ▸subject.regoin: EU }",
        "unknown attribute",
        "`subject.region`",
    ),
    (
        "{ ▸egress.domain_in_allow_list: true }",
        "unknown",
        "`egress.domain_in_allowlist`",
    ),
    (
        "{ ▸subject: agent:copilot }",
        "unknown attribute",
        "subject.id, subject.type",
    ),
    ("{ ▸weather: sunny }", "unknown attribute", "write one of"),
    (
        "{ ▸history.calls: { gt: 5 } }",
        "`history.calls` is reserved",
        "take it out",
    ),
    ("{ ▸approval.by: user:dana }", "reserved", "take it out"),
    ("{ ▸args: x }", "names no argument", "args."),
    ("{ ▸args..x: x }", "names no argument", "args."),
    (
        "{ any: [{ not: { ▸tol: x } }] }",
        "unknown attribute",
        "`tool`",
    ),
];

#[test]
fn unknown_attributes_are_refused_with_the_nearest_name() {
    each_when(ATTRIBUTES);
    check(
        "- { rule: r, decision: deny, unless: { ▸tickt.valid: true } }",
        "unknown attribute",
        "`ticket.valid`",
    );
}

const CONDITIONS: &[Case] = &[
    ("▸low", "a mapping of attributes", "any"),
    ("▸[{ tool.risk: low }]", "a mapping", "any"),
    ("▸{}", "empty", "leave the key out"),
    ("{ all: ▸[] }", "at least one", "all: ["),
    (
        "{ any: ▸{ tool.risk: low } }",
        "a list of conditions",
        "any: [",
    ),
    ("{ not: ▸[] }", "a mapping", ""),
    ("{ tool.risk: ▸{} }", "held against nothing", "operator"),
    ("{ tool.risk: ▸[] }", "empty list", "at least one"),
    ("{ tool.risk: ▸null }", "null", "exists: false"),
    ("{ tool.risk: { eq: ▸[low] } }", "a list", "single value"),
    ("{ tool.risk: { ▸is: low } }", "unknown operator `is`", ""),
    (
        "{ tool.risk: { ▸start_with: lo } }",
        "unknown operator",
        "`starts_with`",
    ),
    (
        "{ tool: { ▸mutating: true } }",
        "unknown operator",
        "write `tool.mutating: …`",
    ),
    (
        "{ tool.risk: { exists: ▸yes } }",
        "takes true or false",
        "true or false",
    ),
    ("{ tool.risk: { in: ▸low } }", "takes a list", "a list"),
    ("{ tool.risk: ▸[low, \"*\"] }", "stands alone", "*"),
    ("{ plan.depth: ▸.inf }", "cannot be read", "finite"),
    ("{ plan.depth: ▸1e999 }", "cannot be read", "38"),
];

#[test]
fn conditions_have_one_form() {
    each_when(CONDITIONS);
}

const OPERANDS: &[Case] = &[
    (
        "{ tool.mutating: ▸\"true\" }",
        "is a boolean",
        "true or false",
    ),
    ("{ tool.mutating: ▸yes }", "is a boolean", "true or false"),
    ("{ tool.risk: ▸hgih }", "never `hgih`", "`high`"),
    ("{ tool.risk: { ne: ▸none } }", "never `none`", "low"),
    (
        "{ tool.risk: { in: ▸[low, 5] } }",
        "a number",
        "low, medium, high",
    ),
    ("{ tool.risk: { gt: ▸5 } }", "only numbers", ""),
    ("{ plan.depth: ▸\"5\" }", "is a number", "without quotes"),
    ("{ plan.depth: { gt: ▸\"5\" } }", "takes a number", ""),
    ("{ plan.depth: { matches: ▸a } }", "reads texts", ""),
    ("{ time.weekday: ▸Monday }", "never `Monday`", "`monday`"),
    ("{ subject.region: ▸DE }", "never `DE`", "EU"),
    (
        "{ subject.id: ▸copilot }",
        "never `copilot`",
        "agent:copilot",
    ),
    ("{ subject.scopes: ▸orders.read }", "is a list", "contains"),
    ("{ data.pii_types: ▸[email] }", "is a list", "contains"),
    (
        "{ data.jurisdictions: { contains: ▸eu } }",
        "never `eu`",
        "`EU`",
    ),
    (
        "{ data.pii_types: { contains: ▸5 } }",
        "a list of texts",
        "quotes",
    ),
    (
        "{ egress.domain: ▸Example.com }",
        "never `Example.com`",
        "lower case",
    ),
    ("{ egress.domain: { contains: ▸\"\" } }", "every text", ""),
    ("{ egress.domain: { ends_with: ▸\"\" } }", "not empty", ""),
];

#[test]
fn an_operand_that_could_never_hold_is_refused() {
    each_when(OPERANDS);
}

const SCOPES: &[Case] = &[
    (
        "{ subject.scopes: ▸\"*\" }",
        "no wildcards",
        "name the scope",
    ),
    (
        "{ subject.scopes: { contains: ▸\"*\" } }",
        "wildcards are refused",
        "whole scope",
    ),
    (
        "{ subject.scopes: { contains: ▸\"orders.*\" } }",
        "wildcards",
        "whole scope",
    ),
];

#[test]
fn there_are_no_wildcards_in_scopes() {
    each_when(SCOPES);
}

const PATTERNS: &[Case] = &[
    (
        "{ egress.domain: { matches: ▸\"(\" } }",
        "this pattern is refused",
        "regular",
    ),
    (
        "{ egress.domain: { matches: ▸\"(?=a)b\" } }",
        "refused",
        "look-around",
    ),
    (
        "{ egress.domain: { matches: ▸\"(\\\\w{100}){100}\" } }",
        "refused",
        "",
    ),
];

#[test]
fn patterns_are_bounded() {
    each_when(PATTERNS);
    let long = "a".repeat(513);
    let source =
        format!("- {{ rule: r, when: {{ tool: {{ matches: ▸{long} }} }}, decision: deny }}");
    check(&source, "at most 512 bytes", "shorter");
    let rule = |n: usize, mark: &str| {
        format!("- {{ rule: r{n}, when: {{ tool: {{ matches: {mark}a }} }}, decision: deny }}\n")
    };
    let many: Vec<String> = (0..64)
        .map(|n| rule(n, ""))
        .chain([rule(64, "▸")])
        .collect();
    check(&many.concat(), "at most 64 patterns", "starts_with");
}

const ARGUMENTS: &[Case] = &[
    (
        "{ args.evn: ▸prod }",
        "no such argument: `args.evn`",
        "did you mean `env`?",
    ),
    (
        "{ tool: orders.get, args.env: ▸prod }",
        "no such argument",
        "order_id",
    ),
    (
        "{ tool: flag.set, args.env: ▸production }",
        "`args.env` of `flag.set` never",
        "dev, staging, prod",
    ),
    ("{ tool: flag.set, args.env: ▸prd }", "never", "`prod`"),
    (
        "{ tool: flag.set, args.env: ▸5 }",
        "of type string, and this is a number",
        "quotes",
    ),
    (
        "{ args.rolloutPct: ▸\"10\" }",
        "of type number, and this is a text",
        "without quotes",
    ),
    (
        "{ args.rolloutPct: { contains: ▸1 } }",
        "reads values of type array",
        "",
    ),
    (
        "{ args.env: { gt: ▸5 } }",
        "reads values of type number",
        "operator",
    ),
    (
        "{ args.dry_run: { starts_with: ▸t } }",
        "reads values of type string",
        "",
    ),
    ("{ args.owner: ▸ops }", "of type object", "args.owner.…"),
    ("{ args.owner.taem: ▸ops }", "no such argument", "`team`"),
    (
        "{ args.owner.level: ▸ops }",
        "of type number",
        "without quotes",
    ),
    ("{ args.name.first: ▸ops }", "no such argument", ""),
    ("{ args.mask: ▸email }", "of type array", "contains"),
    ("{ args.mask: { contains: ▸mail } }", "never", "`email`"),
    ("{ args.mask: { contains: ▸5 } }", "of type string", ""),
    (
        "{ tool: [flag.set, orders.get], all: [{ tool: orders.get }], args.env: ▸prod }",
        "no such argument",
        "order_id",
    ),
];

#[test]
fn arguments_are_held_against_the_tools_schemas() {
    each_when(ARGUMENTS);
    check(
        "- { rule: r, when: { tool: flag.set }, decision: deny, unless: { args.tiket: ▸\"*\" } }",
        "no such argument",
        "`ticket`",
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
      - { tool: orders.get, args.env: ▸prod }
";
    check(source, "no such argument", "order_id");
}

const REDACTIONS: &[Case] = &[
    ("▸email", "takes a list", "redact: ["),
    ("▸[]", "at least one", "redact: ["),
    ("[▸email]", "a mapping", "field"),
    ("[{ field: email, mode: ▸msk }]", "never `msk`", "`mask`"),
    (
        "[{ field: email, mode: ▸blur }]",
        "never `blur`",
        "mask, hash, tokenize, drop",
    ),
    ("[▸{ field: email }]", "both", "mode"),
    ("[{ ▸feild: email, mode: mask }]", "unknown key", "`field`"),
    (
        "[{ field: ▸\"*\", mode: mask }]",
        "names no field",
        "wildcards",
    ),
    ("[{ field: ▸a..b, mode: mask }]", "names no field", "path"),
    (
        "[{ field: a, mode: mask }, ▸{ field: a, mode: drop }]",
        "`a` stands here twice",
        "one mode",
    ),
];

#[test]
fn redactions_have_one_form() {
    for (redact, message, remedy) in REDACTIONS {
        let source = format!("- {{ rule: r, redact: {redact} }}");
        check(&source, message, remedy);
    }
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
    let source: Vec<String> = (0..900)
        .map(|n| format!("- {{ rule: r{n}, decision: x }}\n"))
        .collect();
    assert_eq!(refused(&source.concat()).len(), 100);
}

#[test]
fn columns_count_characters() {
    check(
        "- { rule: r, reason: \"é€𝄞\", decision: ▸maybe }",
        "never",
        "",
    );
}

const TESTS: &[Case] = &[
    (
        "▸{ name: t, given: { tool: flag.set }, expect: { decision: deny } }",
        "`t` fails: it expects deny, and the policy says allow (by r)",
        "correct",
    ),
    (
        "▸{ name: t, given: { tool: orders.get }, expect: { decision: allow } }",
        "says deny (by no rule)",
        "correct",
    ),
    (
        "▸{ name: t, given: { tool: flag.set }, expect: { decision: allow, rule: s } }",
        "expects the rule `s`",
        "correct",
    ),
    (
        "▸{ name: t, given: { tool: flag.set }, expect: { decision: allow, route: eu-west } }",
        "another route than none",
        "correct",
    ),
    (
        "▸{ name: t, given: { tool: flag.set }, unknown: [args.dry_run], expect: { decision: allow } }",
        "says deny",
        "correct",
    ),
    (
        "▸{ given: {}, expect: { decision: deny } }",
        "needs a `name`",
        "name",
    ),
    (
        "{ name: t, expect: ▸{} }",
        "expects no decision",
        "decision",
    ),
    (
        "{ name: t, expect: { decision: ▸denied } }",
        "never `denied`",
        "deny",
    ),
    (
        "{ name: t, expect: { decision: deny, route: ▸moon } }",
        "never `moon`",
        "eu-west",
    ),
    (
        "{ name: t, ▸gven: {}, expect: { decision: deny } }",
        "unknown key",
        "`given`",
    ),
    (
        "{ name: t, given: { ▸tol: x }, expect: { decision: deny } }",
        "unknown attribute",
        "`tool`",
    ),
    (
        "{ name: t, given: { tool.risk: ▸hi }, expect: { decision: deny } }",
        "never",
        "low",
    ),
    (
        "{ name: t, given: { tool: ▸[a] }, expect: { decision: deny } }",
        "not a list",
        "",
    ),
    (
        "{ name: t, unknown: ▸x, expect: { decision: deny } }",
        "a list",
        "unknown: [",
    ),
    (
        "▸{ name: t, given: { tool: flag.set, args.evn: x }, expect: { decision: deny } }",
        "`flag.set` has no argument `args.evn`",
        "env",
    ),
];

#[test]
fn a_failing_test_refuses_the_policy() {
    let rule = "{ rule: r, when: { tool: flag.set, args.dry_run: false }, decision: allow }";
    let with = |test: &str| format!("rules:\n  - {rule}\ntests:\n  - {test}\n");
    let holds =
        with("{ name: t, given: { tool: flag.set }, expect: { decision: allow, rule: r } }");
    let loaded = load(&holds, &Tools::new().shapes());
    assert!(loaded.is_ok(), "defaults are filled in");
    for (test, message, remedy) in TESTS {
        check(&with(test), message, remedy);
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

/// Two rules, and what is warned of at the second one's id.
const PAIRS: &[(&str, &str, &str)] = &[
    (
        "decision: deny",
        "when: { tool: flag.set }, decision: allow",
        "`a` always overrules it",
    ),
    (
        "decision: deny, when: { tool.risk: [low, high] }",
        "when: { tool: flag.set, tool.risk: low }, decision: require_approval",
        "`a` always overrules it",
    ),
    (
        "decision: require_approval, when: { plan.depth: [1, 2.0] }",
        "when: { plan.depth: { in: [2] } }, decision: allow",
        "`a` always overrules it",
    ),
    (
        "decision: deny, when: { tool.risk: low }",
        "when: { tool.risk: [low, high] }, decision: allow",
        "",
    ),
    (
        "decision: deny, when: { tool.risk: low }, unless: { ticket.valid: true }",
        "when: { tool.risk: low }, decision: allow",
        "",
    ),
    (
        "decision: deny, when: { any: [{ tool.risk: low }] }",
        "when: { tool.risk: low }, decision: allow",
        "",
    ),
    (
        "decision: deny, when: { tool.risk: { ne: high } }",
        "when: { tool.risk: low }, decision: allow",
        "",
    ),
    (
        "decision: deny, when: { tool.risk: low }",
        "when: { tool.risk: low }, decision: allow, redact: [{ field: a, mode: drop }]",
        "",
    ),
    (
        "decision: allow, when: { tool.risk: [low, high] }",
        "when: { tool.risk: low }, decision: deny",
        "",
    ),
    (
        "route: eu-west",
        "route: us-east",
        "is never taken: `a` always routes first",
    ),
    (
        "route: eu-west, when: { subject.region: EU }",
        "when: { tool: flag.set }, route: us-east",
        "may both apply",
    ),
    (
        "route: eu-west, when: { subject.region: EU }",
        "when: { subject.region: US }, route: us-east",
        "",
    ),
    (
        "route: eu-west, when: { subject.region: EU }",
        "when: { subject.region: EU }, route: eu-west",
        "",
    ),
    (
        "decision: deny, when: { tool.signed: false }",
        "when: { all: [{ tool.risk: low }, { tool.risk: high }] }, decision: deny",
        "can never apply",
    ),
    (
        "decision: deny, when: { tool.signed: false }",
        "decision: allow",
        "allows every call",
    ),
];

#[test]
fn rules_without_effect_and_competing_routes_are_warned_of() {
    for (first, second, message) in PAIRS {
        let source = format!("- {{ rule: a, {first} }}\n- {{ rule: b, {second} }}");
        let found = warned(&source);
        if message.is_empty() {
            assert_eq!(found, [], "{source}");
        } else {
            assert_eq!((found[0].line, found[0].column), (2, 11), "{source}");
            assert!(found[0].message.contains(message), "{source}\n{}", found[0]);
            assert_eq!(found.len(), 1, "{source}\n{found:#?}");
        }
    }
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
