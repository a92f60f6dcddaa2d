//! IP addresses, version 4 and 6, in the forms that RFC 4291 and RFC 6943 §3.1.1 call strict.
//!
//! Addresses that name nobody's machine stay: unspecified, loopback, multicast, reserved, net masks.
//! So do numbers that a word before them calls a version or a section.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use memchr::memchr;

use crate::class::{at, before};
use crate::hint;
use crate::hit::Hit;
use crate::kind::Kind;

/// The longest text of an address of version 6.
const LONGEST: usize = 45;
/// What four numbers with dots are, where one of these words stands before them.
const NUMBERED: &[&str] = &[
    "build", "chapter", "clause", "firmware", "oid", "release", "rev", "revision", "section", "v",
    "ver", "version",
];

/// Reports each address of version 4.
pub(crate) fn find_v4(text: &str, hits: &mut Vec<Hit>) {
    let part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    each_run(text.as_bytes(), b'.', part, |run| {
        let run = without_dots(text, run);
        let Some(address) = parse::<Ipv4Addr>(text, &run) else {
            return;
        };
        if names_a_machine(address)
            && stands_alone(text.as_bytes(), &run)
            && !hint::follows(text, run.start, NUMBERED)
        {
            hits.push(hit(&run));
        }
    });
}

/// Reports each address of version 6.
pub(crate) fn find_v6(text: &str, hits: &mut Vec<Hit>) {
    let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    each_run(text.as_bytes(), b':', part, |run| {
        let whole = without_dots(text, run);
        // A word of hexadecimal digits may announce it: `face:2001:db8::1`.
        let rest = text.get(whole.clone()).and_then(|word| word.find(':'));
        let tail = rest.map(|colon| whole.start + colon + 1..whole.end);
        let found = [Some(whole), tail]
            .into_iter()
            .flatten()
            .find(|part| is_v6(text, part));
        hits.extend(found.as_ref().map(hit));
    });
}

/// Calls `look` with each maximal run of bytes of a class that holds the byte `mark`.
fn each_run(bytes: &[u8], mark: u8, part: impl Fn(u8) -> bool, mut look: impl FnMut(Range<usize>)) {
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr(mark, rest)) {
        let middle = from + found;
        let mut run = middle..middle + 1;
        while run.start > from && part(before(bytes, run.start)) {
            run.start -= 1;
        }
        while run.end < bytes.len() && part(at(bytes, run.end)) {
            run.end += 1;
        }
        from = run.end;
        look(run);
    }
}

/// A run without the dot that ends a sentence.
fn without_dots(text: &str, run: Range<usize>) -> Range<usize> {
    let length = text
        .get(run.clone())
        .map_or(0, |part| part.trim_end_matches('.').len());
    run.start..run.start + length
}

fn parse<T: std::str::FromStr>(text: &str, run: &Range<usize>) -> Option<T> {
    text.get(run.clone())
        .filter(|part| (2..=LONGEST).contains(&part.len()))?
        .parse()
        .ok()
}

/// Not a part of a longer name or number.
fn stands_alone(bytes: &[u8], run: &Range<usize>) -> bool {
    let joint = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let tie = |byte: u8| matches!(byte, b'-' | b'.');
    let (first, last) = (before(bytes, run.start), at(bytes, run.end));
    let before_tie = before(bytes, run.start.saturating_sub(1));
    let after_tie = at(bytes, run.end + 1);
    // A range ties two addresses: `203.0.113.1-203.0.113.9`.
    let tied_before = tie(first) && (first == b'.' || before_tie.is_ascii_alphabetic());
    let tied_after = tie(last) && (after_tie.is_ascii_alphabetic() || last == b'.');
    let ends_a_sentence = last == b'.' && !after_tie.is_ascii_alphanumeric();
    !joint(first) && !joint(last) && !tied_before && (!tied_after || ends_a_sentence)
}

fn names_a_machine(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // What begins with 224 and more is a group, reserved or a net mask.
    first != 0 && !address.is_loopback() && first < 224
}

fn is_v6(text: &str, run: &Range<usize>) -> bool {
    let Some(address) = parse::<Ipv6Addr>(text, run) else {
        return false;
    };
    let written = text.get(run.clone()).unwrap_or("");
    let groups = written.split(':').filter(|group| !group.is_empty());
    let first = written.split(':').next().unwrap_or("");
    // `a::b` is a path in a program rather than an address.
    let long = groups.clone().count() > 2 || written.contains('.');
    let telling = first.len() == 4 && first.bytes().any(|byte| byte.is_ascii_digit());
    let nobody = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    (long || telling) && !nobody && stands_alone(text.as_bytes(), run)
}

fn hit(run: &Range<usize>) -> Hit {
    Hit {
        kind: Kind::Ip,
        start: run.start,
        end: run.end,
    }
}
