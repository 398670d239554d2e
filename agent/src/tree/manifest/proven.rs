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

/// The files of one directory by its manifest; none where that says nothing of it, or is damaged there.
#[derive(Default)]
pub(in crate::tree) struct Proven(HashMap<CString, ProvenFile>);

/// A file as it was copied.
#[derive(Debug, Clone, Copy)]
pub(in crate::tree) struct ProvenFile {
    pub(in crate::tree) size: u64,
    pub(in crate::tree) digest: Digest,
    mtime: Stamp,
}

impl Proven {
    pub(in crate::tree) fn of(manifest: &Manifest, dir: &RelPath) -> Self {
        let part: Option<Part> = manifest.part(dir).ok().flatten();
        let Some(part) = part else {
            return Self::default();
        };
        let files = part.names.iter().zip(&part.entries);
        let files = files.filter_map(|(name, entry)| {
            let entry = entry.as_ref()?;
            let What::File { size, digest, .. } = entry.what else {
                return None;
            };
            let mtime = entry.mtime;
            let file = ProvenFile {
                size,
                digest,
                mtime,
            };
            Some((name.to_owned(), file))
        });
        Self(files.collect())
    }

    /// A file by its name.
    pub(in crate::tree) fn file(&self, name: &CStr) -> Option<ProvenFile> {
        self.0.get(name).copied()
    }
}

impl ProvenFile {
    /// The backup's file as it was, of which only these are known to have changed.
    pub(in crate::tree) fn as_it_was(&self, copy: &Meta) -> Meta {
        Meta {
            size: self.size,
            mtime: self.mtime,
            ..*copy
        }
    }

    /// Whether the backup's file still looks as it did.
    pub(in crate::tree) fn looks_like(&self, copy: &Meta) -> bool {
        copy.kind() == Kind::File && (self.size, self.mtime) == (copy.size, copy.mtime)
    }
}
