//! How an agent is reached: a unix socket of its own, or in process. There is no listener that a
//! stranger could talk to.

mod access;
mod handlers;
mod in_process;
mod listen;
mod tunnel;

pub use in_process::{HostOptions, InProcessHost};
pub use listen::{serve, unix_connections};
