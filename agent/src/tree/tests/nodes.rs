//! Entries that are neither files nor folders nor links: opening one of them can wait for ever, or
//! act on what it stands for.

use super::{
    field::{Field, can},
    *,
};
use rustix::fs::{FileType, Mode, makedev, mknodat};

fn node(path: &Path, kind: FileType, device: u64) -> rustix::io::Result<()> {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device)
}

#[test]
fn fifos_and_sockets_are_made_again_and_never_opened() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    node(&f.srv.join("fifo"), FileType::Fifo, 0).unwrap();
    own(&f.srv.join("fifo"), 5, 6);
    drop(std::os::unix::net::UnixListener::bind(f.srv.join("stale")).unwrap());
    let listener = std::os::unix::net::UnixListener::bind(f.srv.join("folder/live")).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(f.count().others, 3);
    // Opened for reading, a fifo without a writer would hold the test here for ever.
    f.round();
    let copied = fs::symlink_metadata(f.copy.join("fifo")).unwrap();
    assert_eq!(copied.mode() & 0o177_777, 0o010_640);
    assert!(listener.accept().is_err(), "nobody called");
}

#[test]
fn a_fifo_or_socket_that_is_a_file_by_now_is_made_again() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    node(&f.srv.join("fifo"), FileType::Fifo, 0).unwrap();
    f.pass(Pass::Final).unwrap();
    let before = f.tree();
    fs::remove_file(f.srv.join("fifo")).unwrap();
    write(&f.srv.join("fifo"), "a file");
    fs::remove_file(f.srv.join("plain")).unwrap();
    node(&f.srv.join("plain"), FileType::Fifo, 0).unwrap();
    let mut told = f.compare().unwrap().differences.first;
    told.retain(|difference| !difference.starts_with(".: modified"));
    assert_eq!(told, ["fifo: file and fifo", "plain: fifo and file"]);
    f.restore(Trust::Bytes).unwrap();
    assert_back(&f.tree(), &before);
    assert_eq!(
        fs::read(f.srv.join(".ferry/aside/fifo")).unwrap(),
        b"a file"
    );
}

#[test]
fn devices_are_carried_unopened_and_given_to_nobody() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let made = node(
        &f.srv.join("null"),
        FileType::CharacterDevice,
        makedev(1, 3),
    );
    // A block device with a number that nothing has: opening it would fail.
    if !can(
        "mknod",
        made.and(node(
            &f.srv.join("disk"),
            FileType::BlockDevice,
            makedev(240, 77),
        )),
    ) {
        return;
    }
    own(&f.srv.join("null"), 5, 6);
    assert_eq!(f.count().others, 2);
    f.round();
    for name in ["null", "disk"] {
        let [a, b] = [&f.srv, &f.copy].map(|root| fs::symlink_metadata(root.join(name)).unwrap());
        assert_eq!((a.rdev(), a.mode()), (b.rdev(), b.mode()));
    }
    let report = f.give(LinkCheck::Along).unwrap();
    assert_eq!(report.skipped, 2);
    let null = fs::symlink_metadata(f.srv.join("null")).unwrap();
    assert_eq!((null.uid(), null.gid()), (5, 6), "not given away");
    // One that stands for another device now is made again.
    fs::remove_file(f.srv.join("null")).unwrap();
    node(
        &f.srv.join("null"),
        FileType::CharacterDevice,
        makedev(1, 5),
    )
    .unwrap();
    f.restore(Trust::Times).unwrap();
    let null = fs::symlink_metadata(f.srv.join("null")).unwrap();
    assert_eq!(null.rdev(), makedev(1, 3));
}
