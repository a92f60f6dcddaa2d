//! From the file's text and the environment to a checked configuration.

use std::path::Path;

use serde::Deserialize;
use toml::Table;

use super::{Config, ConfigError, Environment, check};

/// Reads and checks a configuration file with the environment laid over it.
///
/// # Errors
/// See [`ConfigError`]: every message names the field and what to do.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, environment)
}

/// Reads and checks a configuration's text with the environment laid over it.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, environment: &Environment) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error| syntax(&error))?;
    environment.lay_over(&mut table)?;
    let config = Config::deserialize(toml::Value::Table(table)).map_err(|error| shape(&error))?;
    let violations = check::violations(&config, environment);
    if violations.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Violations(violations))
    }
}

/// Where the text stops being TOML. The line itself is not repeated: it may hold a password.
fn syntax(error: &toml::de::Error) -> ConfigError {
    let at = error
        .span()
        .map(|span| format!(" (at byte {})", span.start))
        .unwrap_or_default();
    ConfigError::Malformed(format!("it is no TOML: {}{at}", error.message()))
}

/// Which key is unknown or of the wrong type.
fn shape(error: &toml::de::Error) -> ConfigError {
    ConfigError::Malformed(error.to_string().trim_end().replace('\n', " "))
}
