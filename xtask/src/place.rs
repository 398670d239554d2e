//! Where things are: everything that the commands make lies under `target`, and `cargo clean` is enough to be rid of it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The root of the repository.
pub(crate) fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| Error::new("the crate `xtask` has no parent folder"))
}

/// Cargo's own target folder.
pub(crate) fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(root()?.join(folder)),
        None => Ok(root()?.join("target")),
    }
}

/// A folder of ours below the target folder; made when it is not there.
pub(crate) fn ours(name: &str) -> Result<PathBuf> {
    let folder = target()?.join("xtask").join(name);
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}
