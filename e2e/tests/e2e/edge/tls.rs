//! HTTPS of the running program: old versions are refused, certificates are renewed without a restart,
//! what is broken or out of date never comes into force and is told, and production has no plain door.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portcullis_e2e::{Http, Platform, Replica, Reply, shell, wait};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::SOON;

/// Where it listens for HTTPS.
pub(super) fn https(platform: &Platform) -> SocketAddr {
    let url = platform.ready()["https"].as_str().unwrap();
    url.trim_start_matches("https://").parse().unwrap()
}

/// The authority that `up` made.
pub(super) fn authority(platform: &Platform) -> Vec<u8> {
    std::fs::read(platform.data().join("tls/ca.pem")).unwrap()
}

/// A client that trusts one authority, and makes a handshake for each request.
pub(super) fn trusting(authority: &[u8]) -> Client {
    let trusted = Certificate::from_pem(authority).unwrap();
    Client::builder()
        .tls_certs_only([trusted])
        .pool_max_idle_per_host(0)
        .no_proxy()
        .timeout(SOON)
        .build()
        .unwrap()
}

/// A certificate that stands for itself, valid between these days from now.
fn made(from: i64, until: i64) -> (String, String) {
    let now = OffsetDateTime::from(std::fs::metadata("/proc/self").unwrap().modified().unwrap());
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = now + time::Duration::days(from);
    params.not_after = now + time::Duration::days(until);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Puts a pair in place, as tools do that replace files.
fn put(folder: &Path, (certificate, key): &(String, String)) {
    for (name, text) in [("server.pem", certificate), ("server.key", key)] {
        let (new, path) = (folder.join(format!("{name}.new")), folder.join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

async fn told(platform: &Platform, words: &str) {
    wait::until(words, SOON, || async {
        Ok(platform.logs()?.contains(words).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn old_versions_are_refused_and_only_https_is_told_to_stay() {
    let platform = Platform::shared().unwrap();
    let address = https(platform);
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello(version)).await.unwrap();
        let mut told = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut told)
            .await
            .unwrap();
        let [21, 3, _, 0, 2, 2, reason] = told[..] else {
            panic!("no alert for {version:?}: {told:?}");
        };
        // protocol_version or handshake_failure
        assert!([70, 40].contains(&reason), "{version:?}: {reason}");
    }
    let browser = trusting(&authority(platform));
    let secure = browser
        .get(format!("https://{address}/livez"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        secure.version(),
        reqwest::Version::HTTP_11,
        "HTTP/2 is not offered"
    );
    let plain = Http::new()
        .unwrap()
        .get(&format!("{}/livez", platform.url()));
    let plain = Reply::to(plain).await.unwrap();
    assert_eq!(plain.header("strict-transport-security"), None);
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
async fn a_certificate_is_renewed_without_a_restart_and_a_bad_one_never_comes_into_force() {
    let platform = Platform::start().await.unwrap();
    let (url, tls) = (
        format!("https://{}/livez", https(&platform)),
        platform.data().join("tls"),
    );
    let shows = async |authority: &[u8]| trusting(authority).get(&url).send().await.is_ok();
    assert!(shows(&authority(&platform)).await);
    let new = made(-1, 90);
    put(&tls, &new);
    wait::until("the new certificate", SOON, || async {
        Ok(shows(new.0.as_bytes()).await.then_some(()))
    })
    .await
    .unwrap();
    assert!(!shows(&authority(&platform)).await, "the old one is gone");
    for (bad, words) in [
        (
            ("no certificate".to_owned(), "no key".to_owned()),
            "holds no PEM certificate",
        ),
        ((made(-1, 90).0, made(-1, 90).1), "is no key that can serve"),
        (made(-90, -1), "expired at"),
        (made(1, 90), "is not valid before"),
    ] {
        put(&tls, &bad);
        told(&platform, words).await;
        assert!(shows(new.0.as_bytes()).await, "after: {words}");
    }
    let kept = "the server's certificate stays as it was";
    assert!(platform.logs().unwrap().contains(kept));
    std::fs::remove_file(tls.join("server.pem")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        shows(new.0.as_bytes()).await,
        "a missing file is no new certificate"
    );
    put(&tls, &made(-1, 3));
    told(&platform, "the server's certificate expires soon").await;
}

#[tokio::test]
async fn a_replica_does_not_start_with_a_certificate_that_is_missing_or_out_of_date() {
    let platform = Platform::start().await.unwrap();
    let folder = platform.data().join("own-tls");
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let own = [
        (
            "PORTCULLIS_SERVER_TLS_CERTIFICATE_FILE",
            certificate.as_str(),
        ),
        ("PORTCULLIS_SERVER_TLS_PRIVATE_KEY_FILE", key.as_str()),
        ("PORTCULLIS_SERVER_TLS_LISTEN", "127.0.0.1:0"),
    ];
    assert!(Replica::beside_with(&platform, &own).await.is_err());
    let logs = platform.logs().unwrap();
    assert!(
        logs.contains("cannot read") && logs.contains(&certificate),
        "{logs}"
    );
    put(&folder, &made(-90, -1));
    assert!(Replica::beside_with(&platform, &own).await.is_err());
    let logs = platform.logs().unwrap();
    assert!(logs.contains("expired at"), "{logs}");
    assert!(logs.contains("Write a current one there"), "{logs}");
    put(&folder, &made(-1, 90));
    Replica::beside_with(&platform, &own).await.unwrap();
}

#[tokio::test]
async fn production_has_no_plain_door() {
    let platform = Platform::shared().unwrap();
    let settings = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/api/tests/production.toml"
    );
    let ran = shell::run(
        &format!("portcullis serve --config '{settings}'"),
        platform.binary(),
    );
    let ran = ran.unwrap();
    assert!(!ran.success, "{}", ran.out);
    let words = "server.tls: production refuses plain HTTP";
    assert!(ran.err.contains(words), "{}", ran.err);
    let beside = "PORTCULLIS_SERVER_TLS_CERTIFICATE_FILE=/x PORTCULLIS_SERVER_TLS_PRIVATE_KEY_FILE=/y \
                  PORTCULLIS_SERVER_TLS_LISTEN=127.0.0.1:0";
    let script = format!("{beside} portcullis serve --config '{settings}'");
    let ran = shell::run(&script, platform.binary()).unwrap();
    assert!(!ran.success, "{}", ran.out);
    let words = "server.tls.listen: production refuses plain HTTP";
    assert!(ran.err.contains(words), "{}", ran.err);
}
