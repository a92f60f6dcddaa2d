//! A demo tenant: itself, its principals, grants, limits, tools and policy, in one transaction.

use std::collections::BTreeMap;

use portcullis_domain::id::{Id, OutboxEntry, Principal, Tenant};
use portcullis_domain::limits::PrincipalLimits;
use portcullis_domain::{Clock, Jurisdiction, Pool, PrincipalName, ReplayMode, Scope};
use portcullis_mcp_runtime::connectors::native;
use portcullis_store::grants::NewGrant;
use portcullis_store::outbox::NewOutboxEntry;
use portcullis_store::tenants::NewTenant;
use portcullis_store::tools::{NewTool, Registered};
use portcullis_store::{
    ControlTx, Page, egress_allowlists, epoch, grants, limits, outbox, principals, tenants, tools,
};
use serde_json::json;

use super::super::error::{UpError, demo};
use super::{ACTOR, mint};
use crate::serve::{NATIVE, Stores};
use crate::v1::{self, baseline};

const LIMITS: &str = include_str!("../../../../../policies/limits.json");

/// A tenant of the demo.
pub(super) struct Demo {
    pub(super) slug: &'static str,
    name: &'static str,
    pub(super) home: Pool,
}

/// Both tenants of the demo.
pub(super) const DEMO: [Demo; 2] = [
    Demo {
        slug: "acme",
        name: "Acme",
        home: Pool::EuWest,
    },
    Demo {
        slug: "globex",
        name: "Globex",
        home: Pool::UsEast,
    },
];

/// A principal of the demo: its name, what it may ask for, and whether a program needs its secret.
struct Person {
    name: &'static str,
    scopes: &'static [&'static str],
    secret: bool,
}

const PEOPLE: [Person; 4] = [
    Person {
        name: AGENT,
        scopes: &[
            "orders.read",
            "flags.read",
            "flags.write:dev",
            "flags.write:staging",
            "flags.write:prod",
            "web.fetch",
        ],
        secret: true,
    },
    // Without any grant, to see what such a one sees.
    Person {
        name: "agent:intern",
        scopes: &[],
        secret: true,
    },
    Person {
        name: "user:operator",
        scopes: &["orders.read"],
        secret: false,
    },
    Person {
        name: "service:reports",
        scopes: &["orders.read"],
        secret: true,
    },
];

/// A host of the public net that is kept for examples (RFC 2606).
const LISTED: &str = "example.com";
/// The principal to try things with.
const AGENT: &str = "agent:copilot";

/// A tenant as it stands.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) tenant: Id<Tenant>,
    pub(super) slug: &'static str,
    /// Principals that get their own access tokens.
    pub(super) clients: Vec<(PrincipalName, Id<Principal>)>,
}

impl Made {
    /// The principal to try things with.
    pub(super) fn agent(&self) -> Option<&(PrincipalName, Id<Principal>)> {
        self.clients.iter().find(|(name, _)| name.as_str() == AGENT)
    }
}

/// Makes the tenant where it is missing, gives its tools the definitions of this version, and its
/// people the grants that they never had.
pub(super) async fn ensure(
    demo: &Demo,
    stores: &Stores,
    api: &v1::State,
    clock: &dyn Clock,
) -> Result<Made, UpError> {
    let mut platform = stores.control.platform().await?;
    let found = tenants::by_slug(&mut platform, demo.slug).await?;
    drop(platform);
    let (tenant, is_new) = match found {
        Some(row) => (row.id, false),
        None => (mint(clock)?, true),
    };
    let mut tx = stores.control.begin(tenant).await?;
    let mut changed = is_new;
    if is_new {
        create(demo, &mut tx, api, clock).await?;
    }
    changed |= register_tools(&mut tx, clock).await?;
    for person in &PEOPLE {
        changed |= ensure_grants(person, &mut tx, clock).await?;
    }
    let clients = clients(&mut tx).await?;
    if changed {
        epoch::bump(&mut tx, "tenant", clock.now()).await?;
        tx.commit().await?;
    }
    Ok(Made {
        tenant,
        slug: demo.slug,
        clients,
    })
}

async fn create(
    demo: &Demo,
    tx: &mut ControlTx,
    api: &v1::State,
    clock: &dyn Clock,
) -> Result<(), UpError> {
    let region = demo.home.jurisdiction();
    let new = NewTenant {
        slug: demo.slug,
        name: demo.name,
        home_pool: demo.home,
        region,
        replay: ReplayMode::Network,
    };
    tenants::create(tx, &new, clock.now()).await?;
    note(tx, clock, "tenant.create", demo.slug).await?;
    for person in &PEOPLE {
        create_person(person, region, tx, clock).await?;
    }
    baseline::furnish(tx, api, ACTOR).await?;
    list_hosts(tx, clock).await?;
    note(tx, clock, "policy.publish", "1").await
}

/// Lists the hosts that the demo's tools may call, where nobody has listed any.
async fn list_hosts(tx: &mut ControlTx, clock: &dyn Clock) -> Result<(), UpError> {
    let hosts = [LISTED.to_owned()];
    egress_allowlists::set(tx, &hosts, &BTreeMap::new(), Some(0), clock.now()).await?;
    note(tx, clock, "egress.update", LISTED).await
}

async fn create_person(
    person: &Person,
    region: Jurisdiction,
    tx: &mut ControlTx,
    clock: &dyn Clock,
) -> Result<(), UpError> {
    let now = clock.now();
    let name: PrincipalName = person.name.parse().map_err(demo)?;
    let id = mint(clock)?;
    principals::create(tx, id, &name, region, now).await?;
    note(tx, clock, "principal.create", person.name).await?;
    let file: PrincipalLimits = serde_json::from_str(LIMITS).map_err(demo)?;
    if file.principal == name {
        limits::set(tx, Some(id), file.limits, file.stop_rules, now).await?;
        note(tx, clock, "limits.set", person.name).await?;
    }
    Ok(())
}

/// Gives a person the grants of the demo that it never had; says whether any was new. One that was
/// revoked or has ended stays so.
async fn ensure_grants(
    person: &Person,
    tx: &mut ControlTx,
    clock: &dyn Clock,
) -> Result<bool, UpError> {
    let now = clock.now();
    let name: PrincipalName = person.name.parse().map_err(demo)?;
    // Somebody may have removed it since.
    let Some(principal) = principals::by_name(tx, &name).await? else {
        return Ok(false);
    };
    let had = grants::list(tx, principal.id, Page::first(1_000)).await?;
    let mut changed = false;
    for text in person.scopes {
        let scope: Scope = text.parse().map_err(demo)?;
        if had.iter().any(|grant| grant.scope == scope) {
            continue;
        }
        let new = NewGrant {
            id: mint(clock)?,
            principal: principal.id,
            scope: &scope,
            purpose: None,
            granted_by: ACTOR,
            expires_at: None,
        };
        grants::create(tx, &new, now).await?;
        let subject = format!("{} {text}", person.name);
        note(tx, clock, "grant.create", &subject).await?;
        changed = true;
    }
    Ok(changed)
}

/// Registers the native tools; says whether any of them is new or has another definition now.
async fn register_tools(tx: &mut ControlTx, clock: &dyn Clock) -> Result<bool, UpError> {
    let mut changed = false;
    for definition in native::definitions() {
        let (text, sha256) = baseline::canonical(&definition)?;
        let new = NewTool {
            id: mint(clock)?,
            name: &definition.name,
            connector: NATIVE,
            definition: &text,
            sha256,
            config: None,
            created_by: ACTOR,
        };
        match tools::register(tx, &new, clock.now()).await? {
            Registered::Unchanged(_) => {}
            Registered::Created(_) | Registered::Updated(_) => {
                note(tx, clock, "tool.register", &definition.name).await?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

async fn clients(tx: &mut ControlTx) -> Result<Vec<(PrincipalName, Id<Principal>)>, UpError> {
    let mut found = Vec::new();
    for person in PEOPLE.iter().filter(|person| person.secret) {
        let name: PrincipalName = person.name.parse().map_err(demo)?;
        // Somebody may have removed it since: then there is nobody to give a secret to.
        if let Some(row) = principals::by_name(tx, &name).await? {
            found.push((name, row.id));
        }
    }
    Ok(found)
}

/// Writes the administrative change that the ledger will hold.
pub(super) async fn note(
    tx: &mut ControlTx,
    clock: &dyn Clock,
    action: &str,
    subject: &str,
) -> Result<(), UpError> {
    let detail = json!({ "by": "portcullis up" }).to_string();
    let entry = NewOutboxEntry {
        id: mint::<OutboxEntry>(clock)?,
        actor: ACTOR,
        action,
        subject,
        detail: &detail,
    };
    Ok(outbox::insert(tx, entry, clock.now()).await?)
}
