//! A line to the database server that can be cut, held, kept from carrying notifications, or cut at one
//! commit, while everybody else's line stays whole.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything.
    Open,
    /// Everything but the server's notifications.
    Mute,
    /// Nothing; what is sent waits, and connections stand.
    Held,
    /// Nothing; connections end, and none is made.
    Cut,
}

/// Where a line is cut at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    /// Before the server hears of it: it rolls back.
    Request,
    /// After the server has done it, before its answer gets through.
    Answer,
}

/// Which commit is lost, and what became of it.
#[derive(Debug, Default)]
struct Loss {
    next: Mutex<Option<(usize, CutAt)>>,
    lost: AtomicUsize,
}

impl Loss {
    /// Whether this commit is the one.
    fn hits(&self) -> Option<CutAt> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *next {
            Some((0, at)) => {
                let at = *at;
                *next = None;
                self.lost.fetch_add(1, Ordering::AcqRel);
                Some(at)
            }
            Some((before, _)) => {
                *before -= 1;
                None
            }
            None => None,
        }
    }
}

/// Where the server is.
#[derive(Debug, Clone)]
pub enum Server {
    /// At an address.
    Tcp(SocketAddr),
    /// Behind a socket of this machine.
    Unix(PathBuf),
}

/// A proxy in front of a database server. Dropping it ends every line.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    loss: Arc<Loss>,
    stop: CancellationToken,
}

impl Proxy {
    /// Starts an open line to a server.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn before(server: Server) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("listen for a line to the database")?;
        let address = listener.local_addr()?;
        let (line, _) = watch::channel(Line::Open);
        let stop = CancellationToken::new();
        let loss = Arc::new(Loss::default());
        let lossy = Arc::clone(&loss);
        let (told, ended) = (line.clone(), stop.clone());
        let tasks = TaskTracker::new();
        let own = tasks.clone();
        tasks.spawn(async move {
            let accepting = async {
                while let Ok((client, _)) = listener.accept().await {
                    if *told.borrow() != Line::Cut {
                        let lines = (told.subscribe(), Arc::clone(&lossy));
                        let carried = carry(client, server.clone(), lines);
                        own.spawn(ended.clone().run_until_cancelled_owned(carried));
                    }
                }
            };
            ended.run_until_cancelled(accepting).await;
        });
        Ok(Self {
            address,
            line,
            loss,
            stop,
        })
    }

    /// The address to connect to instead of the server's.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets this pass from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Cuts the connection that sends the commit after `before` others, at that commit.
    pub fn lose_commit(&self, before: usize, at: CutAt) {
        let mut next = self
            .loss
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *next = Some((before, at));
    }

    /// How many commits were lost.
    pub fn lost(&self) -> usize {
        self.loss.lost.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Carries one connection until either side ends it or the line is cut.
async fn carry(
    client: TcpStream,
    server: Server,
    (mut line, loss): (watch::Receiver<Line>, Arc<Loss>),
) {
    let open = (line.clone(), loss);
    let carried = async move {
        let _as_fast_as_it_goes = client.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        match server {
            Server::Tcp(address) => {
                let server = TcpStream::connect(address).await?;
                let _as_fast_as_it_goes = server.set_nodelay(true);
                let (from, to) = server.into_split();
                both((from_client, to_client), (from, to), open).await
            }
            Server::Unix(socket) => {
                let (from, to) = UnixStream::connect(socket).await?.into_split();
                both((from_client, to_client), (from, to), open).await
            }
        }
    };
    tokio::select! {
        _ended = carried => {}
        _cut = line.wait_for(|line| *line == Line::Cut) => {}
    }
}

async fn both<R, W>(
    client: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    server: (R, W),
    (line, loss): (watch::Receiver<Line>, Arc<Loss>),
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let doomed = AtomicBool::new(false);
    let up = Way::Up(Commits::default(), &loss, &doomed);
    let up = pump(client.0, server.1, line.clone(), up);
    let down = Way::Down(Messages::default(), &doomed);
    let down = pump(server.0, client.1, line, down);
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

/// Which direction.
enum Way<'a> {
    /// To the server; knows a commit, and says that its answer is not to get through.
    Up(Commits, &'a Loss, &'a AtomicBool),
    /// From the server; knows where each message begins.
    Down(Messages, &'a AtomicBool),
}

impl Way<'_> {
    /// What of some bytes passes; nothing where the connection ends here.
    fn pass(&mut self, bytes: &[u8], mute: bool) -> Option<Vec<u8>> {
        match self {
            Self::Up(commits, loss, doomed) => {
                let cut = commits.made_by(bytes).then(|| loss.hits()).flatten();
                doomed.fetch_or(cut == Some(CutAt::Answer), Ordering::AcqRel);
                (cut != Some(CutAt::Request)).then(|| bytes.to_vec())
            }
            Self::Down(messages, doomed) => {
                let whole = !doomed.load(Ordering::Acquire);
                whole.then(|| messages.pass(bytes, mute))
            }
        }
    }
}

/// Carries one direction.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
    mut way: Way<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        let now = line.wait_for(|line| *line != Line::Held).await;
        let mute = now.is_ok_and(|line| *line == Line::Mute);
        match way.pass(read, mute) {
            Some(passed) => to.write_all(&passed).await?,
            None => return Ok(()),
        }
    }
}

/// The type of `NotificationResponse` (PostgreSQL's protocol, version 3).
const NOTIFICATION: u8 = b'A';
/// What a `Query` message of a commit holds.
const COMMIT: &[u8] = b"commit\0";
/// What the statement says that claims a key; it is alone, so that it commits by itself.
const CLAIM: &str = "insert into claims";
/// A message's type and length.
const HEAD: usize = 5;

/// Which of the client's messages end a transaction.
#[derive(Debug, Default)]
struct Commits {
    /// Names of prepared statements that commit by themselves.
    alone: HashSet<Vec<u8>>,
}

impl Commits {
    /// Whether these messages do. The driver writes whole ones, smaller than what is read at once.
    fn made_by(&mut self, mut bytes: &[u8]) -> bool {
        let mut made = false;
        while let Some((kind, body, rest)) = split_message(bytes) {
            let mut texts = body.split(|byte| *byte == 0);
            made |= match (kind, texts.next(), texts.next()) {
                (b'Q', ..) => body == COMMIT,
                (b'P', Some(name), Some(sql)) => {
                    if String::from_utf8_lossy(sql).contains(CLAIM) {
                        self.alone.insert(name.to_vec());
                    }
                    false
                }
                (b'B', Some(_portal), Some(name)) => self.alone.contains(name),
                _ => false,
            };
            bytes = rest;
        }
        made
    }
}

/// The first message's type and body, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (kind, length) = head.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let body = usize::try_from(length).ok()?.checked_sub(HEAD - 1)?;
    let (body, rest) = rest.split_at_checked(body)?;
    Some((*kind, body, rest))
}

/// Where in the stream of the server's messages we are. Without TLS every message has a head.
#[derive(Debug, Default)]
struct Messages {
    head: Vec<u8>,
    /// Bytes of the present message that are still to come.
    left: usize,
    dropped: bool,
}

impl Messages {
    /// What of some bytes passes.
    fn pass(&mut self, bytes: &[u8], mute: bool) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            if self.left == 0 {
                self.head.push(*first);
                rest = others;
                if self.head.len() == HEAD {
                    self.begin(mute, &mut passed);
                }
                continue;
            }
            let (now, later) = rest.split_at(self.left.min(rest.len()));
            if !self.dropped {
                passed.extend_from_slice(now);
            }
            self.left -= now.len();
            rest = later;
        }
        passed
    }

    fn begin(&mut self, mute: bool, passed: &mut Vec<u8>) {
        let length: [u8; 4] = self
            .head
            .get(1..)
            .and_then(|length| length.try_into().ok())
            .unwrap_or_default();
        // The length counts itself, not the type.
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.left = length.saturating_sub(4);
        self.dropped = mute && self.head.first() == Some(&NOTIFICATION);
        if !self.dropped {
            passed.extend_from_slice(&self.head);
        }
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[test]
    fn only_notifications_are_lost_however_the_stream_is_cut_into_pieces() {
        let (row, news, end) = (
            message(b'D', b"AAAA"),
            message(NOTIFICATION, b"12"),
            message(b'Z', b""),
        );
        let all = [row.clone(), news.clone(), end.clone(), news, row.clone()].concat();
        let expected = [row.clone(), end, row].concat();
        for size in 1..all.len() {
            let mut messages = Messages::default();
            let passed: Vec<u8> = all
                .chunks(size)
                .flat_map(|piece| messages.pass(piece, true))
                .collect();
            assert_eq!(passed, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_open_line_loses_nothing() {
        let all = [message(NOTIFICATION, b"12"), message(b'Z', b"I")].concat();
        assert_eq!(Messages::default().pass(&all, false), all);
    }

    #[tokio::test]
    async fn one_commit_is_lost_before_or_after_the_server_and_the_others_pass() {
        for at in [CutAt::Request, CutAt::Answer] {
            let proxy = Proxy::before(Server::Tcp(echo().await)).await.unwrap();
            proxy.lose_commit(1, at);
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            let commit = message(b'Q', COMMIT);
            let mut heard = vec![0; commit.len()];
            stream.write_all(&commit).await.unwrap();
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!((&heard, proxy.lost()), (&commit, 0));
            stream.write_all(&commit).await.unwrap();
            assert_eq!(stream.read(&mut heard).await.unwrap_or(0), 0, "{at:?}");
            assert_eq!(proxy.lost(), 1);
            let mut next = TcpStream::connect(proxy.address()).await.unwrap();
            next.write_all(&commit).await.unwrap();
            next.read_exact(&mut heard).await.unwrap();
        }
    }

    #[test]
    fn a_claim_commits_when_it_is_run_and_other_statements_do_not() {
        let mut commits = Commits::default();
        let prepare = |name: &str, sql: &str| {
            let body = format!("{name}\0{sql}\0\0\0");
            [message(b'P', body.as_bytes()), message(b'S', b"")].concat()
        };
        let run = |name: &str| {
            let body = format!("\0{name}\0\0\0");
            [message(b'B', body.as_bytes()), message(b'S', b"")].concat()
        };
        assert!(!commits.made_by(&prepare(
            "s_1",
            "with x as (insert into claims (id)) select"
        )));
        assert!(!commits.made_by(&prepare("s_2", "select from claims")));
        assert!(!commits.made_by(&run("s_2")));
        assert!(commits.made_by(&run("s_1")));
        assert!(!commits.made_by(&message(b'Q', b"begin; rollback\0")));
        assert!(commits.made_by(&message(b'Q', COMMIT)));
        assert!(!commits.made_by(b"\0\0"));
    }

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.split();
                let _ended = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_cut_line_ends_and_one_that_is_held_goes_on() {
        let proxy = Proxy::before(Server::Tcp(echo().await)).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let said = message(b'Z', b"I");
        let mut heard = vec![0; said.len()];
        proxy.set(Line::Held);
        stream.write_all(&said).await.unwrap();
        proxy.set(Line::Open);
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, said);
        proxy.set(Line::Cut);
        assert_eq!(stream.read(&mut heard).await.unwrap_or(0), 0);
        let refused = TcpStream::connect(proxy.address()).await;
        if let Ok(mut refused) = refused {
            assert_eq!(refused.read(&mut heard).await.unwrap_or(0), 0);
        }
    }
}
