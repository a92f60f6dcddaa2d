//! Names whose addresses change between two questions, asked of a real name server by the resolver of
//! the platform.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use portcullis_egress::address::{Class, class};
use portcullis_egress::{Allowance, Client, Destination, SystemResolver, Target, Unwatched};
use tokio::time::Instant;

use super::reach::{Written, client};
use crate::dns::Dns;
use crate::faults::Row;

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
/// What a name is bound to next.
const INSIDE: [&str; 8] = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "100.100.100.200",
    "::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
];

/// So many attempts; every other name begins inside, and each changes at every question.
pub(super) async fn row(attempts: usize) -> Result<Row> {
    let dns = Dns::start().await?;
    let dial = Arc::new(Written::default());
    let resolver = SystemResolver::asking(vec![dns.address()]);
    let client = client(resolver, &dial)?;
    let (mut refused, mut held, mut through, mut asked_twice) = (0, 0, Vec::new(), 0);
    for (attempt, inside) in (0..attempts).zip(INSIDE.iter().cycle()) {
        let inside: IpAddr = inside.parse()?;
        let name = format!("r{attempt}.example.com");
        // Public first, inside first, or both in one answer.
        match attempt % 3 {
            0 => dns.turns(&name, &[&[PUBLIC], &[inside]]),
            1 => dns.turns(&name, &[&[inside], &[PUBLIC]]),
            _ => dns.alias(&name, &format!("x{attempt}.example.net"), &[PUBLIC, inside]),
        }
        attack(&client, &name).await?;
        let dialled = dial.taken();
        if dialled.iter().any(|one| class(*one) != Class::Public) {
            through.push(name.clone());
        } else if dialled.is_empty() {
            refused += 1;
        } else {
            held += 1;
        }
        asked_twice += usize::from(dns.asked(&name) > 1);
    }
    let defeated = refused + held;
    let mut row = Row::new("rebinding", attempts).seen(format!(
        "{defeated} of {attempts} defeated: {refused} refused, {held} held to the address that was checked"
    ));
    row.promise(through.is_empty(), || {
        format!("dialled inside: {through:?}")
    });
    row.promise(asked_twice == 0, || {
        format!("{asked_twice} names were asked for twice")
    });
    row.promise(refused >= attempts / 2, || {
        "the names did not change".to_owned()
    });
    Ok(row)
}

async fn attack(client: &Client, name: &str) -> Result<()> {
    let target = Target::parse(&format!("http://{name}/"))?;
    let destination = Destination {
        target: &target,
        ports: &[],
        allowance: &Allowance::none(),
        watch: &Unwatched,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    let _nobody = client.open(destination, deadline).await;
    Ok(())
}
