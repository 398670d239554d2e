//! What the files of one directory of a backup must hash to.
//!
//! Why a restore asks for that: to compare every byte of the data with the copy, both have to be read. The manifest was written
//! while the copy was made and read back, so its hash stands for the copy, and only the data has to be read.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
};

use super::{
    super::{
        meta::{Kind, Meta, Stamp},
        root::RelPath,
    },
    Digest, Manifest, Part, What,
};

/// The hashes of one directory's files.
pub(in crate::tree) struct Proven(HashMap<CString, (u64, Stamp, Digest)>);

impl Proven {
    /// `None` where the manifest says nothing of the directory, or what it says is damaged.
    pub(in crate::tree) fn of(manifest: &Manifest, dir: &RelPath) -> Option<Self> {
        let part: Part = manifest.part(dir).ok().flatten()?;
        let files = part.names.iter().zip(&part.entries);
        let files = files.filter_map(|(name, entry)| {
            let entry = entry.as_ref()?;
            let What::File { size, digest, .. } = entry.what else {
                return None;
            };
            Some((name.to_owned(), (size, entry.mtime, digest)))
        });
        Some(Self(files.collect()))
    }

    /// The hash of a file that looks like `copy` in the backup; `None` where the manifest speaks of another one.
    pub(in crate::tree) fn digest(&self, name: &CStr, copy: &Meta) -> Option<Digest> {
        let (size, mtime, digest) = *self.0.get(name)?;
        let same = copy.kind() == Kind::File && (size, mtime) == (copy.size, copy.mtime);
        same.then_some(digest)
    }
}
