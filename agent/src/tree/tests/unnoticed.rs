//! Work beside a running server leaves no access time, not on a folder either.

use super::{
    field::{Field, can},
    *,
};
use rustix::fs::{Timespec, Timestamps, utimensat};

/// A tree whose entries were read long ago, and changed since: the next reader leaves an access time, also where the mount is `relatime`.
struct Unread {
    root: PathBuf,
    paths: Vec<PathBuf>,
}

impl Unread {
    fn make(root: &Path) -> Self {
        let at = |tv_sec| Timespec { tv_sec, tv_nsec: 7 };
        let times = Timestamps {
            last_access: at(1_000_000_000),
            last_modification: at(1_100_000_000),
        };
        let paths: Vec<_> = snapshot(root).into_keys().collect();
        for path in &paths {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            utimensat(CWD, root.join(path), &times, flags).unwrap();
        }
        let root = root.to_owned();
        Self { root, paths }
    }

    /// Entries that somebody has read since. A symbolic link is left out: the kernel knows no way to read one unnoticed, unless the
    /// mount is read-only, as a sidecar's is.
    fn read(&self) -> Vec<&Path> {
        let is_read = |path: &&PathBuf| {
            let meta = fs::symlink_metadata(self.root.join(path)).unwrap();
            !meta.is_symlink() && meta.atime() != 1_000_000_000
        };
        let read = self.paths.iter().filter(is_read);
        read.map(PathBuf::as_path).collect()
    }
}

#[test]
fn work_on_a_tree_leaves_no_access_time() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    sample(&f.srv);
    let folder = f.dir.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    let outside = Unread::make(&f.outside);
    let _names = fs::read_dir(&f.outside).unwrap().count();
    let shows = match outside.read()[..] {
        [] => Err("this mount keeps none"),
        _ => Ok(()),
    };
    if !can("access time", shows) {
        return;
    }
    let srv = Unread::make(&f.srv);
    let watch = Watch::default();
    let manifests = ManifestFolder::open(&folder).unwrap();
    let copied = Root::open(&f.copy, None).unwrap();
    let mut work: [(&str, &mut dyn FnMut()); 6] = [
        ("count", &mut || drop(f.count())),
        ("live pass", &mut || {
            let options = CopyOptions {
                manifest: Some(&manifests),
                ..CopyOptions::new(Pass::Live)
            };
            copy(&f.root(), &copied, &options, &watch).unwrap();
        }),
        ("proof", &mut || {
            let manifest = manifests.read(Pass::Live).unwrap();
            let options = ProveOptions::default();
            prove(&f.root(), &manifest, &options, &watch).unwrap();
        }),
        ("comparison", &mut || drop(f.compare().unwrap())),
        ("look at owners", &mut || drop(is_given(&f.srv))),
        ("list for another machine", &mut || {
            super::super::list(&f.root(), &watch, &mut |_| Ok(())).unwrap();
        }),
    ];
    for (name, work) in &mut work {
        work();
        assert_eq!(srv.read(), [""; 0].map(Path::new), "{name}");
    }
    let old = Root::open(&f.srv, None).unwrap().without_openat2();
    count(&old, &watch).unwrap();
    assert_eq!(srv.read(), [""; 0].map(Path::new), "without openat2");
}
