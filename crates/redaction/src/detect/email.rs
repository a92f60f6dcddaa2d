//! E-mail addresses, internationalised ones and address literals included.
//!
//! Looks only around an `@`; each look stops at the neighbouring `@`, so the whole is linear.

use crate::hit::Hit;
use crate::kind::Kind;

/// Reports each address.
pub(crate) fn find(text: &str, hits: &mut Vec<Hit>) {
    for at in memchr::memchr_iter(b'@', text.as_bytes()) {
        let (Some(left), Some(right)) = (text.get(..at), text.get(at + 1..)) else {
            continue;
        };
        if let (Some(start), Some(length)) = (local_start(left), domain_length(right)) {
            hits.push(Hit {
                kind: Kind::Email,
                start,
                end: at + 1 + length,
            });
        }
    }
}

/// Where the local part begins that ends `left`.
fn local_start(left: &str) -> Option<usize> {
    if let Some(quoted) = left.strip_suffix('"') {
        let open = quoted
            .char_indices()
            .rev()
            .take(70)
            .find(|(_, c)| *c == '"')?
            .0;
        let has_word = quoted.get(open..)?.contains(|c: char| c.is_alphanumeric());
        return has_word.then_some(open);
    }
    let ideographs = left.chars().next_back().is_some_and(is_unspaced_script);
    let start = left
        .char_indices()
        .rev()
        .take_while(|(_, c)| is_local(*c) && (ideographs || !is_unspaced_script(*c)))
        .last()?
        .0;
    let local = left.get(start..)?;
    let trimmed = local.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != '+');
    trimmed
        .contains(|c: char| c.is_alphanumeric())
        .then(|| left.len() - trimmed.len())
}

/// `/ ? & =` are left out although RFC 5322 allows them: in practice they end a part of a URL.
fn is_local(c: char) -> bool {
    matches!(
        c,
        '.' | '_'
            | '%'
            | '+'
            | '-'
            | '!'
            | '#'
            | '$'
            | '\''
            | '*'
            | '^'
            | '`'
            | '{'
            | '|'
            | '}'
            | '~'
    ) || c.is_alphanumeric()
}

/// Scripts written without spaces: an address inside such a sentence ends where its ASCII ends.
const fn is_unspaced_script(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{20000}'..='\u{3ffff}')
}

/// How long the domain is that begins `right`.
fn domain_length(right: &str) -> Option<usize> {
    if let Some(literal) = right.strip_prefix('[') {
        let end = literal.bytes().take(64).position(|byte| byte == b']')?;
        let address = literal.get(..end)?;
        let plausible = address.len() > 2
            && address.bytes().any(|byte| byte.is_ascii_digit())
            && address
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.'));
        return plausible.then_some(end + 2);
    }
    let ideographs = right.chars().next().is_some_and(is_unspaced_script);
    let end = right
        .char_indices()
        .find(|(_, c)| {
            !(c.is_alphanumeric() || matches!(c, '.' | '-'))
                || (!ideographs && is_unspaced_script(*c))
        })
        .map_or(right.len(), |(index, _)| index);
    let mut domain = right.get(..end)?;
    if let Some(empty_label) = domain.find("..") {
        domain = domain.get(..empty_label)?;
    }
    // Words that follow the address without a space are not part of it: cut labels until the last
    // one can be a top-level domain.
    loop {
        let (rest, last) = domain.rsplit_once('.')?;
        if let Some(length) = top_level_length(last)
            && !rest.is_empty()
        {
            let domain = domain.get(..rest.len() + 1 + length)?;
            return (!is_other(domain)).then_some(domain.len());
        }
        domain = rest;
    }
}

/// How much of a label can be a top-level domain.
fn top_level_length(label: &str) -> Option<usize> {
    let letters: usize = label
        .chars()
        .take_while(|c| c.is_alphabetic())
        .map(char::len_utf8)
        .sum();
    if label
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    {
        return Some(label.len());
    }
    (label.chars().take(2).filter(|c| c.is_alphabetic()).count() == 2).then_some(letters)
}

/// File names (`logo@2x.png`) and package versions (`left-pad@1.3.0-beta.two`).
fn is_other(domain: &str) -> bool {
    let mut labels = domain.split('.');
    let first = labels.next().unwrap_or("");
    let second = labels.next().unwrap_or("");
    let numeric =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    let scale = first.strip_suffix('x').is_some_and(numeric);
    let image = ["png", "jpg", "jpeg", "gif", "webp", "avif", "svg"].contains(&second);
    (scale && image && labels.next().is_none()) || (numeric(first) && numeric(second))
}
