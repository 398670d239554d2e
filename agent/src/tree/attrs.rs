//! Modes and extended attributes of the very inode that is open.
//!
//! `fchmod` and `fgetxattr` refuse an `O_PATH` descriptor, and opening a fifo or a device for real
//! has effects. The descriptor's own link in `/proc/self/fd` leads to the same inode without
//! resolving a name again: the way that systemd and libpathrs go too.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{
        CWD, Mode, OFlags, XattrFlags, chmodat, flistxattr_query, getxattr, getxattr_query,
        lgetxattr, listxattr, listxattr_query, openat, removexattr, setxattr,
    },
    io::{Errno, Result},
};

use super::Owner;

/// What `chown` removes from a file.
pub(super) const CAPABILITY: &CStr = c"security.capability";

/// Opens the entry itself, of whatever kind, without following or waking it.
pub(super) fn open_path(dir: impl AsFd, name: &CStr) -> Result<std::os::fd::OwnedFd> {
    openat(
        dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The descriptor's own link. It is borrowed: one that is closed meanwhile leads nowhere, or to what has its number by then.
pub(super) fn link(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Sets permission bits.
pub(super) fn set_mode(fd: impl AsFd, bits: u16) -> Result<()> {
    chmodat(
        CWD,
        link(fd.as_fd()),
        Mode::from_raw_mode(bits.into()),
        rustix::fs::AtFlags::empty(),
    )
}

/// Sets the owner; a symbolic link's own.
pub(super) fn set_owner(fd: impl AsFd, owner: Owner) -> Result<()> {
    use rustix::fs::{AtFlags, chownat};
    chownat(
        fd,
        c"",
        Some(owner.to_uid()),
        Some(owner.to_gid()),
        AtFlags::EMPTY_PATH,
    )
}

/// One extended attribute; `None` where it is absent or the file system has none.
pub(super) fn get(fd: impl AsFd, name: &CStr) -> Result<Option<Vec<u8>>> {
    let path = link(fd.as_fd());
    loop {
        let size = match getxattr_query(&path, name) {
            Ok(size) => size,
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut value = vec![0; size];
        match getxattr(&path, name, &mut value[..]) {
            Ok(size) => {
                value.truncate(size);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => {}
            Err(Errno::NODATA) => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}

/// One extended attribute of the entry `name` of the open directory `dir`, a symbolic link's own; `None` where it is absent.
///
/// One call, where opening the entry first makes three. The directory is reached by its descriptor's link, and the name is the only
/// one that is resolved: as `statx` does it.
///
/// # Errors
/// `NOTSUP` where the file system has none.
pub(super) fn get_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
) -> Result<Option<Vec<u8>>> {
    let mut path = link(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    let mut value = [0; 64];
    match lgetxattr(&*path, attribute, &mut value[..]) {
        Ok(size) => Ok(Some(value[..size].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(Errno::RANGE) => get(open_path(dir, name)?, attribute),
        Err(e) => Err(e),
    }
}

/// Sets one extended attribute.
pub(super) fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> Result<()> {
    setxattr(link(fd.as_fd()), name, value, XattrFlags::empty())
}

/// Names of all extended attributes that belong to the entry rather than to where it lies.
fn names(fd: impl AsFd) -> Result<Vec<std::ffi::CString>> {
    let path = link(fd.as_fd());
    let list = loop {
        let size = match listxattr_query(&path) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Ok(size) => size,
            Err(e) => return Err(e),
        };
        let mut list = vec![0; size];
        match listxattr(&path, &mut list[..]) {
            Ok(size) => {
                list.truncate(size);
                break list;
            }
            Err(Errno::RANGE) => {}
            Err(e) => return Err(e),
        }
    };
    let mut names: Vec<_> = list
        .split(|&b| b == 0)
        .filter(|n| !n.is_empty() && !is_of_the_place(n))
        .filter_map(|n| std::ffi::CString::new(n).ok())
        .collect();
    names.sort();
    Ok(names)
}

/// A label is given by the policy of the place, a signature by the kernel's keys: neither travels.
pub(super) fn is_of_the_place(name: &[u8]) -> bool {
    name == b"security.selinux"
        || name == b"security.evm"
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"system.nfs4_acl")
}

/// All extended attributes, sorted by name; ACLs are among them.
pub(super) fn all(fd: impl AsFd) -> Result<Vec<(std::ffi::CString, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in names(&fd)? {
        if let Some(value) = get(&fd, &name)? {
            found.push((name, value));
        }
    }
    Ok(found)
}

/// As [`all`], of what is open for reading or writing: most files have none, and asking the
/// descriptor itself is a quarter of asking by its link.
pub(super) fn all_of_open(fd: impl AsFd) -> Result<Vec<(std::ffi::CString, Vec<u8>)>> {
    match flistxattr_query(&fd) {
        Ok(0) | Err(Errno::NOTSUP) => Ok(Vec::new()),
        _ => all(fd),
    }
}

/// Makes the extended attributes of `to` those in `wanted`.
pub(super) fn replace_all(to: impl AsFd, wanted: &[(std::ffi::CString, Vec<u8>)]) -> Result<()> {
    let present = all_of_open(&to).or_else(|_| all(&to))?;
    for (name, _) in &present {
        if !wanted.iter().any(|(n, _)| n == name) {
            removexattr(link(to.as_fd()), name.as_c_str())?;
        }
    }
    for pair in wanted.iter().filter(|w| !present.contains(w)) {
        set(&to, &pair.0, &pair.1)?;
    }
    Ok(())
}
