//! Manifests: written by both passes, reused, proven, refused when they are damaged.

use super::*;
use std::{thread, time::Duration};

struct Backup {
    _dir: tempfile::TempDir,
    src: PathBuf,
    backup: PathBuf,
}

impl Backup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (src, backup) = (dir.path().join("srv"), dir.path().join("backup"));
        sample(&src);
        fs::create_dir_all(backup.join("data")).unwrap();
        // Old enough not to look as if it might still change.
        thread::sleep(Duration::from_millis(150));
        Self {
            _dir: dir,
            src,
            backup,
        }
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.backup.join("data").join(name)
    }

    fn folder(&self) -> ManifestFolder {
        ManifestFolder::open(&self.backup).unwrap()
    }

    fn try_pass(&self, pass: Pass) -> Result<CopyReport, TreeError> {
        let (src, dst) = (
            Root::open(&self.src, None).unwrap(),
            Root::open(&self.backup.join("data"), None).unwrap(),
        );
        let folder = self.folder();
        let options = CopyOptions {
            manifest: Some(&folder),
            ..CopyOptions::new(pass)
        };
        copy(&src, &dst, &options, &Watch::default())
    }

    fn pass(&self, pass: Pass) -> CopyReport {
        self.try_pass(pass).unwrap()
    }

    fn prove(&self, pass: Pass) -> ProveReport {
        let manifest = self.folder().read(pass).unwrap();
        let copy = Root::open(&self.backup.join("data"), None).unwrap();
        let options = ProveOptions::default();
        prove(&copy, &manifest, &options, &Watch::default()).unwrap()
    }

    fn compared(&self) -> CompareReport {
        let (src, dst) = (
            Root::open(&self.src, None).unwrap(),
            Root::open(&self.backup.join("data"), None).unwrap(),
        );
        let options = CompareOptions {
            content: true,
            ..CompareOptions::default()
        };
        compare(&src, &dst, &options, &Watch::default()).unwrap()
    }
}

#[test]
fn both_passes_write_a_manifest_that_proves_the_copy() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    rustix::fs::setxattr(
        b.src.join("postgres14/PG_VERSION"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let sparse = File::create(b.src.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 20 << 20).unwrap();
    drop(sparse);
    thread::sleep(Duration::from_millis(150));

    let live = b.pass(Pass::Live);
    let proof = b.prove(Pass::Live);
    assert!(proof.is_proven(), "{proof:?}");
    assert_eq!(proof.entries, live.entries);
    assert_eq!(
        live.manifest.unwrap(),
        b.folder().read(Pass::Live).unwrap().digest()
    );

    write(
        &b.src.join("clickhouse/store/all_0/column_1.bin"),
        "changed",
    );
    fs::remove_file(b.src.join("clickhouse/store/all_0/column_2.bin")).unwrap();
    write(&b.src.join("links/a"), "changed under both names");
    let last = b.pass(Pass::Final);
    assert!(last.files_copied <= 3, "{last:?}");
    assert_eq!(
        last.bytes_hashed, 0,
        "hashes of what is unchanged are known"
    );
    let proof = b.prove(Pass::Final);
    assert!(proof.is_proven(), "{proof:?}");
    assert_eq!(proof.entries, last.entries);
    assert!(b.compared().is_same());
    // The older manifest says nothing of the copy as it is now, and is gone.
    assert!(matches!(
        b.folder().read(Pass::Live),
        Err(TreeError::ManifestMissing { .. })
    ));
}

#[test]
fn every_kind_of_damage_to_the_copy_is_found() {
    if !is_root() {
        return;
    }
    type Change<'a> = (&'a str, &'a dyn Fn(&Backup));
    let changes: [Change<'_>; 11] = [
        ("owner", &|b| own(&b.copy("odd/ "), 9, 9)),
        ("mode", &|b| mode(&b.copy("postgres14"), 0o755)),
        ("another size", &|b| {
            write(&b.copy("postgres14/PG_VERSION"), "14.1")
        }),
        ("other content", &|b| {
            let path = b.copy("clickhouse/store/all_3/column_3.bin");
            let times = fs::metadata(&path).unwrap();
            fs::write(&path, "8 8").unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(times.modified().unwrap()).unwrap();
        }),
        ("modified", &|b| {
            let file = File::options().write(true).open(b.copy("bin/setuid"));
            file.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("another target", &|b| {
            fs::remove_file(b.copy("grafana/dangling")).unwrap();
            std::os::unix::fs::symlink("elsewhere", b.copy("grafana/dangling")).unwrap();
        }),
        ("extended", &|b| set_capability(&b.copy("bin/setuid"))),
        ("not in the manifest", &|b| write(&b.copy("bin/more"), "")),
        ("missing", &|b| {
            fs::remove_file(b.copy("bin/capable")).unwrap()
        }),
        ("missing", &|b| {
            fs::remove_dir_all(b.copy("clickhouse")).unwrap()
        }),
        ("shares", &|b| {
            fs::remove_file(b.copy("links/b")).unwrap();
            fs::copy(b.copy("links/a"), b.copy("links/b")).unwrap();
        }),
    ];
    for (word, change) in changes {
        let b = Backup::new();
        b.pass(Pass::Final);
        let proof = b.prove(Pass::Final);
        assert!(proof.is_proven(), "{proof:?}");
        change(&b);
        let proof = b.prove(Pass::Final);
        let found = proof.differences.first.iter().any(|d| d.contains(word));
        assert!(found, "{word}: {proof:?}");
    }
}

#[test]
fn a_lost_manifest_costs_a_read_and_no_copy() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    b.pass(Pass::Live);
    fs::remove_file(b.backup.join("manifest.live")).unwrap();
    let last = b.pass(Pass::Final);
    assert_eq!(last.files_copied, 0, "{last:?}");
    assert!(last.bytes_hashed > 0);
    assert!(b.prove(Pass::Final).is_proven());
}

#[test]
fn what_is_intact_of_a_cut_off_manifest_is_used() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    for folder in 0..40 {
        for file in 0..20 {
            write(&b.src.join(format!("many/{folder}/{file}")), "content");
        }
    }
    thread::sleep(Duration::from_millis(150));
    b.pass(Pass::Live);
    let whole = fs::read(b.backup.join("manifest.live")).unwrap();
    for share in [0, 1, 2, 3] {
        // As a kill leaves it: without its name, cut anywhere.
        let _ = fs::remove_file(b.backup.join("manifest.live"));
        let cut = &whole[..whole.len() * share / 4];
        fs::write(b.backup.join("manifest.live.new"), cut).unwrap();
        let again = b.pass(Pass::Live);
        assert_eq!(again.files_copied, 0);
        let all: u64 = 7 * 800;
        let least = all * u64::try_from(3 - share).unwrap() / 4;
        assert!(
            again.bytes_hashed >= least / 2 && again.bytes_hashed < all + 1000,
            "{share}: {again:?}"
        );
        assert!(share == 0 || again.bytes_hashed < all);
        assert!(b.prove(Pass::Live).is_proven());
    }
}

#[test]
fn any_damage_to_a_manifest_is_told() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    b.pass(Pass::Final);
    let path = b.backup.join("manifest");
    let whole = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        b.folder().read(Pass::Final)
    };
    let digest = read(&whole).unwrap().digest();
    for at in (0..whole.len()).step_by(whole.len() / 300) {
        let cut = read(&whole[..at]);
        assert!(
            matches!(cut, Err(TreeError::ManifestDamaged { .. })),
            "{at}: {cut:?}"
        );
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        match read(&flipped) {
            Err(TreeError::ManifestDamaged { .. } | TreeError::ManifestVersion { .. }) => {}
            // A key that is not covered would let a directory be lost.
            other => panic!("{at}: {other:?}"),
        }
    }
    let mut longer = whole.clone();
    longer.extend_from_slice(&whole[16..]);
    assert!(matches!(
        read(&longer),
        Err(TreeError::ManifestDamaged { .. })
    ));
    let mut newer = whole.clone();
    newer[12] = 9;
    let refused = read(&newer).unwrap_err();
    assert_eq!(refused.code(), "manifest-version");
    assert!(refused.to_string().contains("format 9"), "{refused}");
    assert_eq!(read(&whole).unwrap().digest(), digest);
}

#[test]
fn a_live_pass_beside_a_writer_is_proven_by_its_own_manifest() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_on = || !stop.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u64;
            while is_on() {
                n += 1;
                let folder = b.src.join(format!("busy/{}", n % 7));
                write(&folder.join(format!("{}", n % 31)), vec![7; 20_000]);
                if n.is_multiple_of(5) {
                    let _ = fs::remove_dir_all(&folder);
                }
                let _ = fs::rename(b.src.join("busy/1"), b.src.join("busy/other"));
            }
        });
        let proofs: Vec<_> = (0..20)
            .map(|_| b.try_pass(Pass::Live).map(|_| b.prove(Pass::Live)))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for proof in proofs {
            let proof = proof.unwrap();
            assert!(proof.is_proven(), "{proof:?}");
        }
    });
    b.pass(Pass::Final);
    assert!(b.prove(Pass::Final).is_proven());
    assert!(b.compared().is_same());
}

#[test]
fn the_other_names_of_a_file_are_copied_when_the_first_vanishes() {
    if !is_root() {
        return;
    }
    let b = Backup::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_on = || !stop.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            // What a database does with parts: linked under another name, the first one removed.
            let mut n = 0_u64;
            while is_on() {
                n += 1;
                let name = |n: u64| b.src.join(format!("links/part_{}", n % 50));
                let _ = fs::remove_file(name(n + 20));
                write(&name(n), n.to_le_bytes());
                let _ = fs::hard_link(name(n), name(n + 7));
            }
        });
        let proofs: Vec<_> = (0..20)
            .map(|_| b.try_pass(Pass::Live).map(|_| b.prove(Pass::Live)))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for proof in proofs {
            let proof = proof.unwrap();
            assert!(proof.is_proven(), "{proof:?}");
        }
    });
    b.pass(Pass::Final);
    assert!(b.prove(Pass::Final).is_proven());
    assert!(b.compared().is_same());
}

/// Whoever was killed had written it, and the manifest that has its hash was never finished.
#[test]
fn what_a_killed_final_pass_has_written_is_read_back_by_the_next() {
    let backup = Backup::new();
    backup.pass(Pass::Live);
    write(&backup.src.join("changed"), "since the live pass");
    thread::sleep(Duration::from_millis(150));
    let killed = || {
        let (src, dst) = (
            Root::open(&backup.src, None).unwrap(),
            Root::open(&backup.backup.join("data"), None).unwrap(),
        );
        let options = CopyOptions::new(Pass::Final);
        copy(&src, &dst, &options, &Watch::default()).unwrap()
    };
    assert_eq!(killed().files_copied, 1);
    let copy = backup.copy("changed");
    let mtime = fs::metadata(&copy).unwrap().modified().unwrap();
    fs::write(&copy, "since the LIVE pass").unwrap();
    let file = File::options().write(true).open(&copy).unwrap();
    file.set_modified(mtime).unwrap();
    let refused = backup.try_pass(Pass::Final).unwrap_err();
    assert!(
        matches!(&refused, TreeError::CopyDiffers { path, what: "content" } if path == "changed"),
        "{refused:?}"
    );
    fs::remove_file(&copy).unwrap();
    backup.pass(Pass::Final);
    assert!(backup.prove(Pass::Final).is_proven());
}
