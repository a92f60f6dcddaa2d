//! One tool version, checked and compiled.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use portcullis_domain::ToolDefinition;
use portcullis_evidence::{CanonicalError, Digest, canonical_bytes};
use portcullis_redaction::Declared;
use serde_json::{Map, Value};

use super::schema::{self, SchemaFault};
use super::ticket::TicketArgument;

/// Why a definition was refused.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The name does not follow MCP's rule.
    #[error("`name` must be 1 to 128 characters of A-Z a-z 0-9 _ . -")]
    Name,
    /// A text that people and models need is missing.
    #[error("`{field}` must not be empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A schema breaks a rule.
    #[error("`{field}`{fault}")]
    Schema {
        /// `inputSchema` or `outputSchema`.
        field: &'static str,
        /// What is wrong.
        #[source]
        fault: SchemaFault,
    },
    /// A schema is not valid JSON Schema 2020-12.
    #[error("`{field}` is not a valid JSON Schema 2020-12 document: {reason}")]
    Invalid {
        /// `inputSchema` or `outputSchema`.
        field: &'static str,
        /// The validator's words.
        reason: String,
    },
    /// An example that the tool's own schema refuses.
    #[error("the example `{title}` does not fit the tool's own schema: {violation}")]
    Example {
        /// The example's title.
        title: String,
        /// What is wrong.
        violation: Violation,
    },
    /// No example at all.
    #[error("a tool needs at least one example that its schema accepts")]
    NoExample,
    /// The cost can exceed its own maximum.
    #[error("`cost.micro_usd` must not exceed `cost.max_micro_usd`")]
    Cost,
    /// The definition has no canonical form.
    #[error("the definition cannot be written as canonical JSON")]
    Canonical(#[source] CanonicalError),
}

/// What is wrong with a value, in words that repeat none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Violation {
    /// The argument, as a dotted path; `arguments` for the whole.
    pub field: String,
    /// The rule that it breaks.
    pub rule: String,
    /// The schema's keyword.
    pub keyword: String,
}

/// A tool version, ready for calls.
#[derive(Debug)]
pub struct CompiledTool {
    /// The definition as registered.
    pub definition: ToolDefinition,
    /// SHA-256 of the definition's canonical JSON (RFC 8785).
    pub sha256: Digest,
    /// The fields of the result that policy governs.
    pub declared_output: Declared,
    /// The argument that names a change ticket, if the tool has one.
    pub ticket: Option<TicketArgument>,
    input: Validator,
    output: Validator,
}

impl CompiledTool {
    /// Checks and compiles a definition.
    ///
    /// # Errors
    /// Names the field and the rule that the definition breaks.
    pub fn new(definition: ToolDefinition) -> Result<Self, DefinitionError> {
        check_texts(&definition)?;
        let input = compile("inputSchema", &definition.input_schema)?;
        let output = compile("outputSchema", &definition.output_schema)?;
        if schema::mentions(&Value::Object(definition.output_schema.clone()), "x-ticket") {
            return Err(DefinitionError::Schema {
                field: "outputSchema",
                fault: SchemaFault::Ticket {
                    pointer: String::new(),
                    rule: "a result names no ticket".to_owned(),
                },
            });
        }
        let ticket = TicketArgument::read(&definition)?;
        let sha256 = canonical_bytes(&definition)
            .map_err(DefinitionError::Canonical)?
            .sha256();
        let tool = Self {
            declared_output: Declared::from_schema(&definition.output_schema),
            ticket,
            definition,
            sha256,
            input,
            output,
        };
        for example in &tool.definition.examples {
            let mut arguments = example.arguments.clone();
            tool.fill_defaults(&mut arguments);
            tool.check_arguments(&Value::Object(arguments))
                .map_err(|violation| DefinitionError::Example {
                    title: example.title.clone(),
                    violation,
                })?;
        }
        Ok(tool)
    }

    /// Writes the schema's defaults into absent arguments.
    pub fn fill_defaults(&self, arguments: &mut Map<String, Value>) {
        schema::fill_defaults(&self.definition.input_schema, arguments);
    }

    /// Checks arguments against the input schema, formats included.
    ///
    /// # Errors
    /// Returns the first violation. An unknown field is named before anything else.
    pub fn check_arguments(&self, arguments: &Value) -> Result<(), Violation> {
        if self.input.is_valid(arguments) {
            return Ok(());
        }
        // One by one and never all of them: a caller's megabyte can hold half a million mistakes.
        if let Some(unknown) = self.unknown_field(arguments) {
            return Err(unknown);
        }
        self.input.validate(arguments).map_err(violation)
    }

    fn unknown_field(&self, arguments: &Value) -> Option<Violation> {
        let declared = self
            .definition
            .input_schema
            .get("properties")?
            .as_object()?;
        let name = arguments
            .as_object()?
            .keys()
            .find(|name| !declared.contains_key(*name))?;
        let field: String = name.chars().take(64).collect();
        Some(Violation {
            rule: format!("unknown field `{field}`; leave it out"),
            field,
            keyword: "additionalProperties".to_owned(),
        })
    }

    /// Checks a redacted result against the output schema.
    ///
    /// # Errors
    /// Returns the first violation.
    pub fn check_output(&self, output: &Value) -> Result<(), Violation> {
        if self.output.is_valid(output) {
            return Ok(());
        }
        self.output.validate(output).map_err(violation)
    }
}

fn check_texts(definition: &ToolDefinition) -> Result<(), DefinitionError> {
    let name = &definition.name;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(allowed) {
        return Err(DefinitionError::Name);
    }
    for (field, text) in [
        ("title", &definition.title),
        ("description", &definition.description),
    ] {
        if text.trim().is_empty() {
            return Err(DefinitionError::Empty { field });
        }
    }
    if definition.examples.is_empty() {
        return Err(DefinitionError::NoExample);
    }
    if definition.cost.micro_usd > definition.cost.max_micro_usd {
        return Err(DefinitionError::Cost);
    }
    Ok(())
}

pub(super) fn compile(
    field: &'static str,
    map: &Map<String, Value>,
) -> Result<Validator, DefinitionError> {
    schema::check(map).map_err(|fault| DefinitionError::Schema { field, fault })?;
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&Value::Object(map.clone()))
        .map_err(|error| DefinitionError::Invalid {
            field,
            reason: error.to_string(),
        })
}

pub(super) fn violation(error: ValidationError<'_>) -> Violation {
    let path = error.instance_path().to_string();
    let field = path.trim_start_matches('/').replace('/', ".");
    let keyword = error.kind().keyword().to_owned();
    let (member, rule) =
        missing_or_unknown(error.kind()).unwrap_or_else(|| (None, rule_of(error.kind(), &keyword)));
    let field = match (field.is_empty(), member) {
        (true, None) => "arguments".to_owned(),
        (true, Some(member)) => member,
        (false, None) => field,
        (false, Some(member)) => format!("{field}.{member}"),
    };
    Violation {
        field,
        rule,
        keyword,
    }
}

/// Rules about a property that should, or should not, be there. Its name is the caller's own.
fn missing_or_unknown(kind: &ValidationErrorKind) -> Option<(Option<String>, String)> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other rules are about a value"
    )]
    match kind {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let name: String = unexpected.first()?.chars().take(64).collect();
            let rule = format!("unknown field `{name}`; leave it out");
            Some((Some(name), rule))
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str()?.to_owned();
            let rule = format!("`{name}` is required");
            Some((Some(name), rule))
        }
        _ => None,
    }
}

fn rule_of(kind: &ValidationErrorKind, keyword: &str) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the validator's list of rules is open; those without own words get the schema's"
    )]
    match kind {
        ValidationErrorKind::Type { kind } => format!("must be of type {}", type_names(kind)),
        ValidationErrorKind::Enum { options } => format!("must be one of {options}"),
        ValidationErrorKind::Format { format } => format!("must be a valid `{format}`"),
        ValidationErrorKind::Pattern { pattern } => format!("must match {pattern}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::MaxLength { limit } => {
            format!("must be at most {limit} characters long")
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("must be at least {limit} characters long")
        }
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::UniqueItems => "must not repeat an item".to_owned(),
        _ => format!("breaks the schema's rule `{keyword}`"),
    }
}

fn type_names(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => one.to_string(),
        jsonschema::error::TypeKind::Multiple(several) => several
            .iter()
            .map(|one| one.to_string())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::native;
    use serde_json::json;

    fn export() -> CompiledTool {
        let definition = native::definitions()
            .into_iter()
            .find(|tool| tool.name == "orders.export");
        CompiledTool::new(definition.unwrap()).unwrap()
    }

    fn refusal(arguments: Value) -> String {
        export()
            .check_arguments(&arguments)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_native_tool_keeps_the_rules() {
        for definition in native::definitions() {
            CompiledTool::new(definition).unwrap();
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name_before_anything_else() {
        let text = refusal(json!({"from": 3, "evil": "oops"}));
        assert_eq!(text, "evil: unknown field `evil`; leave it out");
    }

    #[test]
    fn formats_are_really_checked() {
        let text = refusal(json!({"from": "2025-02-30", "to": "2025-03-01"}));
        assert_eq!(text, "from: must be a valid `date`");
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(
            refusal(json!({"from": "2025-08-25"})),
            "to: `to` is required"
        );
    }

    #[test]
    fn a_refusal_repeats_no_value() {
        let text = refusal(json!({"from": "dana@example.com", "to": "2025-08-31"}));
        assert!(!text.contains("dana"));
    }

    #[test]
    fn an_example_that_its_schema_refuses_is_refused() {
        let mut definition = native::definitions().remove(0);
        definition.examples[0]
            .arguments
            .insert("evil".into(), json!(1));
        let error = CompiledTool::new(definition).unwrap_err();
        assert!(error.to_string().contains("evil"));
    }

    #[test]
    fn a_changed_definition_has_another_hash() {
        let mut definition = native::definitions().remove(0);
        let before = CompiledTool::new(definition.clone()).unwrap().sha256;
        definition.description.push('!');
        assert_ne!(CompiledTool::new(definition).unwrap().sha256, before);
    }
}
