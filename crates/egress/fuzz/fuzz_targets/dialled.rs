//! Whatever the URL and whatever the resolver answers: an address that is dialled is public, or opened by
//! the operator. Run with `cargo +nightly fuzz run dialled` in `crates/egress`.
//!
//! The input: a byte for how many addresses follow, a tag and the bytes of each, then the URL.

#![no_main]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis_egress::address::{Class, class};
use portcullis_egress::{
    Client, Destination, Dial, DialFuture, InternalNetwork, InternalNetworks, Limits, Resolve,
    ResolveFuture, Target, Trust, Unwatched,
};
use tokio::time::Instant;

#[derive(Debug)]
struct Scripted(Vec<IpAddr>);

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _name: &'a str) -> ResolveFuture<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

#[derive(Debug, Default)]
struct Written(Mutex<Vec<SocketAddr>>);

impl Dial for Written {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        self.0.lock().unwrap().push(address);
        Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())))
    }
}

fn addresses(data: &mut &[u8]) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    let (count, rest) = data.split_first()?;
    *data = rest;
    for _ in 0..count % 4 {
        let (tag, rest) = data.split_first()?;
        let (address, rest) = if tag % 2 == 0 {
            let (bytes, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*bytes), rest)
        } else {
            let (bytes, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*bytes), rest)
        };
        *data = rest;
        found.push(address);
    }
    Some(found)
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let Some(answers) = addresses(&mut data) else {
        return;
    };
    let Ok(target) = std::str::from_utf8(data).map_err(drop).and_then(|url| Target::parse(url).map_err(drop)) else {
        return;
    };
    let open = InternalNetwork {
        network: "10.20.0.0/16".parse().unwrap(),
        ports: vec![8080],
        tenants: vec!["acme".to_owned()],
        servers: vec!["billing".to_owned()],
    };
    let allowance = InternalNetworks::new(vec![open]).allowance("acme", "billing");
    let dial = Arc::new(Written::default());
    let limits = Limits {
        max_response_bytes: 1,
        connect_timeout: Duration::from_secs(1),
    };
    let client = Client::new(
        Arc::new(Scripted(answers)),
        Arc::clone(&dial) as _,
        Trust::public(),
        limits,
    )
    .unwrap();
    let destination = Destination {
        target: &target,
        ports: &[],
        allowance: &allowance,
        watch: &Unwatched,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(1);
        let _nobody = client.open(destination, deadline).await;
    });
    for address in dial.0.lock().unwrap().iter() {
        let opened = match address.ip() {
            IpAddr::V4(ip) => ip.octets()[..2] == [10, 20] && address.port() == 8080,
            IpAddr::V6(_) => false,
        };
        assert!(opened || class(address.ip()) == Class::Public, "dialled {address}");
    }
});
