//! Files in a client's folder, by descriptor: the folder may belong to the client's own user, and this agent is root.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid};

/// What no file that is carried over is larger than, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// As that for a package; PMM's have about 150 MB.
const MAX_PACKAGE: u64 = 1 << 30;
/// How many files are listed at most.
const MAX_FILES: usize = 1000;
/// How deep folders of collectors may be.
const MAX_DEPTH: usize = 5;
/// Behind the name of a file while it is written.
const FRESH: &str = ".ferry-new";

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

/// A folder that is open.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// The permission bits. Those that would lend a program its owner's rights are not carried.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Folder {
    /// Opens a folder; `None` where there is none.
    ///
    /// # Errors
    /// When it is a link or no folder.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        match rustix::fs::open(path, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                fd,
                path: path.to_owned(),
            })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(named(error.into(), "open", path)),
        }
    }

    /// A folder in this one; `None` where there is none.
    ///
    /// # Errors
    /// When it is a link or no folder.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Option<Self>> {
        let path = self.path.join(name);
        match self.at(name, FOLDER) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(named(error.into(), "open", &path)),
        }
    }

    /// A folder in this one, made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make_sub(&self, name: &str) -> io::Result<Self> {
        let path = self.path.join(name);
        match self.make(name) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(error) => Err(named(error.into(), "make", &path)),
        }
    }

    /// Gives two folders in this one each other's name, at once.
    ///
    /// # Errors
    /// When one is not there.
    pub(crate) fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        rustix::fs::renameat_with(&self.fd, one, &self.fd, other, RenameFlags::EXCHANGE)
            .and_then(|()| rustix::fs::fsync(&self.fd))
            .map_err(|error| named(error.into(), "exchange", &self.path.join(one)))
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The owner of something in it, by user and group.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn owner_of(&self, relative: &str) -> io::Result<(u32, u32)> {
        let fail = |error: rustix::io::Errno| named(error.into(), "see", &self.path.join(relative));
        let fd = self
            .at(relative, OFlags::PATH | OFlags::CLOEXEC)
            .map_err(fail)?;
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        Ok((stat.st_uid, stat.st_gid))
    }

    /// Copies a file, and gives its SHA-256 in hexadecimal; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn copy(
        &self,
        relative: &str,
        into: &mut dyn io::Write,
    ) -> io::Result<Option<String>> {
        let Some((mut file, _)) = self.plain(relative)? else {
            return Ok(None);
        };
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        let mut block = vec![0; 256 << 10];
        loop {
            let length = file.read(&mut block)?;
            if length == 0 {
                let hash = hash.finish();
                return Ok(Some(
                    hash.as_ref()
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect(),
                ));
            }
            hash.update(&block[..length]);
            into.write_all(&block[..length])?;
        }
    }

    /// Reads a file by its path from here; `None` where there is none.
    ///
    /// # Errors
    /// When it is no plain file, a part of the path is a link, or it is too large.
    pub(crate) fn read(&self, relative: &str) -> io::Result<Option<Content>> {
        self.read_up_to(relative, MAX_BYTES)
    }

    /// The bytes of a package's file; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_large(&self, relative: &str) -> io::Result<Option<Vec<u8>>> {
        let content = self.read_up_to(relative, MAX_PACKAGE)?;
        Ok(content.map(|content| content.bytes))
    }

    fn read_up_to(&self, relative: &str, most: u64) -> io::Result<Option<Content>> {
        let Some((file, stat)) = self.plain(relative)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            let path = self.path.join(relative);
            return Err(named(io::Error::other("it is too large"), "read", &path));
        }
        Ok(Some(Content {
            bytes,
            mode: stat.st_mode & 0o777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }))
    }

    /// Opens a plain file; `None` where there is none.
    fn plain(&self, relative: &str) -> io::Result<Option<(File, rustix::fs::Stat)>> {
        let path = self.path.join(relative);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match self.at(relative, flags) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(named(error.into(), "read", &path)),
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(named(
                io::Error::other("it is no plain file"),
                "read",
                &path,
            ));
        }
        Ok(Some((File::from(fd), stat)))
    }

    /// Puts a file there, whole or not at all, with its owner and mode. Missing folders are made.
    ///
    /// # Errors
    /// When it cannot be written, or a part of the path is a link.
    pub(crate) fn write(&self, relative: &str, content: &Content) -> io::Result<()> {
        let path = self.path.join(relative);
        let fail = |error: rustix::io::Errno| named(error.into(), "write", &path);
        let (above, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let above = self.make(above).map_err(fail)?;
        let fresh = format!("{name}{FRESH}");
        // What an attempt left that was cut off.
        match rustix::fs::unlinkat(&above, fresh.as_str(), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(fail(error)),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&above, fresh.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(fail)?;
        let (uid, gid) = (Uid::from_raw(content.uid), Gid::from_raw(content.gid));
        rustix::fs::fchown(&fd, Some(uid), Some(gid)).map_err(fail)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(content.mode)).map_err(fail)?;
        let mut file = File::from(fd);
        file.write_all(&content.bytes)?;
        file.sync_all()?;
        rustix::fs::renameat(&above, fresh.as_str(), &above, name).map_err(fail)?;
        rustix::fs::fsync(&above).map_err(fail)
    }

    /// Removes a file, and the folders above it that are empty by that, but for this one. Gone already is fine.
    ///
    /// # Errors
    /// When it cannot be removed, or a part of the path is a link.
    pub(crate) fn remove(&self, relative: &str) -> io::Result<()> {
        self.unlink(relative, AtFlags::empty())?;
        let mut left = relative;
        while let Some((above, _)) = left.rsplit_once('/') {
            self.remove_empty(above)?;
            left = above;
        }
        Ok(())
    }

    /// Removes a folder where nothing is in it. Gone already is fine.
    ///
    /// # Errors
    /// When it cannot be removed, or a part of the path is a link.
    pub(crate) fn remove_empty(&self, relative: &str) -> io::Result<()> {
        match self.unlink(relative, AtFlags::REMOVEDIR) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }

    fn unlink(&self, relative: &str, flags: AtFlags) -> io::Result<()> {
        let (above, name) = relative.rsplit_once('/').unwrap_or((".", relative));
        let gone = self
            .at(above, FOLDER)
            .and_then(|above| rustix::fs::unlinkat(&above, name, flags));
        match gone {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(named(error.into(), "remove", &self.path.join(relative))),
        }
    }

    /// The plain files below a folder here, sorted, by their paths from here. Links and special files are passed over.
    ///
    /// # Errors
    /// When a folder cannot be read, or there are too many files.
    pub(crate) fn files(&self, below: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        match self.at(below, FOLDER) {
            Ok(fd) => list(fd, below, 0, &mut found)?,
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(named(error.into(), "list", &self.path.join(below))),
        }
        found.sort();
        Ok(found)
    }

    fn at(&self, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve)
    }

    /// The folder of that path from here, made where it is missing.
    fn make(&self, relative: &str) -> rustix::io::Result<OwnedFd> {
        let mut folder = rustix::fs::openat(&self.fd, ".", FOLDER, Mode::empty())?;
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            folder = rustix::fs::openat(&folder, part, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }
}

fn list(folder: OwnedFd, path: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if name == "." || name == ".." || name.ends_with(FRESH) {
            continue;
        }
        let stat = rustix::fs::statat(folder.as_fd(), OsStr::new(name), AtFlags::SYMLINK_NOFOLLOW)?;
        let whole = format!("{path}/{name}");
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below =
                    rustix::fs::openat(folder.as_fd(), OsStr::new(name), FOLDER, Mode::empty())?;
                list(below, &whole, depth + 1, found)?;
            }
            FileType::RegularFile => found.push(whole),
            _ => {}
        }
        if found.len() > MAX_FILES {
            return Err(io::Error::other(format!(
                "`{path}` has more than {MAX_FILES} files"
            )));
        }
    }
    Ok(())
}

fn named(error: io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {verb} `{}`: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn content(bytes: &[u8]) -> Content {
        Content {
            bytes: bytes.to_vec(),
            mode: 0o640,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn a_file_is_written_with_its_mode_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let open = Folder::open(folder.path()).unwrap().unwrap();
        assert_eq!(open.read("a/b/c.yml").unwrap(), None);
        open.write("a/b/c.yml", &content(b"one")).unwrap();
        open.write("a/b/c.yml", &content(b"two")).unwrap();
        assert_eq!(open.read("a/b/c.yml").unwrap().unwrap(), content(b"two"));
        open.write("top", &content(b"")).unwrap();
        assert_eq!(open.files("a").unwrap(), ["a/b/c.yml"]);
        assert_eq!(open.files("none").unwrap(), [""; 0]);
    }

    #[test]
    fn a_file_goes_with_the_folders_that_it_leaves_empty() {
        let folder = tempfile::tempdir().unwrap();
        let open = Folder::open(folder.path()).unwrap().unwrap();
        open.write("a/b/c.yml", &content(b"one")).unwrap();
        open.write("a/d.yml", &content(b"two")).unwrap();
        open.remove("a/b/c.yml").unwrap();
        open.remove("a/b/c.yml").unwrap();
        assert!(!folder.path().join("a/b").exists());
        assert_eq!(open.files("a").unwrap(), ["a/d.yml"]);
        open.remove("a/d.yml").unwrap();
        assert!(!folder.path().join("a").exists() && folder.path().exists());
    }

    #[test]
    fn no_link_leads_out() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs_err::write(elsewhere.path().join("secret"), "x").unwrap();
        symlink(elsewhere.path(), folder.path().join("config")).unwrap();
        symlink(elsewhere.path().join("secret"), folder.path().join("file")).unwrap();
        let open = Folder::open(folder.path()).unwrap().unwrap();
        for name in ["config/secret", "file", "../x", "/etc/passwd"] {
            assert!(open.read(name).is_err(), "{name}");
        }
        assert!(open.write("config/new", &content(b"y")).is_err());
        assert!(open.remove("config/secret").is_err());
        assert_eq!(fs_err::read_dir(elsewhere.path()).unwrap().count(), 1);
        // The name itself is replaced, and not what it leads to.
        open.write("file", &content(b"z")).unwrap();
        assert_eq!(fs_err::read(elsewhere.path().join("secret")).unwrap(), b"x");
        assert!(Folder::open(&folder.path().join("config")).is_err());
    }
}
