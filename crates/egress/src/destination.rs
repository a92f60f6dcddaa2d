//! Where a request goes, and whether it may: everything that is known before a connection is opened.
//!
//! It must never call a destination good for what it cannot see: a name is judged again by its
//! addresses, and all of them count.

use std::net::IpAddr;

use crate::address::{Class, class};
use crate::allowance::Allowance;
use crate::error::Refusal;
use crate::name::{self, NameClass};
use crate::target::{Named, Target};
use crate::watch::Watch;

/// Ports that need no listing.
pub(crate) const PORTS: [u16; 2] = [80, 443];
/// More addresses than this are not dialled, and hardly meant.
const MAX_ADDRESSES: usize = 64;

/// A target and who may reach it.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// Where to.
    pub target: &'a Target,
    /// Ports that are listed for it, besides 80 and 443.
    pub ports: &'a [u16],
    /// What the operator opened of the inside to the one who asks.
    pub allowance: &'a Allowance,
    /// Who is told where it goes, and may forbid it.
    pub watch: &'a dyn Watch,
}

impl Destination<'_> {
    /// Checks what can be known without asking for the name's addresses.
    ///
    /// # Errors
    /// Says why it may not be reached.
    pub fn check(&self) -> Result<(), Refusal> {
        let port = self.target.port();
        let public_port = PORTS.contains(&port) || self.ports.contains(&port);
        if !public_port && !self.allowance.opens_port(port) {
            return Err(Refusal::Port);
        }
        match self.target.named() {
            Named::Address(address) => self.check_addresses(&[address]),
            Named::Name(name) => match name::class(name) {
                NameClass::Public => Ok(()),
                NameClass::Internal if self.allowance.opens_port(port) => Ok(()),
                NameClass::Internal | NameClass::Forbidden => Err(Refusal::Name),
            },
        }
    }

    /// All addresses have to be public, or all of them open inside: one that differs refuses all.
    pub(crate) fn check_addresses(&self, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if addresses.is_empty() {
            return Err(Refusal::NoAddress);
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(Refusal::TooManyAddresses);
        }
        let mut public = false;
        let mut inside = false;
        for address in addresses {
            match class(*address) {
                Class::Public => public = true,
                Class::Internal(block) => {
                    if !self.allowance.opens(*address, self.target.port()) {
                        return Err(Refusal::Address(block));
                    }
                    inside = true;
                }
                Class::Forbidden(block) => return Err(Refusal::Address(block)),
            }
        }
        if public && inside {
            return Err(Refusal::Mixed);
        }
        self.check_reach(public)
    }

    /// A name of the inside has no business in public, and a port that is open inside alone is not
    /// open in public.
    fn check_reach(&self, public: bool) -> Result<(), Refusal> {
        if !public {
            return Ok(());
        }
        let port = self.target.port();
        if !PORTS.contains(&port) && !self.ports.contains(&port) {
            return Err(Refusal::Port);
        }
        match self.target.named() {
            Named::Address(_) => Ok(()),
            Named::Name(name) => match name::class(name) {
                NameClass::Public => Ok(()),
                NameClass::Internal | NameClass::Forbidden => Err(Refusal::Name),
            },
        }
    }
}
