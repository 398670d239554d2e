//! Real trees on the real file system. Without root most of this cannot be tried, and is passed over.

mod churn;
mod clock;
mod copying;
mod count;
mod field;
mod flags;
mod killed;
mod killed_copies;
mod lies;
mod links;
mod mounts;
mod names;
mod nodes;
mod odd;
mod owning;
mod platter;
mod privileges;
mod proving;
mod pulling;
mod recording;
mod remembered;
mod restoring;
mod unnoticed;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, chownat};

use super::*;

pub(super) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("passed over: needs root");
    }
    root
}

pub(super) fn own(path: &Path, uid: u32, gid: u32) {
    let owner = Owner { uid, gid };
    chownat(
        CWD,
        path,
        Some(owner.to_uid()),
        Some(owner.to_gid()),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

pub(super) fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path)
        .unwrap()
        .write_all(content.as_ref())
        .unwrap();
}

/// A `security.capability` of revision 2: cap_net_bind_service, permitted and effective.
pub(super) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn set_capability(path: &Path) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, "security.capability", &CAPABILITY, flags).unwrap();
}

/// Like /srv of a server: several owners, modes, kinds, odd names.
pub(super) fn sample(root: &Path) {
    for part in 0..6 {
        for file in 0..20 {
            let path = root.join(format!("clickhouse/store/all_{part}/column_{file}.bin"));
            write(&path, format!("{part} {file}"));
            own(&path, 997, 996);
            mode(&path, if file % 3 == 0 { 0o640 } else { 0o600 });
        }
        own(&root.join(format!("clickhouse/store/all_{part}")), 997, 996);
    }
    let odd: [&[u8]; 5] = [b"new\nline", b"\xff\xfe", b" ", b"--help", &[b'n'; 255]];
    for name in odd {
        write(&root.join("odd").join(OsStr::from_bytes(name)), "x");
    }
    write(&root.join("postgres14/PG_VERSION"), "14");
    own(&root.join("postgres14"), 26, 26);
    own(&root.join("postgres14/PG_VERSION"), 26, 26);
    mode(&root.join("postgres14"), 0o700);
    write(&root.join("bin/setuid"), "s");
    own(&root.join("bin/setuid"), 5, 6);
    mode(&root.join("bin/setuid"), 0o6755);
    write(&root.join("bin/capable"), "c");
    mode(&root.join("bin/capable"), 0o755);
    set_capability(&root.join("bin/capable"));
    write(&root.join("links/a"), "shared");
    fs::hard_link(root.join("links/a"), root.join("links/b")).unwrap();
    fs::create_dir_all(root.join("grafana/empty")).unwrap();
    mode(&root.join("grafana"), 0o2775);
    std::os::unix::fs::symlink("/etc/hostname", root.join("grafana/outside")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("grafana/dangling")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("grafana/stale.sock")).unwrap());
    write(&root.join(".ferry/journal"), "ours");
}

/// Everything that must come back: by path, owner, mode, capability.
pub(super) type Snapshot = BTreeMap<PathBuf, (u32, u32, u32, Option<Vec<u8>>)>;

pub(super) fn snapshot(root: &Path) -> Snapshot {
    let mut all = Snapshot::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut value = [0_u8; 64];
        let capability = rustix::fs::lgetxattr(&path, "security.capability", &mut value[..])
            .ok()
            .map(|n| value[..n].to_vec());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let mode = if meta.is_symlink() { 0 } else { meta.mode() };
        let key = path.strip_prefix(root).unwrap().to_owned();
        all.insert(key, (meta.uid(), meta.gid(), mode, capability));
    }
    all
}

pub(super) fn ctimes(root: &Path) -> BTreeMap<OsString, (i64, i64)> {
    snapshot(root)
        .into_keys()
        .map(|path| {
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            (
                OsString::from_vec(path.into_os_string().into_vec()),
                (meta.ctime(), meta.ctime_nsec()),
            )
        })
        .collect()
}

pub(super) const TARGET: Owner = Owner { uid: 1000, gid: 0 };

pub(super) fn record(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

pub(super) fn give(root: &Path, to: &Path, links: LinkCheck) -> Result<TransferReport, TreeError> {
    let root = Root::open(root, None)?;
    let options = TransferOptions {
        links,
        ..TransferOptions::default()
    };
    transfer(
        &root,
        TARGET,
        RecordWriter::open(record(to))?,
        &options,
        &Watch::default(),
    )
}

pub(super) fn give_back(root: &Path, from: &Path) -> Result<RestoreOwnersReport, TreeError> {
    let root = Root::open(root, None)?;
    let mut reader = RecordReader::open(record(from))?;
    restore_owners(&root, &mut reader, Threads::default(), &Watch::default())
}

pub(super) fn is_given(root: &Path) -> VerifyReport {
    verify_owner(&Root::open(root, None).unwrap(), TARGET, &Watch::default()).unwrap()
}

/// Fails with what differs, rather than with both trees.
#[track_caller]
pub(super) fn assert_back(now: &Snapshot, before: &Snapshot) {
    let paths = now.keys().chain(before.keys());
    let differ: std::collections::BTreeSet<_> = paths
        .filter(|path| now.get(*path) != before.get(*path))
        .collect();
    let show = |path: &&PathBuf| format!("{path:?}: {:?} {:?}", now.get(*path), before.get(*path));
    let first: Vec<_> = differ.iter().take(5).map(show).collect();
    assert!(differ.is_empty(), "{} differ: {first:#?}", differ.len());
}
