//! YAML text to a tree whose every node knows its line and column.
//!
//! Reads the part of YAML that means one thing to everybody: one document, no anchors, no tags, no
//! key twice. Scalars are read by the core schema of YAML 1.2, so `no` and `on` are texts.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

use crate::diagnostic::{Place, Report, quoted};
use crate::number::Number;

/// The longest text that is read.
const MAX_BYTES: usize = 1024 * 1024;

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 48;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What stands there.
#[derive(Debug)]
pub(crate) enum Content {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) key: String,
    pub(crate) value: Node,
}

impl Content {
    /// What it is, with its article, for diagnostics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads the one document of a text; an empty text is a null. `None` where nothing could be made
/// of it; the report then says why.
pub(crate) fn read(source: &str, report: &mut Report) -> Option<Node> {
    if source.len() > MAX_BYTES {
        report.error(
            Place::START,
            format!(
                "the policy is {} bytes long; at most {MAX_BYTES} are read",
                source.len()
            ),
            "make it shorter",
        );
        return None;
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(source),
        report,
        stopped: false,
    };
    let node = reader.document();
    if reader.stopped { None } else { Some(node) }
}

struct Reader<'s, 'r> {
    parser: Parser<'s, StrInput<'s>>,
    report: &'r mut Report,
    /// Whether the text cannot be read any further.
    stopped: bool,
}

fn place(marker: Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col().saturating_add(1),
    }
}

impl<'s> Reader<'s, '_> {
    /// The next event. What cannot be scanned is reported once, and ends the text.
    fn next(&mut self) -> Option<(Event<'s>, Place)> {
        if self.stopped {
            return None;
        }
        match self.parser.next_event()? {
            Ok((event, span)) => Some((event, place(span.start))),
            Err(error) => {
                let message = format!("this is not YAML: {}", error.info());
                self.report
                    .error(place(*error.marker()), message, "correct the syntax");
                self.stopped = true;
                None
            }
        }
    }

    fn document(&mut self) -> Node {
        let mut found: Option<Node> = None;
        while let Some((event, place)) = self.next() {
            match event {
                Event::DocumentStart(_) if found.is_some() => {
                    self.report.error(
                        place,
                        "a policy is one YAML document, and a second one begins here",
                        "take out `---` and what follows, or make it part of the list",
                    );
                    self.stopped = true;
                }
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => found = Some(self.node(event, place, 0)),
            }
        }
        found.unwrap_or(Node {
            place: Place::START,
            content: Content::Null,
        })
    }

    /// The node that an event begins.
    fn node(&mut self, event: Event<'s>, place: Place, depth: usize) -> Node {
        if depth > MAX_DEPTH && !self.stopped {
            self.report.error(
                place,
                format!("nested more than {MAX_DEPTH} deep"),
                "make it flatter",
            );
            self.stopped = true;
        }
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_references(place, anchor, tag.is_some());
                self.scalar(&text, style, place)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_references(place, anchor, tag.is_some());
                Content::List(self.list(depth))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_references(place, anchor, tag.is_some());
                Content::Map(self.map(depth))
            }
            Event::Alias(_) => {
                self.refuse_references(place, 1, false);
                Content::Null
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Content::Null,
        };
        Node { place, content }
    }

    fn refuse_references(&mut self, place: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.report.error(
                place,
                "anchors and aliases are not read",
                "write the value out where it is meant",
            );
        }
        if tagged {
            self.report.error(
                place,
                "tags are not read",
                "take the tag out; quote a value to make it a text",
            );
        }
    }

    fn list(&mut self, depth: usize) -> Vec<Node> {
        let mut items = Vec::new();
        while let Some((event, place)) = self.next() {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, place, depth.saturating_add(1)));
        }
        items
    }

    fn map(&mut self, depth: usize) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        while let Some((event, place)) = self.next() {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.key(event, place, depth);
            let Some((event, value_place)) = self.next() else {
                break;
            };
            let value = self.node(event, value_place, depth.saturating_add(1));
            let Some(key) = key else { continue };
            if seen.insert(key.clone()) {
                entries.push(Entry { place, key, value });
            } else {
                self.report.error(
                    place,
                    format!("the key {} stands here twice", quoted(&key)),
                    "keep one of the two; several operators on one attribute go into one mapping",
                );
            }
        }
        entries
    }

    fn key(&mut self, event: Event<'s>, place: Place, depth: usize) -> Option<String> {
        if let Event::Scalar(text, _, anchor, tag) = event {
            self.refuse_references(place, anchor, tag.is_some());
            return Some(text.into_owned());
        }
        // The key is read to its end, so that its value is not taken for a key.
        self.node(event, place, depth.saturating_add(1));
        self.report.error(
            place,
            "a key must be a word",
            "write `key: value` with a plain or quoted key",
        );
        None
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> Content {
        match style {
            ScalarStyle::Plain => plain(text).unwrap_or_else(|remedy| {
                self.report.error(
                    place,
                    format!("the number {} cannot be read", quoted(text)),
                    remedy,
                );
                Content::Null
            }),
            ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => Content::Text(text.to_owned()),
        }
    }
}

/// A plain scalar by the core schema.
fn plain(text: &str) -> Result<Content, &'static str> {
    const TOO_LONG: &str = "write at most 38 significant digits, or quote it if it is a text";
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Content::Null),
        "true" | "True" | "TRUE" => return Ok(Content::Flag(true)),
        "false" | "False" | "FALSE" => return Ok(Content::Flag(false)),
        _ => {}
    }
    if is_special_float(text) {
        return Err("write a finite number, or quote it if it is a text");
    }
    if let Some((digits, radix)) = radix_integer(text) {
        let value = u64::from_str_radix(digits, radix).map_err(|_overflow| TOO_LONG)?;
        let number = Number::parse(&value.to_string()).ok_or(TOO_LONG)?;
        return Ok(Content::Number(number));
    }
    if looks_decimal(text) {
        let number = Number::parse(text).ok_or(TOO_LONG)?;
        return Ok(Content::Number(number));
    }
    Ok(Content::Text(text.to_owned()))
}

fn is_special_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    )
}

fn radix_integer(text: &str) -> Option<(&str, u32)> {
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => return None,
    };
    let well_formed = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    well_formed.then_some((digits, radix))
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn looks_decimal(text: &str) -> bool {
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, Some(power)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power_reads = power.is_none_or(|power| {
        let digits = power.strip_prefix(['-', '+']).unwrap_or(power);
        !digits.is_empty() && all_digits(digits)
    });
    let digits_present = !whole.is_empty() || !fraction.is_empty();
    digits_present && all_digits(whole) && all_digits(fraction) && power_reads
}
