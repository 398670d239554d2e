//! Where manifests lie: beside the copy, never in it.

use std::{
    fs::File,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, renameat, unlinkat},
    io::Errno,
};

use super::{
    super::{Pass, TreeError, root::DIR},
    Manifest,
    file::failed,
};

/// A folder with the manifests of both passes.
#[derive(Debug)]
pub struct ManifestFolder {
    fd: OwnedFd,
    path: String,
}

/// What a killed pass left, taken for what it is worth.
const CUT: &str = "manifest.cut";

fn name(pass: Pass) -> &'static str {
    match pass {
        Pass::Live => "manifest.live",
        Pass::Final => "manifest",
    }
}

fn unfinished(pass: Pass) -> &'static str {
    match pass {
        Pass::Live => "manifest.live.new",
        Pass::Final => "manifest.new",
    }
}

impl ManifestFolder {
    /// Opens the folder `path`, which must lie outside the copied tree.
    ///
    /// # Errors
    /// [`TreeError::Open`].
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        Self::open_from(CWD, path, path.display().to_string())
    }

    /// The open folder `dir`, which is called `path` to people.
    ///
    /// # Errors
    /// As [`ManifestFolder::open`].
    pub fn in_open(dir: BorrowedFd<'_>, path: &Path) -> Result<Self, TreeError> {
        Self::open_from(dir, Path::new("."), path.display().to_string())
    }

    fn open_from(dir: BorrowedFd<'_>, path: &Path, shown: String) -> Result<Self, TreeError> {
        match openat(dir, path, DIR, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: shown }),
            Err(error) => Err(TreeError::Open {
                path: shown,
                source: error.into(),
            }),
        }
    }

    /// Opens the whole manifest of a pass.
    ///
    /// # Errors
    /// [`TreeError::ManifestMissing`], and as [`Manifest::open`].
    pub fn read(&self, pass: Pass) -> Result<Manifest, TreeError> {
        match self.file(name(pass), OFlags::RDONLY) {
            Ok(file) => Manifest::open(file),
            Err(Errno::NOENT) => Err(TreeError::ManifestMissing {
                path: format!("{}/{}", self.path, name(pass)),
            }),
            Err(error) => Err(failed("open", error.into())),
        }
    }

    /// What the final pass wrote, unless that is missing, damaged or of another format: for who only saves work by it.
    ///
    /// All of it is checked. A directory with linked files has several parts, so that what is left of a damaged manifest
    /// may be the directory's times without all of its names.
    #[must_use]
    pub fn recall(&self) -> Option<Manifest> {
        self.read(Pass::Final).ok()
    }

    /// Everything that earlier passes wrote, the best first; what cannot be read is left out,
    /// because it only saves work.
    ///
    /// A final pass is its own proof, and does not ask what a killed one has written down: nobody has read back from the disk what that
    /// one copied.
    pub(super) fn known(&self, pass: Pass) -> Vec<Manifest> {
        let names = [
            Some(name(Pass::Final)),
            Some(name(Pass::Live)),
            (pass == Pass::Live).then_some(CUT),
        ];
        let names = names.into_iter().flatten();
        let open = |name| {
            let file = self.file(name, OFlags::RDONLY).ok()?;
            Manifest::salvage(file).ok()
        };
        names.filter_map(open).collect()
    }

    /// An empty file for the manifest of a pass that begins. What a killed pass left is kept for
    /// [`ManifestFolder::known`], unless an earlier one left more.
    pub(super) fn begin(&self, pass: Pass) -> Result<File, TreeError> {
        for left in [unfinished(Pass::Live), unfinished(Pass::Final)] {
            if self.size(left) > self.size(CUT) {
                renameat(&self.fd, left, &self.fd, CUT).map_err(|e| failed("rename", e.into()))?;
            } else {
                self.remove(left)?;
            }
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.file(unfinished(pass), flags)
            .map_err(|e| failed("create", e.into()))
    }

    /// Gives a manifest that is whole and on disk its name, and removes what it outdates.
    pub(super) fn complete(&self, pass: Pass) -> Result<(), TreeError> {
        // The copy has moved on: the manifest of the other pass does not describe it any more. It
        // goes first, so that no crash leaves it as the only one.
        self.remove(name(match pass {
            Pass::Live => Pass::Final,
            Pass::Final => Pass::Live,
        }))?;
        renameat(&self.fd, unfinished(pass), &self.fd, name(pass))
            .map_err(|e| failed("rename", e.into()))?;
        self.remove(CUT)?;
        fsync(&self.fd).map_err(|e| failed("sync", e.into()))
    }

    /// Removes all that passes wrote: what they know is not what lies in the copy.
    ///
    /// # Errors
    /// [`TreeError::Io`].
    pub fn forget(&self) -> Result<(), TreeError> {
        for pass in [Pass::Live, Pass::Final] {
            self.remove(name(pass))?;
            self.remove(unfinished(pass))?;
        }
        self.remove(CUT)
    }

    fn remove(&self, name: &str) -> Result<(), TreeError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("removal", error.into())),
        }
    }

    /// Bytes in a file; zero where there is none.
    fn size(&self, name: &str) -> u64 {
        let file = self.file(name, OFlags::RDONLY).ok();
        file.and_then(|file| file.metadata().ok())
            .map_or(0, |meta| meta.len())
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }
}
