//! Every case of the corpus: what should be refused dials nobody, what should be reached is dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use portcullis_egress::corpus::{Case, Verdict, cases};
use portcullis_egress::{Allowance, Destination, Target, Unwatched};
use tokio::time::Instant;

use super::reach::{Scripted, Written, client};
use crate::faults::Row;

/// What came of the cases of a class.
#[derive(Debug, Default)]
struct Seen {
    cases: usize,
    let_through: Vec<String>,
    refused: Vec<String>,
}

/// A row a class.
pub(super) async fn rows() -> Result<Vec<Row>> {
    let cases = cases().map_err(|line| anyhow!("the corpus: {line}"))?;
    let mut classes: BTreeMap<&str, Seen> = BTreeMap::new();
    for case in &cases {
        let dialled = dialled(case).await?;
        let seen = classes.entry(case.class).or_default();
        seen.cases += 1;
        let reached = !dialled.is_empty() && dialled.iter().all(|one| meant(case).contains(one));
        match case.verdict {
            Verdict::Refuse if !dialled.is_empty() => seen.let_through.push(case.url.clone()),
            Verdict::Allow if !reached => seen.refused.push(case.url.clone()),
            Verdict::Refuse | Verdict::Allow => {}
        }
    }
    Ok(classes
        .into_iter()
        .map(|(class, seen)| row(class, &seen))
        .collect())
}

fn row(class: &str, seen: &Seen) -> Row {
    let (through, refused) = (seen.let_through.len(), seen.refused.len());
    let mut row = Row::new(class, seen.cases)
        .seen(format!("{through} let through, {refused} public refused"));
    row.promise(through == 0, || {
        format!("let through: {:?}", seen.let_through)
    });
    row.promise(refused == 0, || format!("refused: {:?}", seen.refused));
    row
}

async fn dialled(case: &Case) -> Result<Vec<IpAddr>> {
    let dial = Arc::new(Written::default());
    let client = client(Scripted(case.answers.clone()), &dial)?;
    let Ok(target) = Target::parse(&case.url) else {
        return Ok(Vec::new());
    };
    let destination = Destination {
        target: &target,
        ports: &[],
        allowance: &Allowance::none(),
        watch: &Unwatched,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    // Nobody is there: it fails either way, and what was dialled tells which.
    let _nobody = client.open(destination, deadline).await;
    Ok(dial.taken())
}

/// The addresses of a case: what is answered, or what the URL says itself.
fn meant(case: &Case) -> BTreeSet<IpAddr> {
    let host = Target::parse(&case.url).map(|target| target.host());
    let host = host.unwrap_or_default();
    let literal = host.trim_matches(['[', ']']).parse().ok();
    case.answers.iter().copied().chain(literal).collect()
}
