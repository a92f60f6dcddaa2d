//! Whether a policy leaves each tool's results in the form that the tool's output schema promises. It
//! refuses what it cannot tell.

use portcullis_domain::ToolDefinition;
use portcullis_policy::{Diagnostic, PlacedRedaction, Policy, RedactionMode, Severity};
use portcullis_redaction::{FieldRule, Mode, breaks_forms, drops_required};

/// The most that are told of one policy.
const MOST: usize = 100;

/// The redactions after which a result would break its tool's output schema.
pub fn broken(policy: &Policy, tools: &[ToolDefinition]) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = tools
        .iter()
        .flat_map(|tool| {
            let placed = policy.redactions_of(&tool.name);
            placed
                .into_iter()
                .filter_map(|placed| diagnostic(&placed, tool))
        })
        .collect();
    found.sort_by_key(|found| (found.line, found.column));
    found.truncate(MOST);
    found
}

fn diagnostic(placed: &PlacedRedaction, tool: &ToolDefinition) -> Option<Diagnostic> {
    let redaction = &placed.redaction;
    let rules = [FieldRule {
        field: redaction.field.clone(),
        mode: mode(redaction.mode),
    }];
    let (paths, why, remedy) = match redaction.mode {
        RedactionMode::Drop => (
            drops_required(&tool.output_schema, &rules),
            "requires",
            "mask the field, or name one that is not required",
        ),
        RedactionMode::Mask | RedactionMode::Hash | RedactionMode::Tokenize => (
            breaks_forms(&tool.output_schema, &rules),
            "gives a fixed form (enum, const, format or pattern)",
            "drop the field if it is not required, or name another one",
        ),
    };
    let first = paths.first()?;
    Some(Diagnostic {
        line: placed.line,
        column: placed.column,
        severity: Severity::Error,
        message: format!(
            "the rule `{}` would {} `{first}`, which the output schema of `{}` {why}",
            redaction.rule,
            redaction.mode.as_str(),
            tool.name
        ),
        remedy: remedy.to_owned(),
    })
}

const fn mode(mode: RedactionMode) -> Mode {
    match mode {
        RedactionMode::Mask => Mode::Mask,
        RedactionMode::Hash => Mode::Hash,
        RedactionMode::Tokenize => Mode::Tokenize,
        RedactionMode::Drop => Mode::Drop,
    }
}
