//! A tree as it was at a moment, to the byte, owner, mode and nanosecond, so that "as before" can be proven rather than said.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

use crate::Result;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A unix socket.
    Socket,
    /// A device.
    Device,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the root, without a leading slash; the root itself is empty.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Bytes; 0 for directories, whose size is the file system's affair.
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Names of the same file; 1 for directories.
    pub links: u64,
    /// BLAKE3 of a file's content.
    pub digest: Option<String>,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
    /// Extended attributes: those of the user, access lists, capabilities. What SELinux calls it is the engine's affair.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// Everything below `root`, and the root, in the order of paths; `.ferry` at the root is left out.
///
/// # Errors
/// When something cannot be read, or vanishes on the way: take it of a tree at rest.
pub fn take(root: &Path) -> Result<Vec<Entry>> {
    take_but(root, &|_| false)
}

/// As [`take`], without what `leaves_out` says of, by its path below the root, and all below that.
///
/// # Errors
/// As [`take`]; what is left out may come and go.
pub fn take_but(root: &Path, leaves_out: &dyn Fn(&Path) -> bool) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(root, Path::new(""), leaves_out, &mut entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn walk(
    root: &Path,
    below: &Path,
    leaves_out: &dyn Fn(&Path) -> bool,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let path = root.join(below);
    let entry = look(&path, below)?;
    let folder = entry.kind == Kind::Folder;
    entries.push(entry);
    if folder {
        for child in fs_err::read_dir(&path)? {
            let name = child?.file_name();
            if below.as_os_str().is_empty() && name == ".ferry" {
                continue;
            }
            let below = below.join(name);
            if !leaves_out(&below) {
                walk(root, &below, leaves_out, entries)?;
            }
        }
    }
    Ok(())
}

fn look(path: &Path, below: &Path) -> Result<Entry> {
    let meta = fs_err::symlink_metadata(path)?;
    let kind = match meta.file_type() {
        t if t.is_file() => Kind::File,
        t if t.is_dir() => Kind::Folder,
        t if t.is_symlink() => Kind::Link,
        t if t.is_fifo() => Kind::Pipe,
        t if t.is_socket() => Kind::Socket,
        _ => Kind::Device,
    };
    let digest = if kind == Kind::File {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs_err::File::open(path)?)?;
        Some(hasher.finalize().to_hex().to_string())
    } else {
        None
    };
    Ok(Entry {
        path: below.to_owned(),
        kind,
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode() & 0o7777,
        size: if kind == Kind::Folder { 0 } else { meta.size() },
        mtime: (meta.mtime(), meta.mtime_nsec()),
        links: if kind == Kind::Folder {
            1
        } else {
            meta.nlink()
        },
        digest,
        target: if kind == Kind::Link {
            Some(fs_err::read_link(path)?)
        } else {
            None
        },
        xattrs: if kind == Kind::Link {
            BTreeMap::new()
        } else {
            xattrs(path)?
        },
    })
}

fn xattrs(path: &Path) -> Result<BTreeMap<OsString, Vec<u8>>> {
    let mut names = vec![0u8; 4096];
    let length = match llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(std::io::Error::from(error).into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..length]
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty() && *n != b"security.selinux" && !n.starts_with(OVERLAY))
    {
        let mut value = vec![0u8; 65_536];
        let length = lgetxattr(path, name, &mut value).map_err(std::io::Error::from)?;
        value.truncate(length);
        found.insert(OsString::from_vec(name.to_vec()), value);
    }
    Ok(found)
}

/// What an engine's file system notes for itself, where a container's layer is looked at from outside.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// What differs, one sentence each; empty when the two are the same.
#[must_use]
pub fn differences(before: &[Entry], after: &[Entry]) -> Vec<String> {
    let index = |entries: &[Entry]| -> BTreeMap<PathBuf, Entry> {
        entries
            .iter()
            .map(|e| (e.path.clone(), e.clone()))
            .collect()
    };
    let (old, new) = (index(before), index(after));
    let name = |path: &Path| path.as_os_str().as_bytes().escape_ascii().to_string();
    let mut out = Vec::new();
    for (path, was) in &old {
        match new.get(path) {
            None => out.push(format!("{} is gone", name(path))),
            Some(is) if is != was => {
                out.push(format!("{} was {was:?}, is {is:?}", name(path)));
            }
            Some(_) => {}
        }
    }
    let fresh = new.keys().filter(|p| !old.contains_key(*p));
    out.extend(fresh.map(|p| format!("{} is new", name(p))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_seen_and_the_state_folder_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs_err::write(root.join("file"), "a").unwrap();
        fs_err::os::unix::fs::symlink("file", root.join("link")).unwrap();
        let before = take(root).unwrap();
        assert!(differences(&before, &take(root).unwrap()).is_empty());
        fs_err::create_dir(root.join(".ferry")).unwrap();
        fs_err::write(root.join(".ferry/journal"), "x").unwrap();
        fs_err::write(root.join("file"), "b").unwrap();
        fs_err::write(root.join("more"), "").unwrap();
        fs_err::remove_file(root.join("link")).unwrap();
        let found = differences(&before, &take(root).unwrap()).join("\n");
        for part in ["file was", "link is gone", "more is new"] {
            assert!(found.contains(part), "{found}");
        }
        assert!(!found.contains("journal"), "{found}");
    }
}
