//! HTTPS over real sockets: which versions, which certificate, and what becomes of those who do not
//! finish their handshake.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::super::edge::{self, StrictTransport};
use super::super::http::{self, Bounds, Door};
use super::super::tls::{Certificates, TlsError};
use super::PATIENT;
use crate::config::Tls;
use crate::platform::SystemClock;

const REQUEST: &[u8] = b"GET /ok HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Files of a certificate that stands for itself.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.renew();
        files
    }

    fn tls(&self) -> Tls {
        Tls {
            certificate_file: self.folder.path().join("server.pem"),
            private_key_file: self.folder.path().join("server.key"),
            listen: None,
        }
    }

    /// Puts another pair in place, as tools do that replace files.
    fn renew(&self) {
        let (certificate, key) = made();
        let tls = self.tls();
        replace(&tls.certificate_file, &certificate);
        replace(&tls.private_key_file, &key);
    }
}

fn made() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn replace(path: &Path, text: &str) {
    let near = path.with_extension("new");
    std::fs::write(&near, text).unwrap();
    std::fs::rename(near, path).unwrap();
}

struct Running {
    plain: SocketAddr,
    https: SocketAddr,
    _end: DropGuard,
}

async fn start(files: &Files, bounds: Bounds) -> Running {
    let router = Router::new().route("/ok", get(|| async { "ok" }));
    let router = edge::around(router, StrictTransport::OverTls);
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (shown, seen) = Certificates::load(&files.tls(), Arc::new(SystemClock)).unwrap();
    let end = CancellationToken::new();
    let running = Running {
        plain: plain.local_addr().unwrap(),
        https: https.local_addr().unwrap(),
        _end: end.clone().drop_guard(),
    };
    let doors = vec![
        Door {
            listener: plain,
            tls: None,
        },
        Door {
            listener: https,
            tls: Some(shown.acceptor().unwrap()),
        },
    ];
    let tasks = TaskTracker::new();
    tasks.spawn(shown.follow(seen, end.clone()));
    tasks.spawn(http::serve(doors, router, bounds, Vec::new(), end));
    running
}

/// A handshake of somebody who trusts what the file holds now.
async fn handshake(address: SocketAddr, files: &Files) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(files.tls().certificate_file).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn answer<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> String {
    stream.write_all(REQUEST).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap().to_lowercase()
}

#[tokio::test]
async fn clients_are_told_to_stay_with_https_where_they_come_by_it_and_nowhere_else() {
    let files = Files::new();
    let running = start(&files, PATIENT).await;
    let stream = handshake(running.https, &files).await.unwrap();
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let told = answer(stream).await;
    assert!(told.starts_with("http/1.1 200"), "{told}");
    assert!(told.contains("strict-transport-security: max-age=31536000"));
    let told = answer(TcpStream::connect(running.plain).await.unwrap()).await;
    assert!(told.starts_with("http/1.1 200"), "{told}");
    assert!(!told.contains("strict-transport-security"), "{told}");
}

/// A `ClientHello` of one version without `supported_versions`, as clients of that time sent it.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    // ECDHE-ECDSA and RSA suites of that time, then no compression.
    body.extend([0, 6, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x2f, 1, 0]);
    // secp256r1, uncompressed points.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    record.extend(message);
    record
}

#[tokio::test]
async fn old_versions_of_tls_are_refused_by_an_alert() {
    let files = Files::new();
    let running = start(&files, PATIENT).await;
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = TcpStream::connect(running.https).await.unwrap();
        stream.write_all(&hello(version)).await.unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).await.unwrap();
        let [21, 3, _, 0, 2, 2, reason] = told[..] else {
            panic!("no alert for {version:?}: {told:?}");
        };
        // protocol_version or handshake_failure
        assert!([70, 40].contains(&reason), "{version:?}: {reason}");
    }
}

#[tokio::test]
async fn plain_http_at_the_https_door_gets_nothing_of_the_platform() {
    let files = Files::new();
    let running = start(&files, PATIENT).await;
    let mut stream = TcpStream::connect(running.https).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut told = Vec::new();
    // The end may come as a reset, since what was sent is not read to its end.
    let _reset = stream.read_to_end(&mut told).await;
    assert!(!String::from_utf8_lossy(&told).contains("HTTP"), "{told:?}");
}

#[tokio::test]
async fn whoever_does_not_finish_the_handshake_is_cut_off_and_delays_nobody() {
    let files = Files::new();
    let bounds = Bounds {
        head_timeout: Duration::from_secs(1),
        ..PATIENT
    };
    let running = start(&files, bounds).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(TcpStream::connect(running.https).await.unwrap());
    }
    let told = answer(handshake(running.https, &files).await.unwrap()).await;
    assert!(told.starts_with("http/1.1 200"), "{told}");
    for mut stream in silent {
        let mut told = Vec::new();
        stream.read_to_end(&mut told).await.unwrap();
        assert!(told.is_empty(), "{told:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_never_is() {
    let files = Files::new();
    let running = start(&files, PATIENT).await;
    handshake(running.https, &files).await.unwrap();
    files.renew();
    let patience = tokio::time::timeout(Duration::from_mins(1), async {
        while handshake(running.https, &files).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    patience.await.unwrap();
    // Another key, which is not that of the certificate.
    let (other, key) = made();
    replace(&files.tls().private_key_file, &key);
    tokio::time::sleep(Duration::from_secs(5)).await;
    handshake(running.https, &files).await.unwrap();
    // The certificate follows: now they go together.
    replace(&files.tls().certificate_file, &other);
    let patience = tokio::time::timeout(Duration::from_mins(1), async {
        while handshake(running.https, &files).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    patience.await.unwrap();
}

#[test]
fn files_that_cannot_serve_stop_the_start_and_are_named() {
    let files = Files::new();
    let tls = files.tls();
    let refused = |what: &str| {
        let error = Certificates::load(&tls, Arc::new(SystemClock)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        error
    };
    let (_, key) = made();
    std::fs::write(&tls.private_key_file, key).unwrap();
    assert!(matches!(
        refused("server.tls.private_key_file"),
        TlsError::Pair(_)
    ));
    std::fs::write(&tls.private_key_file, "no key").unwrap();
    refused("server.tls.private_key_file");
    std::fs::write(&tls.certificate_file, "").unwrap();
    refused("server.tls.certificate_file");
    std::fs::remove_file(&tls.certificate_file).unwrap();
    refused("server.tls.certificate_file");
}
