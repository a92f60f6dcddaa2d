//! A collector: the official generated OTLP services over gRPC, and the same messages over HTTP, on two
//! ports of this machine. It keeps everything that it is sent, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::wait;

/// How long spans may take to arrive on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Heard {
    spans: Vec<Span>,
    resources: Vec<KeyValue>,
    metrics: Vec<Metric>,
    metric_requests: usize,
    /// The value of the header `x-collector-token` of the last request.
    token: Option<String>,
    /// Everything, as it came.
    bytes: Vec<Vec<u8>>,
}

/// A running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    grpc: SocketAddr,
    http: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

fn locked(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn start() -> Result<Self> {
        Self::listening(None, None).await
    }

    /// Starts one that speaks gRPC over TLS alone.
    ///
    /// # Errors
    /// The certificate cannot be used, or nothing can be listened on.
    pub async fn over_tls(certificate: &Certificate) -> Result<Self> {
        Self::listening(None, Some(certificate)).await
    }

    /// Ends it: its ports refuse connections from then on.
    pub async fn leave(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Comes back where this one was.
    ///
    /// # Errors
    /// Its ports are taken.
    pub async fn back(&self) -> Result<Self> {
        Self::listening(Some((self.grpc, self.http)), None).await
    }

    async fn listening(
        at: Option<(SocketAddr, SocketAddr)>,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (grpc, http) = at.unwrap_or((any, any));
        let grpc = TcpListener::bind(grpc).await.context("listen for gRPC")?;
        let http = TcpListener::bind(http).await.context("listen for HTTP")?;
        let collector = Self {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            heard: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let ears = Ears(Arc::clone(&collector.heard));
        let mut server = Server::builder();
        if let Some(Certificate { certificate, key }) = certificate {
            let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
            server = server.tls_config(tls).context("use the certificate")?;
        }
        let stop = collector.stop.clone();
        let serving = server
            .add_service(TraceServiceServer::new(ears.clone()))
            .add_service(MetricsServiceServer::new(ears.clone()))
            .serve_with_incoming_shutdown(TcpIncoming::from(grpc), stop.cancelled_owned());
        collector.tasks.spawn(serving);
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(ears);
        let stop = collector.stop.clone();
        let serving = axum::serve(http, router).with_graceful_shutdown(stop.cancelled_owned());
        collector.tasks.spawn(async move { serving.await });
        Ok(collector)
    }

    /// Its gRPC endpoint.
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Its HTTP endpoint.
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its gRPC port.
    pub const fn port(&self) -> u16 {
        self.grpc.port()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        locked(&self.heard).spans.clone()
    }

    /// How many spans came so far.
    pub fn count(&self) -> usize {
        locked(&self.heard).spans.len()
    }

    /// The spans of a trace, written as 32 digits.
    pub fn of_trace(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans().into_iter();
        spans
            .filter(|span| hex::encode(&span.trace_id) == trace)
            .collect()
    }

    /// The spans of a trace, once there are so many.
    ///
    /// # Errors
    /// They do not come.
    pub async fn trace(&self, trace: &str, count: usize) -> Result<Vec<Span>> {
        wait::until("the spans of a trace", ARRIVAL, || async {
            let found = self.of_trace(trace);
            Ok((found.len() >= count).then_some(found))
        })
        .await
    }

    /// The attributes of the last resource.
    pub fn resource(&self) -> Vec<KeyValue> {
        locked(&self.heard).resources.clone()
    }

    /// The token that came with the last request.
    pub fn token(&self) -> Option<String> {
        locked(&self.heard).token.clone()
    }

    /// The metrics of a request that came after this call.
    ///
    /// # Errors
    /// None comes.
    pub async fn next_metrics(&self) -> Result<Vec<Metric>> {
        // The request that is under way now may have been written before.
        let enough = locked(&self.heard).metric_requests + 2;
        wait::until("metrics at the collector", ARRIVAL, || async {
            let heard = locked(&self.heard);
            Ok((heard.metric_requests >= enough).then(|| heard.metrics.clone()))
        })
        .await
    }

    /// Whether a value stands anywhere in what came.
    pub fn heard_of(&self, value: &str) -> bool {
        let heard = locked(&self.heard);
        let mut bytes = heard.bytes.iter();
        bytes.any(|bytes| memchr::memmem::find(bytes, value.as_bytes()).is_some())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An attribute that is text or a whole number, as text; nothing if it is not there.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == key)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    if let Any::StringValue(text) = value {
        Some(text.clone())
    } else if let Any::IntValue(number) = value {
        Some(number.to_string())
    } else {
        None
    }
}

#[derive(Debug, Clone)]
struct Ears(Arc<Mutex<Heard>>);

impl Ears {
    fn spans(&self, request: ExportTraceServiceRequest, token: Option<String>) {
        let mut heard = locked(&self.0);
        heard.bytes.push(request.encode_to_vec());
        heard.token = token;
        for of_resource in request.resource_spans {
            if let Some(resource) = of_resource.resource {
                heard.resources = resource.attributes;
            }
            let scopes = of_resource.scope_spans.into_iter();
            heard.spans.extend(scopes.flat_map(|scope| scope.spans));
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest, token: Option<String>) {
        let mut heard = locked(&self.0);
        heard.bytes.push(request.encode_to_vec());
        heard.token = token;
        let resources = request.resource_metrics.into_iter();
        let scopes = resources.flat_map(|of_resource| of_resource.scope_metrics);
        heard.metrics = scopes.flat_map(|scope| scope.metrics).collect();
        heard.metric_requests += 1;
    }
}

const TOKEN: &str = "x-collector-token";

fn token_of<T>(request: &Request<T>) -> Option<String> {
    let token = request.metadata().get(TOKEN)?.to_str().ok()?;
    Some(token.to_owned())
}

#[tonic::async_trait]
impl TraceService for Ears {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let token = token_of(&request);
        self.spans(request.into_inner(), token);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Ears {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let token = token_of(&request);
        self.metrics(request.into_inner(), token);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// What a request over HTTP holds, and its token; nothing if it is of another form.
fn read<M: Message + Default>(headers: &HeaderMap, body: &Bytes) -> Option<(M, Option<String>)> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if kind != "application/x-protobuf" {
        return None;
    }
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    Some((M::decode(body.as_ref()).ok()?, token.map(str::to_owned)))
}

fn say(message: &impl Message) -> HttpResponse {
    let kind = [(CONTENT_TYPE, "application/x-protobuf")];
    (kind, message.encode_to_vec()).into_response()
}

async fn traces(State(ears): State<Ears>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    match read(&headers, &body) {
        Some((request, token)) => {
            ears.spans(request, token);
            say(&ExportTraceServiceResponse::default())
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn metrics(State(ears): State<Ears>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    match read(&headers, &body) {
        Some((request, token)) => {
            ears.metrics(request, token);
            say(&ExportMetricsServiceResponse::default())
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}
