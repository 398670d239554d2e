//! Other file systems, and other views of this one, mounted below the root.

use super::{
    field::{Field, can},
    *,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

/// Taken away again, whatever becomes of the test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn tmpfs(at: &Path) -> Option<Mounted> {
    fs::create_dir_all(at).unwrap();
    can(
        "mount",
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), None),
    )
    .then(|| Mounted(at.into()))
}

fn bind(what: &Path, at: &Path, read_only: bool) -> Mounted {
    if what.is_dir() {
        fs::create_dir_all(at).unwrap();
    } else {
        write(at, "");
    }
    mount_bind(what, at).unwrap();
    if read_only {
        mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    }
    Mounted(at.into())
}

/// A tree with each kind of mount, two of them on the tree's own device.
fn mounted() -> Option<(Field, Vec<Mounted>)> {
    let f = Field::new();
    let mut mounts = vec![tmpfs(&f.srv.join("tmpfs"))?];
    write(&f.srv.join("tmpfs/inside"), "inside");
    mounts.push(bind(&f.outside, &f.srv.join("bind"), false));
    mounts.push(bind(&f.outside, &f.srv.join("folder/read-only"), true));
    mounts.push(bind(
        &f.outside.join("plain"),
        &f.srv.join("folder/file"),
        false,
    ));
    Some((f, mounts))
}

const PLACES: [&str; 4] = ["bind", "folder/file", "folder/read-only", "tmpfs"];

#[test]
fn mounts_are_told_and_neither_entered_copied_nor_given() {
    if !is_root() {
        return;
    }
    let Some((f, _mounts)) = mounted() else {
        return;
    };
    let outside = f.seal();
    let inside = || snapshot(&f.srv.join("tmpfs"));
    let before = inside();
    let stats = f.count();
    let told: Vec<_> = PLACES.map(|p| (p.into(), p == "folder/read-only")).into();
    assert_eq!((stats.mounts_below, stats.entries), (told, 7));
    for pass in [Pass::Live, Pass::Final] {
        let report = f.pass(pass).unwrap();
        assert_eq!((report.mounts, report.entries), (4, 7));
    }
    for place in PLACES {
        assert!(!f.copy.join(place).exists(), "{place}");
    }
    assert!(f.compare().unwrap().is_same());
    for links in [LinkCheck::First, LinkCheck::Along] {
        assert_eq!(f.give(links).unwrap().mounts, 4);
        assert!(is_given(&f.srv).wrong.is_empty());
        f.give_back().unwrap();
    }
    assert_eq!(inside(), before);
    assert_eq!(f.seal(), outside);
}

/// The copy has no entry where the tree has a mount: that is no reason to move it aside.
#[test]
fn a_restore_leaves_mounts_where_they_are() {
    if !is_root() {
        return;
    }
    let Some((f, _mounts)) = mounted() else {
        return;
    };
    let outside = f.seal();
    f.pass(Pass::Final).unwrap();
    write(&f.srv.join("plain"), "of another version");
    write(&f.srv.join("folder/new"), "new");
    let report = f.restore(Trust::Times).unwrap();
    assert_eq!((report.extras, report.mounts), (1, 4), "{report:?}");
    assert_eq!(fs::read(f.srv.join("plain")).unwrap(), b"of the tree");
    assert_eq!(fs::read(f.srv.join("tmpfs/inside")).unwrap(), b"inside");
    assert!(f.srv.join("folder/read-only/plain").exists());
    assert_eq!(f.seal(), outside);
}

/// What the backup has lies under a mount now: it cannot be reached, and nothing is written onto it.
#[test]
fn what_a_mount_came_to_cover_is_named() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    f.pass(Pass::Final).unwrap();
    let before = f.tree();
    let outside = f.seal();
    let mounts = [
        bind(&f.outside.join("folder"), &f.srv.join("folder"), false),
        bind(&f.outside.join("plain"), &f.srv.join("plain"), false),
    ];
    let Err(TreeError::Entries { problems, .. }) = f.restore(Trust::Times) else {
        panic!("it must be told");
    };
    let mut told = problems.first.clone();
    told.sort();
    let starts: Vec<_> = told
        .iter()
        .filter_map(|t| t.split_once(": "))
        .map(|t| t.0)
        .collect();
    assert_eq!(starts, ["folder", "plain"]);
    assert_eq!(f.seal(), outside);
    drop(mounts);
    f.restore(Trust::Times).unwrap();
    assert_back(&f.tree(), &before);
}

/// A mount in the copy is no part of it: a pass that finds one in its way neither fills nor empties it.
#[test]
fn a_mount_inside_the_copy_is_named() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let Some(_a) = tmpfs(&f.copy.join("folder")) else {
        return;
    };
    let _b = bind(&f.outside, &f.copy.join("stranger"), false);
    let outside = f.seal();
    for pass in [Pass::Live, Pass::Final] {
        let Err(TreeError::Entries { problems, .. }) = f.pass(pass) else {
            panic!("it must be told");
        };
        let mut told = problems.first.clone();
        told.sort();
        let starts: Vec<_> = told
            .iter()
            .filter_map(|t| t.split_once(": "))
            .map(|t| t.0)
            .collect();
        assert_eq!(starts, ["folder", "stranger"], "{pass:?}");
    }
    assert_eq!(fs::read_dir(f.copy.join("folder")).unwrap().count(), 0);
    assert_eq!(f.seal(), outside);
}
