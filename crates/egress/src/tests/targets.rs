//! Spellings, names, ports and headers.

use crate::allowance::{Allowance, InternalNetwork, InternalNetworks};
use crate::destination::Destination;
use crate::error::Refusal;
use crate::headers::Headers;
use crate::target::{Target, TargetError};
use crate::watch::Unwatched;

const PLAIN: [&str; 10] = [
    "https://api.example.com",
    "https://api.example.com/",
    "https://API.Example.COM/v1",
    "https://api.example.com:443/v1?a=b",
    "http://api.example.com/v1/orders%20open",
    "https://xn--bcher-kva.example.com/",
    "https://1.1.1.1/dns-query",
    "https://[2606:4700:4700::1111]/",
    "http://a_b.example.com:80/",
    "https://example.com.example.net/a/...",
];

const REFUSED: [&str; 61] = [
    // no absolute http URL
    "",
    "api.example.com",
    "//api.example.com",
    "https:api.example.com",
    "https:/api.example.com",
    "https:///api.example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:///run/docker.sock",
    "HTTPS://example.com/",
    "javascript:alert(1)",
    // IPv4 in other spellings
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://1/",
    "http://127.0.0.1./",
    "http://00000127.0.0.1/",
    "http://4294967297/",
    "http://256.1.1.1/",
    "http://1.1.1.1.1/",
    "http://0x1.1.1.1/",
    "http://1.1.1.01/",
    // IPv6 in other spellings, and zones
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1",
    // host names in other spellings
    "http://example.com./",
    "http://example..com/",
    "http://.example.com/",
    "http://exam%70le.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://example.com%00.example.net/",
    "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "http://b\u{fc}cher.example.com/",
    "http://ex\u{ad}ample.com/",
    // ports in other spellings
    "http://example.com:/",
    "http://example.com:080/",
    "http://example.com:65536/",
    "http://example.com:0x50/",
    // userinfo, backslash, white space, line ends
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://1.1.1.1@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\.example.com/",
    "http://exa\tmple.com/",
    "http://exa\nmple.com/",
    "http://example.com/\r\nHost: evil",
    " http://example.com/",
    // fragments, and paths that another parser reads otherwise
    "http://example.com/#@127.0.0.1",
    "http://example.com/a/../b",
    "http://example.com/a/%2e%2e/b",
    "http://example.com/a%2fb",
    "http://example.com/a%5Cb",
    "http://example.com/a%252e/b",
    "http://example.com/a%0d%0aHost:evil",
];

#[test]
fn plain_urls_are_read() {
    for text in PLAIN {
        assert!(Target::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn unusual_spellings_are_refused() {
    for text in REFUSED {
        let refused = Target::parse(text).map_or(true, |target| {
            let destination = Destination {
                target: &target,
                ports: &[],
                allowance: &Allowance::none(),
                watch: &Unwatched,
            };
            destination.check().is_err()
        });
        assert!(refused, "{text}");
    }
}

#[test]
fn what_is_dialled_is_what_was_read() {
    let target = Target::parse("https://API.example.com:8443/v1/a%20b?x=1").unwrap();
    assert_eq!(target.host(), "api.example.com");
    assert_eq!(target.authority(), "api.example.com:8443");
    assert_eq!(target.port(), 8443);
    assert_eq!(target.path_and_query(), "/v1/a%20b?x=1");
    let target = Target::parse("http://example.com:80").unwrap();
    assert_eq!(target.authority(), "example.com");
    assert_eq!(target.path_and_query(), "/");
}

#[test]
fn a_target_in_a_log_shows_neither_path_nor_query() {
    let target = Target::parse("https://api.example.com/orders/ord-1?mail=x").unwrap();
    assert_eq!(format!("{target:?}"), "Target(https://api.example.com)");
}

#[test]
fn userinfo_is_refused_as_such() {
    assert_eq!(
        Target::parse("https://a:b@example.com"),
        Err(TargetError::Userinfo)
    );
}

fn check(url: &str, ports: &[u16], allowance: &Allowance) -> Result<(), Refusal> {
    let target = Target::parse(url).unwrap();
    let destination = Destination {
        target: &target,
        ports,
        allowance,
        watch: &Unwatched,
    };
    destination.check()
}

#[test]
fn names_of_the_inside_are_refused_before_anybody_is_asked() {
    for host in [
        "localhost",
        "LOCALHOST",
        "db.localhost",
        "intranet",
        "kubernetes",
        "kubernetes.default.svc",
        "api.cluster.local",
        "db.internal",
        "printer.lan",
        "host.docker.internal",
        "router.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "x.onion",
        "x.invalid",
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data.ec2.internal",
        "a.metadata.google.internal",
        "-a.example.com",
        "a-.example.com",
        "a!b.example.com",
    ] {
        let refused = check(&format!("http://{host}/"), &[], &Allowance::none());
        assert_eq!(refused, Err(Refusal::Name), "{host}");
    }
}

#[test]
fn addresses_are_refused_as_hosts_too() {
    for host in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[fd00:ec2::254]",
    ] {
        let refused = check(&format!("http://{host}/"), &[], &Allowance::none());
        assert!(matches!(refused, Err(Refusal::Address(_))), "{host}");
    }
}

#[test]
fn ports_other_than_80_and_443_need_listing() {
    let none = Allowance::none();
    for port in [1, 22, 25, 81, 444, 6379, 8080, 65535] {
        let url = format!("http://example.com:{port}/");
        assert_eq!(check(&url, &[], &none), Err(Refusal::Port), "{port}");
        assert_eq!(check(&url, &[port], &none), Ok(()), "{port}");
    }
    assert_eq!(check("http://example.com:443/", &[], &none), Ok(()));
}

fn loopback() -> Allowance {
    let open = InternalNetwork {
        network: "127.0.0.0/8".parse().unwrap(),
        ports: vec![8080],
        tenants: vec!["acme".to_owned()],
        servers: vec!["orders".to_owned()],
    };
    InternalNetworks::new(vec![open]).allowance("acme", "orders")
}

#[test]
fn an_opening_opens_names_of_the_inside_at_its_port_alone() {
    let open = loopback();
    assert_eq!(check("http://orders:8080/", &[], &open), Ok(()));
    assert_eq!(check("http://127.0.0.1:8080/", &[], &open), Ok(()));
    assert_eq!(check("http://orders/", &[], &open), Err(Refusal::Name));
    assert!(check("http://127.0.0.1/", &[], &open).is_err());
    assert!(check("http://10.0.0.1:8080/", &[], &open).is_err());
    let metadata = check("http://metadata.google.internal:8080/", &[], &open);
    assert_eq!(metadata, Err(Refusal::Name));
    // A port that is open inside is not open outside.
    assert_eq!(
        check("http://1.1.1.1:8080/", &[], &open),
        Err(Refusal::Port)
    );
}

#[test]
fn a_configuration_sets_ordinary_headers() {
    let mut headers = Headers::new();
    headers.configured("Accept", "application/json").unwrap();
    headers.configured("X-Api-Version", "2026-01-01").unwrap();
    assert_eq!(format!("{headers:?}"), r#"{"accept", "x-api-version"}"#);
}

#[test]
fn a_configuration_sets_no_header_that_matters_to_others() {
    for name in [
        "Host",
        "host",
        "Connection",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "Content-Length",
        "Content_Length",
        "TE",
        "Trailer",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Expect",
        "Metadata",
        "Metadata-Flavor",
        "Metadata_Flavor",
        "X-aws-ec2-metadata-token",
        "X-aws-ec2-metadata-token-ttl-seconds",
        "X-Google-Metadata-Request",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Forwarded",
        "Idempotency-Key",
        "traceparent",
        "Accept-Encoding",
        "Authorization",
        "Cookie",
        "X-API-Key",
        "a b",
        "a:b",
        "a\r\nb",
        "",
    ] {
        assert!(Headers::new().configured(name, "1").is_err(), "{name}");
    }
}

#[test]
fn a_value_cannot_end_its_line() {
    for value in [
        "a\r\nHost: b",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\tb",
        " a",
        "a ",
        "\u{e4}",
    ] {
        assert!(
            Headers::new().configured("x-a", value).is_err(),
            "{value:?}"
        );
    }
}
