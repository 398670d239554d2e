//! Who owns a tree: given to one owner, given back from the record, verified.

mod apply;
mod collect;
mod restore;
mod transfer;
mod verify;

use std::{fmt, str::FromStr};

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

impl FromStr for Owner {
    type Err = String;

    /// `UID:GID`; names are not looked up, and the number that stands for "as it is" is nobody's.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|&id| id != u32::MAX);
        let read = || {
            let (uid, gid) = text.split_once(':')?;
            Some(Self {
                uid: number(uid)?,
                gid: number(gid)?,
            })
        };
        read().ok_or_else(|| "an owner is two numbers, such as 1000:0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_two_numbers() {
        assert_eq!("1000:0".parse(), Ok(Owner { uid: 1000, gid: 0 }));
        for odd in [
            "",
            "1000",
            "pmm:pmm",
            "1000:",
            "-1:0",
            "4294967295:0",
            "0:4294967295",
        ] {
            assert!(odd.parse::<Owner>().is_err(), "{odd}");
        }
    }
}
