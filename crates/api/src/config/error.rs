//! What can be wrong with a configuration. Messages name fields and rules, never secret values.

use std::fmt;
use std::path::PathBuf;

/// One value outside its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, `server.public_url`.
    pub field: String,
    /// What must hold.
    pub rule: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.field, self.rule, self.remedy)
    }
}

/// A configuration that nothing starts with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error(
        "the configuration file {path} cannot be read: {source}. Name a readable file with --config"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no TOML, or a key or a type is wrong.
    #[error("the configuration cannot be understood: {0}")]
    Malformed(String),
    /// A variable that means nothing.
    #[error(
        "{name} is no setting of Portcullis. Remove it, or correct its name (.env.example lists all)"
    )]
    UnknownVariable {
        /// The variable's name.
        name: String,
    },
    /// A variable whose value does not fit its field.
    #[error("{name} must be {expected}. Correct its value, or unset it")]
    VariableValue {
        /// The variable's name.
        name: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Values outside their rules.
    #[error("the configuration breaks {} rule(s):{}", .0.len(), list(.0))]
    Violations(Vec<Violation>),
    /// A password file is not there or not readable.
    #[error("{field}: {path} cannot be read: {source}. Make the file readable for this user alone")]
    PasswordFile {
        /// The field that names the file.
        field: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is a password file, but the URL has no place for a password.
    #[error(
        "{field}: the URL beside it names no host, so no password can go with it. Write one, \
             such as postgres://role@localhost/database?host=/path/of/the/socket"
    )]
    PasswordPlace {
        /// The field that names the file.
        field: String,
    },
}

fn list(violations: &[Violation]) -> String {
    violations.iter().fold(String::new(), |text, violation| {
        text + "\n  - " + &violation.to_string()
    })
}
