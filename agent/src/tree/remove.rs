//! Removing an entry with all below it: by descriptor, never through a symbolic link, never across a mount.
//!
//! Rejected: `std::fs::remove_dir_all`, which goes into whatever is mounted below.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Mode, openat, unlinkat},
    io::Errno,
};

use super::{
    CancelFlag, TreeError,
    list::{Lister, Names},
    meta::{Kind, Meta},
    root::DIR,
};

/// Removes what is called `name` in the open directory `parent`; false when there is nothing.
///
/// # Errors
/// [`TreeError::Io`]: something below cannot be removed, or is a mount. What was reached before is gone then.
pub fn remove(parent: BorrowedFd<'_>, name: &str, cancel: &CancelFlag) -> Result<bool, TreeError> {
    let fail = |error: Errno| TreeError::io("remove", name.as_bytes(), error);
    let c_name = CString::new(name).map_err(|_| fail(Errno::INVAL))?;
    let mount = Meta::of(parent).map_err(fail)?;
    match remove_at(parent, &c_name, &mount, cancel) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::CANCELED) => Err(TreeError::Cancelled),
        Err(error) => Err(fail(error)),
    }
}

/// The same for an entry of a tree whose mount is known.
pub(super) fn remove_at(
    parent: BorrowedFd<'_>,
    name: &CStr,
    mount: &Meta,
    cancel: &CancelFlag,
) -> Result<(), Errno> {
    let meta = Meta::at(parent, name)?;
    if !meta.same_mount(mount) {
        return Err(Errno::XDEV);
    }
    if meta.kind() != Kind::Dir {
        return unlinkat(parent, name, AtFlags::empty());
    }
    // An own stack of open directories: a tree may be deeper than the thread's stack.
    let mut open: Vec<(OwnedFd, CString)> =
        vec![(openat(parent, name, DIR, Mode::empty())?, name.into())];
    let mut lister = Lister::default();
    let mut names = Names::default();
    while let Some((fd, _)) = open.last() {
        if cancel.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        // Read again after each descent: from its start, since names were taken out.
        let again = openat(fd, c".", DIR, Mode::empty())?;
        lister.read(again.as_fd(), &mut names)?;
        let mut child = None;
        for name in names.iter() {
            let meta = Meta::at(fd, name)?;
            if !meta.same_mount(mount) {
                return Err(Errno::XDEV);
            }
            if meta.kind() == Kind::Dir {
                match unlinkat(fd, name, AtFlags::REMOVEDIR) {
                    Ok(()) => {}
                    Err(Errno::NOTEMPTY | Errno::EXIST) => child = Some(CString::from(name)),
                    Err(e) => return Err(e),
                }
            } else {
                unlinkat(fd, name, AtFlags::empty())?;
            }
        }
        if let Some(child) = child {
            let next = openat(fd, &child, DIR, Mode::empty())?;
            open.push((next, child));
        } else if let Some((_, name)) = open.pop() {
            let above = open.last().map_or(parent, |(fd, _)| fd.as_fd());
            unlinkat(above, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_below_goes_and_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        std::fs::write(kept.path().join("f"), "x").unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::write(dir.path().join("a/b/f"), "x").unwrap();
        std::os::unix::fs::symlink(kept.path(), dir.path().join("a/b/link")).unwrap();
        let parent = std::fs::File::open(dir.path()).unwrap();
        let cancel = CancelFlag::default();
        assert!(remove(parent.as_fd(), "a", &cancel).unwrap());
        assert!(!remove(parent.as_fd(), "a", &cancel).unwrap());
        assert!(!dir.path().join("a").exists());
        assert!(kept.path().join("f").exists());
        let stopped = CancelFlag::default();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        stopped.cancel();
        assert!(matches!(
            remove(parent.as_fd(), "a", &stopped),
            Err(TreeError::Cancelled)
        ));
    }
}
