//! How much room a file system has.

use super::{Root, TreeError};

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

/// Asks the file system of `root` for its room.
///
/// # Errors
/// [`TreeError::Io`].
pub fn fs_space(root: &Root) -> Result<FsSpace, TreeError> {
    let vfs = rustix::fs::fstatvfs(root).map_err(|e| TreeError::io("statvfs", b"", e))?;
    let fs = rustix::fs::fstatfs(root).map_err(|e| TreeError::io("statfs", b"", e))?;
    Ok(FsSpace {
        total_bytes: vfs.f_blocks.saturating_mul(vfs.f_frsize),
        free_bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize),
        total_inodes: vfs.f_files,
        free_inodes: vfs.f_favail,
        fs_type: u64::try_from(fs.f_type).unwrap_or(0),
    })
}
