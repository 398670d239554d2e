use super::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[test]
fn a_tree_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a/one"), "12345");
    write(&dir.path().join("a/two"), "1234567890");
    write(&dir.path().join("left out/file"), "x");
    write(&dir.path().join(".ferry/state"), "x");
    fs::hard_link(dir.path().join("a/one"), dir.path().join("uno")).unwrap();
    fs::hard_link(dir.path().join("a/two"), dir.path().join("left out/two")).unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    let root = Root::open(dir.path(), None)
        .unwrap()
        .excluding(["left out".into()]);
    let stats = count(&root, &Watch::default()).unwrap();
    assert_eq!(
        (stats.entries, stats.files, stats.dirs, stats.symlinks),
        (6, 3, 2, 1)
    );
    assert_eq!(stats.bytes_apparent, 20);
    assert!(stats.bytes_allocated >= 4096);
    assert_eq!(stats.by_owner.values().sum::<u64>(), 6);
    assert_eq!(
        stats.hard_links_outside.first,
        ["a/two: 1 of 2 names are in the tree"]
    );
    let space = fs_space(&root).unwrap();
    assert!(space.free_bytes > 0 && space.total_bytes > space.free_bytes && space.fs_type > 0);
}

#[test]
fn progress_rises_and_cancel_ends_the_work() {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..3000 {
        write(&dir.path().join(format!("{}/{file}", file % 7)), "");
    }
    let root = Root::open(dir.path(), None).unwrap();
    let last = AtomicU64::new(0);
    let listen = |done: Done| last.store(done.entries, Relaxed);
    let watch = Watch {
        progress: &listen,
        cancel: CancelFlag::new(),
    };
    assert_eq!(count(&root, &watch).unwrap().entries, 3008);
    watch.cancel.cancel();
    assert!(matches!(count(&root, &watch), Err(TreeError::Cancelled)));
    assert!(last.load(Relaxed) <= 3008);
}

/// What a restore takes at least, as files come, go, grow and share their room.
#[test]
fn a_restore_takes_what_the_data_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let [copy, data] = ["copy", "data"].map(|name| dir.path().join(name));
    let mib = |count: usize| "x".repeat(count << 20);
    write(&copy.join("gone/with its folder"), mib(3));
    fs::hard_link(copy.join("gone/with its folder"), copy.join("linked")).unwrap();
    write(&copy.join("grown"), mib(1));
    write(&copy.join("a folder now"), mib(1));
    write(&copy.join("kept"), mib(4));
    write(&data.join("kept"), mib(4));
    write(&data.join("a folder now/new"), mib(8));
    let growth = || {
        let [copy, data] = [&copy, &data].map(|path| Root::open(path, None).unwrap());
        growth(&copy, &data, &Watch::default()).unwrap() >> 20
    };
    // A file with two names takes its room once; what the copy does not have gives nothing back.
    assert_eq!(growth(), 5);
    // What is written over a larger file gives room back.
    write(&data.join("grown"), mib(4));
    assert_eq!(growth(), 1);
    write(&data.join("grown"), mib(16));
    assert_eq!(growth(), 0);
}
