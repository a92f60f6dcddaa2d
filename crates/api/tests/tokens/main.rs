//! Tokens over a real control database: issued by the authorization server, accepted by room 1, and
//! bound once for all replicas.

#[cfg(test)]
mod bound;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod issued;
#[cfg(test)]
mod platform;
