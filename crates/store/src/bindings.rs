//! What each token was bound to at its first use. It must never say `First` twice for one token.

use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};

/// How a use of a token compares with its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// This is its first use; the token is bound now.
    First,
    /// It was used before, with this binding.
    Same,
    /// It was used before, with another binding.
    Different,
}

/// A use of a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenUse<'a> {
    /// The token's issuer, at most 512 bytes.
    pub iss: &'a str,
    /// The token's id, at most 512 bytes.
    pub jti: &'a str,
    /// The keyed hash of what the request proves, at most 64 bytes.
    pub binding: &'a [u8],
    /// What kind of thing that is: `network`, `certificate`, `dpop`.
    pub kind: &'a str,
    /// When the token stops being valid.
    pub expires_at: OffsetDateTime,
}

/// Binds the token at its first use, compares at every later one. Among any number of concurrent
/// uses exactly one is the first; the answer holds once the transaction is committed.
///
/// # Errors
/// `Unavailable` where the database cannot be reached, `Invalid` where a value is outside its bounds.
pub async fn bind_or_compare(
    tx: &mut ControlTx,
    used: TokenUse<'_>,
    now: OffsetDateTime,
) -> Result<Bound, StoreError> {
    let operation = "bind token";
    let tenant = tx.tenant().as_uuid();
    // A concurrent first use that commits while this statement waits for it is in no snapshot of
    // this statement: it gives no row, and the second round finds it.
    for _round in 0..3 {
        let found = sqlx::query!(
            r#"with first as (
                 insert into token_bindings (tenant_id, iss, jti, binding, kind, created_at,
                                             expires_at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (tenant_id, iss, jti) do nothing
                 returning binding, kind)
               select true as "first!", binding as "binding!", kind as "kind!" from first
               union all
               select false, binding, kind from token_bindings
               where tenant_id = $1 and iss = $2 and jti = $3"#,
            tenant,
            used.iss,
            used.jti,
            used.binding,
            used.kind,
            now,
            used.expires_at
        )
        .fetch_optional(tx.connection())
        .await
        .map_err(sort(operation))?;
        if let Some(found) = found {
            let same =
                bool::from(found.binding.as_slice().ct_eq(used.binding)) && found.kind == used.kind;
            return Ok(match (found.first, same) {
                (true, _) => Bound::First,
                (false, true) => Bound::Same,
                (false, false) => Bound::Different,
            });
        }
    }
    Err(StoreError::Stale { operation })
}
