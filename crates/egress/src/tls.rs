//! Whose certificates are believed: the public authorities, and those that the operator adds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why certificates could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of authorities cannot be read.
    #[error("cannot read certificates from {path}; it must hold PEM certificates")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// A certificate that is none, or settings that do not go together.
    #[error("the certificates cannot be used")]
    Certificate(#[source] rustls::Error),
    /// A file without a certificate.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
}

/// The authorities whose certificates are believed.
#[derive(Debug, Clone)]
pub struct Trust(RootCertStore);

impl Trust {
    /// The public authorities.
    pub fn public() -> Self {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self(roots)
    }

    /// Also those in a PEM file, for tool servers inside.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn with_file(mut self, path: &Path) -> Result<Self, TlsError> {
        let failed = |source| TlsError::File {
            path: path.to_owned(),
            source,
        };
        let mut found = false;
        for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
            let certificate = certificate.map_err(failed)?;
            self.0.add(certificate).map_err(TlsError::Certificate)?;
            found = true;
        }
        if found {
            Ok(self)
        } else {
            Err(TlsError::Empty(path.to_owned()))
        }
    }

    pub(crate) fn config(self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?
            .with_root_certificates(self.0)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
