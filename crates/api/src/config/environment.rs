//! The `PORTCULLIS_*` variables: which there are, and how each lies over the file.
//!
//! The list is closed. A variable of this prefix that is not in it stops the start, since a
//! misspelt limit that is silently ignored is a limit that does not hold.

use std::path::PathBuf;

use nix::unistd::Uid;
use portcullis_domain::Pool;
use toml::{Table, Value};

use super::ConfigError;

/// The prefix of every variable.
const PREFIX: &str = "PORTCULLIS_";

/// Variables that the command line reads as a client; `serve` leaves them alone.
pub const CLIENT_VARIABLES: [&str; 3] = [
    "PORTCULLIS_SERVER",
    "PORTCULLIS_TOKEN_FILE",
    "PORTCULLIS_CA_FILE",
];

/// How a variable's text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Secret,
    Integer,
    Number,
    List,
    Flag,
}

/// One variable and the field that it lies over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The variable.
    pub name: String,
    /// The keys that lead to the field.
    pub path: Vec<&'static str>,
    kind: Kind,
}

const FIELDS: &[(&[&str], Kind)] = &[
    (&["profile"], Kind::Text),
    (&["server", "public_url"], Kind::Text),
    (&["server", "listen"], Kind::Text),
    (&["server", "tls", "certificate_file"], Kind::Text),
    (&["server", "tls", "private_key_file"], Kind::Text),
    (&["server", "tls", "listen"], Kind::Text),
    (&["server", "trusted_proxies"], Kind::List),
    (&["server", "allowed_origins"], Kind::List),
    (&["server", "allowed_hosts"], Kind::List),
    (&["server", "max_body_bytes"], Kind::Integer),
    (&["server", "max_head_bytes"], Kind::Integer),
    (&["server", "max_connections"], Kind::Integer),
    (&["server", "head_timeout_seconds"], Kind::Integer),
    (&["server", "body_timeout_seconds"], Kind::Integer),
    (&["server", "write_timeout_seconds"], Kind::Integer),
    (&["server", "call_timeout_seconds"], Kind::Integer),
    (&["server", "lame_duck_seconds"], Kind::Integer),
    (&["server", "drain_seconds"], Kind::Integer),
    (&["admin", "listen"], Kind::Text),
    (&["admin", "allowed_hosts"], Kind::List),
    (&["control", "app_url"], Kind::Secret),
    (&["control", "app_password_file"], Kind::Text),
    (&["control", "sweeper_url"], Kind::Secret),
    (&["control", "sweeper_password_file"], Kind::Text),
    (&["control", "owner_url"], Kind::Secret),
    (&["control", "owner_password_file"], Kind::Text),
    (&["control", "max_connections"], Kind::Integer),
    (&["keys", "file"], Kind::Text),
    (&["tokens", "lifetime_seconds"], Kind::Integer),
    (&["tokens", "network_prefix_v4"], Kind::Integer),
    (&["tokens", "network_prefix_v6"], Kind::Integer),
    (&["tokens", "requests_per_minute"], Kind::Integer),
    (&["tokens", "request_burst"], Kind::Integer),
    (&["admission", "principal_rpm"], Kind::Integer),
    (&["admission", "principal_burst"], Kind::Integer),
    (&["admission", "principal_concurrency"], Kind::Integer),
    (&["admission", "principal_daily_cost_usd"], Kind::Integer),
    (&["admission", "tenant_rpm"], Kind::Integer),
    (&["admission", "tenant_burst"], Kind::Integer),
    (&["admission", "tenant_concurrency"], Kind::Integer),
    (&["admission", "tenant_daily_cost_usd"], Kind::Integer),
    (&["admission", "max_plan_depth"], Kind::Integer),
    (&["admission", "max_retries"], Kind::Integer),
    (&["telemetry", "log_format"], Kind::Text),
    (&["telemetry", "log_level"], Kind::Text),
    (&["telemetry", "otlp", "endpoint"], Kind::Text),
    (&["telemetry", "otlp", "protocol"], Kind::Text),
    (&["telemetry", "otlp", "headers_file"], Kind::Text),
    (&["telemetry", "otlp", "ca_file"], Kind::Text),
    (&["telemetry", "otlp", "sampling_ratio"], Kind::Number),
    (
        &["telemetry", "otlp", "sampled_calls_per_second"],
        Kind::Integer,
    ),
    (
        &["telemetry", "otlp", "metrics_interval_seconds"],
        Kind::Integer,
    ),
];

const REGION_FIELDS: &[(&str, Kind)] = &[
    ("app_url", Kind::Secret),
    ("app_password_file", Kind::Text),
    ("recorder_url", Kind::Secret),
    ("recorder_password_file", Kind::Text),
    ("sweeper_url", Kind::Secret),
    ("sweeper_password_file", Kind::Text),
    ("owner_url", Kind::Secret),
    ("owner_password_file", Kind::Text),
    ("max_connections", Kind::Integer),
];

/// Variables with names of their own: what somebody types in an emergency is short.
const NAMED: &[(&str, &[&str], Kind)] =
    &[("PORTCULLIS_READ_ONLY", &["server", "read_only"], Kind::Flag)];

/// Every variable that lies over a field.
pub fn overrides() -> Vec<Override> {
    let plain = FIELDS.iter().map(|(path, kind)| (path.to_vec(), *kind));
    let regional = Pool::ALL.into_iter().flat_map(|pool| {
        REGION_FIELDS
            .iter()
            .map(move |(field, kind)| (vec!["regions", pool.as_str(), *field], *kind))
    });
    let named = NAMED.iter().map(|(name, path, kind)| Override {
        name: (*name).to_owned(),
        path: path.to_vec(),
        kind: *kind,
    });
    plain
        .chain(regional)
        .map(|(path, kind)| Override {
            name: variable(&path),
            path,
            kind,
        })
        .chain(named)
        .collect()
}

fn variable(path: &[&str]) -> String {
    let words = path.join("_").replace('-', "_").to_ascii_uppercase();
    format!("{PREFIX}{words}")
}

/// Where the local platform keeps its data: `/var/lib/portcullis` for root, whose home the
/// database server's user may not enter; otherwise `$XDG_DATA_HOME/portcullis` or
/// `$HOME/.local/share/portcullis` (XDG Base Directory). Nothing where neither is set.
pub fn default_data_folder() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from("/var/lib/portcullis"));
    }
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    // The standard: a relative path is to be ignored.
    let data = folder("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("portcullis"))
}

/// The folders in which programs are looked for.
pub fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// The variables of this prefix that are set.
#[derive(Debug, Default)]
pub struct Environment {
    set: Vec<(Override, String)>,
}

impl Environment {
    /// The process's own environment.
    ///
    /// # Errors
    /// A variable of the prefix is unknown or no UTF-8.
    pub fn of_process() -> Result<Self, ConfigError> {
        let of_prefix = std::env::vars_os()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let mut pairs = Vec::new();
        for (name, value) in of_prefix {
            let name = name.to_string_lossy().into_owned();
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::VariableValue {
                    name,
                    expected: "UTF-8 text",
                });
            };
            pairs.push((name, value));
        }
        Self::from_pairs(pairs)
    }

    /// From names and values; those of other prefixes are left alone.
    ///
    /// # Errors
    /// A variable of the prefix is unknown.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let known = overrides();
        let mut set = Vec::new();
        for (name, value) in pairs {
            if !name.starts_with(PREFIX) || CLIENT_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            match known.iter().find(|entry| entry.name == name) {
                Some(entry) => set.push((entry.clone(), value)),
                None => return Err(ConfigError::UnknownVariable { name }),
            }
        }
        Ok(Self { set })
    }

    /// The names of the variables that hold secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Override> {
        self.set
            .iter()
            .filter(|(entry, _)| entry.kind == Kind::Secret)
            .map(|(entry, _)| entry)
    }

    /// Lays the variables over the file's table.
    ///
    /// # Errors
    /// A value does not fit its field's kind.
    pub(super) fn lay_over(&self, table: &mut Table) -> Result<(), ConfigError> {
        for (entry, text) in &self.set {
            put(table, &entry.path, value_of(entry, text)?);
        }
        Ok(())
    }
}

fn value_of(entry: &Override, text: &str) -> Result<Value, ConfigError> {
    Ok(match entry.kind {
        Kind::Text | Kind::Secret => Value::String(text.to_owned()),
        // The parse error would repeat the rule below and could repeat the value.
        Kind::Integer => match text.parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                return Err(ConfigError::VariableValue {
                    name: entry.name.clone(),
                    expected: "a whole number",
                });
            }
        },
        Kind::Number => match text.parse::<f64>() {
            Ok(number) => Value::Float(number),
            Err(_) => {
                return Err(ConfigError::VariableValue {
                    name: entry.name.clone(),
                    expected: "a number",
                });
            }
        },
        Kind::Flag => match text {
            "1" | "true" => Value::Boolean(true),
            "0" | "false" => Value::Boolean(false),
            _ => {
                return Err(ConfigError::VariableValue {
                    name: entry.name.clone(),
                    expected: "1 or 0",
                });
            }
        },
        Kind::List => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
    })
}

/// Sets the field at `path`. A section that the file writes as something else than a table is left
/// as it is: reading it then says so.
fn put(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [] => {}
        [field] => {
            table.insert((*field).to_owned(), value);
        }
        [section, rest @ ..] => {
            let inner = table
                .entry((*section).to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
