//! Who opens connections: to one socket address, and never to a name.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

/// What dialling comes to.
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

/// Opens a connection to one address.
pub trait Dial: Send + Sync + fmt::Debug {
    /// Connects to this address and to no other.
    fn dial(&self, address: SocketAddr) -> DialFuture<'_>;
}

/// Plain TCP, through no proxy.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}
