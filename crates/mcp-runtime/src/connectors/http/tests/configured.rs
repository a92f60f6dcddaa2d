//! Configurations and allow-lists.

use portcullis_egress::{Allowlist, InternalNetworks, Target};
use serde_json::{Value, json};

use super::upstream::{config, definition, tool};

fn public() -> Value {
    config("https://api.example.com")
}

fn refused(change: impl Fn(&mut Value)) -> String {
    let mut definition = definition();
    definition.egress = vec!["api.example.com".to_owned()];
    let mut config = public();
    change(&mut config);
    tool(&definition, config).unwrap_err().to_string()
}

#[test]
fn a_configuration_that_holds_is_taken() {
    let mut definition = definition();
    definition.egress = vec!["api.example.com".to_owned()];
    let held = tool(&definition, public()).unwrap();
    assert_eq!(held.server(), "billing");
    assert_eq!(held.domain().as_deref(), Some("api.example.com"));
    assert!(!held.is_listed());
    held.check_reach(&InternalNetworks::default()).unwrap();
}

#[test]
fn a_configuration_that_does_not_hold_is_refused_by_field() {
    let cases: [(&str, Value, &str); 20] = [
        ("server", json!("native"), "`server`"),
        ("server", json!("Billing"), "`server`"),
        ("method", json!("GET"), "`method`"),
        ("path", json!("v1"), "`path` must begin"),
        ("path", json!("/a/../{orderId}"), "dot segments"),
        ("path", json!("/a%2f/{orderId}"), "may hold letters"),
        ("path", json!("/a?b={orderId}"), "may hold letters"),
        ("path", json!("/a-{orderId}"), "may hold letters"),
        ("path", json!("/{}"), "braces"),
        (
            "path",
            json!("/{absent}"),
            "no argument of the input schema",
        ),
        ("path", json!("/{note}"), "must be required"),
        ("query", json!({"q": "absent"}), "no argument"),
        ("body", json!({"a": "absent"}), "no argument"),
        ("body", json!({"a": "note"}), "`amount` without a place"),
        ("base_urls", json!({}), "at least one pool"),
        (
            "base_urls",
            json!({"eu-west": "https://user@api.example.com"}),
            "user name",
        ),
        (
            "base_urls",
            json!({"eu-west": "https://api.example.com?x=1"}),
            "query",
        ),
        ("headers", json!({"Authorization": "x"}), "credential"),
        ("success", json!([302]), "200 to 299"),
        (
            "retries",
            json!({"count": 9, "backoff_ms": 10}),
            "`retries`",
        ),
    ];
    for (field, value, words) in cases {
        let text = refused(|config| config[field] = value.clone());
        assert!(text.contains(words), "{field} {value}: {text}");
    }
}

#[test]
fn whom_it_calls_is_what_the_definition_says() {
    let text = refused(|config| {
        config["base_urls"] = json!({"eu-west": "https://other.example.com"});
    });
    assert!(text.contains("other.example.com"), "{text}");
    let mut more = definition();
    more.egress = vec!["api.example.com".to_owned(), "other.example.com".to_owned()];
    assert!(tool(&more, public()).is_err());
}

#[test]
fn a_base_url_inside_is_refused_when_it_is_registered() {
    for host in [
        "127.0.0.1",
        "169.254.169.254",
        "localhost",
        "metadata.google.internal",
    ] {
        let mut definition = definition();
        definition.egress = vec![host.to_owned()];
        let held = tool(&definition, config(&format!("http://{host}"))).unwrap();
        assert!(
            held.check_reach(&InternalNetworks::default()).is_err(),
            "{host}"
        );
    }
}

#[test]
fn a_read_changes_nothing_by_its_method() {
    let mut read = definition();
    read.mutating = false;
    read.egress = vec!["api.example.com".to_owned()];
    for method in ["PUT", "PATCH", "DELETE"] {
        let mut config = public();
        config["method"] = json!(method);
        assert!(tool(&read, config).is_err(), "{method}");
    }
}

#[test]
fn different_hosts_for_different_pools_are_no_one_domain() {
    let mut two = definition();
    two.egress = vec!["eu.example.com".to_owned(), "us.example.com".to_owned()];
    let mut config = public();
    config["base_urls"] = json!({
        "eu-west": "https://eu.example.com", "us-east": "https://us.example.com"
    });
    assert_eq!(tool(&two, config).unwrap().domain(), None);
}

fn lists(entries: &[&str], url: &str) -> bool {
    let list = Allowlist::read(entries).unwrap();
    list.lists(&Target::parse(url).unwrap())
}

#[test]
fn an_entry_lists_its_host_at_its_ports_alone() {
    assert!(lists(&["api.example.com"], "https://api.example.com"));
    assert!(lists(&["api.example.com"], "http://API.example.com/v1"));
    assert!(lists(
        &["api.example.com:8443"],
        "https://api.example.com:8443"
    ));
    assert!(!lists(&["api.example.com"], "https://api.example.com:8443"));
    assert!(!lists(&["api.example.com:8443"], "https://api.example.com"));
    assert!(!lists(&["example.com"], "https://api.example.com"));
    assert!(!lists(
        &["api.example.com"],
        "https://api.example.com.example.net"
    ));
    assert!(!lists(&[], "https://api.example.com"));
}

#[test]
fn what_is_no_host_is_no_entry() {
    for entry in [
        "",
        "*",
        "*.com",
        "https://example.com",
        "example.com/",
        "example.com/a",
        "Example.com",
        "user@example.com",
        "example.com:",
        "example.com:0080",
        "0x7f.1",
        "example.com.",
        "a b",
    ] {
        assert!(Allowlist::read(&[entry]).is_err(), "{entry}");
    }
    assert!(Allowlist::read(&vec!["example.com"; 1_001]).is_err());
}
