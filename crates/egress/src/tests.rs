//! What may be reached, what may not, and that only what was checked is dialled.

mod addresses;
mod exchanges;
mod targets;
mod upstream;
