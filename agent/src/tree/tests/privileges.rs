//! What a change of owner takes away beside the owner: setuid, setgid and capabilities, from files that nobody may execute as well.

use super::{
    field::{Field, can},
    *,
};
use rustix::fs::{FileType, Mode, XattrFlags, lsetxattr, mknodat};

/// Permission bits, and whether there is a capability.
const FILES: [(u32, bool); 12] = [
    (0o644, true),
    (0o600, true),
    (0o000, true),
    (0o755, true),
    // Setgid on what its group may not execute was mandatory locking once: `chown` leaves it.
    (0o2644, false),
    (0o2644, true),
    (0o2674, false),
    (0o4644, false),
    (0o4600, true),
    (0o6644, false),
    (0o6755, true),
    (0o1644, true),
];

/// Entries of all kinds that have something to lose.
pub(super) fn privileged(root: &Path) {
    for (n, (bits, capable)) in FILES.into_iter().enumerate() {
        let path = root.join(format!("privileged/{n}"));
        write(&path, "x");
        own(&path, 26, 27);
        mode(&path, bits);
        if capable {
            set_capability(&path);
        }
    }
    let (one, other) = (root.join("privileged/one"), root.join("privileged/other"));
    write(&one, "shared");
    own(&one, 5, 6);
    mode(&one, 0o640);
    set_capability(&one);
    fs::hard_link(&one, &other).unwrap();
    let fifo = root.join("privileged/fifo");
    let kind = FileType::Fifo;
    mknodat(CWD, &fifo, kind, Mode::from_raw_mode(0o600), 0).unwrap();
    own(&fifo, 5, 6);
    mode(&fifo, 0o6640);
    own(&root.join("privileged"), 5, 6);
    mode(&root.join("privileged"), 0o6775);
    let link = root.join("privileged/link");
    std::os::unix::fs::symlink("0", &link).unwrap();
    own(&link, 5, 6);
    // Nobody has ever seen one, and the kernel takes it from whatever is no directory.
    for path in [link, fifo, root.join("privileged")] {
        let set = lsetxattr(
            &path,
            "security.capability",
            &CAPABILITY,
            XattrFlags::empty(),
        );
        can("capability of such an entry", set);
    }
}

/// There would be nothing to try if the kernel took nothing.
#[test]
fn the_kernel_takes_what_is_put_back() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    privileged(&f.srv);
    let before = f.tree();
    for path in before.keys() {
        own(&f.srv.join(path), 1000, 0);
    }
    let now = f.tree();
    let lost = |name: &str| {
        let path = Path::new("privileged").join(name);
        let ((_, _, mode, capability), (_, _, was, had)) = (&now[&path], &before[&path]);
        (was & !mode & 0o7777, had.is_some() && capability.is_none())
    };
    let expected = [
        ("0", (0, true)),
        ("4", (0, false)),
        ("5", (0, true)),
        ("6", (0o2000, false)),
        ("7", (0o4000, false)),
        ("9", (0o4000, false)),
        ("10", (0o6000, true)),
        ("one", (0, true)),
    ];
    for (name, what) in expected {
        assert_eq!(lost(name), what, "{name}");
    }
}

#[test]
fn what_a_change_of_owner_takes_is_put_back_there_and_back() {
    if !is_root() {
        return;
    }
    for links in [LinkCheck::First, LinkCheck::Along] {
        let f = Field::new();
        privileged(&f.srv);
        let before = f.tree();
        f.give(links).unwrap();
        assert!(is_given(&f.srv).wrong.is_empty());
        for (path, (_, _, mode, capability)) in f.tree() {
            let was = &before[&path];
            assert_eq!((was.2, &was.3), (mode, &capability), "{path:?}");
        }
        let report = f.give_back().unwrap();
        assert!(report.missing.is_empty(), "{report:?}");
        assert_back(&f.tree(), &before);
    }
}

/// A transfer that was killed right behind the kernel's `chown` is undone, and gone on with, by its record.
#[test]
fn what_a_killed_transfer_left_without_its_privileges_gets_them_back() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    privileged(&f.srv);
    let before = f.tree();
    let torn = || {
        f.give(LinkCheck::First).unwrap();
        for path in before.keys().filter(|it| it.starts_with("privileged")) {
            own(&f.srv.join(path), 1, 1);
            own(&f.srv.join(path), 1000, 0);
        }
        assert_ne!(f.tree(), before);
    };
    torn();
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
    fs::remove_file(f.record()).unwrap();
    torn();
    f.give(LinkCheck::First).unwrap();
    for (path, (_, _, mode, capability)) in f.tree() {
        let was = &before[&path];
        assert_eq!((was.2, &was.3), (mode, &capability), "{path:?}");
    }
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
}

/// On a file system without attributes nobody can have one, and the transfer goes as elsewhere.
#[test]
fn a_file_system_without_attributes_is_given_and_given_back() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let at = f.srv.join("ramfs");
    fs::create_dir(&at).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if !can(
        "ramfs",
        rustix::mount::mount("ramfs", &at, "ramfs", flags, None),
    ) {
        return;
    }
    struct Gone<'a>(&'a Path);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
    let _gone = Gone(&at);
    for file in 0..20 {
        write(&at.join(format!("file-{file}")), "x");
        own(&at.join(format!("file-{file}")), 5, 6);
    }
    mode(&at.join("file-3"), 0o4755);
    let before = snapshot(&at);
    give(&at, &f.record(), LinkCheck::First).unwrap();
    assert!(is_given(&at).wrong.is_empty());
    give_back(&at, &f.record()).unwrap();
    assert_back(&snapshot(&at), &before);
}
