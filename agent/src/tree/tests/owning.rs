use super::*;

const BOTH: [LinkCheck; 2] = [LinkCheck::First, LinkCheck::Along];

#[test]
fn a_tree_is_given_and_comes_back_exactly() {
    if !is_root() {
        return;
    }
    for links in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
        sample(&root);
        let before = snapshot(&root);
        assert!(!is_given(&root).wrong.is_empty());

        let report = give(&root, &record, links).unwrap();
        let state = before.keys().filter(|p| p.starts_with(".ferry")).count();
        assert_eq!(report.entries, (before.len() - state) as u64);
        // Both names of the shared file are entries, one inode is changed.
        assert_eq!(
            report.changed + report.already_right,
            report.entries,
            "{report:?}"
        );
        assert!(is_given(&root).wrong.is_empty(), "{:?}", is_given(&root));
        for (path, now) in snapshot(&root) {
            let (_, _, mode, capability) = &before[&path];
            assert_eq!(
                (&now.2, &now.3),
                (mode, capability),
                "{path:?} kept its mode"
            );
            if path.starts_with(".ferry") {
                assert_eq!(now, before[&path]);
            }
        }

        let report = give_back(&root, &record).unwrap();
        assert!(report.missing.is_empty());
        assert_back(&snapshot(&root), &before);
        let again = give_back(&root, &record).unwrap();
        assert_eq!((again.changed, again.already_right), (0, again.entries));
    }
}

#[test]
fn what_is_right_is_not_touched() {
    if !is_root() {
        return;
    }
    for links in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
        sample(&root);
        give(&root, &record, links).unwrap();
        let (size, times) = (fs::metadata(&record).unwrap().len(), ctimes(&root));
        let report = give(&root, &record, links).unwrap();
        assert_eq!((report.changed, report.already_right), (0, report.entries));
        assert_eq!(ctimes(&root), times);
        assert_eq!(
            fs::metadata(&record).unwrap().len(),
            size,
            "nothing more is recorded"
        );
    }
}

#[test]
fn a_link_out_of_the_tree_stops_everything_before_a_change() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    sample(&root);
    write(&dir.path().join("shadow"), "secret");
    fs::hard_link(dir.path().join("shadow"), root.join("grafana/trap")).unwrap();
    let before = snapshot(&root);
    let Err(TreeError::LinksOutside { problems }) = give(&root, &record, LinkCheck::First) else {
        panic!("it must be refused");
    };
    assert_eq!(
        problems.first,
        ["grafana/trap: 1 of 2 names are in the tree"]
    );
    assert_back(&snapshot(&root), &before);

    let error = give(&root, &record, LinkCheck::Along).unwrap_err();
    assert_eq!(error.code(), "tree-links-outside");
    assert_eq!(
        fs::metadata(dir.path().join("shadow")).unwrap().uid(),
        0,
        "left alone"
    );
    assert_eq!(
        fs::metadata(&root).unwrap().uid(),
        before[Path::new("")].0,
        "no mark is set"
    );
    give_back(&root, &record).unwrap();
    assert_back(&snapshot(&root), &before);
}

#[test]
fn a_symlink_out_of_the_tree_changes_itself_alone() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    write(&dir.path().join("outside/file"), "x");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink("../outside", root.join("dir")).unwrap();
    std::os::unix::fs::symlink("../outside/file", root.join("file")).unwrap();
    let before = snapshot(&dir.path().join("outside"));
    let report = give(&root, &record, LinkCheck::First).unwrap();
    assert_eq!(report.changed, 3);
    assert_back(&snapshot(&dir.path().join("outside")), &before);
    assert!(
        Root::open(&root.join("dir"), None).is_err(),
        "a root is no link either"
    );
}

#[test]
fn an_immutable_file_fails_the_transfer_with_its_name() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    sample(&root);
    let path = root.join("clickhouse/store/all_3/column_7.bin");
    let before = snapshot(&root);
    let file = File::open(&path).unwrap();
    let Ok(flags) = ioctl_getflags(&file) else {
        return;
    };
    if ioctl_setflags(&file, flags | IFlags::IMMUTABLE).is_err() {
        eprintln!("passed over: no immutable attribute here");
        return;
    }
    let stats = count(&Root::open(&root, None).unwrap(), &Watch::default()).unwrap();
    let result = give(&root, &record, LinkCheck::First);
    let held = fs::metadata(&root).unwrap().uid();
    ioctl_setflags(&file, flags).unwrap();

    assert_eq!(
        stats.immutable.first,
        ["clickhouse/store/all_3/column_7.bin"]
    );
    let Err(TreeError::Immutable { problems }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(problems.first, ["clickhouse/store/all_3/column_7.bin"]);
    assert_eq!(held, 0, "the root is no mark of success");
    give(&root, &record, LinkCheck::First).unwrap();
    assert!(is_given(&root).wrong.is_empty());
    give_back(&root, &record).unwrap();
    assert_back(&snapshot(&root), &before);
}

#[test]
fn a_file_that_got_a_link_since_is_not_given_back() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    write(&root.join("file"), "x");
    own(&root.join("file"), 7, 7);
    give(&root, &record, LinkCheck::First).unwrap();
    write(&dir.path().join("shadow"), "secret");
    fs::remove_file(root.join("file")).unwrap();
    fs::hard_link(dir.path().join("shadow"), root.join("file")).unwrap();
    let error = give_back(&root, &record).unwrap_err();
    assert_eq!(error.code(), "tree-entries-failed");
    assert_eq!(fs::metadata(dir.path().join("shadow")).unwrap().uid(), 0);
}

#[test]
fn a_missing_entry_is_told_and_does_not_stop_the_others() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    sample(&root);
    let mut before = snapshot(&root);
    give(&root, &record, LinkCheck::First).unwrap();
    fs::remove_file(root.join("postgres14/PG_VERSION")).unwrap();
    before.remove(Path::new("postgres14/PG_VERSION"));
    let report = give_back(&root, &record).unwrap();
    assert_eq!(report.missing.first, ["postgres14/PG_VERSION"]);
    assert_back(&snapshot(&root), &before);
}

#[test]
fn a_device_is_left_and_counted() {
    if !is_root() {
        return;
    }
    use rustix::fs::{FileType, Mode, makedev, mknodat};
    let dir = tempfile::tempdir().unwrap();
    let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
    fs::create_dir(&root).unwrap();
    let (null, mode) = (makedev(1, 3), Mode::from_raw_mode(0o600));
    if mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        null,
    )
    .is_err()
    {
        eprintln!("passed over: no mknod here");
        return;
    }
    let report = give(&root, &record, LinkCheck::First).unwrap();
    assert_eq!((report.skipped, report.changed), (1, 1));
    assert_eq!(fs::symlink_metadata(root.join("null")).unwrap().uid(), 0);
    assert_eq!(is_given(&root).skipped, 1);
}
