//! A resolver, a dialler and a server that do as they are told.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::allowance::{Allowance, InternalNetwork, InternalNetworks};
use crate::client::{Client, Limits};
use crate::dial::{Dial, DialFuture, TcpDial};
use crate::resolve::{Resolve, ResolveFuture};
use crate::tls::Trust;

pub(super) const LIMIT: usize = 64 * 1024;

/// Answers with its list, one entry a question, the last again and again.
#[derive(Debug)]
pub(super) struct Answers {
    list: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Answers {
    pub(super) fn new(list: &[&[&str]]) -> Arc<Self> {
        let read = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            list: Mutex::new(list.iter().map(read).collect()),
            asked: Mutex::default(),
        })
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Answers {
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut list = self.list.lock().unwrap();
        let answer = if list.len() > 1 {
            list.pop_front()
        } else {
            list.front().cloned()
        };
        Box::pin(std::future::ready(Ok(answer.unwrap_or_default())))
    }
}

/// Answers the same to every question.
#[derive(Debug)]
pub(super) struct Scripted(pub(super) Vec<IpAddr>);

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _name: &'a str) -> ResolveFuture<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Never answers.
#[derive(Debug)]
pub(super) struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _name: &'a str) -> ResolveFuture<'a> {
        Box::pin(std::future::pending())
    }
}

/// Writes down what it is asked to dial, and reaches nobody, or always the same one.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) dialled: Mutex<Vec<SocketAddr>>,
    pub(super) instead: Option<SocketAddr>,
}

impl Dial for Recorded {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        self.dialled.lock().unwrap().push(address);
        Box::pin(async move {
            match self.instead {
                Some(other) => TcpStream::connect(other).await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

pub(super) fn client(
    resolver: &Arc<impl Resolve + 'static>,
    dial: &Arc<impl Dial + 'static>,
) -> Client {
    trusting(resolver, dial, Trust::public())
}

pub(super) fn trusting(
    resolver: &Arc<impl Resolve + 'static>,
    dial: &Arc<impl Dial + 'static>,
    trust: Trust,
) -> Client {
    let (resolver, dial) = (Arc::clone(resolver), Arc::clone(dial));
    let limits = Limits {
        max_response_bytes: LIMIT,
        connect_timeout: Duration::from_secs(1),
    };
    Client::new(resolver, dial, trust, limits).unwrap()
}

/// A client for whom every name is on this machine.
pub(super) fn local() -> Client {
    client(&Answers::new(&[&["127.0.0.1"]]), &Arc::new(TcpDial))
}

/// Opens this machine's loopback at a port.
pub(super) fn opened(port: u16) -> Allowance {
    opened_at(&[port])
}

/// Opens this machine's loopback at some ports.
pub(super) fn opened_at(ports: &[u16]) -> Allowance {
    let open = InternalNetwork {
        network: "127.0.0.1/32".parse().unwrap(),
        ports: ports.to_vec(),
        tenants: vec!["acme".to_owned()],
        servers: vec!["orders".to_owned()],
    };
    InternalNetworks::new(vec![open]).allowance("acme", "orders")
}

/// What a server does after it has read a request and answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    Close,
    Hang,
    Repeat,
}

/// A server that reads a request and answers with given bytes.
pub(super) struct Upstream {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Upstream {
    pub(super) async fn start(answer: &[u8], then: Then) -> Self {
        Self::serve(vec![answer.to_vec()], then, None).await
    }

    /// One answer a request, the last again and again.
    pub(super) async fn start_each(answers: &[Vec<u8>]) -> Self {
        Self::serve(answers.to_vec(), Then::Close, None).await
    }

    pub(super) async fn start_tls(answer: &[u8], acceptor: TlsAcceptor) -> Self {
        Self::serve(vec![answer.to_vec()], Then::Close, Some(acceptor)).await
    }

    async fn serve(answers: Vec<Vec<u8>>, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            let mut answers = VecDeque::from(answers);
            while let Ok((stream, _peer)) = listener.accept().await {
                let answer = if answers.len() > 1 {
                    answers.pop_front()
                } else {
                    answers.front().cloned()
                };
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                let answer = answer.unwrap_or_default();
                connections.spawn(async move {
                    match tls {
                        None => talk(stream, &answer, then, &seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let name = stream.get_ref().1.server_name().map(str::to_owned);
                                let name = format!("SNI {}", name.unwrap_or_default());
                                seen.lock().unwrap().push(name);
                                talk(stream, &answer, then, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            received,
            _serving: serving,
        }
    }

    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

async fn talk<S>(mut stream: S, answer: &[u8], then: Then, seen: &Mutex<Vec<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(text);
    drop(stream.write_all(answer).await);
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Hang => std::future::pending().await,
        Then::Repeat => while stream.write_all(answer).await.is_ok() {},
    }
}
