//! HTTPS: the certificate that is shown, and taking in another one without a restart.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 alone: HTTP/2 is not offered, so a client's request always has a
//! connection's bounds to itself. A pair of files that does not go together, or is out of date, never
//! comes into force: the one before it stays, and the log says so. That a certificate ends is told before
//! it does.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use portcullis_domain::Clock;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

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
    /// No client would accept the certificate.
    #[error(
        "server.tls.certificate_file: the certificate in {path} {what} {when}. Write a current one \
         there, with its key"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
        /// What is wrong with its dates.
        what: &'static str,
        /// Since or until when.
        when: OffsetDateTime,
    },
    /// The certificate is none.
    #[error(
        "server.tls.certificate_file: {path} holds no X.509 certificate. Write the server's own there, \
         first in the file"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

const CERTIFICATE: &str = "server.tls.certificate_file";
const KEY: &str = "server.tls.private_key_file";

/// How long before the end of a certificate its end is told, once a day.
const SOON: time::Duration = time::Duration::days(14);
/// How often that is told, and that it is over.
const AGAIN: time::Duration = time::Duration::DAY;

/// The certificate that is shown to clients, as its files have it.
#[derive(Debug)]
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    clock: Arc<dyn Clock>,
    current: RwLock<Shown>,
}

/// A certificate in force.
#[derive(Debug, Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    until: OffsetDateTime,
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
    /// They cannot be read, do not go together, or hold a certificate that is out of date.
    pub(super) fn load(
        tls: &Tls,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, [u8; 32]), TlsError> {
        let (certificate, key) = (&tls.certificate_file, &tls.private_key_file);
        let pair = Pair {
            chain: read(CERTIFICATE, certificate)?,
            key: read(KEY, key)?.into(),
        };
        let current = pair.certified(certificate, key, clock.now())?;
        let certificates = Self {
            certificate: certificate.clone(),
            key: key.clone(),
            clock,
            current: RwLock::new(current),
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
        let mut told = None;
        loop {
            self.tell_end(&mut told);
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
                told = None;
            }
        }
    }

    /// Tells that the certificate ends soon, or has ended: once a day.
    fn tell_end(&self, told: &mut Option<OffsetDateTime>) {
        let now = self.clock.now();
        let until = self.shown().until;
        if until - now > SOON || told.is_some_and(|told| now - told < AGAIN) {
            return;
        }
        *told = Some(now);
        if until <= now {
            tell_expired(until);
        } else {
            tell_soon(until);
        }
    }

    fn shown(&self) -> Shown {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Shows another certificate from now on, if it is one.
    fn take(&self, pair: &Pair) -> Result<(), TlsError> {
        let certified = pair.certified(&self.certificate, &self.key, self.clock.now())?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = certified;
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

/// What puts an end to both.
const RENEW: &str = "write a new one with its key into the files of server.tls";

fn tell_expired(until: OffsetDateTime) {
    error!(%until, remedy = RENEW, "the server's certificate has expired: no client accepts it");
}

fn tell_soon(until: OffsetDateTime) {
    warn!(%until, remedy = RENEW, "the server's certificate expires soon");
}

fn tell(taken: Result<(), TlsError>) {
    if let Err(error) = taken {
        error!(%error, "the server's certificate stays as it was");
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown().key)
    }
}

impl Pair {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&self.chain));
        digest.update(Sha256::digest(&*self.key));
        digest.finalize().into()
    }

    fn certified(
        &self,
        certificate: &Path,
        key: &Path,
        now: OffsetDateTime,
    ) -> Result<Shown, TlsError> {
        let no_certificate = |source| TlsError::Pem {
            field: CERTIFICATE,
            path: certificate.to_owned(),
            what: "certificate",
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(no_certificate)?;
        let Some(own) = chain.first() else {
            return Err(no_certificate(pem::Error::NoItemsFound));
        };
        let until = in_date(own, certificate, now)?;
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
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Shown {
                key: Arc::new(certified),
                until,
            }),
            Err(error) => Err(TlsError::Pair(error)),
        }
    }
}

/// Until when a certificate is valid, if it is now.
fn in_date(
    certificate: &CertificateDer<'_>,
    path: &Path,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, TlsError> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    };
    let validity = parsed.validity();
    let (from, until) = (
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    );
    let wrong = |what, when| TlsError::Outdated {
        path: path.to_owned(),
        what,
        when,
    };
    if until <= now {
        return Err(wrong("expired at", until));
    }
    if from > now {
        return Err(wrong("is not valid before", from));
    }
    Ok(until)
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        field,
        path: path.to_owned(),
        source,
    })
}
