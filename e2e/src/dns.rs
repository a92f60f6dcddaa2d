//! A name server of this machine that answers as it is told, and differently each time if it is told
//! so. Names that it does not know have no address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What a name comes to.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// One answer a question, and from the beginning again.
    answers: Vec<Vec<IpAddr>>,
    /// The name that it is an alias of.
    alias: Option<String>,
    /// How often its IPv4 addresses were asked for.
    asked: usize,
}

type Zone = Arc<Mutex<HashMap<String, Entry>>>;

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Zone,
    _stop: DropGuard,
}

impl Dns {
    /// Starts one on any free port of this machine.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one at an address.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).await;
        let socket = socket.context("listen as a name server")?;
        let address = socket.local_addr()?;
        let zone = Zone::default();
        let stop = CancellationToken::new();
        let served = serve(socket, Arc::clone(&zone));
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Ok(Self {
            address,
            zone,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A name is at these addresses, always.
    pub fn at(&self, name: &str, addresses: &[IpAddr]) {
        self.turns(name, &[addresses]);
    }

    /// A name is at other addresses at each question, round and round.
    pub fn turns(&self, name: &str, answers: &[&[IpAddr]]) {
        let entry = Entry {
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
            ..Entry::default()
        };
        locked(&self.zone).insert(name.to_owned(), entry);
    }

    /// A name is an alias of another one, which is at these addresses.
    pub fn alias(&self, name: &str, of: &str, addresses: &[IpAddr]) {
        let entry = Entry {
            answers: vec![addresses.to_vec()],
            alias: Some(of.to_owned()),
            asked: 0,
        };
        locked(&self.zone).insert(name.to_owned(), entry);
    }

    /// How often a name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        locked(&self.zone).get(name).map_or(0, |entry| entry.asked)
    }
}

fn locked(zone: &Zone) -> MutexGuard<'_, HashMap<String, Entry>> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, zone: Zone) {
    let mut buffer = vec![0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = buffer.get(..length).unwrap_or_default();
        let answer = answer(question, &zone).and_then(|answer| answer.to_vec().ok());
        if let Some(answer) = answer {
            // Whoever is gone asks again or not.
            let _gone = socket.send_to(&answer, from).await;
        }
    }
}

fn answer(question: &[u8], zone: &Zone) -> Option<Message> {
    let asked = Message::from_vec(question).ok()?;
    let query = asked.queries.first()?.clone();
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    match records(&query, zone) {
        Some(records) => {
            answer.add_answers(records);
        }
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.add_query(query);
    Some(answer)
}

/// The records of an answer; none of a name that does not exist.
fn records(query: &Query, zone: &Zone) -> Option<Vec<Record>> {
    let name = query.name().to_ascii().to_lowercase();
    let mut zone = locked(zone);
    let entry = zone.get_mut(name.trim_end_matches('.'))?;
    let turn = entry.asked.checked_rem(entry.answers.len()).unwrap_or(0);
    let addresses = entry.answers.get(turn).cloned().unwrap_or_default();
    if query.query_type() == RecordType::A {
        entry.asked += 1;
    }
    let mut records = Vec::new();
    let mut owner = query.name().clone();
    if let Some(alias) = &entry.alias {
        let alias = Name::from_ascii(format!("{alias}.")).ok()?;
        let rdata = RData::CNAME(CNAME(alias.clone()));
        records.push(Record::from_rdata(owner, 0, rdata));
        owner = alias;
    }
    for address in addresses {
        let rdata = match (address, query.query_type()) {
            (IpAddr::V4(one), RecordType::A) => RData::A(A(one)),
            (IpAddr::V6(one), RecordType::AAAA) => RData::AAAA(AAAA(one)),
            _ => continue,
        };
        records.push(Record::from_rdata(owner.clone(), 0, rdata));
    }
    Some(records)
}
