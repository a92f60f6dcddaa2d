//! `/tenants`.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::TenantSlug;
use portcullis_domain::id::{Id, Tenant as TenantKind};
use portcullis_domain::tenant::TenantSlugError;
use portcullis_store::tenants::{self, NewTenant, TenantChange, TenantRow};
use portcullis_store::{ControlTx, Page as Rows, StoreError, switches};
use portcullis_wire::api::{CreateTenant, Page, Tenant, UpdateTenant};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::{Listed, Versioned};
use super::baseline;
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_label};
use super::page::{Cursor, window};
use super::query::PageQuery;

fn view(row: TenantRow, state: &State) -> Versioned<Tenant> {
    let etag = ETag::of_version(row.version);
    let tenant = Tenant {
        mcp_url: state.mcp_url(&row.slug),
        id: row.id,
        slug: row.slug,
        name: row.name,
        home_pool: row.home_pool,
        region: row.region,
        replay: row.replay,
        two_person_lift: row.two_person_lift,
        created_at: row.created_at,
        version: row.version,
    };
    Versioned(tenant, etag)
}

/// List tenants
///
/// All for the role `platform`, one's own for every other role; in the order of their creation.
#[utoipa::path(
    get,
    path = "/tenants",
    operation_id = "listTenants",
    tag = "tenants",
    params(PageQuery),
    responses((status = 200, description = "One page", body = Page<Tenant>))
)]
pub(super) async fn list(
    permit: Permit<act::TenantRead>,
    extract::State(state): extract::State<State>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<Tenant>, ApiError> {
    let window = window::<Id<TenantKind>>(query.limit, query.cursor.as_deref())?;
    let rows = if let Some(own) = permit.caller().tenant() {
        let mut tx = state.control().begin(own).await?;
        let own = tenants::get(&mut tx).await?;
        let unseen = window.after.is_none_or(|after| own.id > after);
        Vec::from_iter(unseen.then_some(own))
    } else {
        let mut tx = state.control().platform().await?;
        let rows = Rows {
            after: window.after.map(|id| id.as_uuid()),
            limit: window.rows(),
        };
        tenants::list(&mut tx, rows).await?
    };
    Ok(Listed(window.page(
        rows,
        |row| row.id.write(),
        |row| view(row, &state).0,
    )))
}

/// Create a tenant
///
/// It begins with the platform's default policy in force, the platform's own tools and default
/// limits. Its first owner's token is made at `/service-tokens`.
#[utoipa::path(
    post,
    path = "/tenants",
    operation_id = "createTenant",
    tag = "tenants",
    request_body = CreateTenant,
    responses((status = 201, description = "Created", body = Tenant))
)]
pub(super) async fn create(
    permit: Permit<act::TenantCreate>,
    extract::State(state): extract::State<State>,
    post: Post,
    body: JsonBody<CreateTenant>,
) -> Result<Response, ApiError> {
    let new = body.value;
    let slug = slug(&new.slug)?;
    check_label("name", &new.name)?;
    let caller = permit.caller();
    let mut tx = state.control().begin(state.mint()?).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let now = state.now();
    let row = NewTenant {
        slug: slug.as_str(),
        name: &new.name,
        home_pool: new.home_pool,
        region: new.home_pool.jurisdiction(),
        replay: new.replay,
    };
    let row = tenants::create(&mut tx, &row, now).await.map_err(taken)?;
    baseline::furnish(&mut tx, &state, &caller.actor()).await?;
    let Versioned(tenant, etag) = view(row, &state);
    let place = format!("{}/tenants/{}", super::PATH, tenant.id);
    let answer = Answer::created(&tenant, Some(&etag), Some(place))?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::TenantCreate,
        subject: tenant.id.to_string(),
        detail: json!({
            "slug": tenant.slug,
            "name": tenant.name,
            "home_pool": tenant.home_pool,
            "replay": tenant.replay,
        }),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict { .. } => ApiError::Conflict {
            detail: "the slug is taken".to_owned(),
            remedy: "Choose another slug",
        },
        StoreError::Unavailable { .. }
        | StoreError::NotFound { .. }
        | StoreError::Stale { .. }
        | StoreError::Invalid { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Internal { .. } => error.into(),
    }
}

/// Show a tenant
#[utoipa::path(
    get,
    path = "/tenants/{tenant}",
    operation_id = "getTenant",
    tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    responses((status = 200, description = "The tenant", body = Tenant))
)]
pub(super) async fn get(
    permit: Permit<act::TenantRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
) -> Result<Versioned<Tenant>, ApiError> {
    let Scope { tenant, .. } = permit.open(&state, &tenant).await?;
    Ok(view(tenant, &state))
}

/// Change a tenant
///
/// Renames it, chooses what a second use of its access tokens means, or whether it takes two people to
/// lift a kill switch.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}",
    operation_id = "updateTenant",
    tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = UpdateTenant,
    responses((status = 200, description = "The tenant as it is now", body = Tenant))
)]
pub(super) async fn update(
    permit: Permit<act::TenantUpdate>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    expected: IfMatch,
    body: JsonBody<UpdateTenant>,
) -> Result<Versioned<Tenant>, ApiError> {
    let UpdateTenant {
        name,
        replay,
        two_person_lift,
    } = body.value;
    if let Some(name) = &name {
        check_label("name", name)?;
    }
    if name.is_none() && replay.is_none() && two_person_lift.is_none() {
        return Err(ApiError::invalid(
            "(body)",
            "names nothing to change",
            "Send `name`, `replay` or `two_person_lift`",
        ));
    }
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    expected.check(&ETag::of_version(tenant.version))?;
    if tenant.two_person_lift && two_person_lift == Some(false) {
        no_switch_is_down(&mut tx).await?;
    }
    let change = TenantChange {
        name: name.as_deref(),
        replay,
        two_person_lift,
    };
    let row = tenants::update(&mut tx, tenant.version, change, state.now()).await?;
    let change = Change {
        action: Action::TenantUpdate,
        subject: row.id.to_string(),
        detail: json!({
            "from": setting(&tenant),
            "to": setting(&row),
        }),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(view(row, &state))
}

fn slug(text: &str) -> Result<TenantSlug, ApiError> {
    text.parse()
        .map_err(|rule: TenantSlugError| ApiError::invalid("slug", rule, "Choose one like `acme`"))
}

fn setting(row: &TenantRow) -> serde_json::Value {
    json!({"name": row.name, "replay": row.replay, "two_person_lift": row.two_person_lift})
}

/// Else one person could lift alone what it takes two to lift.
async fn no_switch_is_down(tx: &mut ControlTx) -> Result<(), ApiError> {
    if switches::count_down(tx.into()).await? == 0 {
        return Ok(());
    }
    Err(ApiError::Conflict {
        detail: "a kill switch of the tenant is down, and takes two people to lift".to_owned(),
        remedy: "Lift the tenant's switches first",
    })
}
