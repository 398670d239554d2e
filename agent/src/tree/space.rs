//! How much room a file system has.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ferry_proto::reserve_bytes;
use rustix::fs::{Mode, OFlags, ioctl_ficlone, openat};
use rustix::io::{Errno, pwrite};

use super::{Root, TreeError, error::show};

/// Room on the file system of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsSpace {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that a process without privilege may still use.
    pub free_bytes: u64,
    /// Inodes in all; zero where the file system makes them as needed.
    pub total_inodes: u64,
    /// Inodes free; meaningless where the total is zero.
    pub free_inodes: u64,
    /// `f_type`: 0xef53 is ext4, 0x58465342 XFS, 0x794c7630 overlay (on which a change of owner
    /// copies each file up: facts/practice.md 1.1).
    pub fs_type: u64,
}

impl FsSpace {
    /// What a copy or a dump leaves to others.
    pub fn reserve_bytes(&self) -> u64 {
        reserve_bytes(self.total_bytes)
    }
}

/// Asks the file system of what is open for its room.
///
/// # Errors
/// [`TreeError::Io`].
pub fn fs_space(of: impl AsFd) -> Result<FsSpace, TreeError> {
    let vfs = rustix::fs::fstatvfs(&of).map_err(|e| TreeError::io("statvfs", b"", e))?;
    let fs = rustix::fs::fstatfs(&of).map_err(|e| TreeError::io("statfs", b"", e))?;
    Ok(FsSpace {
        total_bytes: vfs.f_blocks.saturating_mul(vfs.f_frsize),
        free_bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize),
        total_inodes: vfs.f_files,
        free_inodes: vfs.f_favail,
        fs_type: u64::try_from(fs.f_type).unwrap_or(0),
    })
}

/// Whether files of the one tree can share their blocks with the other's: tried, with two files that no name leads to. A file system that
/// knows no such files is taken for one that shares nothing.
#[must_use]
pub fn shares_blocks(from: &Root, to: &Root) -> bool {
    const BLOCK: [u8; 4096] = [1; 4096];
    let nameless = |root: &Root| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(root, c".", flags, Mode::RUSR | Mode::WUSR)
    };
    let tried = || -> Result<(), Errno> {
        let (from, to) = (nameless(from)?, nameless(to)?);
        pwrite(&from, &BLOCK, 0)?;
        ioctl_ficlone(&to, &from)
    };
    tried().is_ok()
}

/// Sees to it that a copy never takes the last room of a file system, which it may share with a
/// running server.
pub(super) struct Room {
    reserve: u64,
    /// Bytes written since the last look.
    since: AtomicU64,
}

/// Bytes between two looks.
const LOOK: u64 = 16 << 20;
/// What a new file takes beside its content.
pub(super) const PER_FILE: u64 = 4096;

impl Room {
    pub(super) fn of(root: &Root) -> Result<Self, TreeError> {
        Ok(Self {
            reserve: fs_space(root)?.reserve_bytes(),
            since: AtomicU64::new(LOOK),
        })
    }

    /// Looks whether there is room, when that was not looked at for a while or `bytes` are many.
    pub(super) fn take(&self, root: &Root, path: &[u8], bytes: u64) -> Result<(), TreeError> {
        let since = self.since.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if since < LOOK {
            return Ok(());
        }
        self.since.store(0, Relaxed);
        let space = fs_space(root)?;
        let no_inode = space.total_inodes > 0 && space.free_inodes == 0;
        if no_inode {
            return Err(full(root, path, Errno::NOSPC));
        }
        if space.free_bytes >= self.reserve.saturating_add(bytes) {
            return Ok(());
        }
        Err(TreeError::NoSpace {
            path: show(path),
            needed: bytes,
            free: space.free_bytes,
            reserve: self.reserve,
        })
    }
}

/// The same for what others write: programs of the server, which know nothing of a reserve.
#[derive(Debug)]
pub struct RoomWatch {
    place: OwnedFd,
    reserve: u64,
}

/// There is less than what is left to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are left to others.
    pub reserve: u64,
}

impl RoomWatch {
    /// Watches the file system of what is open.
    ///
    /// # Errors
    /// [`TreeError::Io`].
    pub fn of(place: BorrowedFd<'_>) -> Result<Self, TreeError> {
        let reserve = fs_space(place)?.reserve_bytes();
        let place = place
            .try_clone_to_owned()
            .map_err(|error| TreeError::io("dup", b"", error))?;
        Ok(Self { place, reserve })
    }

    /// What is missing, when the reserve is begun.
    ///
    /// # Errors
    /// [`TreeError::Io`].
    pub fn look(&self) -> Result<Option<Shortage>, TreeError> {
        let (free, reserve) = (fs_space(&self.place)?.free_bytes, self.reserve);
        Ok((free < reserve).then_some(Shortage { free, reserve }))
    }
}

/// The error of a file system, or of a quota, that was not foreseen to be full.
pub(super) fn full(root: &Root, path: &[u8], met: Errno) -> TreeError {
    let (free, inodes) =
        fs_space(root).map_or((0, 0), |space| (space.free_bytes, space.free_inodes));
    TreeError::Full {
        path: show(path),
        free,
        inodes,
        source: met.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::RoomWatch;

    #[test]
    fn a_file_system_with_room_lacks_nothing() {
        let proc = std::fs::File::open("/proc").unwrap();
        // It has no size, and so no reserve.
        let watch = RoomWatch::of(std::os::fd::AsFd::as_fd(&proc)).unwrap();
        assert_eq!(watch.look().unwrap(), None);
    }
}
