//! What may be reached, what may not, and that only what was checked is dialled.

mod addresses;
mod corpus;
mod exchanges;
mod fetches;
mod inspected;
mod invariant;
mod lists;
mod targets;
mod unpacked;
mod upstream;
