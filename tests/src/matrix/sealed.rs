//! Makes a step fail, whatever it does: its ledger cannot be written, as on a disk that takes nothing any more. It is so before the step is asked
//! for, so that no machine is too quick for it.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::disk::set_immutable;

/// The ledgers of a step, wherever its agent may be, while nobody can write to them.
#[derive(Debug)]
pub(super) struct Sealed(Vec<Ledger>);

#[derive(Debug)]
struct Ledger {
    path: PathBuf,
    /// The step has none yet, and shall find none.
    is_new: bool,
}

impl Sealed {
    /// Seals the ledger of a step in each of these folders.
    ///
    /// # Errors
    /// When one cannot be.
    pub(super) fn of(folders: &[PathBuf], step: &str) -> Result<Self> {
        let mut sealed = Self(Vec::new());
        for folder in folders {
            sealed.0.push(Ledger::seal(folder, step)?);
        }
        Ok(sealed)
    }
}

impl Ledger {
    fn seal(folder: &Path, step: &str) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let path = folder.join(format!("{step}.ledger"));
        let is_new = !path.exists();
        if is_new {
            fs_err::File::create(&path)?;
        }
        set_immutable(&path, true)?;
        Ok(Self { path, is_new })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Its folder may be gone with its volume, and there is nobody to tell.
        let _gone = set_immutable(&self.path, false);
        if self.is_new {
            let _gone = fs_err::remove_file(&self.path);
        }
    }
}
