//! Every case of the corpus against a client whose resolver answers as the case says and whose dialler
//! writes down whom it is asked to dial.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::upstream::{Recorded, Scripted, client};
use crate::allowance::Allowance;
use crate::corpus::{Case, Verdict, by_class, cases};
use crate::destination::Destination;
use crate::target::{Named, Target};
use crate::watch::Unwatched;

/// Whom a request for this URL dials.
pub(super) async fn dialled(url: &str, answers: Vec<IpAddr>) -> Vec<IpAddr> {
    let dial = Arc::new(Recorded::default());
    let client = client(&Arc::new(Scripted(answers)), &dial);
    if let Ok(target) = Target::parse(url) {
        let destination = Destination {
            target: &target,
            ports: &[],
            allowance: &Allowance::none(),
            watch: &Unwatched,
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        let opened = client.open(destination, deadline).await;
        assert!(opened.is_err(), "nobody is there");
    }
    let dialled = dial.dialled.lock().unwrap();
    dialled.iter().map(std::net::SocketAddr::ip).collect()
}

fn meant(case: &Case) -> BTreeSet<IpAddr> {
    let literal = Target::parse(&case.url).ok();
    let literal = literal.and_then(|target| match target.named() {
        Named::Address(address) => Some(address),
        Named::Name(_) => None,
    });
    case.answers.iter().copied().chain(literal).collect()
}

#[tokio::test]
async fn every_case_is_refused_or_reached_as_it_says() {
    let mut wrong = Vec::new();
    for case in cases().unwrap() {
        let dialled = dialled(&case.url, case.answers.clone()).await;
        let holds = match case.verdict {
            Verdict::Refuse => dialled.is_empty(),
            Verdict::Allow => {
                let meant = meant(&case);
                !dialled.is_empty() && dialled.iter().all(|address| meant.contains(address))
            }
        };
        if !holds {
            wrong.push((case, dialled));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_corpus_has_cases_of_every_class_and_no_case_twice() {
    let cases = cases().unwrap();
    assert!(cases.len() >= 300, "{}", cases.len());
    let counts = by_class(&cases);
    assert!(counts.values().all(|count| *count >= 2), "{counts:?}");
    let allowed = cases.iter().filter(|case| case.verdict == Verdict::Allow);
    assert!(allowed.count() >= 60);
    let mut seen = BTreeSet::new();
    for case in &cases {
        let own = (case.url.clone(), format!("{:?}", case.answers));
        assert!(seen.insert(own), "twice: {case:?}");
    }
}
