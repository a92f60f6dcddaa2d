//! Findings: where something was found, and how overlapping findings become one.
//!
//! A finding holds positions only, never the text that was found.

use std::cmp::Reverse;
use std::ops::Range;

use crate::kind::{Kind, Kinds};

/// One stretch of a text that must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes of the text as given (encoded forms included).
    pub range: Range<usize>,
}

/// What one detector reports, before overlaps are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Overlapping hits as one stretch.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// The kind of the longest hit.
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
    /// The kinds of the hits that span the whole stretch.
    pub(crate) spanning: Kinds,
}

/// Merges hits that overlap, in order of position.
pub(crate) fn cluster(mut hits: Vec<Hit>) -> Vec<Cluster> {
    if hits.len() < 2 {
        return merge(&hits, hits.first().map_or(0, |hit| hit.end))
            .into_iter()
            .collect();
    }
    hits.sort_unstable_by_key(|hit| (hit.start, Reverse(hit.end), Reverse(hit.kind.rank())));
    let mut clusters = Vec::new();
    let mut members: Vec<Hit> = Vec::new();
    let mut end = 0;
    for hit in hits {
        if hit.start >= end && !members.is_empty() {
            clusters.extend(merge(&members, end));
            members.clear();
        }
        end = end.max(hit.end);
        members.push(hit);
    }
    clusters.extend(merge(&members, end));
    clusters
}

/// One stretch out of hits that overlap and are sorted by their beginning.
fn merge(members: &[Hit], end: usize) -> Option<Cluster> {
    let start = members.first()?.start;
    let longest = members
        .iter()
        .max_by_key(|hit| (hit.end - hit.start, hit.kind.rank()))?;
    let spanning = members
        .iter()
        .filter(|hit| hit.start == start && hit.end == end)
        .fold(Kinds::NONE, |kinds, hit| kinds.with(hit.kind));
    Some(Cluster {
        kind: longest.kind,
        range: start..end,
        spanning,
    })
}
