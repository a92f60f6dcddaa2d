//! The explanation of a URL: which step refuses, what it says, and what it keeps to itself.

use std::time::Duration;

use tokio::time::Instant;

use super::upstream::{Scripted, opened};
use crate::allowance::Allowance;
use crate::allowlist::Allowlist;
use crate::inspect::{Question, STEPS, Step, inspect, may_be_reached};
use crate::watch::Unwatched;

async fn steps(url: &str, answers: &[&str], allowance: &Allowance) -> Vec<Step> {
    let list = [
        "api.example.com",
        "api.example.com:8443",
        "1.1.1.1",
        "10.0.0.1",
        "orders",
        "127.0.0.1",
    ];
    let question = Question {
        url,
        allowlist: &Allowlist::read(&list).unwrap(),
        allowance,
        watch: &Unwatched,
    };
    let answers = answers.iter().map(|text| text.parse().unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    inspect(question, &Scripted(answers), deadline).await
}

/// The step that refuses.
fn refusing(steps: &[Step]) -> Option<&Step> {
    steps.iter().find(|step| step.passed == Some(false))
}

#[tokio::test]
async fn what_may_be_reached_passes_every_step() {
    for url in [
        "https://api.example.com/",
        "https://api.example.com:8443/a?b=c",
        "http://1.1.1.1/",
    ] {
        let steps = steps(url, &["93.184.216.34"], &Allowance::none()).await;
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names, STEPS);
        assert!(may_be_reached(&steps), "{steps:#?}");
        assert!(steps[6].found.contains("(public)"));
    }
}

#[tokio::test]
async fn the_step_that_refuses_is_named_and_none_is_taken_after_it() {
    for (url, answers, step) in [
        ("http://0x7f.1/", &["1.1.1.1"][..], "url"),
        ("ftp://api.example.com/", &["1.1.1.1"], "url"),
        ("http://localhost/", &["1.1.1.1"], "host"),
        ("http://metadata.google.internal/", &["1.1.1.1"], "host"),
        ("http://10.0.0.1/", &[], "host"),
        ("http://169.254.169.254/", &[], "host"),
        ("https://api.example.com:9999/", &["1.1.1.1"], "port"),
        ("https://other.example.com/", &["1.1.1.1"], "allow-list"),
        ("https://api.example.com/", &["10.1.2.3"], "addresses"),
        (
            "https://api.example.com/",
            &["1.1.1.1", "10.1.2.3"],
            "addresses",
        ),
        ("https://api.example.com/", &[], "addresses"),
    ] {
        let steps = steps(url, answers, &Allowance::none()).await;
        let refuses = refusing(&steps).unwrap();
        assert_eq!(refuses.name, step, "{url}");
        assert!(!may_be_reached(&steps));
        let after = steps.iter().skip_while(|one| one.name != step).skip(1);
        assert!(after.clone().all(|one| one.passed.is_none()), "{steps:#?}");
    }
}

#[tokio::test]
async fn an_address_inside_is_told_by_its_class_alone() {
    let steps = steps(
        "https://api.example.com/",
        &["1.1.1.1", "10.1.2.3"],
        &Allowance::none(),
    )
    .await;
    let found = &refusing(&steps).unwrap().found;
    assert!(found.contains("private use"), "{found}");
    assert!(!found.contains("10.1.2.3"), "{found}");
}

#[tokio::test]
async fn what_was_opened_inside_passes() {
    let steps = steps("http://127.0.0.1:8080/", &[], &opened(8080)).await;
    // Opened, and still not on the list at this port.
    assert_eq!(refusing(&steps).unwrap().name, "allow-list");
    let remedy = refusing(&steps).unwrap().remedy.unwrap();
    assert!(remedy.contains("portcullis egress allow"), "{remedy}");
}
