//! Which fields a tool's schema declares as personal (`x-data-class`), compiled once a tool version.
//!
//! A declaration speaks of one kind at one path: there, findings of that kind are left to the policy.
//! Everything else stays guarded: other kinds in that field, properties of an object that bears a
//! class, and whatever a schema too large or too deep to compile would have declared.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::kind::{Kind, Kinds};
use crate::path::{Path, Step, pattern};
use crate::rule::{FieldRule, Mode, Rule};

/// The keyword of a schema that names the class of personal data.
const KEYWORD: &str = "x-data-class";
/// A schema nested more deeply declares nothing further down.
const MAX_DEPTH: usize = 32;
/// A schema that expands (by `$ref`) into more subschemas declares nothing after these.
const MAX_SCHEMAS: usize = 10_000;
/// A recursive schema is followed around this often; further down its fields count as undeclared.
const MAX_ROUNDS: usize = 8;
/// Keywords whose subschemas speak of the same value.
const SAME_VALUE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME_VALUE: [&str; 2] = ["then", "else"];

/// The declared fields of one schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    root: Node,
}

/// What is declared of one value and of those in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    classes: Vec<String>,
    kinds: Kinds,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    prefix: Vec<Node>,
}

impl Declared {
    /// Nothing is declared: the detectors guard everything.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Reads the declarations of a JSON Schema (2020-12); `$ref` is followed inside the document.
    pub fn from_schema(schema: &Map<String, Value>) -> Self {
        let mut compiler = Compiler {
            document: schema,
            open: Vec::new(),
            left: MAX_SCHEMAS,
        };
        let mut root = Node::default();
        compiler.read(schema, &mut root, 0);
        Self { root }
    }

    /// Each declared path as a pattern (`rows[].email`) with its classes.
    pub fn fields(&self) -> BTreeMap<String, Vec<String>> {
        let mut fields = BTreeMap::new();
        list(&self.root, None, &mut fields);
        fields
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl Node {
    pub(crate) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// The kind whose mask fits the field.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.classes.iter().find_map(|class| Kind::of_class(class))
    }

    pub(crate) fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        self.prefix.get(index).or(self.items.as_deref())
    }

    fn declares(&self) -> bool {
        *self != Self::default()
    }
}

fn list(node: &Node, path: Option<&Path<'_>>, fields: &mut BTreeMap<String, Vec<String>>) {
    if !node.classes.is_empty() {
        let steps = path.map(Path::steps).unwrap_or_default();
        fields.insert(pattern(&steps, str::to_owned), node.classes.clone());
    }
    for (name, child) in &node.properties {
        list(
            child,
            Some(&Path {
                parent: path,
                step: Step::Property(name),
            }),
            fields,
        );
    }
    if let Some(child) = &node.additional {
        list(
            child,
            Some(&Path {
                parent: path,
                step: Step::Property("*"),
            }),
            fields,
        );
    }
    for child in node.prefix.iter().chain(node.items.as_deref()) {
        list(
            child,
            Some(&Path {
                parent: path,
                step: Step::Item,
            }),
            fields,
        );
    }
}

/// Follows a local `$ref`: `#`, `#/$defs/address`.
fn resolve<'s>(
    document: &'s Map<String, Value>,
    reference: &str,
) -> Option<&'s Map<String, Value>> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(document);
    }
    let (first, rest) = pointer.strip_prefix('/')?.split_once('/')?;
    document
        .get(first)?
        .pointer(&format!("/{rest}"))?
        .as_object()
}

/// Whether a reference that is being followed may be followed once more.
fn may_follow(open: &[&str], reference: &str, rounds: usize) -> bool {
    open.iter()
        .filter(|followed| **followed == reference)
        .count()
        < rounds
}

struct Compiler<'s> {
    document: &'s Map<String, Value>,
    /// The references that are being followed.
    open: Vec<&'s str>,
    left: usize,
}

impl<'s> Compiler<'s> {
    fn read(&mut self, schema: &'s Map<String, Value>, node: &mut Node, depth: usize) {
        if depth > MAX_DEPTH || self.left == 0 {
            return;
        }
        self.left -= 1;
        match schema.get(KEYWORD) {
            Some(Value::String(class)) => class_of(class, node),
            Some(Value::Array(classes)) => {
                classes
                    .iter()
                    .filter_map(Value::as_str)
                    .for_each(|class| class_of(class, node));
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
        }
        self.same_value(schema, node, depth);
        self.properties(schema, node, depth);
        self.items(schema, node, depth);
    }

    fn same_value(&mut self, schema: &'s Map<String, Value>, node: &mut Node, depth: usize) {
        let document = self.document;
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
            && may_follow(&self.open, reference, MAX_ROUNDS)
            && let Some(target) = resolve(document, reference)
        {
            self.open.push(reference);
            self.read(target, node, depth + 1);
            self.open.pop();
        }
        let lists = SAME_VALUE_LISTS
            .iter()
            .filter_map(|keyword| schema.get(*keyword)?.as_array());
        let single = SAME_VALUE.iter().filter_map(|keyword| schema.get(*keyword));
        for part in lists.flatten().chain(single).filter_map(Value::as_object) {
            self.read(part, node, depth + 1);
        }
    }

    fn properties(&mut self, schema: &'s Map<String, Value>, node: &mut Node, depth: usize) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, part) in properties.into_iter().flatten() {
            if let Some(part) = part.as_object() {
                // A property that declares nothing is kept too, so that it hides what
                // `additionalProperties` declares.
                self.read(
                    part,
                    node.properties.entry(name.clone()).or_default(),
                    depth + 1,
                );
            }
        }
        if let Some(part) = schema
            .get("additionalProperties")
            .and_then(Value::as_object)
        {
            let mut child = node.additional.take().unwrap_or_default();
            self.read(part, &mut child, depth + 1);
            node.additional = child.declares().then_some(child);
        }
    }

    fn items(&mut self, schema: &'s Map<String, Value>, node: &mut Node, depth: usize) {
        let prefix = schema.get("prefixItems").and_then(Value::as_array);
        for (index, part) in prefix.into_iter().flatten().enumerate() {
            if node.prefix.len() <= index {
                node.prefix.push(Node::default());
            }
            if let (Some(part), Some(child)) = (part.as_object(), node.prefix.get_mut(index)) {
                self.read(part, child, depth + 1);
            }
        }
        if let Some(part) = schema.get("items").and_then(Value::as_object) {
            let mut child = node.items.take().unwrap_or_default();
            self.read(part, &mut child, depth + 1);
            node.items = child.declares().then_some(child);
        }
    }
}

fn class_of(class: &str, node: &mut Node) {
    if !node.classes.iter().any(|known| known == class) {
        node.classes.push(class.to_owned());
    }
    if let Some(kind) = Kind::of_class(class) {
        node.kinds = node.kinds.with(kind);
    }
}

/// The required properties of a schema that rules with the mode `drop` would take out, as patterns.
///
/// An answer without them would break the tool's own output schema, so publishing such a policy is an
/// error. A schema too large to search answers with the pattern `…`, since nobody can tell.
pub fn drops_required(schema: &Map<String, Value>, rules: &[FieldRule]) -> Vec<String> {
    let rules: Vec<Rule<'_>> = rules
        .iter()
        .filter(|rule| rule.mode == Mode::Drop)
        .map(Rule::new)
        .collect();
    // A path of n names cannot tell more than n rounds of a recursion apart.
    let rounds = rules.iter().map(|rule| rule.names.len()).max().unwrap_or(0);
    let mut search = Search {
        document: schema,
        rules: &rules,
        rounds,
        sought: Sought::Required,
        found: Vec::new(),
        left: MAX_SCHEMAS,
    };
    if !rules.is_empty() {
        search.read(schema, None, &mut Vec::new());
    }
    search.found()
}

/// The strings whose form a schema fixes (`enum`, `const`, `format`, `pattern`) and which rules with the
/// modes `mask`, `hash` and `tokenize` would replace by something of another form, as patterns.
///
/// As with [`drops_required`], publishing such a policy is an error, and `…` means that nobody can tell.
pub fn breaks_forms(schema: &Map<String, Value>, rules: &[FieldRule]) -> Vec<String> {
    let rules: Vec<Rule<'_>> = rules.iter().map(Rule::new).collect();
    let rounds = rules.iter().map(|rule| rule.names.len()).max().unwrap_or(0);
    let mut search = Search {
        document: schema,
        rules: &rules,
        rounds,
        sought: Sought::Formed,
        found: Vec::new(),
        left: MAX_SCHEMAS,
    };
    if !rules.is_empty() {
        search.read(schema, None, &mut Vec::new());
    }
    search.found()
}

/// What is looked for in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sought {
    /// Required properties that a rule speaks of.
    Required,
    /// Strings of a fixed form that a rule changes.
    Formed,
}

/// Whether a schema admits strings and says what they look like.
fn fixes_a_form(schema: &Map<String, Value>) -> bool {
    let string = |kind: &Value| kind == "string";
    let admits = schema.get("type").is_none_or(|kind| {
        string(kind)
            || kind
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(string))
    });
    let fixed = |keyword: &str| schema.contains_key(keyword);
    admits
        && ["enum", "const", "format", "pattern"]
            .into_iter()
            .any(fixed)
}

struct Search<'s> {
    document: &'s Map<String, Value>,
    rules: &'s [Rule<'s>],
    rounds: usize,
    sought: Sought,
    found: Vec<String>,
    left: usize,
}

impl<'s> Search<'s> {
    fn read(
        &mut self,
        schema: &'s Map<String, Value>,
        path: Option<&Path<'_>>,
        open: &mut Vec<&'s str>,
    ) {
        if self.left == 0 {
            self.found.push("…".to_owned());
            return;
        }
        self.left -= 1;
        match self.sought {
            Sought::Required => self.required(schema, path),
            Sought::Formed => self.formed(schema, path),
        }
        let document = self.document;
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
            && may_follow(open, reference, self.rounds)
            && let Some(target) = resolve(document, reference)
        {
            open.push(reference);
            self.read(target, path, open);
            open.pop();
        }
        let lists = SAME_VALUE_LISTS
            .iter()
            .filter_map(|keyword| schema.get(*keyword)?.as_array());
        let single = SAME_VALUE.iter().filter_map(|keyword| schema.get(*keyword));
        for part in lists.flatten().chain(single).filter_map(Value::as_object) {
            self.read(part, path, open);
        }
        self.children(schema, path, open);
    }

    /// Required properties that a rule speaks of.
    fn required(&mut self, schema: &Map<String, Value>, path: Option<&Path<'_>>) {
        let names = schema.get("required").and_then(Value::as_array);
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            let here = Path {
                parent: path,
                step: Step::Property(name),
            };
            if here.rule(self.rules).is_some() {
                self.found.push(pattern(&here.steps(), str::to_owned));
            }
        }
    }

    /// A string here whose form is fixed, if a rule changes it or what it stands in. What a rule drops
    /// has no form any more.
    fn formed(&mut self, schema: &Map<String, Value>, path: Option<&Path<'_>>) {
        let Some(here) = path.filter(|_| fixes_a_form(schema)) else {
            return;
        };
        let upwards = std::iter::successors(Some(here), |path| path.parent);
        let strongest = upwards
            .filter_map(|path| path.rule(self.rules))
            .map(|rule| rule.mode)
            .max();
        if strongest.is_some_and(|mode| mode != Mode::Drop) {
            self.found.push(pattern(&here.steps(), str::to_owned));
        }
    }

    /// What was found, each once.
    fn found(mut self) -> Vec<String> {
        self.found.sort();
        self.found.dedup();
        self.found
    }

    fn children(
        &mut self,
        schema: &'s Map<String, Value>,
        path: Option<&Path<'_>>,
        open: &mut Vec<&'s str>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, part) in properties.into_iter().flatten() {
            if let Some(part) = part.as_object() {
                self.read(
                    part,
                    Some(&Path {
                        parent: path,
                        step: Step::Property(name),
                    }),
                    open,
                );
            }
        }
        let items = schema.get("items").into_iter();
        let prefix = schema
            .get("prefixItems")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for part in items.chain(prefix).filter_map(Value::as_object) {
            self.read(
                part,
                Some(&Path {
                    parent: path,
                    step: Step::Item,
                }),
                open,
            );
        }
    }
}
