//! `/tenants/{tenant}/policies`. A version's text never changes; at most one version is in force.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::ToolDefinition;
use portcullis_policy::{Diagnostic, Severity, ToolShape};
use portcullis_store::policies::{self, NewPolicy, PolicyRow, PolicyStatus as Status};
use portcullis_store::{ControlTx, Page as Rows, StoreError, tools};
use portcullis_wire::api::{
    Page, PolicyDiagnostic, PolicySeverity, PolicyStatus, PolicyVersion, PublishPolicy,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::State;
use super::access::{Action, act};
use super::answer::{Listed, Versioned};
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, YamlBody};
use super::outputs;
use super::page::{Cursor, window};
use super::query::PageQuery;
use super::tools::definition;

/// The most tools that one tenant's policy is checked against.
const MAX_TOOLS: usize = 10_000;

fn view(row: PolicyRow) -> PolicyVersion {
    PolicyVersion {
        number: row.number,
        status: match row.status {
            Status::Draft => PolicyStatus::Draft,
            Status::Published => PolicyStatus::Published,
            Status::Superseded => PolicyStatus::Superseded,
        },
        sha256: hex::encode(row.sha256),
        source: Some(row.source),
        warnings: Vec::new(),
        created_by: row.created_by,
        created_at: row.created_at,
        published_by: row.published_by,
        published_at: row.published_at,
    }
}

/// A compiler's finding, as answers show it.
pub fn diagnostic(found: Diagnostic) -> PolicyDiagnostic {
    PolicyDiagnostic {
        line: found.line,
        column: found.column,
        severity: match found.severity {
            Severity::Error => PolicySeverity::Error,
            Severity::Warning => PolicySeverity::Warning,
        },
        message: found.message,
        remedy: found.remedy,
    }
}

/// What the compiler warns of; it refuses what does not hold.
async fn compile(tx: &mut ControlTx, source: &str) -> Result<Vec<PolicyDiagnostic>, ApiError> {
    let definitions = catalog(tx).await?;
    let shapes: Vec<_> = definitions.iter().map(shape).collect();
    match portcullis_policy::load(source, &shapes) {
        Ok(loaded) => {
            let broken = outputs::broken(&loaded.policy, &definitions);
            if !broken.is_empty() {
                let broken = broken.into_iter().map(diagnostic);
                return Err(ApiError::Policy(broken.collect()));
            }
            Ok(loaded.warnings.into_iter().map(diagnostic).collect())
        }
        Err(found) => Err(ApiError::Policy(
            found.into_iter().map(diagnostic).collect(),
        )),
    }
}

/// What the compiler needs to know of a tool.
pub fn shape(tool: &ToolDefinition) -> ToolShape<'_> {
    ToolShape {
        name: &tool.name,
        mutating: tool.mutating,
        risk: tool.risk,
        input_schema: &tool.input_schema,
    }
}

/// The definitions of the tenant's enabled tools.
pub(super) async fn catalog(tx: &mut ControlTx) -> Result<Vec<ToolDefinition>, ApiError> {
    let mut rows = Rows::first(1_000);
    let mut definitions = Vec::new();
    loop {
        let page = tools::list(tx, rows).await?;
        let Some(last) = page.last() else {
            return Ok(definitions);
        };
        rows.after = Some(last.id.as_uuid());
        for row in page.iter().filter(|row| row.enabled) {
            definitions.push(definition(&row.definition)?);
        }
        if definitions.len() > MAX_TOOLS {
            return Err(ApiError::Internal(format!(
                "the tenant has more than {MAX_TOOLS} tools"
            )));
        }
    }
}

fn etag(row: &PolicyRow, in_force: Option<&PolicyRow>) -> ETag {
    let in_force = in_force.map(|row| row.number);
    ETag::of_policy(row.number, row.status.as_str(), in_force)
}

/// List policy versions
///
/// Without their texts.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/policies",
    operation_id = "listPolicies",
    tag = "policies",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), PageQuery),
    responses((status = 200, description = "One page, newest first", body = Page<PolicyVersion>))
)]
pub(super) async fn list(
    permit: Permit<act::PolicyRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<PolicyVersion>, ApiError> {
    let window = window::<i64>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let rows = policies::list(&mut tx, window.after, window.rows()).await?;
    Ok(Listed(window.page(
        rows,
        |row| row.number.write(),
        |row| PolicyVersion {
            source: None,
            ..view(row)
        },
    )))
}

/// Write a draft
///
/// The body is the YAML text. It is compiled against the tenant's enabled tools, and its own tests
/// are run; a text that does not hold is refused with line and column of each fault.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/policies",
    operation_id = "draftPolicy",
    tag = "policies",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 201, description = "Drafted, with the warnings", body = PolicyVersion))
)]
pub(super) async fn draft(
    permit: Permit<act::PolicyDraft>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    post: Post,
    body: YamlBody,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let warnings = compile(&mut tx, &body.text).await?;
    let actor = caller.actor();
    let new = NewPolicy {
        id: state.mint()?,
        source: &body.text,
        sha256: Sha256::digest(body.text.as_bytes()).into(),
        created_by: &actor,
    };
    let row = policies::draft(&mut tx, &new, state.now()).await?;
    let in_force = policies::published(&mut tx).await?;
    let etag = etag(&row, in_force.as_ref());
    let version = PolicyVersion {
        warnings,
        ..view(row)
    };
    let place = format!(
        "{}/tenants/{}/policies/{}",
        super::PATH,
        tenant.id,
        version.number
    );
    let answer = Answer::created(&version, Some(&etag), Some(place))?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::PolicyDraft,
        subject: version.number.to_string(),
        detail: json!({"sha256": version.sha256}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Show a policy version with its text
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/policies/{number}",
    operation_id = "getPolicy",
    tag = "policies",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("number" = i64, Path, description = "The version's number"),
    ),
    responses((status = 200, description = "The version", body = PolicyVersion))
)]
pub(super) async fn get(
    permit: Permit<act::PolicyRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, number)): Name<(String, i64)>,
) -> Result<Versioned<PolicyVersion>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let row = policies::get(&mut tx, number)
        .await?
        .ok_or(ApiError::NotFound)?;
    let in_force = policies::published(&mut tx).await?;
    let etag = etag(&row, in_force.as_ref());
    Ok(Versioned(view(row), etag))
}

/// Publish a policy version
///
/// It decides every call from the next epoch on; the one that was in force is superseded. An older
/// version published again is a rollback. It is compiled anew against the tools of today. The `ETag`
/// also names the version in force, so nobody publishes over a publication that he has not seen.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/policies/{number}/publish",
    operation_id = "publishPolicy",
    tag = "policies",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("number" = i64, Path, description = "The version's number"),
    ),
    request_body = PublishPolicy,
    responses((status = 200, description = "The version, now in force", body = PolicyVersion))
)]
pub(super) async fn publish(
    permit: Permit<act::PolicyPublish>,
    extract::State(state): extract::State<State>,
    Name((tenant, number)): Name<(String, i64)>,
    post: Post,
    expected: IfMatch,
    body: JsonBody<PublishPolicy>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    // The lock comes first: what is read after it cannot change until the commit.
    let in_force = policies::published_locked(&mut tx).await?;
    let row = policies::get(&mut tx, number)
        .await?
        .ok_or(ApiError::NotFound)?;
    expected.check(&etag(&row, in_force.as_ref()))?;
    let warnings = compile(&mut tx, &row.source).await?;
    if !warnings.is_empty() && !body.value.accept_warnings {
        return Err(ApiError::PolicyWarnings(warnings));
    }
    let row = policies::publish(&mut tx, number, &caller.actor(), state.now())
        .await
        .map_err(overtaken)?;
    let etag = etag(&row, Some(&row));
    let version = PolicyVersion {
        warnings,
        ..view(row)
    };
    let answer = Answer::done(&version, Some(&etag))?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::PolicyPublish,
        subject: version.number.to_string(),
        detail: json!({
            "sha256": version.sha256,
            "superseded": in_force.map(|row| row.number),
        }),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Another version was published between reading and writing.
fn overtaken(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict { .. } => ApiError::PreconditionFailed,
        StoreError::Unavailable { .. }
        | StoreError::NotFound { .. }
        | StoreError::Stale { .. }
        | StoreError::Invalid { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Internal { .. } => error.into(),
    }
}
