//! What a replica knows of a tenant while it serves it: catalog, policy, grants, limits.
//!
//! A snapshot is immutable and consistent (loaded in one repeatable-read transaction at one epoch).
//! A call sees exactly one; its record names the epoch. Postgres is the truth: nothing here is ever
//! written back.

mod cache;
mod compile;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_domain::id::{DataKey as DataKeyKind, Id, PolicyVersion, Principal, Tenant, Ticket};
use portcullis_domain::{Jurisdiction, Limits, Pool, PrincipalName, ReplayMode, Scope, StopRules};
use portcullis_evidence::Digest;
use portcullis_keys::DataKey;
use portcullis_policy::Policy;
use time::OffsetDateTime;

pub use cache::{Freshness, SnapshotError, Snapshots};
pub use compile::CompileError;
pub use watch::watch;

use crate::catalog::CompiledTool;
use crate::connectors::Binding;

/// What holds where neither a principal nor its tenant has limits of its own.
#[derive(Debug, Clone, Copy)]
pub struct DefaultLimits {
    /// Of a principal.
    pub principal: Limits,
    /// Of a tenant as a whole.
    pub tenant: Limits,
    /// When a plan has to stop.
    pub stop_rules: StopRules,
}

/// A tenant at one epoch.
#[derive(Debug)]
pub struct TenantSnapshot {
    /// The tenant.
    pub id: Id<Tenant>,
    /// Its name in URLs.
    pub slug: String,
    /// Its home pool.
    pub home: Pool,
    /// What a second use of a token means.
    pub replay: ReplayMode,
    /// The epoch of the control database that this snapshot was read at.
    pub epoch: i64,
    /// Encrypts the tenant's recorded arguments and answers.
    pub(crate) data_key: TenantKey,
    /// Tools that are enabled, by name.
    pub(crate) tools: HashMap<String, CatalogEntry>,
    /// The policy in force; without one, everything is denied.
    pub(crate) policy: Option<PublishedPolicy>,
    pub(crate) principals: HashMap<PrincipalName, PrincipalEntry>,
    /// Change tickets that were open when the snapshot was read.
    pub(crate) tickets: HashMap<Id<Ticket>, OpenTicket>,
    pub(crate) limits: HashMap<Id<Principal>, (Limits, StopRules)>,
    pub(crate) tenant_limits: Limits,
    pub(crate) default_limits: DefaultLimits,
}

/// The key of a tenant's recorded arguments and answers.
#[derive(Debug)]
pub(crate) struct TenantKey {
    pub(crate) id: Id<DataKeyKind>,
    pub(crate) key: DataKey,
}

/// A tool in a tenant's catalog.
#[derive(Debug)]
pub(crate) struct CatalogEntry {
    pub(crate) tool: Arc<CompiledTool>,
    pub(crate) version: u64,
    pub(crate) binding: Binding,
}

/// A policy version, compiled.
#[derive(Debug)]
pub(crate) struct PublishedPolicy {
    pub(crate) id: Id<PolicyVersion>,
    pub(crate) number: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) policy: Policy,
}

/// A principal and what it may ask for.
#[derive(Debug)]
pub(crate) struct PrincipalEntry {
    pub(crate) id: Id<Principal>,
    pub(crate) active: bool,
    pub(crate) region: Jurisdiction,
    pub(crate) grants: Vec<LiveGrant>,
}

/// A grant that was not revoked when the snapshot was read.
#[derive(Debug)]
pub(crate) struct LiveGrant {
    pub(crate) scope: Scope,
    pub(crate) purpose: Option<String>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

/// A change ticket that nobody had closed when the snapshot was read.
#[derive(Debug)]
pub(crate) struct OpenTicket {
    /// Of its tool and the values that it binds; the values themselves are not held.
    pub(crate) fingerprint: Digest,
    pub(crate) expires_at: OffsetDateTime,
}

impl LiveGrant {
    /// Whether the grant counts at a time, for a token's purpose.
    pub(crate) fn holds(&self, now: OffsetDateTime, purpose: Option<&str>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
            && self
                .purpose
                .as_deref()
                .is_none_or(|needed| Some(needed) == purpose)
    }
}

impl TenantSnapshot {
    /// Whether a principal exists and is not suspended.
    pub fn is_active(&self, name: &PrincipalName) -> bool {
        self.principals.get(name).is_some_and(|entry| entry.active)
    }

    /// The limits of the tenant as a whole.
    pub const fn tenant_limits(&self) -> Limits {
        self.tenant_limits
    }

    /// The limits of one principal: its own, else those of a new principal.
    pub fn limits(&self, principal: Id<Principal>) -> Limits {
        self.limits
            .get(&principal)
            .map_or(self.default_limits.principal, |own| own.0)
    }

    /// The stop rules of one principal: its own, else those of a new principal.
    pub fn stop_rules(&self, principal: Id<Principal>) -> StopRules {
        self.limits
            .get(&principal)
            .map_or(self.default_limits.stop_rules, |own| own.1)
    }
}
