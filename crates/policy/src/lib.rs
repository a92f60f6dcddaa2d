//! The policy language: YAML rules in, one decision a call out.
//!
//! Parses with line and column, checks the rules against the tools they are about, compiles them
//! and decides. Pure: no I/O, no clock, no randomness; it compiles to wasm. A decision is total:
//! without a rule that allows, the answer is no, and what could not be computed restricts.
//!
//! ```
//! use portcullis_policy::{Attribute, Fact, Facts, Verdict, load};
//!
//! struct Call;
//! impl Facts for Call {
//!     fn fact(&self, attribute: &Attribute) -> Fact<'_> {
//!         match attribute {
//!             Attribute::ToolRisk => Fact::text("low"),
//!             _ => Fact::Absent,
//!         }
//!     }
//! }
//!
//! let policy = load("- { rule: low, when: { tool.risk: low }, decision: allow }", &[])?.policy;
//! assert_eq!(policy.decide(&Call).verdict, Verdict::Allow);
//! # Ok::<(), Vec<portcullis_policy::Diagnostic>>(())
//! ```

mod attribute;
mod catalog;
mod condition;
mod decision;
mod diagnostic;
mod document;
mod explain;
mod fact;
mod forecast;
mod number;
mod policy;
mod read;
mod rule;
mod schema;
#[cfg(test)]
mod tests;

pub use attribute::{ArgumentPath, Attribute};
pub use catalog::ToolShape;
pub use decision::{Decision, PlacedRedaction, Redaction, Route};
pub use diagnostic::{Diagnostic, Severity};
pub use fact::{Fact, FactValue, Facts};
pub use policy::Policy;
pub use rule::{RedactionMode, Verdict};

use catalog::Catalog;
use diagnostic::{Place, Report};
use read::check::{CatalogCheck, Occasion};
use read::{given, overlap, rules};

/// A policy that loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// What whoever publishes it should read first, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// Loads a policy that somebody writes or publishes, against the tools of the tenant, and runs
/// the policy's own tests.
///
/// # Errors
/// Everything that is wrong with the text, in its order, warnings included.
pub fn load(source: &str, tools: &[ToolShape<'_>]) -> Result<Loaded, Vec<Diagnostic>> {
    load_on(Occasion::Publishing, source, tools)
}

/// Loads a policy that was published before, against the tools of today. A tool that has changed
/// since must not take the whole tenant's policy down: a rule about an argument that its tool no
/// longer has fails closed instead (what it restricts is restricted, what it allows is not
/// allowed), and is warned of. The policy's tests are not run again.
///
/// # Errors
/// Everything that is wrong with the text itself.
pub fn load_published(source: &str, tools: &[ToolShape<'_>]) -> Result<Loaded, Vec<Diagnostic>> {
    load_on(Occasion::InForce, source, tools)
}

fn load_on(
    occasion: Occasion,
    source: &str,
    tools: &[ToolShape<'_>],
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut report = Report::default();
    let Some(root) = document::read(source, &mut report) else {
        return Err(report.into_diagnostics());
    };
    if report.failed() {
        // What is wrong with the YAML would only be told a second time.
        return Err(report.into_diagnostics());
    }
    let mut text = rules::text(root, &mut report);
    let catalog = Catalog::new(tools);
    let mut check = CatalogCheck {
        catalog: &catalog,
        occasion,
        report: &mut report,
    };
    for rule in &mut text.rules {
        check.rule(rule);
    }
    if occasion == Occasion::Publishing {
        overlap::warn(&text.rules, &mut report);
    }
    if text.rules.is_empty() {
        report.warning(
            Place::START,
            "this policy has no rules, so it denies every call",
            "add a rule with `decision: allow`",
        );
    }
    if report.failed() {
        return Err(report.into_diagnostics());
    }
    let policy = Policy::compile(text.rules, &text.slots, &catalog);
    if occasion == Occasion::Publishing {
        given::run(&text.tests, &policy, &catalog, &mut report);
    }
    if report.failed() {
        return Err(report.into_diagnostics());
    }
    Ok(Loaded {
        policy,
        warnings: report.into_diagnostics(),
    })
}
