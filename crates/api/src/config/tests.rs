//! What the configuration refuses, and that its documents agree with it.

use std::collections::BTreeSet;

use portcullis_domain::Pool;
use secrecy::ExposeSecret;

use super::*;

const LOCAL: &str = r#"
profile = "local"
[server]
public_url = "http://127.0.0.1:8420"
listen = "127.0.0.1:8420"
[control]
app_url = "postgres://portcullis_app@localhost/portcullis_control?host=/run/portcullis"
sweeper_url = "postgres://portcullis_sweeper@localhost/portcullis_control?host=/run/portcullis"
[regions.eu-west]
app_url = "postgres://portcullis_app@localhost/portcullis_eu_west?host=/run/portcullis"
recorder_url = "postgres://portcullis_recorder@localhost/portcullis_eu_west?host=/run/portcullis"
sweeper_url = "postgres://portcullis_sweeper@localhost/portcullis_eu_west?host=/run/portcullis"
[keys]
file = "/var/lib/portcullis/keys.json"
"#;

fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(LOCAL, &Environment::from_pairs(pairs)?)
}

fn violations(pairs: &[(&str, &str)]) -> Vec<Violation> {
    match with(pairs) {
        Err(ConfigError::Violations(violations)) => violations,
        other => panic!("expected violations, got {other:?}"),
    }
}

#[test]
fn a_small_file_is_enough() {
    let config = with(&[]).unwrap();
    assert_eq!(config.server.origin(), "http://127.0.0.1:8420");
    assert_eq!(config.tokens.lifetime_seconds, 600);
    assert!(config.regions.contains_key(&Pool::EuWest));
    assert!(config.server.is_loopback());
}

#[test]
fn a_variable_lies_over_the_file() {
    let config = with(&[
        ("PORTCULLIS_SERVER_PUBLIC_URL", "http://localhost:9000"),
        ("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "300"),
        ("PORTCULLIS_SERVER_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
        (
            "PORTCULLIS_REGIONS_EU_WEST_APP_URL",
            "postgres://elsewhere/x",
        ),
        ("HOME", "/root"),
    ])
    .unwrap();
    assert_eq!(config.server.origin(), "http://localhost:9000");
    assert_eq!(config.tokens.lifetime_seconds, 300);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    let region = &config.regions[&Pool::EuWest];
    assert_eq!(region.app_url.expose_secret(), "postgres://elsewhere/x");
}

#[test]
fn an_unknown_variable_stops_the_start() {
    for name in [
        "PORTCULLIS_TOKENS_LIFETIME",
        "PORTCULLIS_SERVER_READ_ONLY",
        "PORTCULLIS_",
    ] {
        let error = with(&[(name, "1")]).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains(".env.example"),
            "{error}"
        );
    }
}

#[test]
fn read_only_is_off_unless_it_is_asked_for_and_never_guessed() {
    assert!(!with(&[]).unwrap().server.read_only);
    for (text, on) in [("1", true), ("true", true), ("0", false), ("false", false)] {
        let config = with(&[("PORTCULLIS_READ_ONLY", text)]).unwrap();
        assert_eq!(config.server.read_only, on, "{text}");
    }
    for text in ["", "yes", "TRUE", "2"] {
        let error = with(&[("PORTCULLIS_READ_ONLY", text)]).unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("PORTCULLIS_READ_ONLY must be 1 or 0"),
            "{words}"
        );
    }
}

#[test]
fn the_admin_listener_is_never_the_public_one_nor_public_in_production() {
    let listen = |pairs: &[(&str, &str)]| {
        let found = match with(pairs) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Violations(violations)) => violations,
            Err(error) => panic!("{error}"),
        };
        found.iter().any(|one| one.field == "admin.listen")
    };
    assert!(listen(&[("PORTCULLIS_ADMIN_LISTEN", "127.0.0.1:8420")]));
    assert!(!listen(&[("PORTCULLIS_ADMIN_LISTEN", "0.0.0.0:9464")]));
    for address in [
        "0.0.0.0:9464",
        "[::]:9464",
        "198.51.100.7:9464",
        "[2001:db8::1]:9464",
    ] {
        let pairs = [
            ("PORTCULLIS_PROFILE", "production"),
            ("PORTCULLIS_ADMIN_LISTEN", address),
        ];
        assert!(listen(&pairs), "{address}");
    }
    for address in ["127.0.0.1:9464", "10.1.2.3:9464", "[fd00::7]:9464"] {
        let pairs = [
            ("PORTCULLIS_PROFILE", "production"),
            ("PORTCULLIS_ADMIN_LISTEN", address),
        ];
        assert!(!listen(&pairs), "{address}");
    }
}

#[test]
fn a_collector_is_named_by_a_bare_url_and_in_production_reached_by_https() {
    let refused = |pairs: &[(&str, &str)]| {
        let found = match with(pairs) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Violations(violations)) => violations,
            Err(error) => panic!("{error}"),
        };
        let fields = found.into_iter().map(|one| one.field);
        fields
            .filter(|field| field.starts_with("telemetry.otlp"))
            .count()
    };
    let endpoint = "PORTCULLIS_TELEMETRY_OTLP_ENDPOINT";
    let http = ("PORTCULLIS_TELEMETRY_OTLP_PROTOCOL", "http");
    for url in ["http://127.0.0.1:4317", "https://collector.internal:4317"] {
        assert_eq!(refused(&[(endpoint, url)]), 0, "{url}");
        let production = [(endpoint, url), ("PORTCULLIS_PROFILE", "production")];
        assert_eq!(refused(&production), 0, "{url}");
    }
    assert_eq!(refused(&[(endpoint, "https://c.example/otlp"), http]), 0);
    for url in [
        "https://c.example/otlp",
        "ftp://c.example",
        "https://user:hunter2@c.example",
        "https://c.example/?key=hunter2",
    ] {
        assert_eq!(refused(&[(endpoint, url)]), 1, "{url}");
    }
    let production = [
        (endpoint, "http://10.1.2.3:4317"),
        ("PORTCULLIS_PROFILE", "production"),
    ];
    assert_eq!(refused(&production), 1);
    for ratio in ["1.1", "-0.1", "NaN", "inf"] {
        let pairs = [
            (endpoint, "http://127.0.0.1:4317"),
            ("PORTCULLIS_TELEMETRY_OTLP_SAMPLING_RATIO", ratio),
        ];
        assert_eq!(refused(&pairs), 1, "{ratio}");
    }
}

#[test]
fn a_variable_of_the_wrong_kind_is_named_without_its_value() {
    let error = with(&[("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "sixty")]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("PORTCULLIS_TOKENS_LIFETIME_SECONDS must be a whole number"),
        "{text}"
    );
    assert!(!text.contains("sixty"), "{text}");
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for (section, key) in [
        ("[tokens]", "lifetime"),
        ("[telemetry]", "level"),
        (
            "[telemetry.otlp]\nendpoint = \"http://127.0.0.1:4317\"",
            "insecure",
        ),
        ("[admission]", "rpm"),
        ("[colours]", "red"),
    ] {
        let text = format!("{LOCAL}\n{section}\n{key} = 1\n");
        let error = parse(&text, &Environment::default())
            .unwrap_err()
            .to_string();
        let named = key.trim_matches(['[', ']']);
        assert!(
            error.contains(named) || error.contains("colours"),
            "{error}"
        );
    }
}

#[test]
fn a_missing_field_is_named() {
    let text = LOCAL.replace("public_url", "# public_url");
    let error = parse(&text, &Environment::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("public_url"), "{error}");
}

#[test]
fn an_unknown_pool_is_refused() {
    let text = LOCAL.replace("eu-west", "moon");
    assert!(parse(&text, &Environment::default()).is_err());
}

#[test]
fn a_syntax_error_does_not_repeat_the_line_that_may_hold_a_password() {
    let text = LOCAL.replace(
        "app_url = \"postgres://portcullis_app@localhost/portcullis_control",
        "app_url = postgres://portcullis_app:hunter2@localhost/x \"",
    );
    let error = parse(&text, &Environment::default())
        .unwrap_err()
        .to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn every_value_outside_its_rule_is_told_at_once() {
    let found = violations(&[
        (
            "PORTCULLIS_SERVER_PUBLIC_URL",
            "http://127.0.0.1:8420/gate?x=1",
        ),
        ("PORTCULLIS_SERVER_MAX_BODY_BYTES", "1"),
        (
            "PORTCULLIS_SERVER_ALLOWED_ORIGINS",
            "https://App.example.com/",
        ),
        ("PORTCULLIS_SERVER_ALLOWED_HOSTS", "*.example.com"),
        ("PORTCULLIS_SERVER_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "601"),
        ("PORTCULLIS_TOKENS_NETWORK_PREFIX_V4", "33"),
        ("PORTCULLIS_ADMISSION_TENANT_RPM", "0"),
        ("PORTCULLIS_TELEMETRY_LOG_LEVEL", "loud=very=much"),
        (
            "PORTCULLIS_CONTROL_APP_URL",
            "mysql://root:hunter2@localhost/x",
        ),
    ]);
    let fields: BTreeSet<_> = found.iter().map(|found| found.field.as_str()).collect();
    let expected = BTreeSet::from([
        "server.public_url",
        "server.max_body_bytes",
        "server.allowed_origins",
        "server.allowed_hosts",
        "server.trusted_proxies",
        "tokens.lifetime_seconds",
        "tokens.network_prefix_v4",
        "admission.tenant_*",
        "telemetry.log_level",
        "control.app_url",
    ]);
    assert_eq!(fields, expected);
    let text = ConfigError::Violations(found).to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn production_says_why_this_release_cannot_start_in_it() {
    let found = violations(&[
        ("PORTCULLIS_PROFILE", "production"),
        ("PORTCULLIS_SERVER_PUBLIC_URL", "https://gate.example.com"),
    ]);
    let text = ConfigError::Violations(found.clone()).to_string();
    for said in [
        "keys.file: production refuses a signing key in a local file",
        "server.tls: production refuses plain HTTP",
        "this release cannot start with profile = \"production\"",
    ] {
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(found.len(), 2, "{text}");
}

#[test]
fn https_is_what_production_lacks_no_more_once_it_is_the_only_door() {
    let tls = [
        ("PORTCULLIS_PROFILE", "production"),
        ("PORTCULLIS_SERVER_PUBLIC_URL", "https://gate.example.com"),
        (
            "PORTCULLIS_SERVER_TLS_CERTIFICATE_FILE",
            "/etc/tls/server.pem",
        ),
        (
            "PORTCULLIS_SERVER_TLS_PRIVATE_KEY_FILE",
            "/etc/tls/server.key",
        ),
    ];
    let fields = |pairs: &[(&str, &str)]| {
        let found = violations(pairs);
        let fields = found.into_iter().map(|found| found.field);
        fields.collect::<Vec<_>>()
    };
    assert_eq!(fields(&tls), ["keys.file"]);
    let beside = [&tls[..], &[("PORTCULLIS_SERVER_TLS_LISTEN", "0.0.0.0:443")]].concat();
    assert_eq!(fields(&beside), ["keys.file", "server.tls.listen"]);
}

#[test]
fn production_refuses_secrets_in_the_environment_and_unverified_databases() {
    let found = violations(&[
        ("PORTCULLIS_PROFILE", "production"),
        (
            "PORTCULLIS_CONTROL_APP_URL",
            "postgres://app:hunter2@db.example.com/control",
        ),
    ]);
    let fields: BTreeSet<_> = found.iter().map(|found| found.field.as_str()).collect();
    assert!(fields.contains("PORTCULLIS_CONTROL_APP_URL"), "{fields:?}");
    assert!(fields.contains("control.app_url"), "{fields:?}");
    assert!(fields.contains("server.public_url"), "{fields:?}");
    assert!(
        !ConfigError::Violations(found)
            .to_string()
            .contains("hunter2")
    );
}

#[test]
fn a_password_file_that_is_not_there_is_named() {
    let config = with(&[("PORTCULLIS_CONTROL_APP_PASSWORD_FILE", "/nonexistent/app")]).unwrap();
    let error = config.control.app().unwrap_err().to_string();
    assert!(error.contains("control.app_password_file"), "{error}");
    assert!(error.contains("/nonexistent/app"), "{error}");
}

#[test]
fn a_password_file_goes_into_the_url_whatever_it_holds() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"p@ss/w:rd\n").unwrap();
    let path = file.path().to_str().unwrap();
    let config = with(&[("PORTCULLIS_CONTROL_APP_PASSWORD_FILE", path)]).unwrap();
    let url = config.control.app().unwrap();
    assert_eq!(
        url.expose_secret(),
        "postgres://portcullis_app:p%40ss%2Fw%3Ard@localhost/portcullis_control?host=/run/portcullis"
    );
}

#[test]
fn debug_prints_no_secret() {
    let config = with(&[("PORTCULLIS_CONTROL_APP_URL", "postgres://app:hunter2@h/x")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_example_lists_every_variable_and_no_other() {
    let example = include_str!("../../../../.env.example");
    let listed: BTreeSet<_> = example
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("PORTCULLIS_"))
        .collect();
    let known: BTreeSet<_> = overrides()
        .into_iter()
        .map(|entry| entry.name)
        .chain(CLIENT_VARIABLES.map(str::to_owned))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn every_variable_reaches_a_field() {
    // A region that the file lacks would lack its URLs, whatever one variable adds.
    let region = LOCAL.split_once("[regions").unwrap().1;
    let region = region
        .split_once("[keys]")
        .unwrap()
        .0
        .replace("eu-west", "us-east");
    let tls = "[server.tls]\ncertificate_file = \"/x\"\nprivate_key_file = \"/x\"\n";
    let otlp = "[telemetry.otlp]\nendpoint = \"http://127.0.0.1:1\"\n";
    let text_of_file = format!("{LOCAL}\n{tls}\n{otlp}\n[regions{region}");
    for entry in overrides() {
        let text = match entry.name.as_str() {
            "PORTCULLIS_PROFILE" => "local",
            "PORTCULLIS_SERVER_PUBLIC_URL" => "http://localhost",
            "PORTCULLIS_SERVER_LISTEN"
            | "PORTCULLIS_SERVER_TLS_LISTEN"
            | "PORTCULLIS_ADMIN_LISTEN" => "127.0.0.1:1",
            "PORTCULLIS_SERVER_TRUSTED_PROXIES" => "127.0.0.0/8",
            "PORTCULLIS_SERVER_ALLOWED_ORIGINS" => "http://localhost:3000",
            "PORTCULLIS_TELEMETRY_LOG_FORMAT" => "text",
            "PORTCULLIS_TELEMETRY_OTLP_ENDPOINT" => "http://127.0.0.1:4317",
            "PORTCULLIS_TELEMETRY_OTLP_PROTOCOL" => "http",
            "PORTCULLIS_READ_ONLY" => "1",
            name if name.ends_with("_URL") => "postgres://localhost/x",
            name if name.ends_with("_FILE") => "/x",
            _ => "64",
        };
        let pairs = [(entry.name.clone(), text.to_owned())];
        let environment = Environment::from_pairs(pairs).unwrap();
        match parse(&text_of_file, &environment) {
            Ok(_) | Err(ConfigError::Violations(_)) => {}
            Err(error) => panic!("{}: {error}", entry.name),
        }
    }
}

#[test]
fn the_shipped_limits_are_those_of_the_file() {
    let text = include_str!("../../../../policies/limits.json");
    let file: portcullis_domain::limits::PrincipalLimits = serde_json::from_str(text).unwrap();
    let admission = Admission::default();
    assert_eq!(admission.principal(), file.limits);
    assert_eq!(admission.stop_rules(), file.stop_rules);
    admission.principal().check().unwrap();
}
