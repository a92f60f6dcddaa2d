//! A server: its address, its certificate, its clock, and whether it is ready.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use http::header::DATE;
use portcullis_domain::Clock;
use reqwest::Response;
use reqwest::tls::TlsInfo;
use rustls::CertificateError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::DEADLINE;
use super::row::Report;
use crate::cli::client;
use crate::cli::output;

/// A certificate that ends within this time is told.
const SOON: time::Duration = time::Duration::days(14);
/// Clocks that differ by more refuse each other's tokens at the edges of their lives.
const APART: time::Duration = time::Duration::seconds(5);
/// Clocks that differ by more refuse each other's tokens.
const FAR_APART: time::Duration = time::Duration::seconds(60);

/// Checks a server. Whether it can be asked more.
pub(super) async fn check(
    report: &mut Report,
    url: &Url,
    ca_file: Option<&Path>,
    clock: &dyn Clock,
) -> bool {
    let subject = url.origin().ascii_serialization();
    if !dial(report, &subject, url).await {
        return false;
    }
    let asked = client::below(url, &["readyz"]).and_then(|ready| {
        let http = client::brief_http(url, ca_file, DEADLINE)?;
        Ok((ready, http))
    });
    let (ready, http) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            report.error(("server", &subject), &error);
            return false;
        }
    };
    let answered = match http.get(ready).send().await {
        Ok(answered) => answered,
        Err(error) => {
            refused(report, &subject, url, &error);
            return false;
        }
    };
    certificate(report, &subject, &answered, clock.now());
    clocks(report, &subject, &answered, clock.now());
    readiness(report, &subject, &answered)
}

/// The name has an address, and something listens there.
async fn dial(report: &mut Report, subject: &str, url: &Url) -> bool {
    let helps =
        "is the platform running? Start it with `portcullis up`, or name another one with --server";
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        report.failed(("address", subject), "the URL names no host", helps);
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = timeout(DEADLINE, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            let why = format!("{host} has no address: {error}");
            report.failed(("address", subject), why, "is the name spelled right?");
            return false;
        }
        Err(_elapsed) => {
            let why = format!("nobody says which address {host} has");
            report.failed(("address", subject), why, "does this machine's DNS work?");
            return false;
        }
    };
    let mut why = Vec::new();
    for address in &addresses {
        match timeout(DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(_connected)) => {
                report.ok(("address", subject), format!("{address} accepts"));
                return true;
            }
            Ok(Err(error)) => why.push(format!("{address}: {error}")),
            Err(_elapsed) => why.push(format!("{address}: no answer")),
        }
    }
    report.failed(("address", subject), why.join("; "), helps);
    false
}

/// Why a request was not answered, where the address accepts.
fn refused(report: &mut Report, subject: &str, url: &Url, error: &reqwest::Error) {
    let Some(tls) = tls_error(error) else {
        let (found, helps) = match (url.scheme(), error.is_timeout()) {
            (_, true) => ("no answer within 5 s", "look at the server's log"),
            ("http", false) => (
                "what listens there does not speak HTTP in the clear",
                "is it an https:// address?",
            ),
            (_, false) => ("the connection broke", "look at the server's log"),
        };
        report.failed(("server", subject), found, helps);
        return;
    };
    let (found, helps) = if let rustls::Error::InvalidCertificate(error) = tls {
        distrusted(error)
    } else if matches!(tls, rustls::Error::InvalidMessage(_)) {
        (
            "what listens there does not speak TLS".to_owned(),
            "is it an http:// address? In the clear it is good for this machine alone; give the server a \
             certificate (server.tls)",
        )
    } else {
        (tls.to_string(), "look at the server's log")
    };
    report.failed(("certificate", subject), found, helps);
}

fn distrusted(error: &CertificateError) -> (String, &'static str) {
    let current = "write a current certificate into its file: a running server takes it in by itself; and \
                   look at this machine's clock";
    if let CertificateError::NotValidForNameContext { presented, .. } = error {
        return (
            format!("it is good for {} alone", presented.join(", ")),
            "use one of these names, or give the server a certificate for this one",
        );
    }
    let is = |found: &str, helps| (found.to_owned(), helps);
    if matches!(error, CertificateError::UnknownIssuer) {
        is(
            "nobody whom this machine trusts has signed it",
            "name the PEM file of the server's authority with --ca-file or as the connection file's \
             `ca_file`; that of `portcullis up` is tls/ca.pem in its data folder",
        )
    } else if matches!(
        error,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    ) {
        is("it has ended", current)
    } else if matches!(
        error,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
    ) {
        is("it has not begun yet", current)
    } else {
        is(
            &format!("it is not accepted: {error}"),
            "give the server another certificate",
        )
    }
}

/// What the TLS library said, wherever it is wrapped.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// How long the certificate that was accepted is good for, and for which names.
fn certificate(report: &mut Report, subject: &str, answered: &Response, now: OffsetDateTime) {
    let shown = answered.extensions().get::<TlsInfo>();
    let Some(der) = shown.and_then(TlsInfo::peer_certificate) else {
        report.skipped(
            ("certificate", subject),
            "plain HTTP, which credentials take on this machine alone",
        );
        return;
    };
    let Ok((_, read)) = X509Certificate::from_der(der) else {
        report.skipped(
            ("certificate", subject),
            "it is in no form that is known here",
        );
        return;
    };
    let until = read.validity().not_after.to_datetime();
    let names = read.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                Some((*name).to_owned())
            } else {
                None
            }
        })
        .collect();
    let found = format!(
        "trusted, for {}, until {}",
        if names.is_empty() {
            "its address".to_owned()
        } else {
            names.join(", ")
        },
        output::time(Some(until))
    );
    if until - now < SOON {
        report.warning(
            ("certificate", subject),
            found,
            "write a new certificate into its file: a running server takes it in by itself",
        );
    } else {
        report.ok(("certificate", subject), found);
    }
}

/// How far this machine's clock and the server's are apart (RFC 9110 §6.6.1).
fn clocks(report: &mut Report, subject: &str, answered: &Response, now: OffsetDateTime) {
    let said = answered.headers().get(DATE);
    let said = said.and_then(|date| date.to_str().ok());
    let Some(theirs) = said.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) else {
        report.skipped(
            ("clock", subject),
            "the server does not say what time it is",
        );
        return;
    };
    let apart = (theirs - now).abs();
    let found = format!("{} s apart", apart.whole_seconds());
    let helps = "set both clocks by NTP: tokens live ten minutes";
    if apart > FAR_APART {
        report.failed(("clock", subject), found, helps);
    } else if apart > APART {
        report.warning(("clock", subject), found, helps);
    } else {
        report.ok(("clock", subject), "the same as here");
    }
}

/// Whether the replica takes calls. One that does not still answers questions.
fn readiness(report: &mut Report, subject: &str, answered: &Response) -> bool {
    match answered.status().as_u16() {
        200 => {
            report.ok(("readiness", subject), "it takes calls");
            true
        }
        503 => {
            report.failed(
                ("readiness", subject),
                "it takes no calls now",
                "a database does not answer or the replica stops: /health on its admin listener and its log \
                 say which",
            );
            true
        }
        other => {
            report.failed(
                ("readiness", subject),
                format!("/readyz answers {other}"),
                "is it a Portcullis server? Name its URL as in its `server.public_url`",
            );
            false
        }
    }
}
