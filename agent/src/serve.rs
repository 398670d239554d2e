//! How an agent is reached: a unix socket of its own, in process, or over TCP with certificates on both sides. There is no
//! listener that a stranger could talk to.

mod access;
mod connection;
mod handlers;
mod in_process;
mod listen;
mod mutual_tls;
mod tree;
mod tunnel;

pub use connection::{Caller, Connection};
pub use in_process::{HostOptions, InProcessHost};
pub use listen::{serve, unix_connections};
pub use mutual_tls::{Files, tls_connections};
