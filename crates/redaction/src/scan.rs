//! Looks through one text with all detectors, layer by layer.
//!
//! Work is bounded: a text that is too long, encoded in too many layers or too costly to decode is
//! reported as a whole as uninspectable. Nothing is ever waved through for being hard.

use crate::class::Traits;
use crate::decode::decode;
use crate::detect::groups::{Group, Numbers, measure};
use crate::detect::{card, email, iban, identity, ip, phone, secret, ssn};
use crate::encoded;
use crate::hint::{self, Hint};
use crate::hit::{Cluster, Finding, Hit, cluster};
use crate::kind::Kind;

/// The longest text that is looked into.
const MAX_TEXT: usize = 8 << 20;
/// No detector finds anything in less: five digits of a property named as a phone, `a@b.cd`.
const SHORTEST: usize = 5;
/// The most layers of encoding that are taken off.
const MAX_LAYERS: usize = 6;
/// How many times its own length a text may cost, over all layers.
const WORK_FACTOR: usize = 12;

/// The detectors with their buffers, used again from text to text.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    groups: Vec<Group>,
    buffers: encoded::Buffers,
    work_left: usize,
    exhausted: bool,
}

/// Everything that must not leave in this text, in order, without overlaps.
pub fn find(text: &str) -> Vec<Finding> {
    let clusters = Scanner::default().clusters(text, None);
    clusters
        .into_iter()
        .map(|found| Finding {
            kind: found.kind,
            range: found.range,
        })
        .collect()
}

impl Scanner {
    /// Looks through a text; `name` is the property that holds it.
    pub(crate) fn clusters(&mut self, text: &str, name: Option<&str>) -> Vec<Cluster> {
        let whole = || {
            vec![Hit {
                kind: Kind::Uninspectable,
                start: 0,
                end: text.len(),
            }]
        };
        if text.len() > MAX_TEXT {
            return cluster(whole());
        }
        if text.len() < SHORTEST {
            return Vec::new();
        }
        self.work_left = text.len().saturating_mul(WORK_FACTOR).saturating_add(4096);
        self.exhausted = false;
        let mut hits = Vec::new();
        self.layer(text, name, 0, &mut hits);
        cluster(if self.exhausted { whole() } else { hits })
    }

    /// One layer: the text as it is, then what is encoded in it.
    fn layer(&mut self, text: &str, name: Option<&str>, depth: usize, hits: &mut Vec<Hit>) {
        if self.exhausted || text.len() > self.work_left {
            self.exhausted = true;
            return;
        }
        self.work_left -= text.len();
        let traits = Traits::of(text);
        self.plain(text, traits, name, hits);
        if traits.longest_run >= 8 {
            self.runs(text, depth, hits);
        }
        if traits.may_decode()
            && let Some(view) = decode(text)
        {
            let mut inner = Vec::new();
            self.deeper(&view.text, name, depth, &mut inner);
            hits.extend(inner.into_iter().map(|hit| {
                let origin = view.origin(hit.start..hit.end);
                Hit {
                    kind: hit.kind,
                    start: origin.start,
                    end: origin.end,
                }
            }));
        }
    }

    fn deeper(&mut self, text: &str, name: Option<&str>, depth: usize, hits: &mut Vec<Hit>) {
        if depth + 1 > MAX_LAYERS {
            hits.push(Hit {
                kind: Kind::Uninspectable,
                start: 0,
                end: text.len(),
            });
        } else {
            self.layer(text, name, depth + 1, hits);
        }
    }

    fn plain(&mut self, text: &str, traits: Traits, name: Option<&str>, hits: &mut Vec<Hit>) {
        if traits.has_at() {
            email::find(text, hits);
            secret::find_in_urls(text, hits);
        }
        if traits.may_be_v4() {
            ip::find_v4(text, hits);
        }
        if traits.may_be_v6() {
            ip::find_v6(text, hits);
        }
        if traits.digits < 5 {
            return;
        }
        let mut groups = std::mem::take(&mut self.groups);
        measure(text.as_bytes(), &mut groups);
        let numbers = Numbers {
            text,
            bytes: text.as_bytes(),
            groups: &groups,
            name,
        };
        if traits.digits >= 7 {
            phone::find(&numbers, hits);
            identity::find(&numbers, hits);
        }
        if traits.digits >= 9 {
            ssn::find(&numbers, hits);
        }
        if traits.digits >= 12 {
            card::find(&numbers, hits);
        }
        iban::find(&numbers, hits);
        if let Some(kind) = name.and_then(|name| named(&numbers, traits, name)) {
            hits.push(Hit {
                kind,
                start: 0,
                end: text.len(),
            });
        }
        self.groups = groups;
    }

    /// Secrets and base64 in the runs of token characters.
    fn runs(&mut self, text: &str, depth: usize, hits: &mut Vec<Hit>) {
        let bytes = text.as_bytes();
        let (mut from, mut secret_end) = (0, 0);
        while let Some(run) = encoded::next_run(bytes, from) {
            from = secret::find_pem(bytes, &run, hits);
            // The parts of a token that was found are not looked at one by one.
            if run.start >= secret_end {
                secret_end = secret::find_in_run(bytes, &run, hits).unwrap_or(secret_end);
            }
            let symbols = bytes.get(run.clone()).unwrap_or(&[]);
            let texts = encoded::texts(symbols, &mut self.buffers);
            if texts.is_empty() {
                continue;
            }
            let padding = bytes
                .get(run.end..)
                .unwrap_or(&[])
                .iter()
                .take(2)
                .take_while(|byte| **byte == b'=');
            let end = run.end + padding.count();
            for text in texts {
                let mut inner = Vec::new();
                self.deeper(&text, None, depth, &mut inner);
                hits.extend(inner.first().map(|hit| Hit {
                    kind: hit.kind,
                    start: run.start,
                    end,
                }));
            }
        }
    }
}

/// What a whole text is by the name of the property that holds it.
fn named(numbers: &Numbers<'_>, traits: Traits, name: &str) -> Option<Kind> {
    let phone = phone::may_be_named(numbers.text, traits.digits);
    let ssn = traits.digits == 9 && numbers.text.len() <= 16;
    let national = (7..=15).contains(&traits.digits) && numbers.text.len() <= 24;
    if !phone && !ssn && !national {
        return None;
    }
    match hint::of_name(name) {
        Hint::Phone if phone && !numbers.meets_date(0, numbers.groups.len()) => Some(Kind::Phone),
        Hint::Ssn if ssn => Some(Kind::Ssn),
        Hint::National if national => Some(Kind::NationalId),
        Hint::Phone | Hint::Ssn | Hint::National | Hint::Call | Hint::Id | Hint::None => None,
    }
}
