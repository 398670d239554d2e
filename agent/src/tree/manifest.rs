//! The manifest: what a copy must hold, by path, so that it can be proven without its source.
//!
//! A copy without a list of what belongs in it can only be compared with the source, which a running
//! server changes and a crossing gives other owners. So each pass writes down every entry with the
//! BLAKE3 of its bytes as they were copied. The final pass takes over what it finds unchanged, and
//! so reads only what changed; the proof reads the copy alone.
//!
//! ```text
//!  file  = "FerryManifst" format(u32) frame* end-frame
//!  frame = "fMan" length(u32) key(u64) checksum(16) payload        key: of the directory's path
//! ```
//! One frame describes one directory, in whatever order the workers finished them; a second one for
//! the same directory has its files with several names, which are copied last. In memory a
//! manifest is 16 bytes a frame: key and place. It is written beside its place and renamed into it
//! when it is on disk, so that a manifest that has its name is whole; the cut-off one of a killed
//! pass serves as a memory of what was hashed, frame by frame as far as each is intact.
//!
//! Rejected: JSON or text (names are bytes, and a million of them; its size would be downtime); a
//! database (one more writer beside the copy); hashes in extended attributes of the copy (part of
//! what is copied, and not on every file system).

mod codec;
mod file;
mod folder;
mod keep;
mod prove;
mod proven;

pub use file::Manifest;
#[doc(hidden)]
pub use file::fuzzing::manifest as fuzzed;
pub use folder::ManifestFolder;
pub use prove::{ProveOptions, ProveReport, prove};

pub(super) use codec::{Entry, Part, Seen, What, digest_of_attributes};
pub(super) use keep::{Keeper, Page, Tally};
pub(super) use proven::{Proven, ProvenFile};

/// Newest format that this version reads, and the one it writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// BLAKE3 of something.
pub(super) type Digest = [u8; 32];
