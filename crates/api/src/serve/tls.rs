//! HTTPS: the certificate that is shown, and taking in another one without a restart.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 alone: HTTP/2 is not offered, so a client's request always has a
//! connection's bounds to itself. A pair of files that does not go together never comes into force: the
//! one before it stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::Tls;

/// How often the files are looked at. A swapped symbolic link or a mounted secret tells nobody.
const LOOK: Duration = Duration::from_secs(2);

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{field}: cannot read {path}: {source}. Name a PEM file that this process may read")]
    Read {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{field}: {path} holds no PEM {what}: {source}. Write it there, unencrypted")]
    Pem {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// The two do not go together, or are of no use.
    #[error(
        "server.tls.private_key_file is no key that can serve server.tls.certificate_file: {0}. The \
         certificate of the server comes first in its file, and the key is its own"
    )]
    Pair(#[source] rustls::Error),
}

const CERTIFICATE: &str = "server.tls.certificate_file";
const KEY: &str = "server.tls.private_key_file";

/// The certificate that is shown to clients, as its files have it.
#[derive(Debug)]
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What two files hold, and a digest by which a change is seen.
struct Pair {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not go together.
    pub(super) fn load(tls: &Tls) -> Result<(Arc<Self>, [u8; 32]), TlsError> {
        let (certificate, key) = (&tls.certificate_file, &tls.private_key_file);
        let pair = Pair {
            chain: read(CERTIFICATE, certificate)?,
            key: read(KEY, key)?.into(),
        };
        let current = pair.certified(certificate, key)?;
        let certificates = Self {
            certificate: certificate.clone(),
            key: key.clone(),
            current: RwLock::new(Arc::new(current)),
        };
        Ok((Arc::new(certificates), pair.digest()))
    }

    /// What makes accepted connections TLS.
    ///
    /// # Errors
    /// The TLS library refuses its own settings.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let resolver: Arc<Self> = Arc::clone(self);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes in what the files come to hold, until `stop`. `seen` is the digest of what is in force.
    pub(super) async fn follow(self: Arc<Self>, mut seen: [u8; 32], stop: CancellationToken) {
        loop {
            let pause = tokio::time::sleep(LOOK);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            // Half of a change is no change: whoever replaces one file after the other is waited for.
            if let Ok(pair) = self.read().await
                && pair.digest() != seen
            {
                seen = pair.digest();
                tell(self.take(&pair));
            }
        }
    }

    /// Shows another certificate from now on, if it is one.
    fn take(&self, pair: &Pair) -> Result<(), TlsError> {
        let certified = pair.certified(&self.certificate, &self.key)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(certified);
        info!("the server's certificate was replaced");
        Ok(())
    }

    async fn read(&self) -> std::io::Result<Pair> {
        Ok(Pair {
            chain: tokio::fs::read(&self.certificate).await?,
            key: tokio::fs::read(&self.key).await?.into(),
        })
    }
}

fn tell(taken: Result<(), TlsError>) {
    if let Err(error) = taken {
        error!(%error, "the server's certificate stays as it was");
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Pair {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&self.chain));
        digest.update(Sha256::digest(&*self.key));
        digest.finalize().into()
    }

    fn certified(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let no_certificate = |source| TlsError::Pem {
            field: CERTIFICATE,
            path: certificate.to_owned(),
            what: "certificate",
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(no_certificate)?;
        if chain.is_empty() {
            return Err(no_certificate(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Pem {
            field: KEY,
            path: key.to_owned(),
            what: "private key",
            source,
        })?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Pair)?;
        match certified.keys_match() {
            // Not to be told is no contradiction.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(error) => Err(TlsError::Pair(error)),
        }
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        field,
        path: path.to_owned(),
        source,
    })
}
