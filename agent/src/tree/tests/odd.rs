use super::*;
use rustix::fs::{Mode, OFlags, mkdirat, openat};

/// Makes `depth` folders one in another, beyond what any path may say, with names of `length` bytes;
/// returns the innermost.
pub(super) fn deep(root: &Path, depth: usize, length: usize) -> std::os::fd::OwnedFd {
    fs::create_dir_all(root).unwrap();
    let mut fd = openat(CWD, root, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for level in 0..depth {
        let digit = level % 10;
        let name = format!("{digit:0>length$}");
        mkdirat(&fd, &name, Mode::RWXU).unwrap();
        fd = openat(&fd, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let file = openat(&fd, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    drop(file);
    fd
}

#[test]
fn paths_longer_than_the_kernel_takes_are_reached() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, other) = (dir.path().join("srv"), dir.path().join("copy"));
    let leaf_dir = deep(&root, 45, 200);
    fs::create_dir(&other).unwrap();
    let record = dir.path().join("record");
    assert_eq!(give(&root, &record, LinkCheck::Along).unwrap().changed, 47);
    let leaf = rustix::fs::statat(&leaf_dir, "leaf", AtFlags::empty()).unwrap();
    assert_eq!((leaf.st_uid, leaf.st_gid), (TARGET.uid, TARGET.gid));
    give_back(&root, &record).unwrap();
    let leaf = rustix::fs::statat(&leaf_dir, "leaf", AtFlags::empty()).unwrap();
    assert_eq!((leaf.st_uid, leaf.st_gid), (0, 0));

    let (a, b) = (
        Root::open(&root, None).unwrap(),
        Root::open(&other, None).unwrap(),
    );
    let watch = Watch::default();
    copy(&a, &b, &CopyOptions::new(Pass::Final), &watch).unwrap();
    let report = compare(&a, &b, &CompareOptions::default(), &watch).unwrap();
    assert!(report.is_same(), "{report:?}");
    assert_eq!(report.entries, 47);
    // An empty source takes all of it out of the copy again.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = Root::open(&empty, None).unwrap();
    let report = copy(&empty, &b, &CopyOptions::new(Pass::Final), &watch).unwrap();
    assert_eq!(report.extras, 1);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

#[test]
fn without_openat2_the_same_is_reached_and_no_link_followed() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a/b/file"), "x");
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    let root = Root::open(dir.path(), None).unwrap().without_openat2();
    assert!(root.open_dir(b"a/b").is_ok());
    assert!(root.open_dir(b"").is_ok());
    assert!(root.open_dir(b"link/b").is_err());
    assert!(root.open_dir(b"a/b/file").is_err());
    let stats = count(&root, &Watch::default()).unwrap();
    assert_eq!((stats.dirs, stats.files, stats.symlinks), (3, 1, 1));
}

#[test]
fn a_mount_below_is_neither_entered_nor_changed() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    write(&root.join("file"), "x");
    write(&root.join("other/bound"), "x");
    let targets = [root.join("mount"), root.join("bind")];
    for target in &targets {
        fs::create_dir(target).unwrap();
    }
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", &targets[0], "tmpfs", flags, None).is_err() {
        eprintln!("passed over: no mount here");
        return;
    }
    // On the same device: only the mount id tells.
    rustix::mount::mount_bind(root.join("other"), &targets[1]).unwrap();
    write(&targets[0].join("inside"), "x");
    let outcome = std::panic::catch_unwind(|| {
        for fallback in [false, true] {
            let mut opened = Root::open(&root, None).unwrap();
            if fallback {
                opened = opened.without_openat2();
            }
            assert!(opened.open_dir(b"mount").is_err());
            assert!(opened.open_dir(b"bind").is_err());
            let stats = count(&opened, &Watch::default()).unwrap();
            let expected = vec![("bind".into(), false), ("mount".into(), false)];
            assert_eq!((stats.entries, stats.mounts_below), (4, expected));
        }
        let report = give(&root, &record, LinkCheck::First).unwrap();
        assert_eq!((report.changed, report.mounts), (4, 2));
        assert_eq!(fs::metadata(targets[0].join("inside")).unwrap().uid(), 0);
        assert_eq!(fs::metadata(&targets[0]).unwrap().uid(), 0);
    });
    for target in &targets {
        rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    outcome.unwrap();
}

#[test]
fn a_root_on_another_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Root::open(dir.path(), None).unwrap().dev();
    assert!(Root::open(dir.path(), Some(dev)).is_ok());
    let error = Root::open(dir.path(), Some(dev + 1)).unwrap_err();
    assert_eq!(error.code(), "tree-wrong-device");
}
