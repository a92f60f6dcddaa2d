//! What the authorization server has to know of clients, and where it asks.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use portcullis_domain::id::{ClientKey, ClientSecret, Id, Principal, Tenant};
use portcullis_domain::{PrincipalName, Scope};
use portcullis_mcp_runtime::token::AssertionUse;
use time::OffsetDateTime;

/// A client as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its tenant.
    pub tenant: Id<Tenant>,
    /// Its tenant's name in URLs.
    pub tenant_slug: String,
    /// Its id, which is the client id.
    pub principal: Id<Principal>,
    /// Its name, which becomes `sub`.
    pub name: PrincipalName,
    /// Whether it may have tokens at all.
    pub active: bool,
    /// Its secrets, expired ones too.
    pub secrets: Vec<StoredSecret>,
    /// Its public keys, expired ones too.
    pub keys: Vec<StoredKey>,
}

/// A client's public key that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub id: Id<ClientKey>,
    /// What assertions name it by.
    pub kid: String,
    /// The key as a JWK.
    pub jwk: String,
    /// When it stops counting.
    pub expires_at: Option<OffsetDateTime>,
}

/// By what a client proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A secret.
    Secret(Id<ClientSecret>),
    /// An assertion that the key verifies.
    Key(Id<ClientKey>),
}

/// A client secret that is not revoked, as the database has it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its id, which is no secret.
    pub id: Id<ClientSecret>,
    /// SHA-256 over the secret's whole text.
    pub hash: [u8; 32],
    /// When it stops counting.
    pub expires_at: Option<OffsetDateTime>,
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSecret")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A grant that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientGrant {
    /// What may be asked for.
    pub scope: Scope,
    /// For which purpose alone.
    pub purpose: Option<String>,
    /// Until when.
    pub expires_at: Option<OffsetDateTime>,
}

/// The directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the directory of clients")]
pub struct DirectoryError(#[source] pub Box<dyn Error + Send + Sync>);

/// Where clients are looked up.
pub trait Directory: Send + Sync + fmt::Debug {
    /// The client of an id. The implementation asks as many questions for an id that nobody has as for one that
    /// somebody has, so that the time of an answer does not tell the two apart.
    fn client(&self, id: Id<Principal>) -> BoxFuture<'_, Result<Option<Client>, DirectoryError>>;

    /// Notes the use of a client's assertion. Among any number of uses of one id, on whichever replicas, it is the
    /// first exactly once.
    fn first_use<'a>(
        &'a self,
        client: &'a Client,
        assertion: &'a AssertionUse,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>>;

    /// Notes that a client proved itself, and gives its grants.
    fn proved<'a>(
        &'a self,
        client: &'a Client,
        by: Proof,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Vec<ClientGrant>, DirectoryError>>;
}
