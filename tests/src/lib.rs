//! What the end-to-end tests stand on: servers shaped like PMM 2 and PMM 3 that are hard to fool.
//!
//! No PMM image can be had where these tests run, and a migration that was only tried on mocks is worth little. So the images here
//! hold a real supervisord, a real PostgreSQL and a real nginx, and one program, `ferry-standin`, in the place of the others. They
//! reproduce what makes the real thing dangerous: ready pages that prove nothing, one-way migrations, owners that matter.
#![allow(
    clippy::disallowed_methods,
    reason = "tests drive Docker and Cargo by their command lines; nothing here is shipped"
)]

pub mod agent;
pub mod answers;
pub mod appliance;
pub mod client_host;
pub mod cluster;
mod command;
pub mod compose;
pub mod daemon;
pub mod disk;
pub mod engine;
pub mod failing_image;
pub mod ferryctl;
pub mod host_agent;
mod http;
pub mod images;
pub mod kill;
mod looks;
pub mod matrix;
pub mod own_images;
pub mod podman;
mod port;
pub mod proxy;
pub mod random;
pub mod server;
pub mod snapshot;
pub mod systemd;
pub mod units;
pub mod witness;

pub use command::{Elsewhere, Error, Result, docker};
