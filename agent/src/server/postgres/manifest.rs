//! What a dump consists of, so that it can be proven later to be the same.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::{Result, ServerError};

/// One file of a dump.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ManifestEntry {
    /// Its path below the dump's folder.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The BLAKE3 hash of its content, in hexadecimal.
    pub blake3: String,
}

/// The files of a dump, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest(pub Vec<ManifestEntry>);

impl Manifest {
    /// The dump's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.iter().map(|entry| entry.size).sum()
    }

    /// Hashes the files of a folder, which is given as this process sees it.
    ///
    /// # Errors
    /// Something in it is no regular file, or cannot be read.
    pub fn of(dir: &Path) -> Result<Self> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::File {
                doing: "read",
                path,
                source,
            }
        };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(fail(dir))? {
            let entry = entry.map_err(fail(dir))?;
            let path = entry.path();
            if !entry.file_type().map_err(fail(&path))?.is_file() {
                let why = format!("`{}` is no regular file", path.display());
                return Err(ServerError::DumpDamaged {
                    dir: dir.to_owned(),
                    why,
                });
            }
            let (size, blake3) = hash(&path).map_err(fail(&path))?;
            entries.push(ManifestEntry {
                path: entry.file_name().into(),
                size,
                blake3,
            });
        }
        entries.sort();
        Ok(Self(entries))
    }
}

fn hash(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok((size, hasher.finalize().to_hex().to_string())),
            count => {
                hasher.update(&block[..count]);
                size += count as u64;
            }
        }
    }
}

/// Proves that a dump's folder holds exactly what the manifest says.
///
/// # Errors
/// Something is missing, changed or too many, which is named.
pub async fn verify_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let found = hash_in_background(dir).await?;
    let damaged = |why| {
        Err(ServerError::DumpDamaged {
            dir: dir.to_owned(),
            why,
        })
    };
    for wanted in &manifest.0 {
        match found.0.iter().find(|entry| entry.path == wanted.path) {
            None => return damaged(format!("`{}` is missing", wanted.path.display())),
            Some(entry) if entry != wanted => {
                return damaged(format!("`{}` has changed", wanted.path.display()));
            }
            Some(_) => {}
        }
    }
    match found
        .0
        .iter()
        .find(|entry| manifest.0.iter().all(|wanted| wanted.path != entry.path))
    {
        Some(extra) => damaged(format!("`{}` does not belong to it", extra.path.display())),
        None => Ok(()),
    }
}

/// Hashes without holding up other work.
pub(super) async fn hash_in_background(dir: &Path) -> Result<Manifest> {
    let owned = dir.to_owned();
    let done = tokio::task::spawn_blocking(move || Manifest::of(&owned)).await;
    done.unwrap_or_else(|error| {
        Err(ServerError::DumpDamaged {
            dir: dir.to_owned(),
            why: format!("hashing failed: {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("toc.dat"), "abc").unwrap();
        std::fs::write(dir.path().join("1.dat.gz"), "").unwrap();
        let manifest = Manifest::of(dir.path()).unwrap();
        assert_eq!(manifest.size(), 3);
        verify_manifest(dir.path(), &manifest).await.unwrap();
        std::fs::write(dir.path().join("toc.dat"), "abd").unwrap();
        let error = verify_manifest(dir.path(), &manifest).await.unwrap_err();
        assert!(error.to_string().contains("`toc.dat` has changed"));
        std::fs::write(dir.path().join("toc.dat"), "abc").unwrap();
        std::fs::write(dir.path().join("new"), "").unwrap();
        let error = verify_manifest(dir.path(), &manifest).await.unwrap_err();
        assert!(error.to_string().contains("`new` does not belong"));
        std::fs::remove_file(dir.path().join("new")).unwrap();
        std::fs::remove_file(dir.path().join("1.dat.gz")).unwrap();
        let error = verify_manifest(dir.path(), &manifest).await.unwrap_err();
        assert!(error.to_string().contains("`1.dat.gz` is missing"));
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("l")).unwrap();
        assert_eq!(Manifest::of(dir.path()).unwrap_err().code(), "dump-damaged");
    }
}
