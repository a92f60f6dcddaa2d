//! A tool server outside of the platform and its databases: it counts what it did, and it can be slow,
//! or fall silent between doing it and saying so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The member of a request's body that names the effect.
pub const EFFECT: &str = "effect";
/// The header that names a repeat.
const KEY: &str = "idempotency-key";

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// How long it waits before the effect.
    pub before: Duration,
    /// How long it waits between the effect and the answer.
    pub after: Duration,
    /// How it ends.
    pub end: End,
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its answer.
    Answer,
    /// Refused with a 4xx, and so without an effect.
    Refuse,
    /// With an effect and a 503.
    Fail,
    /// With an effect and a connection that ends without an answer.
    Reset,
}

impl Manners {
    /// At once.
    pub const PROMPT: Self = Self {
        before: Duration::ZERO,
        after: Duration::ZERO,
        end: End::Answer,
    };

    /// Slow after the effect.
    pub const fn slow_to_answer(after: Duration) -> Self {
        Self {
            before: Duration::ZERO,
            after,
            end: End::Answer,
        }
    }

    /// Ends in another way.
    #[must_use]
    pub const fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

/// One request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The effect that it asked for.
    pub effect: String,
    /// The idempotency key that it came with.
    pub key: Option<String>,
    /// The `traceparent` that it came with.
    pub traceparent: Option<String>,
    /// The `tracestate` that it came with.
    pub tracestate: Option<String>,
}

#[derive(Debug)]
struct State {
    arrivals: Mutex<Vec<Arrival>>,
    effects: Mutex<BTreeMap<String, usize>>,
    manners: Mutex<Manners>,
    count: watch::Sender<usize>,
    /// What it does goes on when the client is gone.
    work: TaskTracker,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running tool server. Dropping it ends it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
}

impl Upstream {
    /// Starts one that answers at once.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("listen as a tool server")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            arrivals: Mutex::default(),
            effects: Mutex::default(),
            manners: Mutex::new(Manners::PROMPT),
            count: watch::Sender::new(0),
            work: TaskTracker::new(),
        });
        let stop = CancellationToken::new();
        let (shared, ended) = (Arc::clone(&state), stop.clone());
        let tasks = TaskTracker::new();
        let own = tasks.clone();
        tasks.spawn(async move {
            let accepting = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let served = serve(stream, Arc::clone(&shared));
                    own.spawn(ended.clone().run_until_cancelled_owned(served));
                }
            };
            ended.run_until_cancelled(accepting).await;
        });
        Ok(Self {
            address,
            state,
            stop,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Treats requests so from now on.
    pub fn behave(&self, manners: Manners) {
        *locked(&self.state.manners) = manners;
    }

    /// How often each effect happened.
    pub fn effects(&self) -> BTreeMap<String, usize> {
        locked(&self.state.effects).clone()
    }

    /// How often one effect happened.
    pub fn effects_of(&self, effect: &str) -> usize {
        locked(&self.state.effects)
            .get(effect)
            .copied()
            .unwrap_or(0)
    }

    /// Every request since the start, in the order in which they came.
    pub fn arrivals(&self) -> Vec<Arrival> {
        locked(&self.state.arrivals).clone()
    }

    /// How many requests came.
    pub fn arrived(&self) -> usize {
        *self.state.count.borrow()
    }

    /// The last request that came, if any did.
    pub fn last_arrival(&self) -> Option<Instant> {
        locked(&self.state.arrivals)
            .last()
            .map(|arrival| arrival.at)
    }

    /// Waits until so many requests came.
    pub async fn until_arrived(&self, count: usize) {
        let mut seen = self.state.count.subscribe();
        // The sender lives as long as this value.
        let _ever = seen.wait_for(|now| *now >= count).await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let _as_fast_as_it_goes = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // What ends without an answer ends here as an error, and so does a client that goes away.
    let _ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A connection that is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct Silence;

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Silence> {
    let at = Instant::now();
    let header = |name| {
        let value = request.headers().get(name);
        let text = value.and_then(|value| value.to_str().ok());
        text.map(str::to_owned)
    };
    let key = header(KEY);
    let (traceparent, tracestate) = (header("traceparent"), header("tracestate"));
    let body = request.into_body().collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let effect = asked
        .get(EFFECT)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let manners = *locked(&state.manners);
    locked(&state.arrivals).push(Arrival {
        at,
        effect: effect.to_owned(),
        key,
        traceparent,
        tracestate,
    });
    state.count.send_modify(|count| *count += 1);
    if manners.end == End::Refuse {
        return Ok(say(StatusCode::UNPROCESSABLE_ENTITY, &json!({})));
    }
    let (shared, name) = (Arc::clone(&state), effect.to_owned());
    let done = state.work.spawn(async move {
        tokio::time::sleep(manners.before).await;
        let mut effects = locked(&shared.effects);
        let times = effects.entry(name).or_default();
        *times += 1;
        *times
    });
    let times = done.await.map_err(|_stopped| Silence)?;
    tokio::time::sleep(manners.after).await;
    match manners.end {
        End::Reset => Err(Silence),
        End::Fail => Ok(say(StatusCode::SERVICE_UNAVAILABLE, &json!({}))),
        End::Answer | End::Refuse => Ok(say(
            StatusCode::OK,
            &json!({"effect": effect, "times": times}),
        )),
    }
}

fn say(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Http, Reply};

    async fn ask(upstream: &Upstream, effect: &str) -> Result<Reply> {
        let url = format!("http://{}/effects", upstream.address());
        let request = Http::new()?.post(&url).header(KEY, "k");
        Reply::to(request.json(&json!({ EFFECT: effect }))).await
    }

    #[tokio::test]
    async fn it_counts_each_effect_and_remembers_each_request() {
        let upstream = Upstream::start().await.unwrap();
        for effect in ["a", "b", "a"] {
            assert_eq!(ask(&upstream, effect).await.unwrap().status, 200);
        }
        assert_eq!((upstream.effects_of("a"), upstream.effects_of("c")), (2, 0));
        assert_eq!(upstream.arrived(), 3);
        assert_eq!(upstream.arrivals()[0].key.as_deref(), Some("k"));
    }

    #[tokio::test]
    async fn a_refusal_is_no_effect_and_a_reset_is_one() {
        let upstream = Upstream::start().await.unwrap();
        upstream.behave(Manners::PROMPT.ending(End::Refuse));
        assert_eq!(ask(&upstream, "a").await.unwrap().status, 422);
        assert_eq!(upstream.effects_of("a"), 0);
        upstream.behave(Manners::PROMPT.ending(End::Reset));
        assert!(ask(&upstream, "a").await.is_err());
        assert_eq!(upstream.effects_of("a"), 1);
    }
}
