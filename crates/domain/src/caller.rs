//! Who is calling, as room 1 proved it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::id::{Id, Principal, Tenant};
use crate::principal::PrincipalName;
use crate::region::{Jurisdiction, Pool};
use crate::scope::Scope;

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant whose URL was called and whose audience the token names.
    pub tenant: Id<Tenant>,
    /// The tenant's name in URLs.
    pub tenant_slug: String,
    /// The tenant's home pool.
    pub home: Pool,
    /// The principal's id.
    pub principal: Id<Principal>,
    /// The principal's name, the token's `sub`.
    pub name: PrincipalName,
    /// The scopes of the token.
    pub scopes: BTreeSet<Scope>,
    /// The token's purpose, if it states one.
    pub purpose: Option<String>,
    /// Whose law the caller falls under.
    pub region: Jurisdiction,
    /// How the caller proved itself.
    pub auth: AuthStrength,
    /// When the token stops being valid.
    pub expires_at: OffsetDateTime,
}

/// The strongest thing that the request proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthStrength {
    /// A bearer token, bound to the client's network at first use.
    Bearer,
    /// A bearer token that is spent by its first use.
    OneTime,
}

impl AuthStrength {
    /// The name used in policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::OneTime => "one-time",
        }
    }
}
