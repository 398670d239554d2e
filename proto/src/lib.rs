//! The contract of Ferry, apart from everything that acts on it.
//!
//! Agent, controller and tests share these types and nothing else, so a plan, a journal or an
//! event means the same to each of them, and a newer one can talk to an older one. There is no
//! input, no output and no clock in this crate: what it decides, it decides from its arguments.

pub mod carry_over;
mod digest;
mod failure;
mod labels;
mod reference;
mod room;
mod secret;
mod status;
mod volume;

pub use digest::{PlanError, read_plan, seal, verify};
pub use failure::{CODE_KEY, HINT_KEY, failure_from_status, failure_to_status, is_engine_away};
pub use labels::REHEARSAL;
pub use reference::Reference;
pub use room::{proof_bytes, reserve_bytes};
pub use secret::Secret;
pub use status::{IllegalTransition, StatusEvent, next_status};
pub use volume::is_made_up;

/// The generated types of the `ferry.v1` API, with their canonical JSON.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1 {
    pub use crate::Secret;
    tonic::include_proto!("ferry.v1");
    include!(concat!(env!("OUT_DIR"), "/ferry.v1.serde.rs"));
}

/// The encoded descriptors of the API, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ferry_descriptor.bin"));

/// The largest message that either side accepts, in bytes. Requests are plans and facts: far below.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// The value of an outcome by which an undo asks for the copy of the data to be kept.
pub const KEEP_COPY: &str = "keep_copy";

/// The value of an outcome by which an undo tells that somebody may have written to the data meanwhile, or has removed a part of it.
pub const DATA_IN_DOUBT: &str = "data_in_doubt";

/// The version of the plan file format that this release writes.
pub const PLAN_FORMAT: u32 = 1;
