//! Credentials of well-known forms: prefixed keys, JSON web tokens, private keys, passwords in URLs.
//!
//! A secret is masked to the end of its token, so that no part of it stays.

use std::ops::Range;

use memchr::memmem;

use crate::class::{TOKEN, at, class, follows_alphanumeric};
use crate::encoded::is_plain_id;
use crate::hit::Hit;
use crate::kind::Kind;

/// What follows a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Any characters of the token.
    Token,
    /// Exactly this many upper-case letters and digits.
    Upper,
    /// A word before may end like the prefix: nothing may stand before it, and a digit must follow.
    Word,
}

/// Prefix, the least length of what follows, its form.
const PREFIXES: &[(&[u8], usize, Body)] = &[
    (b"AKIA", 16, Body::Upper),
    (b"ASIA", 16, Body::Upper),
    (b"AIza", 35, Body::Token),
    (b"ghp_", 30, Body::Token),
    (b"gho_", 30, Body::Token),
    (b"ghu_", 30, Body::Token),
    (b"ghs_", 30, Body::Token),
    (b"ghr_", 30, Body::Token),
    (b"github_pat_", 22, Body::Token),
    (b"glpat-", 16, Body::Token),
    (b"xoxa-", 10, Body::Token),
    (b"xoxb-", 10, Body::Token),
    (b"xoxe-", 10, Body::Token),
    (b"xoxp-", 10, Body::Token),
    (b"xoxr-", 10, Body::Token),
    (b"xoxs-", 10, Body::Token),
    (b"xapp-", 10, Body::Token),
    (b"pcs_", 40, Body::Token),
    (b"pcs_", 16, Body::Word),
    (b"pst_", 40, Body::Token),
    (b"pst_", 16, Body::Word),
    (b"sk_live_", 16, Body::Token),
    (b"sk_test_", 16, Body::Token),
    (b"rk_live_", 16, Body::Token),
    (b"rk_test_", 16, Body::Token),
    (b"whsec_", 16, Body::Token),
    (b"sk-", 20, Body::Word),
    (b"npm_", 30, Body::Word),
    (b"hf_", 30, Body::Word),
    (b"pypi-", 50, Body::Word),
];

/// Shorter runs hold no secret of a known form.
const SHORTEST: usize = 15;

/// Reports a secret in one run of token characters, and says where it ends.
pub(crate) fn find_in_run(bytes: &[u8], run: &Range<usize>, hits: &mut Vec<Hit>) -> Option<usize> {
    if run.len() < SHORTEST {
        return None;
    }
    let found = introduced(bytes, run).or_else(|| prefixed(bytes, run))?;
    hits.push(Hit {
        kind: Kind::Secret,
        start: found.start,
        end: found.end,
    });
    Some(found.end)
}

/// `Bearer …`, `SG.….…` and `ya29.…`: the run follows what tells.
fn introduced(bytes: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let lead = bytes
        .get(run.start.saturating_sub(8)..run.start)
        .unwrap_or(&[]);
    let spaces = lead.iter().rev().take_while(|byte| **byte == b' ').count();
    let word = lead.get(..lead.len() - spaces).unwrap_or(&[]);
    let has_digit = bytes.get(run.clone())?.iter().any(u8::is_ascii_digit);
    let bearer = spaces > 0
        && word.len() >= 6
        && word
            .get(word.len() - 6..)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"bearer"));
    if bearer && run.len() >= 16 && has_digit {
        return Some(run.start..token_end(bytes, run.end));
    }
    if lead.ends_with(b"SG.") && run.len() >= 16 && at(bytes, run.end) == b'.' {
        return Some(run.start - 3..token_end(bytes, run.end));
    }
    (lead.ends_with(b"ya29.") && run.len() >= 20).then(|| run.start - 5..token_end(bytes, run.end))
}

/// A key by its prefix, or a JSON web token, anywhere in the run.
fn prefixed(bytes: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    if is_plain_id(bytes.get(run.clone())?) {
        return None;
    }
    run.clone().find_map(|start| {
        if !begins_prefix(at(bytes, start), at(bytes, start + 1)) {
            return None;
        }
        let rest = bytes.get(start..run.end)?;
        let known = PREFIXES.iter().any(|(prefix, least, body)| {
            rest.strip_prefix(*prefix)
                .is_some_and(|rest| is_body(bytes, start, rest, (*least, *body)))
        });
        let end = token_end(bytes, run.end);
        (known || (rest.starts_with(b"eyJ") && rest.len() >= 12 && end > run.end))
            .then_some(start..end)
    })
}

/// The first two bytes of the prefixes below, to look closer at few places only.
const fn begins_prefix(first: u8, second: u8) -> bool {
    match first {
        b'A' => matches!(second, b'K' | b'S' | b'I'),
        b'e' => second == b'y',
        b'g' => matches!(second, b'h' | b'i' | b'l'),
        b'h' => second == b'f',
        b'n' => second == b'p',
        b'p' => matches!(second, b'c' | b's' | b'y'),
        b'r' | b's' => second == b'k',
        b'w' => second == b'h',
        b'x' => matches!(second, b'o' | b'a'),
        _ => false,
    }
}

fn is_body(bytes: &[u8], start: usize, rest: &[u8], (least, body): (usize, Body)) -> bool {
    match body {
        Body::Token => rest.len() >= least,
        Body::Upper => {
            let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            rest.iter().take_while(|byte| upper(byte)).count() == least
        }
        Body::Word => {
            rest.len() >= least
                && !follows_alphanumeric(bytes, start)
                && rest.iter().any(u8::is_ascii_digit)
        }
    }
}

/// The end of a token that goes on with `.` and more: web tokens, prefixed ids with a secret part.
fn token_end(bytes: &[u8], run_end: usize) -> usize {
    let mut end = run_end;
    while at(bytes, end) == b'.' {
        let length = bytes.get(end + 1..).map_or(0, |rest| {
            rest.iter()
                .take_while(|byte| class(**byte) & TOKEN != 0)
                .count()
        });
        if length < 6 {
            break;
        }
        end += 1 + length;
    }
    while matches!(at(bytes, end), b'=' | b'~') {
        end += 1;
    }
    end
}

/// Reports a private key in PEM whose `-----BEGIN` ends a run, and says where to go on. A key without
/// its end is taken to the end of the text.
pub(crate) fn find_pem(bytes: &[u8], run: &Range<usize>, hits: &mut Vec<Hit>) -> usize {
    const BEGIN: &[u8] = b"-----BEGIN";
    const KEY: &[u8] = b"PRIVATE KEY-----";
    let label = bytes
        .get(run.end..(run.end + 40).min(bytes.len()))
        .unwrap_or(&[]);
    let begins = bytes
        .get(run.clone())
        .is_some_and(|run| run.ends_with(BEGIN));
    if !begins || !label.starts_with(b" ") || memmem::find(label, KEY).is_none() {
        return run.end;
    }
    let end = bytes
        .get(run.end..)
        .and_then(|rest| {
            let foot = memmem::find(rest, b"-----END ")?;
            let key = rest.get(foot..).and_then(|rest| memmem::find(rest, KEY))?;
            Some(run.end + foot + key + KEY.len())
        })
        .unwrap_or(bytes.len());
    hits.push(Hit {
        kind: Kind::Secret,
        start: run.end - BEGIN.len(),
        end,
    });
    end
}

/// Reports the password of `scheme://user:password@host`.
pub(crate) fn find_in_urls(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    for end in memchr::memchr_iter(b'@', bytes) {
        let reach = bytes.get(end.saturating_sub(256)..end).unwrap_or(&[]);
        let base = end - reach.len();
        let length = reach
            .iter()
            .rev()
            .take_while(|byte| {
                !byte.is_ascii_whitespace() && !matches!(byte, b'@' | b'"' | b'<' | b'>')
            })
            .count();
        let token = reach.get(reach.len() - length..).unwrap_or(&[]);
        let base = base + reach.len() - length;
        if let Some(scheme) = memmem::rfind(token, b"://")
            && let Some(colon) = token
                .get(scheme + 3..)
                .and_then(|info| memchr::memchr(b':', info))
        {
            let start = base + scheme + 4 + colon;
            let info = bytes.get(base + scheme + 3..end).unwrap_or(&[]);
            let in_path = info.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#'));
            let masked = bytes
                .get(start..end)
                .unwrap_or(&[])
                .iter()
                .all(|byte| *byte == b'*');
            if start < end && !masked && !in_path {
                hits.push(Hit {
                    kind: Kind::Secret,
                    start,
                    end,
                });
            }
        }
    }
}
