//! The proof of what the final pass wrote, or a restore that knows the hashes: nobody looks at it again before it may be needed.
//!
//! It is read when all of it is on the disk, and from there: what memory still has proves nothing of what a disk was given. So it comes
//! behind the one sync of the pass, and not behind each file, which would be a sync for each.

use std::{ffi::CStr, os::fd::AsFd};

use super::{
    super::{
        Root, TreeError,
        error::{join, show},
        manifest::Digest,
        meta::{Kind, Meta},
        pool::{Job, Queue},
        progress::Meter,
        root::RelPath,
    },
    content::{Stop, forget, hash_of},
    entry::{open_source, same_look},
};

/// A file that the pass wrote, or a killed one before it.
pub(super) struct Written {
    pub(super) dir: RelPath,
    pub(super) name: Box<CStr>,
    /// What it was copied from.
    pub(super) want: Meta,
    pub(super) digest: Digest,
}

pub(super) struct ReadBack<'a> {
    pub(super) copy: &'a Root,
    pub(super) meter: &'a Meter<'a>,
}

impl Job for ReadBack<'_> {
    type Task = Written;
    type Local = Vec<u8>;

    fn run(
        &self,
        file: Written,
        buffer: &mut Vec<u8>,
        _queue: &Queue<Written>,
    ) -> Result<(), TreeError> {
        let path = || join(&file.dir, file.name.to_bytes());
        match self.differs(&file, buffer) {
            Ok(None) => Ok(()),
            Ok(Some(what)) => Err(TreeError::CopyDiffers {
                path: show(&path()),
                what,
            }),
            Err(Stop::Work(error)) => Err(error),
            Err(Stop::Entry(error)) => Err(TreeError::io("read back", &path(), error)),
        }
    }
}

impl ReadBack<'_> {
    fn differs(&self, file: &Written, buffer: &mut Vec<u8>) -> Result<Option<&'static str>, Stop> {
        let dir = self.copy.open_dir(&file.dir)?;
        let there = open_source(dir.as_fd(), &file.name)?;
        let have = Meta::of(&there)?;
        let same = have.kind() == Kind::File && have.size == file.want.size;
        if !same || !same_look(&file.want, &have) {
            return Ok(Some("owner, mode, size or time"));
        }
        forget(there.as_fd());
        let mut due = |bytes| self.meter.add(0, bytes);
        let digest = hash_of(there.as_fd(), have.size, buffer, &mut due)?;
        Ok((digest != file.digest).then_some("content"))
    }
}
