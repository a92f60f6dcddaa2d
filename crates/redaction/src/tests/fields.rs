//! Field rules, declared fields, and what a report says.

use super::*;

fn order() -> Value {
    json!({
        "id": "1001", "email": "a@ex.com", "phone": "555-123", "name": "Jane", "total": 30.5, "items": 3,
        "paid": true, "gift": null, "tags": ["x", 1], "address": {"city": "Oslo", "zip": 150}
    })
}

#[test]
fn a_mask_keeps_the_json_type() {
    let fields = [
        "email", "phone", "name", "total", "items", "paid", "gift", "tags", "address",
    ];
    let rules: Vec<_> = fields.iter().map(|field| rule(field, Mode::Mask)).collect();
    let (value, report) = redact(order(), &rules, &Declared::nothing());
    assert_eq!(
        value,
        json!({
            "id": "1001", "email": "***@***", "phone": "***-***", "name": "***", "total": 0.0, "items": 0,
            "paid": false, "gift": null, "tags": ["***", 0], "address": {"city": "***", "zip": 0}
        })
    );
    assert_eq!(report.pii_count, 10);
    assert_eq!(report.by_kind[&Kind::Email], 1);
    assert_eq!(report.by_kind[&Kind::Phone], 1);
    assert_eq!(report.fields["address"], "mask");
}

#[test]
fn a_rule_matches_a_name_at_any_depth_and_a_path_where_it_ends() {
    let value = || json!({"rows": [{"customer": {"name": "A"}, "product": {"name": "B"}}], "customer.name": "C"});
    let (any, _) = redact(value(), &[rule("name", Mode::Mask)], &Declared::nothing());
    assert_eq!(
        any,
        json!({"rows": [{"customer": {"name": "***"}, "product": {"name": "***"}}], "customer.name": "C"})
    );
    for path in [
        "customer.name",
        "rows.customer.name",
        "rows[].customer.name",
        "Customer.Name",
    ] {
        let (value, _) = redact(value(), &[rule(path, Mode::Mask)], &Declared::nothing());
        assert_eq!(
            value["rows"][0],
            json!({"customer": {"name": "***"}, "product": {"name": "B"}}),
            "{path}"
        );
    }
    for path in [
        "vendor.name",
        "product.customer.name",
        "x.rows.customer.name",
        "nam",
        "ame",
    ] {
        let (same, report) = redact(value(), &[rule(path, Mode::Mask)], &Declared::nothing());
        assert_eq!(same, value(), "{path}");
        assert!(report.is_clean());
    }
}

#[test]
fn drop_takes_the_property_out() {
    let (value, report) = redact(
        order(),
        &[rule("email", Mode::Drop), rule("address.zip", Mode::Drop)],
        &Declared::nothing(),
    );
    assert!(value.get("email").is_none());
    assert_eq!(value["address"], json!({"city": "Oslo"}));
    assert_eq!(report.fields["address.zip"], "drop");
    assert_eq!(report.by_kind[&Kind::Email], 1);
}

#[test]
fn of_several_rules_the_strongest_wins() {
    let rules = [
        rule("email", Mode::Hash),
        rule("email", Mode::Drop),
        rule("email", Mode::Mask),
    ];
    assert!(
        redact(order(), &rules, &Declared::nothing())
            .0
            .get("email")
            .is_none()
    );
    let (value, _) = redact(
        order(),
        &[rule("name", Mode::Mask), rule("name", Mode::Tokenize)],
        &Declared::nothing(),
    );
    assert_eq!(value["name"], "***");
    let (value, _) = redact(
        json!({"a": {"b": "x"}}),
        &[rule("a", Mode::Mask), rule("b", Mode::Hash)],
        &Declared::nothing(),
    );
    assert_eq!(value["a"]["b"], "***");
}

#[test]
fn hashes_join_across_fields_and_tokens_do_not() {
    let value = || json!({"a": "Jane", "b": "Jane", "c": "John", "n": 5});
    let all = |mode| ["a", "b", "c", "n"].map(|field| rule(field, mode));
    let (hashed, _) = redact(value(), &all(Mode::Hash), &Declared::nothing());
    assert_eq!(hashed["a"], hashed["b"]);
    assert_ne!(hashed["a"], hashed["c"]);
    assert_eq!(hashed["n"], 0);
    let (tokens, _) = redact(value(), &all(Mode::Tokenize), &Declared::nothing());
    assert_ne!(tokens["a"], tokens["b"]);
    assert_eq!(
        tokens,
        redact(value(), &all(Mode::Tokenize), &Declared::nothing()).0
    );
    let mut other = value();
    redact_json(
        &mut other,
        &all(Mode::Tokenize),
        &Declared::nothing(),
        &HashKey::new([8; 32]),
    );
    assert_ne!(tokens["a"], other["a"]);
}

#[test]
fn a_pseudonym_is_not_pseudonymised_again_but_a_forged_one_is() {
    for mode in [Mode::Hash, Mode::Tokenize] {
        let (once, _) = redact(
            json!({"a": "Jane"}),
            &[rule("a", mode)],
            &Declared::nothing(),
        );
        let (twice, report) = redact(once.clone(), &[rule("a", mode)], &Declared::nothing());
        assert_eq!(once, twice);
        assert_eq!(report.pii_count, 0);
        let mut forged = once["a"].as_str().unwrap().to_owned();
        let last = if forged.ends_with('a') { 'b' } else { 'a' };
        forged.pop();
        forged.push(last);
        let (value, _) = redact(
            json!({"a": forged}),
            &[rule("a", mode)],
            &Declared::nothing(),
        );
        assert_ne!(value["a"], json!(forged));
    }
}

#[test]
fn a_token_does_not_depend_on_names_that_are_masked() {
    let rules = [rule("contacts", Mode::Tokenize)];
    let value = json!({"contacts": {"alice@example.com": "Jane", "note": "Jane"}});
    let (once, _) = redact(value, &rules, &Declared::nothing());
    assert_eq!(once["contacts"]["***@***"], once["contacts"]["note"]);
    assert_eq!(redact(once.clone(), &rules, &Declared::nothing()).0, once);
}

fn orders_schema() -> Map<String, Value> {
    schema(json!({
        "type": "object",
        "properties": {
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
            "contacts": {"type": "array", "items": {"type": "string"}, "x-data-class": "email"},
            "box": {"type": "object", "x-data-class": "email", "properties": {"x": {"type": "string"}}}
        },
        "required": ["rows"],
        "$defs": {"row": {
            "type": "object",
            "properties": {
                "email": {"type": "string", "x-data-class": "email"},
                "phone": {"anyOf": [{"type": "string", "x-data-class": "phone"}, {"type": "null"}]},
                "name": {"type": "string", "x-data-class": "name"},
                "note": {"type": "string"},
                "parent": {"$ref": "#/$defs/row"}
            },
            "required": ["email", "note"]
        }}
    }))
}

#[test]
fn declared_fields_follow_the_policy_and_nothing_else_does() {
    let declared = Declared::from_schema(&orders_schema());
    let row = json!({"email": "a@ex.com", "phone": "+15551234567", "name": "b@ex.com", "note": "c@ex.com", "parent": {"email": "d@ex.com"}});
    let value = json!({"rows": [row], "contacts": ["e@ex.com"], "box": {"x": "f@ex.com"}, "email": "g@ex.com"});
    let (value, _) = redact(value, &[], &declared);
    assert_eq!(
        value,
        json!({
            "rows": [{"email": "a@ex.com", "phone": "+15551234567", "name": "***@***", "note": "***@***", "parent": {"email": "d@ex.com"}}],
            "contacts": ["e@ex.com"], "box": {"x": "***@***"}, "email": "***@***"
        })
    );
}

#[test]
fn a_declared_field_is_still_guarded_against_every_other_kind() {
    let declared = Declared::from_schema(&orders_schema());
    let row =
        json!({"email": "card 4111111111111111 of a@ex.com", "phone": "x@ex.com", "note": ""});
    let (value, _) = redact(json!({"rows": [row]}), &[], &declared);
    assert_eq!(value["rows"][0]["email"], "card *** of a@ex.com");
    assert_eq!(value["rows"][0]["phone"], "***@***");
}

#[test]
fn a_rule_masks_a_declared_field_by_its_class() {
    let declared = Declared::from_schema(&schema(
        json!({"properties": {"contact": {"type": "string", "x-data-class": "phone"}}}),
    ));
    let (value, _) = redact(
        json!({"contact": "anything"}),
        &[rule("contact", Mode::Mask)],
        &declared,
    );
    assert_eq!(value, json!({"contact": "***-***"}));
}

#[test]
fn the_declared_paths_can_be_listed() {
    let fields = Declared::from_schema(&orders_schema()).fields();
    assert_eq!(fields["rows[].email"], ["email"]);
    assert_eq!(fields["rows[].parent.email"], ["email"]);
    assert_eq!(fields["contacts"], ["email"]);
}

#[test]
fn a_schema_that_expands_without_end_is_bounded() {
    let tree = schema(json!({"$ref": "#/$defs/t", "$defs": {"t": {"properties": {
        "l": {"$ref": "#/$defs/t"}, "r": {"$ref": "#/$defs/t"}, "e": {"x-data-class": "email"}}, "required": ["e"]}}}));
    let declared = Declared::from_schema(&tree);
    let (value, _) = redact(json!({"e": "a@ex.com", "q": "b@ex.com"}), &[], &declared);
    assert_eq!(value["q"], "***@***");
    assert_eq!(drops_required(&tree, &[rule("e", Mode::Drop)]), ["e"]);
    assert_eq!(drops_required(&tree, &[rule("l.e", Mode::Drop)]), ["l.e"]);
}

#[test]
fn dropping_a_required_field_is_reported_for_publishing() {
    let drop = [rule("email", Mode::Drop)];
    assert_eq!(drops_required(&orders_schema(), &drop), ["rows[].email"]);
    let parent = [rule("parent.email", Mode::Drop)];
    assert_eq!(
        drops_required(&orders_schema(), &parent),
        ["rows[].parent.email"]
    );
    assert_eq!(
        drops_required(&orders_schema(), &[rule("rows", Mode::Drop)]),
        ["rows"]
    );
    for kept in [
        rule("email", Mode::Mask),
        rule("phone", Mode::Drop),
        rule("x.email", Mode::Drop),
    ] {
        assert_eq!(
            drops_required(&orders_schema(), &[kept]),
            Vec::<String>::new()
        );
    }
}

#[test]
fn masking_a_string_of_a_fixed_form_is_reported_for_publishing() {
    let schema = schema(json!({"properties": {
        "status": {"enum": ["open", "paid"]},
        "count": {"type": "integer", "enum": [1, 2]},
        "note": {"type": "string"},
        "rows": {"items": {"properties": {
            "on": {"type": ["string", "null"], "format": "date"},
            "ids": {"items": {"$ref": "#/$defs/id"}}}}}},
        "$defs": {"id": {"type": "string", "pattern": "^a"}}}));
    for (field, found) in [
        ("status", &["status"][..]),
        ("rows.on", &["rows[].on"]),
        ("ids", &["rows[].ids[]"]),
        ("rows", &["rows[].ids[]", "rows[].on"]),
        ("note", &[]),
        ("count", &[]),
        ("elsewhere.on", &[]),
    ] {
        for mode in [Mode::Mask, Mode::Hash, Mode::Tokenize] {
            assert_eq!(
                breaks_forms(&schema, &[rule(field, mode)]),
                found,
                "{field}"
            );
        }
        let dropped = breaks_forms(&schema, &[rule(field, Mode::Drop)]);
        assert_eq!(dropped, Vec::<String>::new(), "{field}");
    }
}

#[test]
fn a_report_tells_counts_and_paths_but_no_value() {
    let value =
        json!({"rows": [{"note": "a@ex.com b@ex.com"}, {"note": "4111111111111111"}], "k": "Jane"});
    let (_, report) = redact(value, &[rule("k", Mode::Mask)], &Declared::nothing());
    assert_eq!(report.pii_count, 4);
    assert_eq!(report.by_kind[&Kind::Email], 2);
    let written = serde_json::to_string(&report).unwrap();
    assert!(
        written.contains("rows[].note") && !written.contains("ex.com") && !written.contains("Jane")
    );
    assert_eq!(format!("{:?}", key()), "HashKey(..)");
}

#[test]
fn arguments_tell_the_kinds_they_hold() {
    let value = json!({"q": "a@ex.com", "+15551234567": [{"n": 4_111_111_111_111_111_u64}]});
    assert_eq!(
        contains_pii(&value).into_iter().collect::<Vec<_>>(),
        [Kind::Email, Kind::Phone, Kind::Card]
    );
    assert!(
        contains_pii(&json!({"from": "2025-08-25", "to": "2025-08-31", "mask": ["email"]}))
            .is_empty()
    );
}

#[test]
fn modes_are_read_by_their_names_only() {
    assert_eq!("tokenize".parse(), Ok(Mode::Tokenize));
    assert!("Mask".parse::<Mode>().is_err());
    assert!("".parse::<Mode>().is_err());
    let rule: FieldRule =
        serde_json::from_value(json!({"field": "email", "mode": "drop"})).unwrap();
    assert_eq!(rule.mode.as_str(), "drop");
    assert!(
        serde_json::from_value::<FieldRule>(json!({"field": "email", "mode": "drop", "x": 1}))
            .is_err()
    );
}
