//! Finds personal data and secrets in JSON and in text, and takes them out.
//!
//! Two rules work together. A *declared* personal field (`x-data-class` in the tool's schema) follows
//! the policy: the policy's field rules say what happens to it. Everything *undeclared* is guarded by
//! detectors: e-mail addresses, phone numbers, payment cards, IBANs, US social security numbers and
//! well-known secrets, in values and in property names, also inside JSON in strings, base64, percent,
//! HTML and backslash escapes, full-width digits and zero-width characters.
//!
//! Names and postal addresses cannot be told from other words: they are taken out only by a field rule.
//!
//! What this crate must never do: pass on a text that it could not inspect (too long, nested too
//! deeply, too costly: masked whole), put a value that it found into a report, an error or a `Debug`
//! output, or do I/O. It is pure and compiles to wasm.

mod class;
mod declared;
mod decode;
mod detect;
mod encoded;
mod hint;
mod hit;
mod key;
mod kind;
mod path;
mod redact;
mod report;
mod rule;
mod scan;
mod walk;

pub use declared::{Declared, breaks_forms, drops_required};
pub use hit::Finding;
pub use key::HashKey;
pub use kind::Kind;
pub use redact::{contains_pii, redact_json, redact_text};
pub use report::Report;
pub use rule::{FieldRule, Mode, UnknownMode};
pub use scan::find;

#[cfg(test)]
#[cfg(test)]
mod tests;
