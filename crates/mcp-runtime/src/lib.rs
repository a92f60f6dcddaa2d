//! To be filled.

pub mod token;
