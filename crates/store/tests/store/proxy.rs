//! A line to the server that can be cut just when it answers, which no real network can be asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::TaskTracker;

/// Everything passes.
const OPEN: u8 = 0;
/// The next answer of the server is lost, and with it the line; then everything passes.
const CUT_ONCE: u8 = 1;
/// As `CUT_ONCE`, and no new line is given.
const CUT_FOR_GOOD: u8 = 2;
/// No new line is given.
const CLOSED: u8 = 3;

pub(crate) struct Proxy {
    port: u16,
    state: Arc<AtomicU8>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(AtomicU8::new(OPEN));
        let lines = TaskTracker::new();
        let accepting = {
            let state = Arc::clone(&state);
            let spawner = lines.clone();
            lines.spawn(async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    if state.load(Ordering::SeqCst) != CLOSED {
                        let server = UnixStream::connect(&socket).await.unwrap();
                        spawner.spawn(carry(client, server, Arc::clone(&state)));
                    }
                }
            })
        };
        Self {
            port,
            state,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(crate) fn url(&self, role: &str, database: &str) -> SecretString {
        let port = self.port;
        SecretString::from(format!(
            "postgres://{role}@127.0.0.1:{port}/{database}?sslmode=disable"
        ))
    }

    pub(crate) fn cut_once(&self) {
        self.state.store(CUT_ONCE, Ordering::SeqCst);
    }

    pub(crate) fn cut_for_good(&self) {
        self.state.store(CUT_FOR_GOOD, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: UnixStream, state: Arc<AtomicU8>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(count) if count > 0 => server.write_all(&up[..count]).await.unwrap(),
                _ => return,
            },
            read = server.read(&mut down) => {
                let after = match state.load(Ordering::SeqCst) {
                    CUT_ONCE => Some(OPEN),
                    CUT_FOR_GOOD => Some(CLOSED),
                    _ => None,
                };
                if let Some(after) = after {
                    state.store(after, Ordering::SeqCst);
                    return;
                }
                match read {
                    Ok(count) if count > 0 => client.write_all(&down[..count]).await.unwrap(),
                    _ => return,
                }
            }
        }
    }
}
