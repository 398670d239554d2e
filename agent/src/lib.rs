//! `ferryd`: performs the privileged steps, where the data is.
//!
//! A controller asks for typed steps over gRPC; this crate performs them, remembers what it did in
//! a ledger beside the data, and can take each of them back. It knows nothing of plans or fleets.
//!
//! - [`steps`]: one file a step, and one table of all. [`runner`] runs them, [`ledger`] remembers.
//! - [`server`], [`tree`], [`engine`]: how a server, its files and its container are reached.
//! - [`serve`]: how this agent is reached. [`facts`]: what it observes.

pub mod args;
mod arrival;
mod blocking;
mod client;
pub mod cluster;
mod compose;
pub mod context;
pub mod dial;
pub mod engine;
pub mod error;
pub mod facts;
mod fence;
pub mod folder;
#[doc(hidden)]
pub mod fuzzing;
pub mod ledger;
mod operator_file;
pub mod places;
pub mod pod;
pub mod policy;
pub mod pull;
pub mod runner;
pub mod serve;
pub mod server;
pub mod state_dir;
pub mod steps;
mod successor;
pub mod surroundings;
mod text_edit;
pub mod tree;
mod unit;
