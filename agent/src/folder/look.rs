//! What a folder can do as the place of a backup. Owners and attributes are tried on a file without
//! a name, because a file system's word for itself does not say what a mount of it allows.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::tree::fs_space;

/// `f_type` of file systems that are gone when the host is restarted: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// Nobody's, so that a file system which gives every file one owner is found out.
const SOMEBODY: u32 = 54_321;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Owners and modes stay as they are set.
    pub keeps_owners: bool,
    /// Extended attributes can be set.
    pub keeps_attributes: bool,
    /// It is gone when the host is restarted.
    pub in_memory: bool,
    /// It lies in the server's data.
    pub inside_data: bool,
    /// It is on the file system that the server's data is on.
    pub same_disk: bool,
    /// Bytes that may still be used.
    pub free_bytes: u64,
    /// Inodes that are free; 0 where the file system makes them as needed.
    pub free_inodes: u64,
    /// Bytes of those that are left to others.
    pub reserve_bytes: u64,
}

pub(super) fn look(target: &Path, data: &Path) -> io::Result<Looked> {
    let folder = super::open(target)?;
    let file = nameless(&folder)?;
    let space = fs_space(&folder).map_err(io::Error::other)?;
    let device = rustix::fs::fstat(&folder)?.st_dev;
    let same_disk = rustix::fs::stat(data).is_ok_and(|data| data.st_dev == device);
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(Looked {
        keeps_owners: keeps_owners(&file)?,
        keeps_attributes: rustix::fs::fsetxattr(&file, "user.ferry", b"1", XattrFlags::CREATE)
            .is_ok(),
        in_memory: IN_MEMORY.contains(&space.fs_type),
        inside_data: is_inside(&mounts, target, data),
        same_disk,
        free_bytes: space.free_bytes,
        free_inodes: space.free_inodes,
        reserve_bytes: space.reserve_bytes(),
    })
}

/// A file of the folder that no name leads to: nothing is left of it, whatever happens.
fn nameless(folder: &OwnedFd) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o600);
    let unnamed = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, c".", unnamed, mode) {
        Ok(file) => return Ok(file),
        Err(Errno::ROFS) => return Err(io::Error::other("it is read-only")),
        Err(Errno::ACCESS | Errno::PERM) => {
            return Err(io::Error::other("it may not be written to by root"));
        }
        Err(_) => {}
    }
    // Older and network file systems know no files without a name.
    let name = format!(".ferry-look-{}", std::process::id());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name.as_str(), flags, mode)
        .map_err(|error| io::Error::other(format!("no file can be made in it: {error}")))?;
    rustix::fs::unlinkat(folder, name.as_str(), AtFlags::empty())?;
    Ok(file)
}

fn keeps_owners(file: &OwnedFd) -> io::Result<bool> {
    let (uid, gid) = (Uid::from_raw(SOMEBODY), Gid::from_raw(SOMEBODY));
    let mode = Mode::from_raw_mode(0o641);
    let given = rustix::fs::fchown(file, Some(uid), Some(gid)).is_ok()
        && rustix::fs::fchmod(file, mode).is_ok();
    let stat = rustix::fs::fstat(file)?;
    let kept = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (SOMEBODY, SOMEBODY, 0o641);
    Ok(given && kept)
}

/// Whether the mount at `inner` shows a folder that is in, or is, what the mount at `outer` shows:
/// by what the kernel says of both, so that no link and no second mount hides it.
fn is_inside(mounts: &str, inner: &Path, outer: &Path) -> bool {
    let (Some(inner), Some(outer)) = (mounted(mounts, inner), mounted(mounts, outer)) else {
        return false;
    };
    inner.0 == outer.0 && inner.1.starts_with(&outer.1)
}

/// Device and folder of the mount at a path: `ID PARENT MAJOR:MINOR ROOT POINT …`.
fn mounted(mounts: &str, at: &Path) -> Option<(String, PathBuf)> {
    // The last one at a path is the one that is seen.
    mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        (Path::new(point) == at).then(|| (device.to_owned(), root.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_a_disk_keeps_what_it_is_given_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let seen = look(folder.path(), folder.path()).unwrap();
        assert!(seen.same_disk && seen.free_bytes > 0, "{seen:?}");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
        if rustix::process::geteuid().is_root() {
            assert!(seen.keeps_owners, "{seen:?}");
        }
    }

    #[test]
    fn what_is_no_folder_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs_err::write(&file, "").unwrap();
        let error = look(&file, folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "it is no folder");
    }

    #[test]
    fn a_folder_in_the_data_is_found_by_what_is_mounted() {
        let mounts = "\
20 1 254:0 / / rw - ext4 /dev/vda rw
31 20 254:0 /var/lib/docker/volumes/pmm-data/_data /data ro - ext4 /dev/vda rw
32 20 254:0 /var/lib/docker/volumes/pmm-data/_data/backup /inside rw - ext4 /dev/vda rw
33 20 254:0 /var/lib/docker/volumes/pmm-data/_data2 /beside rw - ext4 /dev/vda rw
34 20 254:16 /var/lib/docker/volumes/pmm-data/_data/x /other rw - ext4 /dev/vdb rw
";
        let inside = |path: &str| is_inside(mounts, Path::new(path), Path::new("/data"));
        assert!(inside("/inside") && inside("/data"));
        assert!(!inside("/beside") && !inside("/other") && !inside("/nowhere"));
    }
}
