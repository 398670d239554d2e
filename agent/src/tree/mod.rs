//! Privileged work on a file tree: count, own, copy, restore, compare, carry to another machine.
//!
//! WHY a module of our own: a recursive `chown` by root is the longest part of the downtime and the
//! easiest to turn against the machine. Here every entry is reached from a root that was opened
//! once, through directories opened beneath it; no symbolic link is followed, no mount crossed, no
//! path resolved by the kernel from `/` (facts/practice.md 2.2).
//!
//! Threat model of the ownership change: the server's services are stopped and no other process
//! writes to the tree. So an entry is looked at with `statx` and changed with
//! `fchownat(dir, name, AT_SYMLINK_NOFOLLOW)`, which costs two thirds of going through a descriptor
//! a file. What could reach out of the tree even then goes through a descriptor and is looked at
//! once more there: regular files with several names, and files from which `chown` takes setuid,
//! setgid or a capability. A file with a name outside the tree is refused. Devices are never given
//! away; sockets and fifos are.
//!
//! All of it is synchronous: call it where blocking is allowed. The folder [`STATE_FOLDER`] at the
//! root is never part of anything.
//!
//! Rejected: `openat` + `fchown` for every file (half as dear again, see above); io_uring (has no chown);
//! a pass of `chown -R` (changes the ctime of what is right already, keeps no record).

mod attrs;
mod bytes;
mod compare;
mod count;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod give;
mod growth;
mod list;
mod manifest;
mod meta;
mod mirror;
mod owner;
mod pool;
mod progress;
mod pull;
mod record;
mod remove;
mod root;
mod scan;
mod space;
mod temporary;

pub use compare::{CompareOptions, CompareReport, compare};
pub use count::{TreeStats, count};
pub use error::{Problems, TreeError};
pub use give::{list, read};
pub use growth::growth;
pub use manifest::{MANIFEST_FORMAT, Manifest, ManifestFolder, ProveOptions, ProveReport, prove};
pub use mirror::{CopyOptions, CopyReport, Pass, RestoreOptions, Trust, copy, restore};
pub use owner::{
    LinkCheck, Owner, RestoreOwnersReport, TransferOptions, TransferReport, VerifyReport,
    restore_owners, transfer, verify_owner,
};
pub use pool::Threads;
pub use progress::{CancelFlag, Done, Progress, Quiet, Watch};
pub use pull::{PullError, PullOptions, PullReport, Source, confirm, pull};
pub use record::{RECORD_FORMAT, RecordReader, RecordWriter};
pub use remove::remove;
pub use root::{Root, STATE_FOLDER};
pub use space::{FsSpace, RoomWatch, Shortage, fs_space, shares_blocks};

#[cfg(test)]
mod tests;
