//! The management API and its command line over real databases: who may do what, what another tenant
//! learns (nothing), versions, repeats, pages, and what is written down.

#[cfg(test)]
mod claims;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod conformity;
#[cfg(test)]
mod description;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod records;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod switches;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod tokens;
