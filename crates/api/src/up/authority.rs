//! The certificate authority of this machine's platform, and the certificate that its HTTPS port shows.
//!
//! The authority's key stays in the data folder. Its certificate is constrained to the names of this
//! machine (RFC 5280 §4.2.1.10), so that whoever trusts it trusts it for nothing else, even if the key
//! is stolen. The server's own certificate is made anew at each start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use portcullis_domain::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::error::UpError;
use super::folder::Folder;
use crate::platform::write_private;

/// How long the authority is believed.
const AUTHORITY: Duration = Duration::days(3_650);
/// How long the server's certificate is: no client takes one of more than 398 days.
const SERVER: Duration = Duration::days(397);
/// Clocks that are late, and a start shortly after another.
const BEFORE: Duration = Duration::days(1);

/// The files of HTTPS.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles {
    /// What clients are to trust.
    pub(super) authority: PathBuf,
    /// The server's certificate.
    pub(super) certificate: PathBuf,
    /// The server's key.
    pub(super) key: PathBuf,
}

impl TlsFiles {
    pub(super) fn of(folder: &Folder) -> Self {
        let tls = folder.tls();
        Self {
            authority: tls.join("ca.pem"),
            certificate: tls.join("server.pem"),
            key: tls.join("server.key"),
        }
    }
}

/// Makes the authority where there is none, and a certificate of the server.
///
/// # Errors
/// A file cannot be read or written, or is none of ours.
pub(super) fn ensure(folder: &Folder, clock: &dyn Clock) -> Result<(), UpError> {
    let files = TlsFiles::of(folder);
    let now = clock.now();
    let key_file = folder.tls().join("ca.key");
    let params = authority(now);
    let key = if key_file.exists() && files.authority.exists() {
        let text = std::fs::read_to_string(&key_file);
        let text = Zeroizing::new(text.map_err(UpError::file("cannot read", &key_file))?);
        KeyPair::from_pem(&text)?
    } else {
        let key = KeyPair::generate()?;
        write(&key_file, &Zeroizing::new(key.serialize_pem()))?;
        write(&files.authority, &params.self_signed(&key)?.pem())?;
        key
    };
    // Its name and its key are what a certificate names of its issuer.
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis on this machine");
    params.not_before = now.saturating_sub(BEFORE);
    params.not_after = now.saturating_add(SERVER);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let made = params.signed_by(&own, &issuer)?;
    write(&files.key, &Zeroizing::new(own.serialize_pem()))?;
    write(&files.certificate, &made.pem())
}

fn authority(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(
        DnType::CommonName,
        "Portcullis local authority, for this machine alone",
    );
    params.not_before = now.saturating_sub(BEFORE);
    params.not_after = now.saturating_add(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
                8,
            )),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                IpAddr::V6(Ipv6Addr::LOCALHOST),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn write(path: &Path, text: &str) -> Result<(), UpError> {
    write_private(path, text.as_bytes()).map_err(UpError::file("cannot write", path))
}
