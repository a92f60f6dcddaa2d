//! Allow-lists and blocks.

use crate::allowlist::Allowlist;
use crate::target::Target;
use crate::watch::Block;

fn lists(entries: &[&str], url: &str) -> bool {
    let list = Allowlist::read(entries).unwrap();
    list.lists(&Target::parse(url).unwrap())
}

#[test]
fn an_exact_host_lists_itself_alone() {
    for (url, listed) in [
        ("https://api.example.com/", true),
        ("http://API.example.com/", true),
        ("https://api.example.com:8443/", false),
        ("https://x.api.example.com/", false),
        ("https://example.com/", false),
        ("https://api.example.com.evil.net/", false),
        ("https://evilapi.example.com/", false),
    ] {
        assert_eq!(lists(&["api.example.com"], url), listed, "{url}");
    }
}

#[test]
fn a_suffix_lists_names_below_it_at_a_labels_boundary() {
    for (url, listed) in [
        ("https://a.example.com/", true),
        ("https://a.b.example.com/", true),
        ("https://example.com/", false),
        ("https://evilexample.com/", false),
        ("https://example.com.evil.net/", false),
        ("https://a.example.com:8443/", false),
    ] {
        assert_eq!(lists(&["*.example.com"], url), listed, "{url}");
    }
}

#[test]
fn a_port_is_listed_for_its_host_alone() {
    let list = ["api.example.com:8443", "*.example.net:9443"];
    for (url, listed) in [
        ("https://api.example.com:8443/", true),
        ("https://api.example.com/", false),
        ("https://api.example.com:9443/", false),
        ("https://a.example.net:9443/", true),
        ("https://a.example.net/", false),
        ("https://example.net:9443/", false),
    ] {
        assert_eq!(lists(&list, url), listed, "{url}");
    }
    let list = Allowlist::read(&list).unwrap();
    assert_eq!(list.ports("api.example.com"), [8443]);
    assert_eq!(list.ports("a.example.net"), [9443]);
    assert!(list.ports("example.net").is_empty());
}

#[test]
fn an_entry_that_could_mean_more_than_it_says_is_refused() {
    for entry in [
        "",
        "*",
        "*.",
        "*.com",
        "*.1.1.1.1",
        "a.*.example.com",
        "*example.com",
        "**.example.com",
        ".example.com",
        "API.example.com",
        "https://example.com",
        "example.com/",
        "example.com/a",
        "example.com:",
        "example.com:080",
        "example.com.",
        "user@example.com",
        "example.com?x",
        "127.1",
        "b\u{fc}cher.example.com",
    ] {
        assert!(Allowlist::read(&[entry]).is_err(), "{entry}");
    }
    let many: Vec<_> = (0..=1_000).map(|n| format!("a{n}.example.com")).collect();
    assert!(Allowlist::read(&many).is_err());
}

#[test]
fn two_lists_list_what_either_does() {
    let one = Allowlist::read(&["a.example.com"]).unwrap();
    let both = one.and(&Allowlist::read(&["b.example.com"]).unwrap());
    for host in ["a", "b"] {
        let target = Target::parse(&format!("https://{host}.example.com/")).unwrap();
        assert!(both.lists(&target));
    }
    assert!(!both.lists(&Target::parse("https://c.example.com/").unwrap()));
}

#[test]
fn a_block_stops_its_host_and_every_name_below() {
    let block = Block::parse("example.com").unwrap();
    assert!(block.stops_host("example.com"));
    assert!(block.stops_host("a.b.example.com"));
    assert!(!block.stops_host("evilexample.com"));
    assert!(!block.stops_host("example.com.evil.net"));
    assert!(!block.stops_host("com"));
    let address = Block::parse("93.184.216.34").unwrap();
    assert!(address.stops_host("93.184.216.34"));
    assert!(address.stops_address("93.184.216.34".parse().unwrap()));
    assert!(!address.stops_address("93.184.216.35".parse().unwrap()));
    let six = Block::parse("[2606:4700::1111]").unwrap();
    assert!(six.stops_address("2606:4700::1111".parse().unwrap()));
}

#[test]
fn a_block_that_would_stop_nothing_is_refused() {
    for text in [
        "",
        "Example.com",
        "*.example.com",
        "example.com:443",
        "example.com.",
        "https://example.com",
        "example.com/",
        "0x7f.1",
        "a b",
        "b\u{fc}cher.example.com",
    ] {
        assert!(Block::parse(text).is_err(), "{text}");
    }
}
