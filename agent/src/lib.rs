//! `ferryd`: performs the privileged steps, where the data is.

pub mod engine;
pub mod server;
pub mod tree;
