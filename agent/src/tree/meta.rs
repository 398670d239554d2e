//! What `statx` says of an entry, and only what this module needs of it.

use std::{ffi::CStr, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, Statx, StatxAttributes, StatxFlags, statx},
    io::Result,
};

use super::Owner;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    Device,
}

impl Kind {
    pub(super) fn of_mode(mode: u16) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Dir,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => Self::Device,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Device => "device",
        }
    }
}

/// A point in time, as the file system keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) sec: i64,
    pub(super) nsec: u32,
}

/// One entry's metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    /// Kind and permission bits, as `st_mode`.
    pub(super) mode: u16,
    pub(super) owner: Owner,
    pub(super) nlink: u32,
    /// What a device node stands for.
    pub(super) rdev: u64,
    pub(super) ino: u64,
    pub(super) dev: u64,
    /// Mount id; zero where the kernel does not tell (before 5.8).
    pub(super) mnt: u64,
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) atime: Stamp,
    pub(super) mtime: Stamp,
    pub(super) ctime: Stamp,
    pub(super) immutable: bool,
}

impl Meta {
    /// The entry `name` of the open directory `dir`; a symbolic link itself, never its target.
    pub(super) fn at(dir: impl AsFd, name: &CStr) -> Result<Self> {
        // On a network file system the cached answer would do for a walk, but not for a decision
        // that changes owners: the default synchronisation is kept.
        let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        statx(
            dir,
            name,
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
            mask,
        )
        .map(|s| s.into())
    }

    /// The entry that is open as `fd` (`O_PATH` will do).
    pub(super) fn of(fd: impl AsFd) -> Result<Self> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        statx(
            fd,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
            mask,
        )
        .map(|s| s.into())
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }

    /// Permission bits with setuid, setgid and sticky.
    pub(super) fn bits(&self) -> u16 {
        self.mode & 0o7777
    }

    /// Whether the entry lies on the mount that `root` lies on. The mount's own id decides where the
    /// kernel tells it (since 5.8): one overlay mount shows several devices, one device may be
    /// mounted twice.
    pub(super) fn same_mount(&self, root: &Self) -> bool {
        if self.mnt != 0 && root.mnt != 0 {
            self.mnt == root.mnt
        } else {
            self.dev == root.dev
        }
    }

    /// The same inode.
    pub(super) fn same_inode(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// An entry that may be reached under more than one name. Not only files: a socket of the
    /// host's with a second name in the tree would be given away with it.
    pub(super) fn is_linked(&self) -> bool {
        self.nlink > 1 && self.kind() != Kind::Dir
    }
}

impl From<Statx> for Meta {
    fn from(s: Statx) -> Self {
        let stamp = |t: rustix::fs::StatxTimestamp| Stamp {
            sec: t.tv_sec,
            nsec: t.tv_nsec,
        };
        let mask = StatxFlags::from_bits_retain(s.stx_mask);
        Self {
            mode: s.stx_mode,
            owner: Owner {
                uid: s.stx_uid,
                gid: s.stx_gid,
            },
            nlink: s.stx_nlink,
            rdev: rustix::fs::makedev(s.stx_rdev_major, s.stx_rdev_minor),
            ino: s.stx_ino,
            dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
            mnt: if mask.contains(StatxFlags::MNT_ID) {
                s.stx_mnt_id
            } else {
                0
            },
            size: s.stx_size,
            allocated: s.stx_blocks.saturating_mul(512),
            atime: stamp(s.stx_atime),
            mtime: stamp(s.stx_mtime),
            ctime: stamp(s.stx_ctime),
            immutable: s
                .stx_attributes
                .intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
        }
    }
}
