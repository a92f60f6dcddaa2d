//! What a switch names: it has to be there, so that nobody takes a misspelt name for one that is
//! stopped.

use std::borrow::Cow;

use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Tenant};
use portcullis_egress::Block;
use portcullis_store::tools::{self, ToolRow};
use portcullis_store::{ControlTx, Page};
use portcullis_wire::api::DropSwitch;
use serde::Deserialize;

use super::super::State;
use super::super::access::Act;
use super::super::caller::{Permit, Scope};
use super::super::error::ApiError;
use super::super::principals;

/// The members that fit the kind, and a kind that a tenant drops.
pub(super) fn check_of_tenant(new: &DropSwitch) -> Result<(), ApiError> {
    if new.kind == SwitchKind::PlatformReadOnly {
        return Err(ApiError::invalid(
            "kind",
            "is the platform's to drop",
            "Drop `tenant-read-only` instead",
        ));
    }
    if new.tenant.is_some() {
        return Err(ApiError::invalid(
            "tenant",
            "is named in the path already",
            "Leave it out",
        ));
    }
    check_target(new)
}

/// The members that fit the kind, and a kind that the platform drops.
pub(super) fn check_of_platform(new: &DropSwitch) -> Result<(), ApiError> {
    match new.kind {
        SwitchKind::PlatformReadOnly
        | SwitchKind::ServerQuarantine
        | SwitchKind::TenantFreeze
        | SwitchKind::EgressBlock => {}
        SwitchKind::TenantReadOnly
        | SwitchKind::ToolQuarantine
        | SwitchKind::PrincipalSuspension => {
            return Err(ApiError::invalid(
                "kind",
                "is a tenant's to drop",
                "Drop platform-read-only, server-quarantine, tenant-freeze or egress-block; the tenant's \
                 owners and operators drop the others",
            ));
        }
    }
    if (new.kind == SwitchKind::TenantFreeze) != new.tenant.is_some() {
        return Err(ApiError::invalid(
            "tenant",
            "stands with tenant-freeze and with no other kind",
            "Name the slug or id of the tenant to be frozen, or leave it out",
        ));
    }
    check_target(new)
}

fn check_target(new: &DropSwitch) -> Result<(), ApiError> {
    let given = new.target.as_deref();
    if new.kind.takes_target() != given.is_some() {
        return Err(ApiError::invalid(
            "target",
            "stands with tool-quarantine, server-quarantine, principal-suspension and egress-block, \
             and with no other kind",
            "Name what is to be stopped, or leave it out",
        ));
    }
    let fits =
        |text: &str| (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if given.is_some_and(|text| !fits(text)) {
        return Err(ApiError::invalid(
            "target",
            "must be a name of 1 to 200 visible ASCII characters",
            "Name a tool, a server or a principal as the lists show it",
        ));
    }
    if let (SwitchKind::EgressBlock, Some(text)) = (new.kind, given)
        && let Err(error) = Block::parse(text)
    {
        let remedy = "Name the host; every name below it is blocked as well";
        return Err(ApiError::invalid("target", error, remedy));
    }
    Ok(())
}

/// The name of what a tenant's switch stops, as the tenant has it.
pub(super) async fn of_tenant(
    tx: &mut ControlTx,
    new: &DropSwitch,
) -> Result<Option<String>, ApiError> {
    let Some(given) = new.target.as_deref() else {
        return Ok(None);
    };
    let found = match new.kind {
        SwitchKind::ToolQuarantine => tools::by_name(tx, given).await?.map(|tool| tool.name),
        SwitchKind::PrincipalSuspension => match principals::named(tx, given).await {
            Ok(row) => Some(row.name.to_string()),
            Err(ApiError::NotFound) => None,
            Err(error) => return Err(error),
        },
        SwitchKind::ServerQuarantine => serves(tx, given).await?.then(|| given.to_owned()),
        // Anybody's host can be blocked before anybody calls it.
        SwitchKind::EgressBlock => Some(given.to_owned()),
        SwitchKind::PlatformReadOnly | SwitchKind::TenantReadOnly | SwitchKind::TenantFreeze => {
            None
        }
    };
    found.map(Some).ok_or_else(|| {
        let noun = match new.kind {
            SwitchKind::PrincipalSuspension => "principal",
            SwitchKind::ServerQuarantine => "server of a tool",
            SwitchKind::ToolQuarantine
            | SwitchKind::PlatformReadOnly
            | SwitchKind::TenantReadOnly
            | SwitchKind::EgressBlock
            | SwitchKind::TenantFreeze => "tool",
        };
        ApiError::invalid(
            "target",
            format!("`{given}` is no {noun} of this tenant"),
            "List what there is; nothing was stopped",
        )
    })
}

/// Whether any of the tenant's tools is run by this server.
async fn serves(tx: &mut ControlTx, server: &str) -> Result<bool, ApiError> {
    let mut page = Page::first(1_000);
    loop {
        let rows = tools::list(tx, page).await?;
        if rows.iter().any(|tool| server_of(tool) == server) {
            return Ok(true);
        }
        let Some(last) = rows.last() else {
            return Ok(false);
        };
        page.after = Some(last.id.as_uuid());
    }
}

/// The part of a tool's configuration that names its server.
#[derive(Deserialize)]
struct Configured {
    server: String,
}

/// The server behind a tool: as its configuration names it, else its connector.
pub(in super::super) fn server_of(tool: &ToolRow) -> Cow<'_, str> {
    tool.config
        .as_ref()
        .and_then(|row| serde_json::from_str::<Configured>(&row.config).ok())
        .map_or(Cow::Borrowed(tool.connector.as_str()), |configured| {
            Cow::Owned(configured.server)
        })
}

/// The tenant that the platform freezes.
pub(super) async fn frozen<A: Act>(
    permit: &Permit<A>,
    state: &State,
    name: Option<&str>,
) -> Result<Option<Id<Tenant>>, ApiError> {
    let Some(name) = name else {
        return Ok(None);
    };
    match permit.open(state, name).await {
        Ok(Scope { tenant, .. }) => Ok(Some(tenant.id)),
        Err(ApiError::NotFound) => Err(ApiError::invalid(
            "tenant",
            format!(
                "`{}` is no tenant",
                name.chars().take(80).collect::<String>()
            ),
            "List the tenants; nothing was stopped",
        )),
        Err(error) => Err(error),
    }
}
