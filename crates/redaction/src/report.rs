//! What a redaction did, told without any value.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kind::Kind;

/// More paths than this are counted, but not named.
const MAX_FIELDS: usize = 256;

/// What a redaction did. Holds counts and paths, never a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many values or stretches of text were taken out.
    pub pii_count: u32,
    /// How many of each kind; a field rule on a field of no known kind counts only above.
    pub by_kind: BTreeMap<Kind, u32>,
    /// Where: the path as a pattern (`rows[].email`) and by what, a mode or the kind that a detector
    /// found. The text itself, and the root of a value, is the empty path.
    pub fields: BTreeMap<String, String>,
}

impl Report {
    /// Whether nothing was taken out and no rule matched.
    pub fn is_clean(&self) -> bool {
        self.pii_count == 0 && self.fields.is_empty()
    }

    pub(crate) fn count(&mut self, kind: Option<Kind>) {
        self.pii_count = self.pii_count.saturating_add(1);
        if let Some(kind) = kind {
            let count = self.by_kind.entry(kind).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Whether no further path will be named.
    pub(crate) fn is_full(&self) -> bool {
        self.fields.len() >= MAX_FIELDS
    }

    pub(crate) fn name(&mut self, path: String, by: &'static str) {
        if !self.is_full() {
            self.fields.insert(path, by.to_owned());
        }
    }
}
