use super::*;
use std::{os::unix::fs::FileExt, thread, time::Duration};

struct Trees {
    dir: tempfile::TempDir,
    src: PathBuf,
    dst: PathBuf,
}

fn trees() -> Trees {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("srv"), dir.path().join("copy"));
    sample(&src);
    fs::create_dir(&dst).unwrap();
    Trees { dir, src, dst }
}

impl Trees {
    fn pass(&self, pass: Pass) -> CopyReport {
        let (src, dst) = self.roots();
        copy(&src, &dst, &CopyOptions::new(pass), &Watch::default()).unwrap()
    }

    fn roots(&self) -> (Root, Root) {
        (
            Root::open(&self.src, None).unwrap(),
            Root::open(&self.dst, None).unwrap(),
        )
    }

    fn compared(&self) -> CompareReport {
        let (src, dst) = self.roots();
        let options = CompareOptions {
            content: true,
            ..CompareOptions::default()
        };
        compare(&src, &dst, &options, &Watch::default()).unwrap()
    }

    fn restore(&self, trust: Trust) -> CopyReport {
        let aside = self.src.join(".ferry/aside");
        fs::create_dir_all(&aside).unwrap();
        let aside = Root::open(&aside, None).unwrap();
        let (src, dst) = self.roots();
        let options = RestoreOptions {
            trust,
            ..RestoreOptions::new(&aside)
        };
        restore(&dst, &src, &options, &Watch::default()).unwrap()
    }
}

#[test]
fn a_copy_is_the_same_but_for_the_state_folder() {
    if !is_root() {
        return;
    }
    let t = trees();
    rustix::fs::setxattr(
        t.src.join("postgres14/PG_VERSION"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let report = t.pass(Pass::Final);
    assert!(!t.dst.join(".ferry").exists());
    let compared = t.compared();
    assert!(compared.is_same(), "{compared:?}");
    assert_eq!(report.entries, compared.entries);
    let [a, b] = ["links/a", "links/b"].map(|n| fs::metadata(t.dst.join(n)).unwrap().ino());
    assert_eq!(a, b, "what shares an inode shares one in the copy");
    let again = t.pass(Pass::Final);
    assert_eq!(
        (again.files_copied, again.attributes_set, again.extras),
        (0, 0, 0),
        "{again:?}"
    );
}

#[test]
fn the_final_pass_copies_what_changed_and_removes_what_is_gone() {
    if !is_root() {
        return;
    }
    let t = trees();
    thread::sleep(Duration::from_millis(150));
    let first = t.pass(Pass::Live);
    assert!(
        first.files_copied > 120 && first.changed_meanwhile == 0,
        "{first:?}"
    );
    // Same size and mtime, other content: only the ctime tells.
    let sly = t.src.join("clickhouse/store/all_0/column_0.bin");
    let times = fs::metadata(&sly).unwrap();
    fs::write(&sly, "9 9").unwrap();
    let mtime = times.modified().unwrap();
    File::options()
        .write(true)
        .open(&sly)
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    fs::remove_dir_all(t.src.join("clickhouse/store/all_1")).unwrap();
    fs::rename(
        t.src.join("clickhouse/store/all_2"),
        t.src.join("clickhouse/store/all_9"),
    )
    .unwrap();
    fs::remove_file(t.src.join("postgres14/PG_VERSION")).unwrap();
    fs::create_dir(t.src.join("postgres14/PG_VERSION")).unwrap();
    fs::remove_dir(t.src.join("grafana/empty")).unwrap();
    write(&t.src.join("grafana/empty"), "now a file");
    own(&t.src.join("odd/ "), 3, 4);
    // The link is broken up: each name has its own content now.
    fs::remove_file(t.src.join("links/b")).unwrap();
    write(&t.src.join("links/b"), "alone!");

    let last = t.pass(Pass::Final);
    let compared = t.compared();
    assert!(compared.is_same(), "{compared:?}");
    assert!(last.files_copied < 30, "{last:?}");
    assert_eq!(
        fs::read(t.dst.join("clickhouse/store/all_0/column_0.bin")).unwrap(),
        b"9 9"
    );
}

#[test]
fn a_file_changed_while_it_is_copied_is_copied_again() {
    if !is_root() {
        return;
    }
    let t = trees();
    let path = t.src.join("busy");
    write(&path, vec![1; 1 << 20]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(&path).unwrap();
            let mut n: u64 = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all_at(&n.to_le_bytes(), n % 8000 * 128).unwrap();
                n += 1;
            }
        });
        thread::sleep(Duration::from_millis(10));
        let report = t.pass(Pass::Live);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        report
    });
    assert!(report.changed_meanwhile > 0);
    t.pass(Pass::Final);
    assert!(t.compared().is_same());
}

#[test]
fn holes_stay_holes() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("a"), dir.path().join("b"));
    fs::create_dir(&src).unwrap();
    fs::create_dir(&dst).unwrap();
    let file = File::create(src.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"middle", 32 << 20).unwrap();
    File::create(src.join("all hole"))
        .unwrap()
        .set_len(10 << 20)
        .unwrap();
    drop(file);
    let (src, dst) = (
        Root::open(&src, None).unwrap(),
        Root::open(&dst, None).unwrap(),
    );
    let watch = Watch::default();
    copy(&src, &dst, &CopyOptions::new(Pass::Final), &watch).unwrap();
    let options = CompareOptions {
        content: true,
        ..CompareOptions::default()
    };
    assert!(compare(&src, &dst, &options, &watch).unwrap().is_same());
    let stats = count(&dst, &watch).unwrap();
    assert_eq!(stats.bytes_apparent, 74 << 20);
    assert!(stats.bytes_allocated < 2 << 20, "{}", stats.bytes_allocated);
}

#[test]
fn a_restore_brings_back_everything_and_deletes_nothing() {
    if !is_root() {
        return;
    }
    for trust in [Trust::Times, Trust::Bytes] {
        let t = trees();
        t.pass(Pass::Final);
        let before = snapshot(&t.src);
        // What a new version would do: other owners, new files, changed and lost ones.
        give(&t.src, &t.dir.path().join("record"), LinkCheck::First).unwrap();
        write(&t.src.join("postgres14/PG_VERSION"), "17");
        write(&t.src.join("clickhouse/store/all_0/new"), "new");
        write(&t.src.join("alerting/rules/one.yml"), "new");
        fs::remove_dir_all(t.src.join("clickhouse/store/all_5")).unwrap();
        fs::remove_file(t.src.join("grafana/outside")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", t.src.join("grafana/outside")).unwrap();
        fs::remove_file(t.src.join("grafana/stale.sock")).unwrap();
        fs::create_dir(t.src.join("grafana/stale.sock")).unwrap();
        mode(&t.src.join("bin/setuid"), 0o755);

        let report = t.restore(trust);
        let compared = t.compared();
        assert!(compared.is_same(), "{compared:?}");
        assert_eq!(report.extras, 3, "{report:?}");
        assert!(
            report.files_copied <= 22,
            "only what differs is written: {report:?}"
        );
        let aside = t.src.join(".ferry/aside");
        assert_eq!(
            fs::read(aside.join("clickhouse/store/all_0/new")).unwrap(),
            b"new"
        );
        assert_eq!(
            fs::read(aside.join("alerting/rules/one.yml")).unwrap(),
            b"new"
        );
        assert!(aside.join("grafana/stale.sock").is_dir());
        let mut after = snapshot(&t.src);
        after.retain(|path, _| !path.starts_with(".ferry/aside"));
        assert_back(&after, &before);

        let again = t.restore(trust);
        assert_eq!(
            (again.files_copied, again.attributes_set, again.extras),
            (0, 0, 0)
        );
    }
}

#[test]
fn bytes_are_trusted_over_times_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let t = Trees {
        src: dir.path().join("srv"),
        dst: dir.path().join("copy"),
        dir,
    };
    write(&t.src.join("file"), "one");
    fs::create_dir(&t.dst).unwrap();
    t.pass(Pass::Final);
    let mtime = fs::metadata(t.src.join("file"))
        .unwrap()
        .modified()
        .unwrap();
    fs::write(t.src.join("file"), "two").unwrap();
    File::options()
        .write(true)
        .open(t.src.join("file"))
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    assert_eq!(t.compared().differences.first, ["file: other content"]);
    assert_eq!(t.restore(Trust::Times).files_copied, 0);
    assert_eq!(t.restore(Trust::Bytes).files_copied, 1);
    assert_eq!(fs::read(t.src.join("file")).unwrap(), b"one");
}

#[test]
fn every_kind_of_difference_is_found() {
    if !is_root() {
        return;
    }
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 8] = [
        ("owner", &|root| own(&root.join("odd/ "), 9, 9)),
        ("mode", &|root| mode(&root.join("postgres14"), 0o755)),
        ("size", &|root| {
            write(&root.join("postgres14/PG_VERSION"), "14.1")
        }),
        ("target", &|root| {
            fs::remove_file(root.join("grafana/dangling")).unwrap();
            std::os::unix::fs::symlink("elsewhere", root.join("grafana/dangling")).unwrap();
        }),
        ("extended", &|root| set_capability(&root.join("bin/setuid"))),
        ("only in the second", &|root| {
            write(&root.join("bin/more"), "")
        }),
        ("only in the first", &|root| {
            fs::remove_file(root.join("bin/capable")).unwrap()
        }),
        ("shares", &|root| {
            fs::remove_file(root.join("links/b")).unwrap();
            fs::copy(root.join("links/a"), root.join("links/b")).unwrap();
        }),
    ];
    for (word, change) in changes {
        let t = trees();
        t.pass(Pass::Final);
        assert!(t.compared().is_same());
        change(&t.dst);
        let report = t.compared();
        let found = report.differences.first.iter().any(|d| d.contains(word));
        assert!(found, "{word}: {report:?}");
    }
}

#[test]
fn a_bound_on_bytes_a_second_is_kept() {
    // As many bytes in one file as in a thousand: both take as long as the bound says.
    for (files, size) in [(1, 4_000_000), (1000, 4_000)] {
        let dir = tempfile::tempdir().unwrap();
        let t = Trees {
            src: dir.path().join("srv"),
            dst: dir.path().join("copy"),
            dir,
        };
        for n in 0..files {
            write(&t.src.join(n.to_string()), vec![7; size]);
        }
        fs::create_dir(&t.dst).unwrap();
        let (src, dst) = t.roots();
        let limited = CopyOptions {
            bytes_per_second: Some(2_000_000),
            ..CopyOptions::new(Pass::Live)
        };
        let start = std::time::Instant::now();
        copy(&src, &dst, &limited, &Watch::default()).unwrap();
        let took = start.elapsed().as_secs_f64();
        // Less a tenth of a second that may be caught up with. More, on a machine that is busy, but no multiple for many files.
        assert!(took > 1.8 && took < 20.0, "{files} files: {took} s");
    }
}

#[test]
fn a_bound_on_bytes_a_second_is_kept_by_the_proof() {
    let dir = tempfile::tempdir().unwrap();
    let (src, backup) = (dir.path().join("srv"), dir.path().join("backup"));
    for number in 0..100 {
        write(&src.join(number.to_string()), vec![7; 40_000]);
    }
    fs::create_dir_all(backup.join("data")).unwrap();
    let folder = ManifestFolder::open(&backup).unwrap();
    let data = Root::open(&backup.join("data"), None).unwrap();
    let options = CopyOptions {
        manifest: Some(&folder),
        ..CopyOptions::new(Pass::Live)
    };
    copy(
        &Root::open(&src, None).unwrap(),
        &data,
        &options,
        &Watch::default(),
    )
    .unwrap();
    let manifest = folder.read(Pass::Live).unwrap();
    let limited = ProveOptions {
        bytes_per_second: Some(2_000_000),
        ..ProveOptions::default()
    };
    let start = std::time::Instant::now();
    let report = prove(&data, &manifest, &limited, &Watch::default()).unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!(report.differences.is_empty(), "{report:?}");
    assert!(took > 1.8, "{took} s");
}

#[test]
fn a_file_system_that_fills_up_stops_the_copy_and_keeps_its_reserve() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let t = Trees {
        src: dir.path().join("srv"),
        dst: dir.path().join("copy"),
        dir,
    };
    for n in 0..30 {
        write(&t.src.join(n.to_string()), vec![7; 4 << 20]);
    }
    fs::create_dir(&t.dst).unwrap();
    let size = Some(c"size=100m");
    rustix::mount::mount(
        "ferry",
        &t.dst,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        size,
    )
    .unwrap();
    let result = {
        let (src, dst) = t.roots();
        let result = copy(&src, &dst, &CopyOptions::new(Pass::Live), &Watch::default());
        result
            .map(drop)
            .map_err(|error| (error, fs_space(&dst).unwrap()))
    };
    rustix::mount::unmount(&t.dst, rustix::mount::UnmountFlags::DETACH).unwrap();
    let (error, left) = result.unwrap_err();
    assert_eq!(error.code(), "no-space", "{error}");
    // Looked at each 16 MiB: never more than that into the reserve, here a twentieth.
    assert!(left.free_bytes > 0, "{left:?}");
    let TreeError::NoSpace { free, reserve, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(reserve, 5 << 20);
    assert!(free < reserve + (21 << 20), "{free}");
}
