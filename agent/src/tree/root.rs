//! The root of a tree: opened once, and the only thing that anything below is reached from.

use std::{
    ffi::{CString, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
    sync::Arc,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{TreeError, meta::Meta};

/// The folder of Ferry's own state at a volume's root: never part of any work on the tree.
pub const STATE_FOLDER: &str = ".ferry";

/// Longest path handed to the kernel in one piece; `PATH_MAX` is 4096 with the final NUL.
const PIECE: usize = 4000;

/// A path below a root: names joined by `/`, empty for the root itself.
pub(super) type RelPath = Arc<[u8]>;

/// An open directory with all that lies below it on the same mount.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: String,
    meta: Meta,
    exclude: Vec<OsString>,
    has_openat2: bool,
}

impl Root {
    /// Opens `path` without following a symbolic link in any part of it.
    ///
    /// `expected_dev` is the `st_dev` that the plan was made for.
    ///
    /// # Errors
    /// [`TreeError::Open`], [`TreeError::WrongDevice`].
    pub fn open(path: &Path, expected_dev: Option<u64>) -> Result<Self, TreeError> {
        Self::open_at(CWD, path, expected_dev)
    }

    /// As [`Root::open`], with a relative `path` taken from the open directory `dir`.
    ///
    /// # Errors
    /// [`TreeError::Open`], [`TreeError::WrongDevice`].
    pub fn open_at(
        dir: BorrowedFd<'_>,
        path: &Path,
        expected_dev: Option<u64>,
    ) -> Result<Self, TreeError> {
        let shown = path.display().to_string();
        let fail = |source: io::Error| TreeError::Open {
            path: shown.clone(),
            source,
        };
        let bytes = path.as_os_str().as_bytes();
        let open = |flags| openat2(dir, path, flags, Mode::empty(), NO_LINKS);
        let (fd, has_openat2) = match unnoticed(open) {
            Ok(fd) => (fd, true),
            Err(error) if is_missing(error) => (
                open_by_names(dir, bytes).map_err(|e| fail(e.into()))?,
                false,
            ),
            Err(error) => return Err(fail(error.into())),
        };
        let meta = Meta::of(&fd).map_err(|e| fail(e.into()))?;
        if let Some(expected) = expected_dev.filter(|&dev| dev != meta.dev) {
            return Err(TreeError::WrongDevice {
                path: shown,
                expected,
                found: meta.dev,
            });
        }
        let exclude = vec![STATE_FOLDER.into()];
        Ok(Self {
            fd,
            path: shown,
            meta,
            exclude,
            has_openat2,
        })
    }

    /// Leaves out these names directly below the root, beside [`STATE_FOLDER`].
    #[must_use]
    pub fn excluding(mut self, names: impl IntoIterator<Item = OsString>) -> Self {
        self.exclude.extend(names);
        self
    }

    /// The path that it was opened by, for people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `st_dev` of the file system that it lies on.
    pub fn dev(&self) -> u64 {
        self.meta.dev
    }

    /// The root as it was when it was opened.
    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether `name` in the directory `dir` is left out.
    pub(super) fn excludes(&self, dir: &[u8], name: &[u8]) -> bool {
        dir.is_empty() && self.exclude.iter().any(|e| e.as_bytes() == name)
    }

    /// Opens a directory below the root for reading, which leaves no access time.
    pub(super) fn open_dir(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        unnoticed(|flags| self.open_below(path, flags))
    }

    /// Opens what `path` names: beneath the root, through no symbolic link, across no mount.
    pub(super) fn open_below(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        if path.is_empty() {
            return openat(&self.fd, c".", flags, Mode::empty());
        }
        let mut at: Option<OwnedFd> = None;
        let mut rest = path;
        loop {
            let (piece, after) = if self.has_openat2 {
                cut(rest)
            } else {
                cut_name(rest)
            };
            let last = after.is_empty();
            let flags = if last { flags } else { THROUGH };
            let from = at.as_ref().unwrap_or(&self.fd);
            let piece = CString::new(piece).map_err(|_| rustix::io::Errno::INVAL)?;
            let next = if self.has_openat2 {
                openat2(from, &piece, flags, Mode::empty(), BELOW)?
            } else {
                let fd = openat(from, &piece, flags | OFlags::NOFOLLOW, Mode::empty())?;
                if !Meta::of(&fd)?.same_mount(&self.meta) {
                    return Err(rustix::io::Errno::XDEV);
                }
                fd
            };
            if last {
                return Ok(next);
            }
            at = Some(next);
            rest = after;
        }
    }

    /// The path as the operating system has it, for reports by path.
    pub(super) fn os_path(path: &[u8]) -> std::path::PathBuf {
        OsString::from_vec(path.to_vec()).into()
    }

    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.has_openat2 = false;
        self
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(super) const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
const THROUGH: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);
const BELOW: ResolveFlags = NO_LINKS
    .union(ResolveFlags::BENEATH)
    .union(ResolveFlags::NO_XDEV);

/// Opens a directory so that reading it leaves no access time, as [`super::mirror::open_source`] opens a file. That may only who owns it
/// or has `CAP_FOWNER`; others open it as anybody would.
fn unnoticed<T>(open: impl Fn(OFlags) -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    match open(DIR.union(OFlags::NOATIME)) {
        Err(rustix::io::Errno::PERM) => open(DIR),
        other => other,
    }
}

/// Kernels before 5.6 lack `openat2`; seccomp profiles of older engines answer EPERM for it.
fn is_missing(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)
}

/// Opens a path name by name, following nothing.
fn open_by_names(dir: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let start: &std::ffi::CStr = if path.starts_with(b"/") { c"/" } else { c"." };
    // Only the last of them is read, but any may be the last.
    let mut fd = unnoticed(|flags| openat(dir, start, flags, Mode::empty()))?;
    for name in path
        .split(|&b| b == b'/')
        .filter(|n| !n.is_empty() && *n != b".")
    {
        let name = CString::new(name).map_err(|_| rustix::io::Errno::INVAL)?;
        fd = unnoticed(|flags| openat(&fd, &name, flags, Mode::empty()))?;
    }
    Ok(fd)
}

/// The longest beginning of whole names that the kernel takes, and what follows it.
fn cut(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= PIECE {
        return (path, &[]);
    }
    match path[..PIECE].iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &[]),
    }
}

/// The first name, and what follows it.
fn cut_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &[]),
    }
}
