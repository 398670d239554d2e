//! The server's file tree, seen from this process.
//!
//! Why a type: in a sidecar the tree is at `/proc/1/root`, and there an absolute symbolic link such as `/var/run → /run`
//! would resolve in the *sidecar's* root. Every path of the server is therefore resolved here, link by link, with
//! absolute links and `..` kept inside the root.
//!
//! Only reading goes this way. Privileged writing goes by descriptor.
//!
//! Rejected: `openat2` with `RESOLVE_IN_ROOT`. It would be exact under races, but container engines' older seccomp
//! profiles forbid it, and what is read here decides about nothing that the checks do not look at again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{Result, ServerError};
use crate::tree::{Root, TreeError};

/// How many symbolic links one path may go through; the kernel's own bound.
const MAX_LINKS: usize = 40;

/// Where the server's `/` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRoot(PathBuf);

impl ServerRoot {
    /// The tree below `path`: `/` inside the server, `/proc/1/root` beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The tree as a sidecar sees it.
    #[must_use]
    pub fn of_pid1() -> Self {
        Self::new("/proc/1/root")
    }

    /// The path of the root itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether this process lives in that very tree, so that no `chroot` is needed.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The path, as this process sees it, of the server's `path`, with no link resolved. `..` is taken lexically and
    /// cannot leave the root.
    #[must_use]
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut parts: Vec<OsString> = Vec::new();
        push_components(&mut parts, path.as_ref());
        let mut joined = self.0.clone();
        joined.extend(parts);
        joined
    }

    /// The same with all links resolved inside the root. Parts that do not exist are taken as they are.
    ///
    /// # Errors
    /// A loop of links, a link that cannot be read, or a folder that may not be passed.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let wanted = path.as_ref();
        let mut left: Vec<OsString> = Vec::new();
        prepend(&mut left, wanted);
        let mut done: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let mut here = self.0.clone();
            here.extend(&done);
            here.push(&part);
            let is_link = match std::fs::symlink_metadata(&here) {
                Ok(meta) => meta.file_type().is_symlink(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(ServerError::File {
                        doing: "reach",
                        path: here,
                        source: error,
                    });
                }
                Err(_) => false,
            };
            if !is_link {
                done.push(part);
                continue;
            }
            links += 1;
            let fail = |source| ServerError::File {
                doing: "resolve",
                path: here.clone(),
                source,
            };
            if links > MAX_LINKS {
                return Err(fail(io::Error::other("too many symbolic links")));
            }
            let target = std::fs::read_link(&here).map_err(fail)?;
            if target.is_absolute() {
                done.clear();
            }
            prepend(&mut left, &target);
        }
        let mut resolved = self.0.clone();
        resolved.extend(done);
        Ok(resolved)
    }

    /// The folder `path` of the server as a tree of its own, also where this process has another folder of that name or none. The
    /// root itself is what the kernel's own link leads to; from there no link is followed.
    ///
    /// # Errors
    /// The root cannot be passed, or the folder cannot be opened without following a link.
    pub fn tree(&self, path: &Path) -> std::result::Result<Root, TreeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(&self.0, flags, Mode::empty()).map_err(|error| TreeError::Open {
                path: self.0.display().to_string(),
                source: error.into(),
            })?;
        let mut below: Vec<OsString> = Vec::new();
        push_components(&mut below, path);
        Root::open_at(root.as_fd(), &PathBuf::from_iter(below), None)
    }

    /// Whether the server's folder `path` lies in the container itself: this process shares all the server's mounts, and has not got
    /// it at the same path.
    #[must_use]
    pub fn has_alone(&self, path: &Path) -> bool {
        if self.is_own() {
            return false;
        }
        let Ok(theirs) = std::fs::symlink_metadata(self.join(path)) else {
            return false;
        };
        let same =
            |ours: &std::fs::Metadata| (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        theirs.is_dir() && !std::fs::symlink_metadata(path).is_ok_and(|ours| same(&ours))
    }

    /// The server's name for a path of this process, if it lies inside the root.
    #[must_use]
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.0)
            .ok()
            .map(|rest| Path::new("/").join(rest))
    }

    /// Reads a regular file of at most `limit` bytes; `None` when there is none.
    ///
    /// # Errors
    /// It is no regular file, is larger, or cannot be read.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.resolve(path)?;
        let fail = |source| ServerError::File {
            doing: "read",
            path: path.clone(),
            source,
        };
        let file = match open_unnoticed(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            return Err(fail(io::Error::other("it is not a regular file")));
        }
        let mut content = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(fail)?;
        if content.len() as u64 > limit {
            return Err(fail(io::Error::other(format!(
                "it is larger than {limit} bytes"
            ))));
        }
        Ok(Some(content))
    }

    /// Like [`Self::read`], as text; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_text(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<String>> {
        Ok(self
            .read(path, limit)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The sorted names in a folder; empty when there is no such folder.
    ///
    /// # Errors
    /// It exists and cannot be listed.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<OsString>> {
        let path = self.resolve(path)?;
        let fail = |source| ServerError::File {
            doing: "list",
            path: path.clone(),
            source,
        };
        let dir = match open_unnoticed(&path) {
            Ok(dir) => dir,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(fail(error)),
        };
        let entries = match rustix::fs::Dir::read_from(&dir) {
            Ok(entries) => entries,
            Err(rustix::io::Errno::NOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(fail(error.into())),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| fail(error.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Opens a file or folder for reading: following no link, not held by a FIFO in its place, and without a new access
/// time, which only its owner and a privileged agent can ask for.
fn open_unnoticed(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    match open(flags | nix::libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => open(flags),
        other => other,
    }
}

/// Puts the components of `path` on the stack so that the first is popped first.
fn prepend(stack: &mut Vec<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => stack.push(name.to_owned()),
            Component::ParentDir => stack.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

fn push_components(parts: &mut Vec<OsString>, path: &Path) {
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn absolute_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = ServerRoot::new(dir.path());
        std::fs::create_dir_all(dir.path().join("run/s")).unwrap();
        std::fs::create_dir_all(dir.path().join("var")).unwrap();
        symlink("/run", dir.path().join("var/run")).unwrap();
        std::fs::write(dir.path().join("run/s/f"), "x").unwrap();
        assert_eq!(
            root.resolve("/var/run/s/f").unwrap(),
            dir.path().join("run/s/f")
        );
        assert_eq!(
            root.read_text("/var/run/s/f", 10).unwrap().as_deref(),
            Some("x")
        );
        symlink("../../../../etc/passwd", dir.path().join("up")).unwrap();
        assert_eq!(root.resolve("up").unwrap(), dir.path().join("etc/passwd"));
        assert_eq!(root.read("up", 10).unwrap(), None);
        assert_eq!(root.join("../../etc"), dir.path().join("etc"));
        assert_eq!(root.inside(&dir.path().join("a")).unwrap(), Path::new("/a"));
    }

    #[test]
    fn a_folder_that_only_the_server_has_is_told_from_one_that_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let root = ServerRoot::new(dir.path());
        let data = Path::new("/only-here/srv");
        assert!(!root.has_alone(data), "there is none");
        std::fs::create_dir_all(dir.path().join("only-here/srv/a")).unwrap();
        assert!(root.has_alone(data));
        assert!(!ServerRoot::new("/").has_alone(Path::new("/tmp")));
        // The same folder by the same path is what a shared mount looks like.
        let shared = dir.path().canonicalize().unwrap();
        let through = tempfile::tempdir().unwrap();
        let above = through
            .path()
            .join(shared.parent().unwrap().strip_prefix("/").unwrap());
        std::fs::create_dir_all(above.parent().unwrap()).unwrap();
        symlink(shared.parent().unwrap(), &above).unwrap();
        assert!(!ServerRoot::new(through.path()).has_alone(&shared));
        // A link in its place leads nowhere.
        symlink(dir.path().join("only-here/srv"), dir.path().join("link")).unwrap();
        assert!(root.tree(Path::new("/link")).is_err());
        assert_eq!(root.tree(data).unwrap().path(), "only-here/srv");
    }

    #[test]
    fn loops_size_and_odd_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = ServerRoot::new(dir.path());
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(root.resolve("a").unwrap_err().code(), "server-file");
        std::fs::write(dir.path().join("big"), [0; 11]).unwrap();
        assert!(
            root.read("big", 10)
                .unwrap_err()
                .to_string()
                .contains("larger than 10")
        );
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(root.read("fifo", 10).is_err());
        assert!(root.list("nowhere").unwrap().is_empty());
    }
}
