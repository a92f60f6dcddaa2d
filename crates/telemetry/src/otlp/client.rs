//! One request to the collector, over gRPC or HTTP. What it answers is read only as far as it says whether
//! it took what it was sent; its words stand in no log.

use std::error::Error;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};
use url::Url;

use super::settings::{Collector, CollectorError, Protocol};

const PROTOBUF: &str = "application/x-protobuf";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer that is read; what a collector has to say is short.
const ANSWER_BYTES: usize = 64 * 1_024;
/// The longest wait that a collector may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why the collector did not take what it was sent.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether it may take the same later.
    pub(super) passing: bool,
    /// When, if it said so.
    pub(super) after: Option<Duration>,
    /// What happened, in our own words.
    pub(super) what: String,
}

impl Failure {
    fn passing(what: String) -> Self {
        Self {
            passing: true,
            after: None,
            what,
        }
    }
}

/// How many parts of a request the collector says that it threw away.
pub(super) type Rejected = u64;

/// How the collector is reached. Nothing is connected before the first request.
#[derive(Debug)]
pub(super) enum Way {
    Grpc(Box<Endpoint>, HeaderMap),
    Http(Web),
}

#[derive(Debug, Clone)]
pub(super) struct Web {
    client: reqwest::Client,
    traces: Url,
    metrics: Url,
    headers: HeaderMap,
}

impl Way {
    pub(super) fn to(collector: &Collector) -> Result<Self, CollectorError> {
        let headers = collector.header_map()?;
        match collector.protocol {
            Protocol::Grpc => Ok(Self::Grpc(Box::new(grpc(collector)?), headers)),
            Protocol::Http => Ok(Self::Http(Web {
                client: http_client(collector)?,
                traces: beneath(&collector.endpoint, "traces")?,
                metrics: beneath(&collector.endpoint, "metrics")?,
                headers,
            })),
        }
    }

    /// A client; there has to be a runtime.
    pub(super) fn open(self) -> Client {
        match self {
            Self::Grpc(endpoint, headers) => Client::Grpc(endpoint.connect_lazy(), headers),
            Self::Http(web) => Client::Http(web),
        }
    }
}

fn certificates(
    collector: &Collector,
) -> Result<Option<Vec<reqwest::Certificate>>, CollectorError> {
    let Some(pem) = &collector.authorities else {
        return Ok(None);
    };
    match reqwest::Certificate::from_pem_bundle(pem) {
        Ok(found) if !found.is_empty() => Ok(Some(found)),
        Ok(_) | Err(_) => Err(CollectorError::Authorities),
    }
}

fn grpc(collector: &Collector) -> Result<Endpoint, CollectorError> {
    let unfit = |error: tonic::transport::Error| CollectorError::Endpoint(chain(&error));
    let endpoint = Endpoint::from_shared(collector.endpoint.as_str().to_owned()).map_err(unfit)?;
    let endpoint = endpoint.connect_timeout(CONNECT).timeout(ANSWER);
    if collector.endpoint.scheme() != "https" {
        return Ok(endpoint);
    }
    certificates(collector)?;
    let tls = match &collector.authorities {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(unfit)
}

fn http_client(collector: &Collector) -> Result<reqwest::Client, CollectorError> {
    let mut builder = reqwest::Client::builder();
    if let Some(found) = certificates(collector)? {
        builder = builder.tls_certs_only(found);
    }
    // The operator named one address: no proxy of the environment, no other place by a redirect.
    builder
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .build()
        .map_err(|error| CollectorError::Endpoint(chain(&error)))
}

fn beneath(endpoint: &Url, signal: &str) -> Result<Url, CollectorError> {
    let base = endpoint.as_str().trim_end_matches('/');
    let url = format!("{base}/v1/{signal}");
    Url::parse(&url).map_err(|error| CollectorError::Endpoint(error.to_string()))
}

/// A client of the collector.
#[derive(Debug, Clone)]
pub(super) enum Client {
    Grpc(Channel, HeaderMap),
    Http(Web),
}

impl Client {
    pub(super) async fn traces(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<Rejected, Failure> {
        let answer: ExportTraceServiceResponse = match self {
            Self::Grpc(channel, headers) => {
                let mut client = TraceServiceClient::new(channel.clone())
                    .max_decoding_message_size(ANSWER_BYTES);
                let answered = client.export(with(headers, request)).await;
                answered
                    .map_err(|status| status_failure(&status))?
                    .into_inner()
            }
            Self::Http(web) => web.post(&web.traces, request.encode_to_vec()).await?,
        };
        let rejected = answer
            .partial_success
            .map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    pub(super) async fn metrics(
        &self,
        request: ExportMetricsServiceRequest,
    ) -> Result<Rejected, Failure> {
        let answer: ExportMetricsServiceResponse = match self {
            Self::Grpc(channel, headers) => {
                let mut client = MetricsServiceClient::new(channel.clone())
                    .max_decoding_message_size(ANSWER_BYTES);
                let answered = client.export(with(headers, request)).await;
                answered
                    .map_err(|status| status_failure(&status))?
                    .into_inner()
            }
            Self::Http(web) => web.post(&web.metrics, request.encode_to_vec()).await?,
        };
        let partial = answer.partial_success;
        let rejected = partial.map_or(0, |partial| partial.rejected_data_points);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}

fn with<T>(headers: &HeaderMap, message: T) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
    request
}

/// Which codes a later request may get another answer than (OTLP, Failures).
fn status_failure(status: &tonic::Status) -> Failure {
    let passing = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unknown
    );
    Failure {
        passing,
        after: None,
        what: match status.source() {
            // Nobody answered: what is told is our own transport's.
            Some(source) => format!("{:?}: {}", status.code(), chain(source)),
            None => format!("it answered {:?}", status.code()),
        },
    }
}

impl Web {
    async fn post<A: Message + Default>(&self, url: &Url, body: Vec<u8>) -> Result<A, Failure> {
        let broken = |error: reqwest::Error| Failure::passing(chain(&error.without_url()));
        let request = self.client.post(url.clone()).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, PROTOBUF).body(body);
        let mut answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(refused(status, answer.headers()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES {
                // It took the request; its words are of no use.
                return Ok(A::default());
            }
        }
        Ok(A::decode(bytes.as_slice()).unwrap_or_default())
    }
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    let passing = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|after| after.to_str().ok());
    let after = after
        .and_then(|after| after.parse().ok())
        .map(Duration::from_secs);
    Failure {
        passing,
        after: after.map(|after| after.min(LONGEST_WAIT)),
        what: format!("it answered {status}"),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
