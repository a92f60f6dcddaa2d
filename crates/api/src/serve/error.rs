//! Why a replica does not start.

use std::net::SocketAddr;

use portcullis_egress::EgressError;
use portcullis_keys::KeysError;
use portcullis_keys::entropy::EntropyError;
use portcullis_mcp_runtime::token::NetworkPrefixError;
use portcullis_store::migrate::MigrationError;
use portcullis_store::{ConnectError, StoreError};
use portcullis_telemetry::CollectorError;

use super::tls::TlsError;
use crate::config::ConfigError;
use crate::oauth::OAuthSettingsError;

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A database cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A database cannot be brought to this version.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A token setting does not fit the verifier.
    #[error(transparent)]
    NetworkPrefix(#[from] NetworkPrefixError),
    /// A token setting does not fit the issuer.
    #[error(transparent)]
    OAuth(#[from] OAuthSettingsError),
    /// The client for other systems cannot be set up.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The certificate cannot be shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The collector cannot be spoken to as it is configured.
    #[error("telemetry.otlp: {0}. Correct that section")]
    Collector(#[from] CollectorError),
    /// Nobody may migrate.
    #[error("{field} is missing: migrating needs the role that owns the databases. Add it")]
    NoOwner {
        /// The field that names the role.
        field: String,
    },
    /// The database server may forget.
    #[error(
        "the database server of {database} runs with fsync, full_page_writes or \
         synchronous_commit off, so a crash loses records. Turn all three on"
    )]
    NotDurable {
        /// Which database.
        database: String,
    },
    /// The address is taken.
    #[error(
        "{address} is already used by another program. Stop that, or choose another address \
         (--listen or server.listen; port 0 takes a free one)"
    )]
    AddressTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The address that was given cannot be found out.
    #[error("cannot find out which address was given to listen on: {0}. Name a port")]
    Address(#[source] std::io::Error),
    /// Nobody can be told where it listens.
    #[error("cannot write to the standard output where the replica listens: {0}")]
    Tell(#[source] std::io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}. Choose an address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
