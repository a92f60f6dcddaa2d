//! What a client gets of what it asks for: never more than its live grants.

use std::collections::BTreeSet;

use portcullis_domain::Scope;
use time::OffsetDateTime;

use super::directory::ClientGrant;
use super::error::OAuthError;

/// What a token will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) scopes: BTreeSet<Scope>,
    pub(super) purpose: Option<String>,
}

/// Holds a request against a client's grants. A grant for a purpose counts only in a token that
/// states this purpose; a grant without one counts in any.
pub(super) fn decide(
    grants: &[ClientGrant],
    scope: Option<&str>,
    purpose: Option<String>,
    now: OffsetDateTime,
) -> Result<Granted, OAuthError> {
    let live = || {
        grants
            .iter()
            .filter(|grant| grant.expires_at.is_none_or(|end| now < end))
    };
    let stated = |grant: &ClientGrant| grant.purpose.is_some() && grant.purpose == purpose;
    if purpose.is_some() && !live().any(stated) {
        return Err(OAuthError::InvalidScope(
            "the client holds no live grant for this purpose",
        ));
    }
    let held: BTreeSet<Scope> = live()
        .filter(|grant| grant.purpose.is_none() || stated(grant))
        .map(|grant| grant.scope.clone())
        .collect();
    let scopes = match scope {
        None => held,
        Some(text) => {
            let asked = Scope::parse_list(text)
                .ok()
                .ok_or(OAuthError::InvalidScope(
                    "scopes are written resource.verb or resource.verb:qualifier, with a space \
                 between; wildcards are refused",
                ))?;
            if !asked.is_subset(&held) {
                return Err(OAuthError::InvalidScope(
                    "the client holds no live grant for a scope that it asks for; grants with a \
                     purpose need the parameter purpose",
                ));
            }
            asked
        }
    };
    if scopes.is_empty() {
        return Err(OAuthError::InvalidScope(
            "the client holds no live grant; grants with a purpose need the parameter purpose",
        ));
    }
    Ok(Granted { scopes, purpose })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn grants() -> Vec<ClientGrant> {
        let grant = |scope: &str, purpose: Option<&str>, end: Option<i64>| ClientGrant {
            scope: scope.parse().unwrap(),
            purpose: purpose.map(str::to_owned),
            expires_at: end.map(at),
        };
        vec![
            grant("orders.read", None, None),
            grant("flags.write:dev", None, Some(100)),
            grant("refunds.write", Some("support"), None),
            grant("audit.read", Some("incident"), Some(100)),
        ]
    }

    fn ask(scope: Option<&str>, purpose: Option<&str>, now: i64) -> Option<String> {
        let granted = decide(&grants(), scope, purpose.map(str::to_owned), at(now)).ok()?;
        assert_eq!(granted.purpose.as_deref(), purpose);
        Some(Scope::join(&granted.scopes))
    }

    #[test]
    fn a_client_gets_what_it_asks_for_or_all_that_it_holds() {
        let all = "flags.write:dev orders.read";
        assert_eq!(ask(None, None, 99).as_deref(), Some(all));
        let one = ask(Some("orders.read"), None, 99);
        assert_eq!(one.as_deref(), Some("orders.read"));
        let twice = ask(Some("orders.read orders.read"), None, 99);
        assert_eq!(twice.as_deref(), Some("orders.read"));
        let purpose = ask(None, Some("support"), 100);
        assert_eq!(purpose.as_deref(), Some("orders.read refunds.write"));
    }

    #[test]
    fn a_client_never_gets_more_than_its_live_grants() {
        for (scope, purpose, now) in [
            (Some("orders.write"), None, 0),
            (Some("orders.read orders.write"), None, 0),
            (Some("flags.write:dev"), None, 100),
            (Some("flags.write:prod"), None, 0),
            (Some("flags.write"), None, 0),
            (Some("refunds.write"), None, 0),
            (Some("refunds.write"), Some("incident"), 0),
            (Some("*"), None, 0),
            (Some("orders.*"), None, 0),
            (Some("orders.read,refunds.write"), None, 0),
            (Some(" "), None, 0),
            (None, Some("sales"), 0),
            (None, Some("incident"), 100),
        ] {
            assert_eq!(
                ask(scope, purpose, now),
                None,
                "{scope:?} {purpose:?} {now}"
            );
        }
        assert!(decide(&[], None, None, at(0)).is_err());
    }
}
