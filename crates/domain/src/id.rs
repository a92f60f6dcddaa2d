//! Typed identifiers: a `UUIDv7` inside, a prefixed name outside (`tnt_0192…`).
//!
//! There is no conversion from a bare UUID of unknown kind or from one kind to another: a tenant's
//! id can never be taken for a principal's.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// A kind of thing that has an id.
pub trait Kind {
    /// What stands before the underscore, three lower-case letters.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {}
        impl Kind for $name {
            const PREFIX: &'static str = $prefix;
        }
    )*};
}

kinds! {
    /// A customer of the platform, isolated from every other.
    Tenant = "tnt";
    /// An agent, a person or a service of one tenant.
    Principal = "prn";
    /// A principal's permission to ask for one scope.
    Grant = "grt";
    /// An OAuth client secret.
    ClientSecret = "sec";
    /// An OAuth client's public key.
    ClientKey = "cky";
    /// A tool of a tenant's catalog.
    Tool = "tol";
    /// One immutable version of a tenant's policy.
    PolicyVersion = "pol";
    /// One signed record of a call, a refusal or an administrative change.
    Record = "rec";
    /// A running process of the platform.
    Replica = "rpl";
    /// A hashed, scoped, expiring credential of the management API.
    ServiceToken = "svt";
    /// A signing key of the platform's issuer.
    SigningKey = "key";
    /// An administrative change waiting for the relay.
    OutboxEntry = "out";
    /// A kill switch.
    Switch = "swt";
    /// A tenant's key that encrypts arguments and answers.
    DataKey = "dek";
    /// A claimed idempotency key of a mutating call.
    Claim = "clm";
    /// A change that a person agreed to.
    Ticket = "tkt";
}

/// The id of a `K`.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// Makes a `UUIDv7` (RFC 9562 §5.7) from the clock's time and ten random bytes that the caller
    /// provides. Times before 1970 count as 1970.
    pub fn mint(now: OffsetDateTime, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let uuid = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// The smallest id of the millisecond of `at`, for lists by time. It is nobody's id.
    pub fn floor(at: OffsetDateTime) -> Self {
        let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Self::from_row(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// Takes the UUID that a database row of this kind holds.
    pub const fn from_row(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// The sixteen bytes of the UUID.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// The bare UUID, for a database row.
    pub const fn as_uuid(&self) -> Uuid {
        self.uuid
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}
impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, self.uuid.simple())
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id of this kind is written {prefix}_ and 32 lower-case hexadecimal digits")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { prefix: K::PREFIX };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or_else(|| error.clone())?;
        let canonical = digits.len() == 32
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !canonical {
            return Err(error);
        }
        // A parse error says nothing that the rule above does not.
        Uuid::try_parse(digits)
            .ok()
            .map(Self::from_row)
            .ok_or(error)
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id: Id<Tenant> = Id::mint(OffsetDateTime::UNIX_EPOCH, [7; 10]);
        assert_eq!(id.to_string().parse::<Id<Tenant>>().unwrap(), id);
        assert!(id.to_string().starts_with("tnt_"));
    }

    #[test]
    fn the_floor_of_a_time_is_below_its_ids_and_above_all_earlier() {
        let at = OffsetDateTime::from_unix_timestamp(1_756_000_000).unwrap();
        let earlier = at - time::Duration::milliseconds(1);
        assert!(Id::<Record>::floor(at) < Id::mint(at, [0; 10]));
        assert!(Id::<Record>::floor(at) > Id::mint(earlier, [255; 10]));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id: Id<Tenant> = Id::mint(OffsetDateTime::UNIX_EPOCH, [7; 10]);
        let error = id.to_string().parse::<Id<Principal>>().unwrap_err();
        assert_eq!(error.prefix, "prn");
    }

    #[test]
    fn other_spellings_of_one_id_are_refused() {
        for text in [
            "tnt_",
            "tnt_0",
            "tnt_{}",
            "tnt_0000000000007000800000000000000G",
        ] {
            assert!(text.parse::<Id<Tenant>>().is_err(), "{text}");
        }
        let upper = "tnt_0192A000000070008000000000000000";
        assert!(upper.parse::<Id<Tenant>>().is_err());
    }
}
