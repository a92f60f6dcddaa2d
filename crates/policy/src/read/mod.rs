//! A policy's text to its rules and tests, with everything that is wrong with it.

pub(crate) mod check;
pub(crate) mod condition;
pub(crate) mod fit;
pub(crate) mod given;
pub(crate) mod overlap;
pub(crate) mod rules;
