//! The server's doors, tried against the real programs: supervisord, PostgreSQL, and HTTP answers shaped as both majors
//! give them.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests start the programs that they try"
)]

mod server {
    pub mod cluster;
    pub mod http;
    pub mod http_double;
    pub mod postgres;
    pub mod proof;
    pub mod supervisor;
}
