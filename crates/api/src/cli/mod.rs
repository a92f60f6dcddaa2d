//! The command line of the management API. It speaks to a running server over HTTP and to nothing
//! else: no command here opens a database or reads the server's keys.

pub mod operator;

pub use operator::OperatorFile;
