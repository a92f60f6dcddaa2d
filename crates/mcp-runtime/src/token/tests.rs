//! What tokens must and must not do, from outside.

mod forged;
mod reused;
