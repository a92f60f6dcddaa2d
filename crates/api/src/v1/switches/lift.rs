//! Lifting a switch. Where the tenant asks for two people, the first one's lift is a request and
//! another's confirms it. Service tokens stand for people: neither of the two may have made the other,
//! directly or through tokens in between.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Id, ServiceToken, Switch as SwitchId};
use portcullis_store::switches::{self, SwitchRow};
use portcullis_store::{Within, service_tokens};
use portcullis_wire::api::{Because, SwitchReport};
use serde_json::json;
use time::Duration;

use super::super::State;
use super::super::access::{Action, act};
use super::super::caller::{ACTOR_PREFIX, Caller, Permit, Scope};
use super::super::change::Change;
use super::super::error::ApiError;
use super::super::idempotency::{Answer, Attempt, Post};
use super::super::input::{JsonBody, Name, check_reason};
use super::{detail, propagation, view};

/// How long a request to lift waits for the second person.
const REQUEST: Duration = Duration::HOUR;
/// The longest chain of tokens that made each other which is followed; a longer one is refused.
const CHAIN: usize = 32;

/// Lift a kill switch
///
/// From the next epoch on it stops nothing. Where the tenant asks for two people, the first lift answers
/// 202 and waits an hour for another service token's, which lifts it; neither token may have made the
/// other.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/switches/{switch}/lift",
    operation_id = "liftSwitch",
    tag = "switches",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("switch" = String, Path, description = "The switch's id"),
    ),
    request_body = Because,
    responses(
        (status = 200, description = "Lifted", body = SwitchReport),
        (status = 202, description = "It waits for the second person", body = SwitchReport),
    )
)]
pub(in super::super) async fn lift(
    permit: Permit<act::SwitchLift>,
    extract::State(state): extract::State<State>,
    Name((tenant, switch)): Name<(String, Id<SwitchId>)>,
    post: Post,
    body: JsonBody<Because>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    check_reason(&body.value.reason)?;
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let lifting = Lifting {
        action: Action::SwitchLift,
        reason: body.value.reason,
        two_people: tenant.two_person_lift,
    };
    let answer = lifting.up((&mut tx).into(), switch, &state, caller).await?;
    open.settle(&mut tx, &answer).await?;
    tx.commit().await?;
    Ok(answer.into_response())
}

/// A switch about to be lifted.
pub(super) struct Lifting {
    pub(super) action: Action,
    pub(super) reason: String,
    pub(super) two_people: bool,
}

impl Lifting {
    /// Lifts it, or asks for the second person. The commit is left to the caller, at once.
    pub(super) async fn up(
        self,
        mut within: Within<'_>,
        id: Id<SwitchId>,
        state: &State,
        caller: &Caller,
    ) -> Result<Answer, ApiError> {
        let row = held(within.again(), id).await?;
        let asked_by = if self.two_people {
            match requester(within.again(), &row, state).await? {
                Some(first) => {
                    second_person(within.again(), first, caller).await?;
                    Some(first)
                }
                None => return self.ask(within, &row, state, caller).await,
            }
        } else {
            None
        };
        let now = state.now();
        let row = switches::lift(within.again(), id, &caller.actor(), &self.reason, now).await?;
        self.write_down(within.again(), &row, "lifted", asked_by, (state, caller))
            .await?;
        let raised = switches::raise(within, &row, now).await?;
        let report = SwitchReport {
            switch: view(row, now),
            propagation: propagation::unknown(raised.epoch),
        };
        Answer::done(&report, None)
    }

    async fn ask(
        self,
        mut within: Within<'_>,
        row: &SwitchRow,
        state: &State,
        caller: &Caller,
    ) -> Result<Answer, ApiError> {
        let now = state.now();
        let row = switches::request_lift(within.again(), row.id, &caller.actor(), now).await?;
        self.write_down(within, &row, "requested", None, (state, caller))
            .await?;
        let report = SwitchReport {
            propagation: propagation::unknown(row.epoch),
            switch: view(row, now),
        };
        Answer::accepted(&report)
    }

    async fn write_down(
        &self,
        within: Within<'_>,
        row: &SwitchRow,
        step: &str,
        asked_by: Option<Id<ServiceToken>>,
        (state, caller): (&State, &Caller),
    ) -> Result<(), ApiError> {
        let change = Change {
            action: self.action,
            subject: row.id.to_string(),
            detail: json!({
                "switch": detail(row),
                "step": step,
                "requested_by": asked_by,
                "reason": self.reason,
            }),
        };
        change.write_down(within, state, caller).await
    }
}

/// The switch, if the caller's plane dropped it and it is still down.
async fn held(mut within: Within<'_>, id: Id<SwitchId>) -> Result<SwitchRow, ApiError> {
    let Some(row) = switches::hold(within.again(), id).await? else {
        let of_platform = within.tenant().is_some()
            && switches::get(within, id)
                .await?
                .is_some_and(|row| row.by_platform);
        return Err(if of_platform {
            ApiError::ForbiddenValue {
                detail: "the platform dropped this switch".to_owned(),
                remedy: "Ask the platform's operator to lift it",
            }
        } else {
            ApiError::NotFound
        });
    };
    if let Some(lifted) = &row.lifted {
        return Err(ApiError::Conflict {
            detail: format!("the switch was lifted already, by {}", lifted.by),
            remedy: "There is nothing to lift",
        });
    }
    Ok(row)
}

/// Who asked to lift the switch, if that still counts: not for long ago, and not with a token that has
/// ended since.
async fn requester(
    within: Within<'_>,
    row: &SwitchRow,
    state: &State,
) -> Result<Option<Id<ServiceToken>>, ApiError> {
    let now = state.now();
    let Some(request) = row.lift_request.as_ref().filter(|of| now - of.at < REQUEST) else {
        return Ok(None);
    };
    let Some(id) = token_of(&request.by) else {
        return Ok(None);
    };
    let works = service_tokens::get(within, id)
        .await?
        .is_some_and(|token| token.revoked_at.is_none() && token.expires_at > now);
    Ok(works.then_some(id))
}

/// Refuses who cannot be a second person beside `first`.
async fn second_person(
    mut within: Within<'_>,
    first: Id<ServiceToken>,
    caller: &Caller,
) -> Result<(), ApiError> {
    let remedy = "Have another person lift it, with a service token of their own";
    if caller.id() == first {
        return Err(ApiError::Conflict {
            detail: "this token asked for the lift, and it takes a second person".to_owned(),
            remedy,
        });
    }
    let related = descends(within.again(), caller.id(), first).await?
        || descends(within, first, caller.id()).await?;
    if related {
        return Err(ApiError::Conflict {
            detail: "one of the two tokens made the other, so they are not two people".to_owned(),
            remedy,
        });
    }
    Ok(())
}

/// Whether a token was made by another, or by one that was.
async fn descends(
    mut within: Within<'_>,
    token: Id<ServiceToken>,
    from: Id<ServiceToken>,
) -> Result<bool, ApiError> {
    let mut at = token;
    for _ in 0..CHAIN {
        // What another plane's token made is nobody's child here.
        let Some(row) = service_tokens::get(within.again(), at).await? else {
            return Ok(false);
        };
        match token_of(&row.created_by) {
            None => return Ok(false),
            Some(maker) if maker == from => return Ok(true),
            Some(maker) => at = maker,
        }
    }
    Ok(true)
}

fn token_of(actor: &str) -> Option<Id<ServiceToken>> {
    actor.strip_prefix(ACTOR_PREFIX)?.parse().ok()
}
