//! Configurations that hold and that do not, requests as they are sent, and calls of servers that
//! misbehave.

mod called;
mod configured;
mod upstream;
