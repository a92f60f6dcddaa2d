//! From rows to a snapshot: tools and policy are checked again and compiled, the data key unwrapped.
//!
//! A policy that does not load is a fault of the whole tenant, never a rule less: leaving out a deny
//! rule would allow. A tool that does not compile is left out: then nobody can call it.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_domain::id::{DataKey as DataKeyKind, Id, Tenant, Ticket};
use portcullis_domain::{Clock, HttpToolConfig, ToolDefinition};
use portcullis_egress::Allowlist;
use portcullis_evidence::Digest;
use portcullis_keys::entropy::EntropyError;
use portcullis_keys::{Aad, DataKey, EnvelopeError, LocalKeys, WrappedKey, entropy};
use portcullis_policy::ToolShape;
use portcullis_store::policies::PolicyRow;
use portcullis_store::principals::PrincipalStatus;
use portcullis_store::snapshot::SnapshotRows;
use portcullis_store::tickets::TicketRow;
use portcullis_store::tools::ToolRow;
use portcullis_store::{ControlStore, StoreError, data_keys};

use super::{
    CatalogEntry, DefaultLimits, LiveGrant, OpenTicket, PrincipalEntry, PublishedPolicy, TenantKey,
    TenantSnapshot,
};
use crate::catalog::{CompiledTool, DefinitionError, ticket};
use crate::connectors::destination::{Lists, Reach};
use crate::connectors::http::{ConfigFault, HTTP, HttpTool};
use crate::connectors::{Binding, NATIVE};

/// What the data key encrypts, in its row and in what it wraps.
const PURPOSE: &str = "call_inputs";
/// The use that the wrapped key is bound to.
const WRAP_USAGE: &str = "data_keys.wrapped";

/// Why a tenant's configuration does not compile.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A tool's definition is not JSON of this form.
    #[error("the definition of the tool {tool} cannot be read")]
    Definition {
        /// The tool.
        tool: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A tool's definition breaks a rule.
    #[error("the definition of the tool {tool} is refused")]
    Tool {
        /// The tool.
        tool: String,
        /// What is wrong.
        #[source]
        source: DefinitionError,
    },
    /// A tool of a connector that has to be told how to call it, and is not.
    #[error("the tool {0} has no configuration for its connector")]
    NoConfig(String),
    /// A tool's configuration breaks a rule.
    #[error("the configuration of the tool {tool} is refused")]
    Config {
        /// The tool.
        tool: String,
        /// What is wrong.
        #[source]
        source: ConfigFault,
    },
    /// A definition is not the one whose hash was registered.
    #[error("the definition of the tool {0} does not have the hash it was registered with")]
    Changed(String),
    /// The published policy does not load against the tools.
    #[error("the published policy does not load: {0}")]
    Policy(String),
    /// The tenant's data key could not be made or read.
    #[error("the tenant's data key cannot be used")]
    Key(#[source] EnvelopeError),
    /// There were no random bytes for a new data key.
    #[error("no random bytes for a data key")]
    Entropy(#[source] EntropyError),
    /// The control database failed.
    #[error("the tenant's data key could not be read")]
    Store(#[source] StoreError),
}

/// Compiled tools by the hash of their definition: tenants that use the same definition share it.
pub(super) type ToolCache = moka::sync::Cache<[u8; 32], Arc<CompiledTool>>;

/// What compiling needs.
pub(super) struct Compiler<'a> {
    pub(super) control: &'a ControlStore,
    pub(super) keys: &'a LocalKeys,
    pub(super) clock: &'a dyn Clock,
    pub(super) tools: &'a ToolCache,
    pub(super) default_limits: DefaultLimits,
}

impl Compiler<'_> {
    /// Compiles a tenant's rows.
    pub(super) async fn compile(&self, rows: SnapshotRows) -> Result<TenantSnapshot, CompileError> {
        let id = rows.tenant.id;
        let data_key = self.data_key(id).await?;
        let tools = self.catalog(&rows);
        let policy = rows
            .policy
            .as_ref()
            .map(|row| policy(row, &tools))
            .transpose()?;
        let mut limits = HashMap::new();
        for own in rows.principal_limits {
            if let Some(principal) = own.principal {
                limits.insert(principal, (own.limits, own.stop_rules));
            }
        }
        let mut grants: HashMap<_, Vec<_>> = HashMap::new();
        for grant in rows.grants {
            let live = LiveGrant {
                scope: grant.scope,
                purpose: grant.purpose,
                expires_at: grant.expires_at,
            };
            grants.entry(grant.principal).or_default().push(live);
        }
        let principals = rows
            .principals
            .into_iter()
            .map(|row| {
                let entry = PrincipalEntry {
                    id: row.id,
                    active: row.status == PrincipalStatus::Active,
                    region: row.region,
                    grants: grants.remove(&row.id).unwrap_or_default(),
                };
                (row.name, entry)
            })
            .collect();
        Ok(TenantSnapshot {
            id,
            slug: rows.tenant.slug,
            home: rows.tenant.home_pool,
            replay: rows.tenant.replay,
            epoch: rows.epoch,
            data_key,
            tools,
            policy,
            principals,
            tickets: tickets(&rows.tickets),
            limits,
            tenant_limits: rows
                .tenant_limits
                .map_or(self.default_limits.tenant, |own| own.limits),
            default_limits: self.default_limits,
        })
    }

    fn catalog(&self, rows: &SnapshotRows) -> HashMap<String, CatalogEntry> {
        let mut catalog = HashMap::new();
        // A list that cannot be read lists nobody.
        let lists = rows.egress_allowlist.as_ref();
        let lists = lists.map_or_else(Lists::default, |row| {
            Lists::read(&row.hosts, &row.tools).unwrap_or_default()
        });
        for row in rows.tools.iter().filter(|row| row.enabled) {
            match self.entry(row, &rows.tenant.slug, &lists.of(&row.name)) {
                Ok(entry) => {
                    catalog.insert(row.name.clone(), entry);
                }
                Err(error) => {
                    let error = crate::chain(&error);
                    tracing::error!(tool = row.name, %error, "a tool is left out");
                }
            }
        }
        catalog
    }

    fn entry(
        &self,
        row: &ToolRow,
        tenant: &str,
        allowlist: &Allowlist,
    ) -> Result<CatalogEntry, CompileError> {
        let tool = self.tool(row)?;
        let config = if row.connector == HTTP {
            Some(Arc::new(http_tool(row, &tool, tenant, allowlist)?))
        } else {
            None
        };
        let reach = (row.connector == NATIVE && !tool.definition.egress.is_empty()).then(|| {
            Arc::new(Reach {
                tenant: tenant.to_owned(),
                allowlist: allowlist.clone(),
            })
        });
        Ok(CatalogEntry {
            tool,
            version: u64::try_from(row.current_version).unwrap_or(0),
            binding: Binding {
                connector: Arc::from(row.connector.as_str()),
                config,
                reach,
            },
        })
    }

    fn tool(&self, row: &ToolRow) -> Result<Arc<CompiledTool>, CompileError> {
        let stored = Digest::of(row.definition.as_bytes());
        let known = self.tools.get(&row.sha256).filter(|tool| {
            stored == Digest::from_bytes(row.sha256) && tool.definition.name == row.name
        });
        if let Some(tool) = known {
            return Ok(tool);
        }
        let definition: ToolDefinition =
            serde_json::from_str(&row.definition).map_err(|source| CompileError::Definition {
                tool: row.name.clone(),
                source,
            })?;
        let tool = CompiledTool::new(definition).map_err(|source| CompileError::Tool {
            tool: row.name.clone(),
            source,
        })?;
        if tool.sha256 != Digest::from_bytes(row.sha256) || tool.definition.name != row.name {
            return Err(CompileError::Changed(row.name.clone()));
        }
        let tool = Arc::new(tool);
        self.tools.insert(row.sha256, Arc::clone(&tool));
        Ok(tool)
    }

    /// The tenant's data key; made at the tenant's first use. Two replicas that make one at once
    /// agree on the row that was first.
    pub(super) async fn data_key(&self, tenant: Id<Tenant>) -> Result<TenantKey, CompileError> {
        let mut tx = self
            .control
            .begin(tenant)
            .await
            .map_err(CompileError::Store)?;
        let found = data_keys::current(&mut tx, PURPOSE)
            .await
            .map_err(CompileError::Store)?;
        let row = if let Some(row) = found {
            row
        } else {
            let now = self.clock.now();
            let random = entropy::random().map_err(CompileError::Entropy)?;
            let id: Id<DataKeyKind> = Id::mint(now, random);
            let fresh = DataKey::generate().map_err(CompileError::Key)?;
            let wrapped = self
                .keys
                .wrap(&aad(tenant, &id), &fresh)
                .map_err(CompileError::Key)?;
            data_keys::insert_if_none(&mut tx, id, PURPOSE, wrapped.as_bytes(), now)
                .await
                .map_err(CompileError::Store)?
        };
        tx.commit().await.map_err(CompileError::Store)?;
        let wrapped = WrappedKey::from_row(row.wrapped);
        let key = self
            .keys
            .unwrap(&aad(tenant, &row.id), &wrapped)
            .map_err(CompileError::Key)?;
        Ok(TenantKey { id: row.id, key })
    }
}

/// Tickets by id. One that cannot be read is left out: then it opens nothing.
fn tickets(rows: &[TicketRow]) -> HashMap<Id<Ticket>, OpenTicket> {
    rows.iter()
        .filter_map(|row| {
            let bound = serde_json::from_str(&row.arguments).ok()?;
            let open = OpenTicket {
                fingerprint: ticket::fingerprint(&row.tool, &bound)?,
                expires_at: row.expires_at,
            };
            Some((row.id, open))
        })
        .collect()
}

fn aad(tenant: Id<Tenant>, id: &Id<DataKeyKind>) -> Aad<'_> {
    Aad {
        tenant,
        usage: WRAP_USAGE,
        row: id.as_bytes(),
    }
}

/// A tool of the `http` connector, its configuration checked again.
fn http_tool(
    row: &ToolRow,
    tool: &CompiledTool,
    tenant: &str,
    allowlist: &Allowlist,
) -> Result<HttpTool, CompileError> {
    let stored = row
        .config
        .as_ref()
        .ok_or_else(|| CompileError::NoConfig(row.name.clone()))?;
    if Digest::of(stored.config.as_bytes()) != Digest::from_bytes(stored.sha256) {
        return Err(CompileError::Changed(row.name.clone()));
    }
    let config: HttpToolConfig =
        serde_json::from_str(&stored.config).map_err(|source| CompileError::Definition {
            tool: row.name.clone(),
            source,
        })?;
    HttpTool::new(&tool.definition, &config, tenant, allowlist).map_err(|source| {
        CompileError::Config {
            tool: row.name.clone(),
            source,
        }
    })
}

fn policy(
    row: &PolicyRow,
    tools: &HashMap<String, CatalogEntry>,
) -> Result<PublishedPolicy, CompileError> {
    let shapes: Vec<_> = tools.values().map(|entry| shape(&entry.tool)).collect();
    let loaded =
        portcullis_policy::load_published(&row.source, &shapes).map_err(|diagnostics| {
            let words: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
            CompileError::Policy(words.join("; "))
        })?;
    Ok(PublishedPolicy {
        id: row.id,
        number: u64::try_from(row.number).unwrap_or(0),
        sha256: row.sha256,
        policy: loaded.policy,
    })
}

/// What policy needs to know of a tool.
fn shape(tool: &CompiledTool) -> ToolShape<'_> {
    let definition = &tool.definition;
    ToolShape {
        name: &definition.name,
        mutating: definition.mutating,
        risk: definition.risk,
        input_schema: &definition.input_schema,
    }
}
