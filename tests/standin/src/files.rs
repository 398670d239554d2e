//! The trees of parts that a server in use has under `/srv/clickhouse` and `/srv/victoriametrics`: many files, most of them small,
//! some links, times to the nanosecond. Beside what looks like data, each part holds the piece of history that the stand-ins answer
//! from, so that a part that is lost is a piece of history lost.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, setxattr, utimensat,
};
use serde_json::json;

use crate::Result;

/// How much to seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Nodes and services.
    pub(crate) inventory: [usize; 2],
    /// Files in both trees together.
    pub(crate) files: usize,
    /// Mebibytes in both trees together.
    pub(crate) mib: usize,
}

impl Sizes {
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<usize> = text
            .split(',')
            .map(|n| n.trim().parse())
            .collect::<std::result::Result<_, _>>()
            .ok()?;
        let [nodes, services, files, mib] = numbers[..] else {
            return None;
        };
        Some(Self {
            inventory: [nodes, services],
            files,
            mib,
        })
    }
}

/// `STANDIN_SEED=<nodes>,<services>,<files>,<MiB>`, or a small server.
pub(crate) fn sizes() -> Sizes {
    std::env::var("STANDIN_SEED")
        .ok()
        .and_then(|t| Sizes::parse(&t))
        .unwrap_or(Sizes {
            inventory: [9, 40],
            files: 200,
            mib: 8,
        })
}

/// Numbers that look random and are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u32) -> i64 {
        i64::try_from(self.next() % u64::from(end)).unwrap_or(0)
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Whose files they are, read by name from the image's own accounts.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

fn account(file: &str, name: &str) -> Result<u32> {
    let text = fs_err::read_to_string(file)?;
    let line = text
        .lines()
        .find(|l| l.split(':').next() == Some(name))
        .ok_or_else(|| format!("{file} does not know {name}"))?;
    Ok(line.split(':').nth(2).unwrap_or_default().parse()?)
}

struct Tree {
    owner: Owner,
    folder_mode: u32,
    file_mode: u32,
    noise: Noise,
    buffer: Vec<u8>,
}

impl Tree {
    fn new(owner: Owner, folder_mode: u32, file_mode: u32, seed: u64) -> Self {
        Self {
            owner,
            folder_mode,
            file_mode,
            noise: Noise(seed),
            buffer: vec![0; 256 * 1024],
        }
    }

    /// A folder and those above it, all of them owned.
    fn folder(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        fs_err::create_dir(path)?;
        self.own(path, self.folder_mode)
    }

    fn own(&self, path: &Path, mode: u32) -> Result<()> {
        chownat(
            CWD,
            path,
            Some(Uid::from_raw(self.owner.uid)),
            Some(Gid::from_raw(self.owner.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn text(&mut self, path: &Path, content: &str) -> Result<()> {
        fs_err::write(path, content)?;
        self.finish(path)
    }

    fn noise_file(&mut self, path: &Path, size: usize) -> Result<()> {
        let mut file = fs_err::File::create(path)?;
        let mut left = size;
        while left > 0 {
            let now = left.min(self.buffer.len());
            let mut buffer = std::mem::take(&mut self.buffer);
            self.noise.fill(&mut buffer[..now]);
            let written = file.write_all(&buffer[..now]);
            self.buffer = buffer;
            written?;
            left -= now;
        }
        drop(file);
        self.finish(path)
    }

    fn finish(&mut self, path: &Path) -> Result<()> {
        self.own(path, self.file_mode)?;
        let stamp = Timespec {
            tv_sec: 1_770_000_000 + self.noise.below(65_536),
            tv_nsec: self.noise.below(1_000_000_000),
        };
        let times = Timestamps {
            last_access: stamp,
            last_modification: stamp,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

/// Fills both trees.
pub(crate) fn main() -> Result<()> {
    let sizes = sizes();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let pmm = Owner {
        uid: account("/etc/passwd", "pmm")?,
        gid: account("/etc/group", "pmm")?,
    };
    let metrics = Tree::new(pmm, 0o775, 0o644, 0x5EED_0001);
    let queries = Tree::new(
        Owner {
            uid: 0,
            gid: pmm.gid,
        },
        0o750,
        0o640,
        0x5EED_0002,
    );
    let bytes = sizes.mib * 1024 * 1024 / 2;
    let other = std::thread::spawn(move || seed_metrics(metrics, sizes.files / 2, bytes, now));
    seed_queries(queries, sizes.files / 2, bytes, now, sizes.inventory[1])?;
    other
        .join()
        .map_err(|_| "the thread that seeds metrics panicked")??;
    if std::env::var("STANDIN_SEED_ODD").is_ok_and(|v| v == "1") {
        odd(pmm)?;
    }
    Ok(())
}

/// Sizes of files that add up to `bytes`: most are small, one in each part has the bulk.
fn spread(bytes: usize, parts: usize, names: usize, index: usize) -> usize {
    let of_part = bytes / parts.max(1);
    let small = (of_part / 20 / names.max(1)).min(4096);
    if index == 0 {
        of_part.saturating_sub(small * (names - 1))
    } else {
        small
    }
}

fn seed_metrics(mut tree: Tree, files: usize, bytes: usize, now: u64) -> Result<()> {
    const NAMES: [&str; 5] = [
        "values.bin",
        "timestamps.bin",
        "index.bin",
        "metaindex.bin",
        "metadata.json",
    ];
    let parts = (files / (NAMES.len() + 1)).max(1);
    let root = Path::new("/srv/victoriametrics/data");
    for part in 0..parts {
        let size = if part % 4 == 3 { "big" } else { "small" };
        let folder = root.join(format!(
            "data/{size}/2026_{:02}/{:016X}",
            part % 12 + 1,
            0x17A0_0000 + part
        ));
        tree.folder(&folder)?;
        for (index, name) in NAMES.iter().enumerate() {
            tree.noise_file(&folder.join(name), spread(bytes, parts, NAMES.len(), index))?;
        }
        // Two days of one series a part, one sample a minute, up to five minutes before now.
        let history = json!({ "series": [{
            "labels": { "__name__": "up", "job": "history", "instance": format!("part-{part:05}"), "node_name": format!("db-{:03}", part % 8 + 1) },
            "value": 1.0, "step": 60, "spans": [[now - 2 * 86_400, now - 400]],
        }] });
        tree.text(&folder.join("standin.json"), &history.to_string())?;
    }
    for folder in ["indexdb", "metadata", "cache"] {
        tree.folder(&root.join(folder))?;
    }
    tree.text(&root.join("metadata/minTimestampForCompositeIndex"), "0\n")
}

fn seed_queries(
    mut tree: Tree,
    files: usize,
    bytes: usize,
    now: u64,
    services: usize,
) -> Result<()> {
    const NAMES: [&str; 8] = [
        "data.bin",
        "data.cmrk3",
        "checksums.txt",
        "columns.txt",
        "count.txt",
        "primary.cidx",
        "minmax_period_start.idx",
        "partition.dat",
    ];
    let parts = (files / (NAMES.len() + 1)).max(1);
    let root = Path::new("/srv/clickhouse");
    let store = root.join("store/3f1/3f1c0f0e-5a8b-4c8e-9d5e-0000000000aa");
    for part in 0..parts {
        let folder = store.join(format!("202602{:02}_{part}_{part}_0", part % 28 + 1));
        tree.folder(&folder)?;
        for (index, name) in NAMES.iter().enumerate() {
            tree.noise_file(&folder.join(name), spread(bytes, parts, NAMES.len(), index))?;
        }
        // An hour's buckets of some queries a part, going back from ten minutes ago.
        let end = now - 600 - (part as u64 % 48) * 3600;
        let rows: Vec<_> = (0..60)
            .map(|minute| {
                let query = (part + minute) % (services.max(1) * 3);
                json!([
                    end - minute as u64 * 60,
                    format!("{query:016X}"),
                    1 + minute % 7
                ])
            })
            .collect();
        tree.text(
            &folder.join("standin.json"),
            &json!({ "rows": rows }).to_string(),
        )?;
    }
    for folder in [
        "metadata",
        "data/pmm",
        "flags",
        "tmp",
        "user_files",
        "format_schemas",
        "access",
        "preprocessed_configs",
    ] {
        tree.folder(&root.join(folder))?;
    }
    let database = root.join("store/a1b/a1b00000-5a8b-4c8e-9d5e-0000000000bb");
    tree.folder(&database)?;
    tree.text(
        &database.join("metrics.sql"),
        "ATTACH TABLE _ UUID '3f1c0f0e-5a8b-4c8e-9d5e-0000000000aa' ENGINE = MergeTree\n",
    )?;
    tree.text(
        &root.join("metadata/pmm.sql"),
        "ATTACH DATABASE _ UUID 'a1b00000-5a8b-4c8e-9d5e-0000000000bb' ENGINE = Atomic\n",
    )?;
    tree.text(&root.join("flags/convert_ordinary_to_atomic"), "")?;
    let dirty = i32::from(std::env::var("STANDIN_FAULT").is_ok_and(|f| f == "clickhouse-dirty"));
    tree.text(
        &root.join("data/pmm/schema_migrations.json"),
        &json!({ "version": 17, "dirty": dirty, "sequence": 1 }).to_string(),
    )?;
    // Absolute links, as ClickHouse makes them.
    for (link, target) in [
        (root.join("metadata/pmm"), database),
        (root.join("data/pmm/metrics"), store),
    ] {
        symlink(&target, &link)?;
        chownat(
            CWD,
            &link,
            Some(Uid::from_raw(tree.owner.uid)),
            Some(Gid::from_raw(tree.owner.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}

/// What people leave on a volume over the years.
fn odd(pmm: Owner) -> Result<()> {
    let root = PathBuf::from("/srv/dump/odd");
    let mut tree = Tree::new(pmm, 0o755, 0o644, 0x5EED_0003);
    tree.folder(&root)?;
    for name in [
        &b"with space"[..],
        b"new\nline",
        b"-rf",
        b"tab\there",
        "Umlaut-äöü-✓".as_bytes(),
        b"not-utf8-\xff\xfe",
        b".hidden",
        b"*",
        b"quote'\"",
        b"back\\slash",
    ] {
        tree.text(&root.join(OsStr::from_bytes(name)), "odd\n")?;
    }
    tree.text(&root.join("n".repeat(255)), "long\n")?;
    for (name, mode) in [
        ("setuid", 0o4755),
        ("setgid", 0o2755),
        ("none", 0o000),
        ("readonly", 0o444),
        ("all", 0o777),
    ] {
        tree.text(&root.join(name), name)?;
        tree.own(&root.join(name), mode)?;
    }
    for (name, mode) in [
        ("sticky", 0o1777),
        ("setgid-folder", 0o2775),
        ("closed-folder", 0o555),
        ("empty", 0o700),
    ] {
        tree.folder(&root.join(name))?;
        tree.own(&root.join(name), mode)?;
    }
    tree.text(&root.join("first-name"), "two names, one file\n")?;
    fs_err::hard_link(root.join("first-name"), root.join("second-name"))?;
    for (name, target) in [
        ("dangling", "/nowhere/at/all"),
        ("outside", "/etc/passwd"),
        ("inside", "first-name"),
        ("loop", "loop"),
    ] {
        symlink(target, root.join(name))?;
    }
    let sparse = fs_err::File::create(root.join("sparse"))?;
    sparse.set_len(64 * 1024 * 1024)?;
    tree.finish(&root.join("sparse"))?;
    rustix::fs::mknodat(
        CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o640),
        0,
    )?;
    attributes(&mut tree, &root)?;
    let mut deep = root.join("deep");
    for level in 0..40 {
        deep = deep.join(format!("level-{level:02}"));
    }
    tree.folder(&deep)?;
    tree.text(&deep.join("bottom"), "here\n")
}

/// Who may do what to a file beside its owner, and what a program may do that root alone may else: in attributes, of which a change of owner takes
/// some away.
fn attributes(tree: &mut Tree, root: &Path) -> Result<()> {
    let access = access_list(&[
        (1, 6, NOBODY),
        (2, 7, 1234),
        (4, 4, NOBODY),
        (16, 7, NOBODY),
        (32, 4, NOBODY),
    ]);
    // `cap_net_bind_service`, effective: the second version of the kernel's own format.
    let capability: Vec<u8> = [0x0200_0001_u32, 1 << 10, 0, 0, 0]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    for name in ["with-xattr", "with-acl", "with-capability"] {
        tree.text(&root.join(name), "attributes\n")?;
    }
    // A file from before the folder got its list, which a copy must not get by being made in it.
    tree.folder(&root.join("with-default-acl"))?;
    tree.text(&root.join("with-default-acl/without"), "none\n")?;
    for (name, attribute, value) in [
        ("with-xattr", "user.note", b"kept".to_vec()),
        ("with-acl", "system.posix_acl_access", access.clone()),
        ("with-default-acl", "system.posix_acl_default", access),
        ("with-capability", "security.capability", capability),
    ] {
        // Not every file system keeps them.
        if let Err(error) = setxattr(root.join(name), attribute, &value, XattrFlags::empty()) {
            println!("{attribute} is not kept here: {error}");
        }
    }
    Ok(())
}

/// No user or group in an entry of an access list.
const NOBODY: u32 = u32::MAX;

/// An access list as the kernel has it: tags with their permissions, and whose.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{Sizes, spread};

    #[test]
    fn sizes_are_four_numbers_or_nothing() {
        let sizes = Sizes {
            inventory: [9, 40],
            files: 200,
            mib: 8,
        };
        assert_eq!(Sizes::parse("9,40,200,8"), Some(sizes));
        assert_eq!(Sizes::parse("9,40,200"), None);
        assert_eq!(Sizes::parse("9,40,200,x"), None);
    }

    #[test]
    fn the_files_of_all_parts_have_the_bytes_asked_for() {
        let total: usize = (0..8).map(|i| spread(1 << 20, 10, 8, i)).sum::<usize>() * 10;
        assert!(total.abs_diff(1 << 20) < 100, "{total}");
    }
}
