//! Passes and restores that are killed at any moment, and gone on with.

use std::time::{Duration, Instant};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};

use super::{
    killed::{killed_after, undisturbed},
    *,
};

/// Files that each round changes, in folders of a hundred.
const MANY: u64 = 100 * FOLDERS;
const FOLDERS: u64 = 20;
/// Kills that have to hit in the middle, and the time there is for it, also on a busy machine.
const HITS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// The tree that is copied, and the sample.
fn large(root: &Path) {
    sample(root);
    for folder in 0..FOLDERS {
        for file in 0..100 {
            write(&root.join(format!("many/{folder}/{file}")), "content");
        }
    }
}

/// One pass with manifest, of the tree of [`large`].
pub(super) fn pass(dir: &Path, pass: Pass) -> Result<CopyReport, TreeError> {
    let (src, dst) = (root(dir, "srv"), root(dir, "copy"));
    let folder = ManifestFolder::open(dir).unwrap();
    let options = CopyOptions {
        manifest: Some(&folder),
        ..CopyOptions::new(pass)
    };
    copy(&src, &dst, &options, &Watch::default())
}

/// The restore of a rollback: held against the manifest, what is too much set aside.
pub(super) fn bring_back(dir: &Path) -> Result<CopyReport, TreeError> {
    let (from, to) = (root(dir, "copy"), root(dir, "srv"));
    let manifest = ManifestFolder::open(dir).unwrap().recall();
    assert!(manifest.is_some());
    let aside = root(dir, "srv/.ferry/aside");
    let options = RestoreOptions {
        trust: Trust::Bytes,
        manifest: manifest.as_ref(),
        ..RestoreOptions::new(&aside)
    };
    restore(&from, &to, &options, &Watch::default())
}

fn root(dir: &Path, name: &str) -> Root {
    Root::open(&dir.join(name), None).unwrap()
}

/// The copy is what its final manifest says, and what the tree is.
#[track_caller]
fn assert_proven(dir: &Path) {
    let (src, dst, watch) = (root(dir, "srv"), root(dir, "copy"), Watch::default());
    let manifest = ManifestFolder::open(dir)
        .unwrap()
        .read(Pass::Final)
        .unwrap();
    let proof = prove(&dst, &manifest, &ProveOptions::default(), &watch).unwrap();
    assert!(proof.is_proven(), "{proof:?}");
    let options = CompareOptions {
        content: true,
        ..CompareOptions::default()
    };
    let report = compare(&src, &dst, &options, &watch).unwrap();
    assert!(report.is_same(), "{report:?}");
}

/// A moment within the time that the work takes; what it takes is learnt from what the kills hit.
struct Aim(Duration);

/// What a kill hit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hit {
    /// Nothing was done yet.
    Before,
    /// Some of it was done.
    Midway,
    /// All of it was done.
    After,
}

impl Aim {
    fn moment(&self) -> Duration {
        self.0.mul_f64(rand::random_range(0.0..1.0))
    }

    fn learn(&mut self, hit: Hit) {
        match hit {
            Hit::Before => self.0 = self.0.mul_f64(1.3).max(Duration::from_millis(5)),
            Hit::Midway => {}
            Hit::After => self.0 = self.0.mul_f64(0.8),
        }
    }
}

/// Kills again and again, until enough of it hit in the middle.
fn until_hit(mut aim: Aim, mut round: impl FnMut(u32, &mut Aim) -> u32) {
    let (begin, mut midway, mut rounds) = (Instant::now(), 0, 0);
    while midway < HITS && begin.elapsed() < PATIENCE {
        rounds += 1;
        midway += round(rounds, &mut aim);
    }
    eprintln!("{midway} kills in the middle within {rounds} rounds");
    assert!(midway >= HITS, "{midway} of {rounds} hit in the middle");
}

/// Files below `root/many` that hold what `is` says of.
fn holding(root: &Path, is: impl Fn(&[u8]) -> bool) -> u64 {
    let mut count = 0;
    for folder in 0..FOLDERS {
        for file in 0..100 {
            let path = root.join(format!("many/{folder}/{file}"));
            count += u64::from(fs::read(path).is_ok_and(|bytes| is(&bytes)));
        }
    }
    count
}

#[test]
fn a_killed_live_pass_is_gone_on_with_by_the_next() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (srv, copy) = (dir.path().join("srv"), dir.path().join("copy"));
    large(&srv);
    fs::create_dir(&copy).unwrap();
    let whole = undisturbed(dir.path(), "live");
    until_hit(Aim(whole), |_, aim| {
        fs::remove_dir_all(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        ManifestFolder::open(dir.path()).unwrap().forget().unwrap();
        let mut midway = 0;
        // Each goes on where the one before was killed.
        for _ in 0..3 {
            let killed = killed_after(dir.path(), "live", aim.moment());
            let copied = holding(&copy, |bytes| bytes == b"content");
            let hit = match copied {
                0..=50 => Hit::Before,
                _ if killed && copied < MANY => Hit::Midway,
                _ => Hit::After,
            };
            aim.learn(hit);
            midway += u32::from(hit == Hit::Midway);
        }
        let there = holding(&copy, |bytes| bytes == b"content");
        let report = pass(dir.path(), Pass::Final).unwrap();
        // Not a second time what is there already; beside these there is the sample.
        assert!(
            report.files_copied <= MANY - there + 200,
            "{there}: {report:?}"
        );
        assert_proven(dir.path());
        let again = pass(dir.path(), Pass::Final).unwrap();
        assert_eq!(
            (
                again.files_copied,
                again.attributes_set,
                again.extras,
                again.bytes_hashed
            ),
            (0, 0, 0, 0)
        );
        midway
    });
}

#[test]
fn a_killed_final_pass_is_gone_on_with_by_the_next() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (srv, copy) = (dir.path().join("srv"), dir.path().join("copy"));
    large(&srv);
    fs::create_dir(&copy).unwrap();
    pass(dir.path(), Pass::Live).unwrap();
    // What the running server does between the passes.
    let change = |round: u32| {
        for folder in 0..FOLDERS {
            for file in 0..100 {
                let path = srv.join(format!("many/{folder}/{file}"));
                fs::write(path, format!("of round {round}")).unwrap();
            }
        }
        let _ = fs::remove_file(srv.join(format!("many/came-{}", round - 1)));
        fs::write(srv.join(format!("many/came-{round}")), "came").unwrap();
    };
    fs::write(srv.join("many/came-0"), "came").unwrap();
    change(1);
    let whole = undisturbed(dir.path(), "final");
    let all = {
        change(2);
        pass(dir.path(), Pass::Final).unwrap().files_copied
    };
    assert_eq!(all, MANY + 1);
    until_hit(Aim(whole), |round, aim| {
        let round = round + 2;
        change(round);
        let killed = killed_after(dir.path(), "final", aim.moment());
        let new = format!("of round {round}");
        let copied = holding(&copy, |bytes| bytes == new.as_bytes());
        let hit = match copied {
            0..=50 => Hit::Before,
            _ if killed && copied < MANY => Hit::Midway,
            _ => Hit::After,
        };
        aim.learn(hit);
        let report = pass(dir.path(), Pass::Final).unwrap();
        if hit == Hit::Midway {
            let left = report.files_copied;
            assert!(
                left > 0 && left <= all - copied + 10,
                "{copied}: {report:?}"
            );
        }
        assert_proven(dir.path());
        u32::from(hit == Hit::Midway)
    });
}

/// All that a rollback has to bring back of an entry.
#[derive(Debug, PartialEq)]
struct Look {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// What a file holds, or where a link leads.
    content: Vec<u8>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same inode, where there are several.
    same_as: Option<PathBuf>,
}

type Tree = BTreeMap<PathBuf, Look>;

/// All of a tree beside the state folder, found out without a word of the code that is tried.
fn look(root: &Path) -> Tree {
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut tree = Tree::new();
    for path in snapshot(root).into_keys() {
        if path.starts_with(".ferry") {
            continue;
        }
        let full = root.join(&path);
        let meta = fs::symlink_metadata(&full).unwrap();
        let content = if meta.is_file() {
            fs::read(&full).unwrap()
        } else if meta.is_symlink() {
            fs::read_link(&full).unwrap().into_os_string().into_vec()
        } else {
            Vec::new()
        };
        let several = meta.nlink() > 1 && !meta.is_dir();
        let same_as = several.then(|| first.entry(meta.ino()).or_insert(path.clone()).clone());
        let seen = Look {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            content,
            attributes: attributes(&full),
            same_as,
        };
        tree.insert(path, seen);
    }
    tree
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = [0; 1024];
    let size = llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..size].split(|&b| b == 0).filter(|n| !n.is_empty());
    let value = |name: &[u8]| {
        let mut value = [0; 1024];
        let size = lgetxattr(path, name, &mut value[..]).unwrap();
        value[..size].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

fn set_note(path: &Path, value: &str) {
    let flags = XattrFlags::empty();
    lsetxattr(path, "user.note", value.as_bytes(), flags).unwrap();
}

/// What a newer version makes of the tree in some days. Returns what it alone has: contents that are nowhere else, as each names its place.
fn renew(dir: &Path, round: u32) -> Vec<String> {
    let srv = dir.join("srv");
    let mut alone = Vec::new();
    let mut add = |path: PathBuf| {
        let content = format!("alone {round} {}", path.display());
        write(&path, &content);
        alone.push(content);
    };
    let _ = fs::remove_file(dir.join("record"));
    give(&srv, &dir.join("record"), LinkCheck::First).unwrap();
    for folder in 0..FOLDERS {
        let at = srv.join(format!("many/{folder}"));
        for file in 0..100 {
            let path = at.join(file.to_string());
            match file % 5 {
                0 => fs::write(&path, format!("newer {round} and longer")).unwrap(),
                // Only the bytes tell.
                1 => {
                    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
                    fs::write(&path, "CONTENT").unwrap();
                    File::options()
                        .write(true)
                        .open(&path)
                        .unwrap()
                        .set_modified(mtime)
                        .unwrap();
                }
                2 => mode(&path, 0o4711),
                3 if file < 20 => set_note(&path, "newer"),
                4 if file < 20 => fs::remove_file(&path).unwrap(),
                _ => {}
            }
        }
        add(at.join("only"));
        add(at.join("only-folder/deep/er"));
        // Other kinds under names that the backup has.
        fs::remove_file(at.join("97")).unwrap();
        add(at.join("97/in-a-files-place"));
        fs::hard_link(at.join("95"), at.join("linked")).unwrap();
        fs::remove_file(at.join("96")).unwrap();
        fs::hard_link(at.join("95"), at.join("96")).unwrap();
    }
    for folder in [18, 19] {
        fs::remove_dir_all(srv.join(format!("many/{folder}"))).unwrap();
        alone.retain(|text| !text.contains(&format!("many/{folder}/")));
    }
    let content = format!("alone {round} in a folder's place");
    write(&srv.join("many/18"), &content);
    alone.push(content);
    let target = format!("alone {round} a link in a folder's place");
    std::os::unix::fs::symlink(&target, srv.join("many/19")).unwrap();
    alone.push(target);
    fs::remove_file(srv.join("links/b")).unwrap();
    fs::write(srv.join("links/b"), "of its own now").unwrap();
    alone
}

/// What lies below the folder for what is set aside: contents and targets.
fn aside(dir: &Path) -> std::collections::BTreeSet<Vec<u8>> {
    let tree = look(&dir.join("srv/.ferry/aside"));
    tree.into_values().map(|it| it.content).collect()
}

#[test]
fn a_killed_restore_is_gone_on_with_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (dir, srv) = (dir.path(), dir.path().join("srv"));
    large(&srv);
    set_note(&srv.join("many/3/1"), "as it was");
    set_note(&srv.join("many/4"), "of a folder");
    fs::create_dir(dir.join("copy")).unwrap();
    fs::create_dir_all(srv.join(".ferry/aside")).unwrap();
    pass(dir, Pass::Final).unwrap();
    let before = look(&srv);
    renew(dir, 0);
    let whole = undisturbed(dir, "restore");
    assert_same(&look(&srv), &before);
    until_hit(Aim(whole), |round, aim| {
        fs::remove_dir_all(srv.join(".ferry/aside")).unwrap();
        fs::create_dir(srv.join(".ferry/aside")).unwrap();
        let alone = renew(dir, round);
        let newer = |bytes: &[u8]| bytes == b"CONTENT" || bytes.starts_with(b"newer");
        let all = holding(&srv, newer);
        let mut midway = 0;
        for _ in 0..3 {
            let killed = killed_after(dir, "restore", aim.moment());
            let left = holding(&srv, newer);
            let hit = match left {
                0 => Hit::After,
                _ if killed && left < all => Hit::Midway,
                _ => Hit::Before,
            };
            aim.learn(hit);
            midway += u32::from(hit == Hit::Midway);
        }
        let left = holding(&srv, newer);
        let report = bring_back(dir).unwrap();
        // What is back is not brought back a second time; some files were not there or not files at all.
        assert!(report.files_copied <= left + 400, "{left}: {report:?}");
        assert_same(&look(&srv), &before);
        let aside = aside(dir);
        let lost: Vec<_> = alone
            .iter()
            .filter(|it| !aside.contains(it.as_bytes()))
            .collect();
        assert!(lost.is_empty(), "{} lost: {lost:#?}", lost.len());
        let again = bring_back(dir).unwrap();
        assert_eq!(
            (again.files_copied, again.attributes_set, again.extras),
            (0, 0, 0)
        );
        midway
    });
}

#[track_caller]
fn assert_same(now: &Tree, before: &Tree) {
    let paths: std::collections::BTreeSet<_> = now.keys().chain(before.keys()).collect();
    let differ = paths
        .into_iter()
        .filter(|path| now.get(*path) != before.get(*path));
    let show = |path: &PathBuf| format!("{path:?}: {:?} {:?}", now.get(path), before.get(path));
    let differ: Vec<_> = differ.map(show).collect();
    let first = &differ[..differ.len().min(5)];
    assert!(differ.is_empty(), "{} differ: {first:#?}", differ.len());
}
