//! The record of former owners: what undo needs, on disk before the first entry it speaks of changes.
//!
//! It is a file of frames, each at a multiple of 512 bytes, each with a checksum. A frame is synced
//! before the next is written, so after a crash only the last one can be torn: a torn frame with an
//! intact one behind it is damage, and refused. A transfer that was killed appends a new session;
//! the first record of an entry is the former owner, later ones saw a half-way state.

mod codec;
mod file;

pub use file::{RecordReader, RecordWriter};

pub(super) use codec::{Frame, Item, Part};
pub(super) use file::envelope;

/// Newest format that this version reads, and the one it writes.
pub const RECORD_FORMAT: u32 = 1;
