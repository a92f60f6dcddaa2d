//! Explains, step by step, whether a URL may be reached and what would allow it. Nothing is dialled.
//!
//! The steps are those of a request, taken by the same code. It must never show an address that is not
//! public, nor ask for the addresses of a name that a request would not resolve.

use std::net::IpAddr;

use tokio::time::{Instant, timeout_at};

use crate::address::{Class, class};
use crate::allowance::Allowance;
use crate::allowlist::Allowlist;
use crate::destination::{Destination, PORTS};
use crate::error::Refusal;
use crate::name::{self, NameClass};
use crate::resolve::Resolve;
use crate::target::{Named, Target};
use crate::watch::Watch;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The URL.
    pub url: &'a str,
    /// The hosts that may be reached.
    pub allowlist: &'a Allowlist,
    /// What the operator opened of the inside.
    pub allowance: &'a Allowance,
    /// What is blocked.
    pub watch: &'a dyn Watch,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Whether it was passed; none where an earlier one was not, so that it was not taken.
    pub passed: Option<bool>,
    /// What was found.
    pub found: String,
    /// What would let it pass, where somebody can do something.
    pub remedy: Option<&'static str>,
}

/// The names of all steps, in their order.
pub const STEPS: [&str; 7] = [
    "url",
    "scheme",
    "host",
    "port",
    "allow-list",
    "block-list",
    "addresses",
];

const TO_LIST: &str =
    "an owner of the tenant adds it: portcullis egress allow HOST[:PORT] --tenant TENANT";
const TO_LIFT: &str =
    "whoever dropped the switch lifts it: portcullis switch status, portcullis switch lift";
const TO_OPEN: &str = "the platform's operator can open networks inside to named tool servers: [[egress.internal_networks]]";

type Passed = Result<String, (String, Option<&'static str>)>;

/// Takes the steps until one is not passed.
pub async fn inspect(
    question: Question<'_>,
    resolver: &dyn Resolve,
    deadline: Instant,
) -> Vec<Step> {
    let mut steps = match Target::parse(question.url) {
        Ok(target) => taken(question, &target, resolver, deadline).await,
        Err(error) => {
            let plain = Some("write the URL in its plain form");
            vec![step("url", Err((error.to_string(), plain)))]
        }
    };
    let left = STEPS.iter().skip(steps.len()).map(|name| Step {
        name,
        passed: None,
        found: "not looked at, since an earlier step refuses".to_owned(),
        remedy: None,
    });
    steps.extend(left);
    steps
}

/// Whether all steps were passed.
pub fn may_be_reached(steps: &[Step]) -> bool {
    steps.iter().all(|step| step.passed == Some(true))
}

async fn taken(
    question: Question<'_>,
    target: &Target,
    resolver: &dyn Resolve,
    deadline: Instant,
) -> Vec<Step> {
    let destination = Destination {
        target,
        ports: &question.allowlist.ports(&target.host()),
        allowance: question.allowance,
        watch: question.watch,
    };
    let outcomes = [
        ("url", Ok(format!("dialled as {}", target.as_str()))),
        ("scheme", Ok(scheme(target))),
        ("host", host(destination)),
        ("port", port(destination)),
        ("allow-list", listed(target, question.allowlist)),
        ("block-list", blocked(destination, &[])),
    ];
    let mut steps = Vec::with_capacity(STEPS.len());
    for (name, outcome) in outcomes {
        let passed = outcome.is_ok();
        steps.push(step(name, outcome));
        if !passed {
            return steps;
        }
    }
    let found = addresses(destination, resolver, deadline).await;
    steps.push(step("addresses", found));
    steps
}

fn step(name: &'static str, outcome: Passed) -> Step {
    let (passed, found, remedy) = match outcome {
        Ok(found) => (true, found, None),
        Err((found, remedy)) => (false, found, remedy),
    };
    Step {
        name,
        passed: Some(passed),
        found,
        remedy,
    }
}

fn scheme(target: &Target) -> String {
    let words = if target.is_https() {
        "https; the certificate has to bear the host's name"
    } else {
        "http, which anybody on the way can read and change"
    };
    words.to_owned()
}

fn host(destination: Destination<'_>) -> Passed {
    let port = destination.target.port();
    match destination.target.named() {
        Named::Name(text) => match name::class(text) {
            NameClass::Public => Ok(format!("{text}, a public name")),
            NameClass::Internal if destination.allowance.opens_port(port) => Ok(format!(
                "{text}, a name of the inside; a network is opened at this port"
            )),
            NameClass::Internal => Err((format!("{text}, a name of the inside"), Some(TO_OPEN))),
            NameClass::Forbidden => Err((
                format!("{text}, a metadata service or no host name: nobody reaches it"),
                None,
            )),
        },
        Named::Address(address) => match destination.check_addresses(&[address]) {
            Ok(()) | Err(Refusal::Port) => Ok(format!("{address}, {}", said(class(address)))),
            Err(_refusal) => Err((
                format!("{address}, {}", said(class(address))),
                remedy(address),
            )),
        },
    }
}

fn remedy(address: IpAddr) -> Option<&'static str> {
    match class(address) {
        Class::Internal(_) => Some(TO_OPEN),
        Class::Public | Class::Forbidden(_) => None,
    }
}

fn said(class: Class) -> String {
    match class {
        Class::Public => "public".to_owned(),
        Class::Internal(block) => format!("inside ({block})"),
        Class::Forbidden(block) => format!("reached by nobody ({block})"),
    }
}

fn port(destination: Destination<'_>) -> Passed {
    let port = destination.target.port();
    if PORTS.contains(&port) {
        return Ok(format!("{port} needs no listing"));
    }
    match destination.check() {
        Err(Refusal::Port) => Err((
            format!("{port} is neither 80 nor 443 and not listed for this host"),
            Some(TO_LIST),
        )),
        Ok(()) | Err(_) => Ok(format!("{port} is listed, or opened inside")),
    }
}

fn listed(target: &Target, allowlist: &Allowlist) -> Passed {
    let host = target.authority();
    if allowlist.lists(target) {
        Ok(format!("{host} is listed"))
    } else {
        Err((format!("{host} is not listed"), Some(TO_LIST)))
    }
}

fn blocked(destination: Destination<'_>, addresses: &[IpAddr]) -> Passed {
    if destination.watch.admits(destination.target, addresses) {
        Ok("no egress-block is down for it".to_owned())
    } else {
        Err(("an egress-block is down for it".to_owned(), Some(TO_LIFT)))
    }
}

async fn addresses(
    destination: Destination<'_>,
    resolver: &dyn Resolve,
    deadline: Instant,
) -> Passed {
    let found = match destination.target.named() {
        Named::Address(address) => vec![address],
        Named::Name(text) => match timeout_at(deadline, resolver.resolve(text)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err((error.to_string(), None)),
            Err(_elapsed) => {
                return Err(("the name servers did not answer in time".to_owned(), None));
            }
        },
    };
    let shown: Vec<_> = found.iter().map(|address| shown(*address)).collect();
    let shown = shown.join(", ");
    if let Err(refusal) = destination.check_addresses(&found) {
        let inside = found.iter().find_map(|address| remedy(*address));
        return Err((format!("{refusal}: {shown}"), inside));
    }
    blocked(destination, &found).map(|_fine| shown)
}

/// An address that is not public is told by its class alone.
fn shown(address: IpAddr) -> String {
    match class(address) {
        Class::Public => format!("{address} (public)"),
        other @ (Class::Internal(_) | Class::Forbidden(_)) => said(other),
    }
}
