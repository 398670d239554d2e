//! Who owns a tree: given to one owner, given back from the record, verified.

mod apply;
mod collect;
mod restore;
mod transfer;
mod verify;

use std::fmt;

pub use restore::{RestoreOwnersReport, restore_owners};
pub use transfer::{LinkCheck, TransferOptions, TransferReport, transfer};
pub use verify::{VerifyReport, verify_owner};

/// A numeric owner: names differ between images (facts/pmm.md), numbers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    pub(super) fn to_uid(self) -> rustix::fs::Uid {
        rustix::fs::Uid::from_raw(self.uid)
    }

    pub(super) fn to_gid(self) -> rustix::fs::Gid {
        rustix::fs::Gid::from_raw(self.gid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}
