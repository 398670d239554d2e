//! The agent's own folder: `.ferry/` at the root of the server's data, or a folder on the host.
//!
//! After a crossing the server's user owns the folder above it and could put a symlink in its
//! place, while this agent runs as root. So the folder is opened once, without following a symlink,
//! must belong to the agent's own user, and everything in it is reached by descriptor.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{AtFlags, Mode, OFlags};

/// The name of the state folder at the root of a volume (`docs/architecture.md`).
pub const STATE_DIR_NAME: &str = ".ferry";

/// An open folder of ours.
#[derive(Debug, Clone)]
pub struct StateDir {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

const DIR: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

impl StateDir {
    /// Opens the folder `name` in `parent`, making it when it is missing.
    ///
    /// # Errors
    /// When it cannot be made or opened, is a symlink, or belongs to another user.
    pub fn open(parent: &Path, name: &str) -> io::Result<Self> {
        let outer = rustix::fs::open(parent, DIR, Mode::empty())
            .map_err(|e| named(e.into(), "open", parent))?;
        Self::enter(outer.as_fd(), name, parent.join(name))
    }

    /// Opens a folder in this one, making it when it is missing.
    ///
    /// # Errors
    /// As for [`StateDir::open`].
    pub fn sub(&self, name: &str) -> io::Result<Self> {
        Self::enter(self.fd.as_fd(), name, self.path.join(name))
    }

    fn enter(parent: BorrowedFd<'_>, name: &str, path: PathBuf) -> io::Result<Self> {
        check_name(name)?;
        // Passable but not listable: the dump is written by the database's own user further down.
        let before = rustix::fs::fstat(parent)?;
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o711)) {
            Ok(()) => keep_mtime(parent, &before)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(named(e.into(), "make", &path)),
        }
        // Whoever made it may have died before this.
        rustix::fs::fsync(open_for_sync(parent)?)?;
        let fd = rustix::fs::openat(parent, name, DIR, Mode::empty())
            .map_err(|e| named(e.into(), "open", &path))?;
        let stat = rustix::fs::fstat(&fd)?;
        let own = rustix::process::geteuid().as_raw();
        if stat.st_uid != own {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "`{}` belongs to user {}, not to the agent's user {own}: it is not trusted",
                    path.display(),
                    stat.st_uid
                ),
            ));
        }
        Ok(Self {
            fd: Arc::new(fd),
            path,
        })
    }

    /// Where it is, for messages and for programs that need a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a file for reading and appending, making it when it is missing (mode 0600).
    ///
    /// # Errors
    /// When it cannot be opened, or is a symlink.
    pub fn append_file(&self, name: &str) -> io::Result<File> {
        check_name(name)?;
        let flags =
            OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| named(e.into(), "open", &self.path.join(name)))?;
        rustix::fs::fsync(self.fd.as_fd())?;
        Ok(File::from(fd))
    }

    /// Opens a file for reading and writing anywhere in it, making it when it is missing (mode 0600).
    ///
    /// # Errors
    /// When it cannot be opened, or is a symlink.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        check_name(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| named(e.into(), "open", &self.path.join(name)))?;
        rustix::fs::fsync(self.fd.as_fd())?;
        Ok(File::from(fd))
    }

    /// Reads a whole file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is a symlink.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        check_name(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => {
                let mut bytes = Vec::new();
                File::from(fd).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(named(e.into(), "read", &self.path.join(name))),
        }
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        check_name(name)?;
        let fresh = format!("{name}.new");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, fresh.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(|e| named(e.into(), "write", &self.path.join(&fresh)))?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        file.sync_all()?;
        rustix::fs::renameat(&self.fd, fresh.as_str(), &self.fd, name)?;
        rustix::fs::fsync(self.fd.as_fd())?;
        Ok(())
    }

    /// Removes a file; it may be missing.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(named(e.into(), "remove", &self.path.join(name))),
        }
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The folder's descriptor may be path-only; syncing needs a real one.
fn open_for_sync(parent: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, ".", DIR, Mode::empty())?)
}

/// Our folder is not part of the server's data, so its coming is no change of it.
fn keep_mtime(folder: BorrowedFd<'_>, before: &rustix::fs::Stat) -> io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
    let last_access = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let last_modification = Timespec {
        tv_sec: before.st_mtime,
        tv_nsec: i64::try_from(before.st_mtime_nsec).unwrap_or(0),
    };
    Ok(rustix::fs::futimens(
        folder,
        &Timestamps {
            last_access,
            last_modification,
        },
    )?)
}

fn check_name(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{name}` is not a plain file name"),
    ))
}

fn named(error: io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {verb} `{}`: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_in_its_place_is_not_followed() {
        let outer = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), outer.path().join(STATE_DIR_NAME)).unwrap();
        assert!(StateDir::open(outer.path(), STATE_DIR_NAME).is_err());
        assert_eq!(fs_err::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let dir = StateDir::open(outer.path(), STATE_DIR_NAME).unwrap();
        for name in ["", ".", "..", "a/b", "../x"] {
            assert!(dir.replace(name, b"x").is_err(), "{name:?}");
            assert!(dir.sub(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let outer = tempfile::tempdir().unwrap();
        let dir = StateDir::open(outer.path(), STATE_DIR_NAME).unwrap();
        assert_eq!(dir.read("baseline").unwrap(), None);
        dir.replace("baseline", b"one").unwrap();
        dir.replace("baseline", b"two").unwrap();
        assert_eq!(dir.read("baseline").unwrap().unwrap(), b"two");
        assert_eq!(dir.names().unwrap(), ["baseline"]);
    }
}
