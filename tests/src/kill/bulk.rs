//! Work that takes long enough to be hit in its middle, and whom it all belongs to.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Result;

/// Owner, group and permission bits of all below a folder. Unlike [`crate::snapshot`] it may be taken while a server runs.
///
/// # Errors
/// When something that is there cannot be read.
pub fn owners(root: &Path) -> Result<BTreeMap<PathBuf, (u32, u32, u32)>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = match fs_err::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if path == root.join(".ferry") {
            continue;
        }
        if meta.is_dir() {
            match fs_err::read_dir(&path) {
                Ok(entries) => left.extend(entries.filter_map(|e| e.ok().map(|e| e.path()))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
        found.insert(below, (meta.uid(), meta.gid(), meta.mode() & 0o7777));
    }
    Ok(found)
}

/// Many small files in a folder of the data, so that a step over them takes long enough to be hit.
#[derive(Debug)]
pub struct Bulk {
    root: PathBuf,
    folders: usize,
    files: usize,
}

/// Whom the files belong to before: nobody that any server knows.
pub const BULK_OWNER: (u32, u32) = (4321, 4322);

impl Bulk {
    /// Makes `folders` folders of `files` empty files each, below `root`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make(root: PathBuf, folders: usize, files: usize) -> Result<Self> {
        let (uid, gid) = BULK_OWNER;
        let own = |path: &Path| fs_err::os::unix::fs::lchown(path, Some(uid), Some(gid));
        for folder in 0..folders {
            let folder = root.join(format!("d{folder}"));
            fs_err::create_dir_all(&folder)?;
            for file in 0..files {
                let path = folder.join(format!("f{file}"));
                fs_err::File::create(&path)?;
                own(&path)?;
            }
            own(&folder)?;
        }
        own(&root)?;
        Ok(Self {
            root,
            folders,
            files,
        })
    }

    /// How many files are no longer `BULK_OWNER`'s, of how many.
    ///
    /// # Errors
    /// When one is gone.
    pub fn changed(&self) -> Result<(usize, usize)> {
        let mut changed = 0;
        for folder in 0..self.folders {
            for file in 0..self.files {
                changed += usize::from(self.is_changed(folder, file)?);
            }
        }
        Ok((changed, self.folders * self.files))
    }

    /// Whether the first files have changed their owner, by a look at one of each folder.
    ///
    /// # Errors
    /// When one is gone.
    pub fn is_changing(&self) -> Result<bool> {
        for folder in 0..self.folders {
            if self.is_changed(folder, folder % self.files)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_changed(&self, folder: usize, file: usize) -> Result<bool> {
        let path = self.root.join(format!("d{folder}/f{file}"));
        let meta = fs_err::symlink_metadata(path)?;
        Ok((meta.uid(), meta.gid()) != BULK_OWNER)
    }
}
