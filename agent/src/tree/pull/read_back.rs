//! The proof of what a pull wrote, where nobody proves the whole afterwards.
//!
//! It is read when all of it is on the disk, and from there: what memory still has proves nothing of what a disk was given.

use std::{ffi::CStr, os::fd::AsFd};

use super::{
    super::{
        TreeError,
        error::{join, show},
        manifest::Digest,
        mirror::{Stop, forget, hash_of, open_source},
        root::RelPath,
    },
    Pull,
};

/// A file that was received.
pub(super) struct Written {
    pub(super) dir: RelPath,
    pub(super) name: Box<CStr>,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Pull<'_> {
    /// A disk that does not give back what was written ends the pull. Called behind the sync.
    pub(super) fn read_back(&mut self) -> Result<(), TreeError> {
        for file in std::mem::take(&mut self.written) {
            let path = || join(&file.dir, file.name.to_bytes());
            let found = match self.digest_on_disk(&file) {
                Ok(found) => found,
                Err(Stop::Work(error)) => return Err(error),
                Err(Stop::Entry(error)) => return Err(TreeError::io("read back", &path(), error)),
            };
            if found != file.digest {
                let path = show(&path());
                let what = "content";
                return Err(TreeError::CopyDiffers { path, what });
            }
        }
        Ok(())
    }

    fn digest_on_disk(&mut self, file: &Written) -> Result<Digest, Stop> {
        let dir = self.dst.open_dir(&file.dir)?;
        let there = open_source(dir.as_fd(), &file.name)?;
        forget(there.as_fd());
        let cancel = self.meter.cancel().clone();
        let mut due = |_| cancel.check();
        hash_of(there.as_fd(), file.size, &mut self.buffer, &mut due)
    }
}
