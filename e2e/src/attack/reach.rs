//! The client under attack, and what it is given: a dialler that writes down instead of dialling, and
//! openings for servers of the attack's own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use portcullis_egress::{
    Allowance, Client, Dial, DialFuture, InternalNetwork, InternalNetworks, Limits, Resolve,
    ResolveFuture, Trust,
};

/// The most bytes of an answer, as `web.fetchSafe` takes them.
pub(super) const MOST: usize = 64 * 1_024;

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

impl Dial for Silent {
    fn dial(&self, _address: SocketAddr) -> DialFuture<'_> {
        Box::pin(std::future::pending())
    }
}

/// Writes down whom it is asked to dial, and reaches nobody.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Vec<IpAddr>>);

impl Written {
    /// Whom it was asked to dial since the last time.
    pub(super) fn taken(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Dial for Written {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        let mut dialled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.push(address.ip());
        Box::pin(std::future::ready(Err(
            io::ErrorKind::ConnectionRefused.into()
        )))
    }
}

/// A client as the platform makes it, but for its resolver and its dialler.
pub(super) fn client(
    resolver: impl Resolve + 'static,
    dial: &Arc<impl Dial + 'static>,
) -> Result<Client> {
    let (resolver, dial) = (Arc::new(resolver), Arc::clone(dial));
    let limits = Limits {
        max_response_bytes: 1_048_576,
        connect_timeout: Duration::from_secs(3),
    };
    Ok(Client::new(resolver, dial, Trust::public(), limits)?)
}

/// Opens this machine's loopback at some ports.
pub(super) fn opened(ports: &[u16]) -> Result<Allowance> {
    let open = InternalNetwork {
        network: "127.0.0.1/32".parse()?,
        ports: ports.to_vec(),
        tenants: vec!["acme".to_owned()],
        servers: vec!["native".to_owned()],
    };
    Ok(InternalNetworks::new(vec![open]).allowance("acme", "native"))
}
