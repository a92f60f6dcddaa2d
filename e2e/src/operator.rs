//! The operator file that `up` writes into its data directory: who may do what on this machine.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// What the operator file says.
#[derive(Debug, Clone)]
pub struct Operator {
    file: Value,
}

impl Operator {
    /// Reads the file of a data directory.
    ///
    /// # Errors
    /// It is not there or is no JSON.
    pub fn read(data: &Path) -> Result<Self> {
        let path = data.join("operator.json");
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let file = serde_json::from_slice(&text).context("read the operator file")?;
        Ok(Self { file })
    }

    /// The server's public URL.
    ///
    /// # Errors
    /// The file does not say.
    pub fn server(&self) -> Result<String> {
        self.text("/server")
    }

    /// A service token of the role `platform`.
    ///
    /// # Errors
    /// The file does not say.
    pub fn platform_token(&self) -> Result<String> {
        self.text("/platform_token")
    }

    /// A service token of the role `owner` in a tenant.
    ///
    /// # Errors
    /// The file does not say.
    pub fn owner_token(&self, tenant: &str) -> Result<String> {
        self.text(&format!("/tenants/{tenant}/owner_token"))
    }

    /// The OAuth client id and secret of a tenant's principal.
    ///
    /// # Errors
    /// The file does not say.
    pub fn client(&self, tenant: &str, principal: &str) -> Result<(String, String)> {
        let at = format!("/tenants/{tenant}/clients/{principal}");
        Ok((
            self.text(&format!("{at}/client_id"))?,
            self.text(&format!("{at}/client_secret"))?,
        ))
    }

    /// Every secret in the file, for looking where none may be.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.file, &mut found);
        found
    }

    fn text(&self, pointer: &str) -> Result<String> {
        self.file
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(|| format!("the operator file has no {pointer}"))
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("pst_") || text.starts_with("pcs_") => {
            found.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
