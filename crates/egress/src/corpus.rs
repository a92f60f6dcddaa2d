//! The cases of `corpus/cases.txt`: what may be reached and what may not, each class with its source.
//!
//! Data for tests and for the attack; nothing that serves reads it.

use std::collections::BTreeMap;
use std::net::IpAddr;

const CASES: &str = include_str!("../corpus/cases.txt");

/// What should become of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is dialled.
    Refuse,
    /// Only addresses of the case are dialled.
    Allow,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it is an example of.
    pub class: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    /// What should become of it.
    pub verdict: Verdict,
    /// The URL, control characters and blanks included.
    pub url: String,
    /// What a resolver answers for its host.
    pub answers: Vec<IpAddr>,
}

/// Every case; a line that cannot be read is an error with its number.
///
/// # Errors
/// Names the first line that is neither a case nor a comment.
pub fn cases() -> Result<Vec<Case>, String> {
    let (mut class, mut source) = ("", "");
    let mut cases = Vec::new();
    for (number, line) in (1_usize..).zip(CASES.lines()) {
        if let Some(name) = line.strip_prefix("# class: ") {
            (class, source) = (name, "");
        } else if let Some(text) = line.strip_prefix("# source: ") {
            source = text;
        } else if !line.is_empty() && !line.starts_with('#') {
            let read = case(class, source, line);
            cases.push(read.ok_or_else(|| format!("line {number}: {line}"))?);
        }
    }
    Ok(cases)
}

fn case(class: &'static str, source: &'static str, line: &str) -> Option<Case> {
    let (verdict, rest) = line.split_once(' ')?;
    let verdict = match verdict {
        "refuse" => Verdict::Refuse,
        "allow" => Verdict::Allow,
        _ => return None,
    };
    let (url, answers) = rest.split_once(" <- ").unwrap_or((rest, ""));
    let answers = answers.split(' ').filter(|text| !text.is_empty());
    let answers = answers.map(str::parse).collect::<Result<_, _>>().ok()?;
    (!class.is_empty() && !source.is_empty()).then(|| Case {
        class,
        source,
        verdict,
        url: unescaped(url),
        answers,
    })
}

fn unescaped(url: &str) -> String {
    let marks = [
        ("{CR}", "\r"),
        ("{LF}", "\n"),
        ("{TAB}", "\t"),
        ("{NUL}", "\0"),
        ("{SP}", " "),
    ];
    marks
        .iter()
        .fold(url.to_owned(), |url, (mark, real)| url.replace(mark, real))
}

/// How many cases each class has.
pub fn by_class(cases: &[Case]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for case in cases {
        let count = counts.entry(case.class).or_insert(0_usize);
        *count = count.saturating_add(1);
    }
    counts
}
