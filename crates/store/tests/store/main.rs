//! The store against a real PostgreSQL, as the roles that serve: isolation, cancellation, the writer,
//! tokens' bindings and each noun. Nothing here may test as a superuser what a role is to be held to.

#[cfg(test)]
mod bindings;
#[cfg(test)]
mod cancellation;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod epoch;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod flags;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod nouns;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod region;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod switches;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod writer;
