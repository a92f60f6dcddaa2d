//! Rooms 5 to 9 over real databases, when a tool misbehaves: it panics, hangs, fails, answers what
//! it must not, or its caller hangs up. Each time exactly one signed record says how it ended. And
//! when the tenant changes while it is called.

#[cfg(test)]
mod changing;
#[cfg(test)]
mod claims;
#[cfg(test)]
#[path = "../tokens/cluster.rs"]
mod cluster;
#[cfg(test)]
mod misbehaving;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod switching;
#[cfg(test)]
mod writes;
