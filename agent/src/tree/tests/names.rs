//! Names and paths at the limits of what a file system takes.

use super::{field::Field, odd::deep, *};
use std::os::unix::fs::symlink;

#[test]
fn every_name_that_a_file_system_takes_is_carried() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let long = [b'n'; 255];
    let utf8 = "ü".repeat(127);
    let odd: [&[u8]; 12] = [
        b"new\nline",
        b"\n",
        b"tab\t\x1b[31mred",
        b"\xff\xfe",
        b"half \xc3",
        b" ",
        b"--help",
        b"-rf",
        b"~",
        b"back\\slash",
        &long,
        utf8.as_bytes(),
    ];
    for name in odd {
        let name = OsStr::from_bytes(name);
        write(&f.srv.join("files").join(name), "x");
        own(&f.srv.join("files").join(name), 26, 27);
        write(&f.srv.join("folders").join(name).join(name), "y");
        fs::create_dir_all(f.srv.join("links")).unwrap();
        symlink(name, f.srv.join("links").join(name)).unwrap();
        // What a restore moves aside keeps its name too, or as much of it as fits.
        fs::create_dir_all(f.srv.join(".ferry/aside/folders").join(name)).unwrap();
    }
    assert_eq!(f.count().entries, 7 + 1 + 12 + 1 + 24 + 1 + 12);
    f.round();
}

#[test]
fn an_odd_name_is_told_in_one_line_without_control_characters() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let name = OsStr::from_bytes(b"line\nbreak \x1b[31m\xff");
    fs::hard_link(f.outside.join("plain"), f.srv.join(name)).unwrap();
    let error = f.give(LinkCheck::First).unwrap_err().to_string();
    assert!(
        error.contains(r"line\nbreak \x1b[31m\xff: 1 of 2 names"),
        "{error}"
    );
    assert!(!error.contains(char::is_control));
}

#[test]
fn a_path_beyond_4096_bytes_goes_through_every_operation() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    // 45 names of 200 bytes, and 700 of seven: more folders than are held open.
    let leaf_dir = deep(&f.srv.join("wide"), 45, 200);
    let low_dir = deep(&f.srv.join("low"), 700, 7);
    let owner = |dir: &std::os::fd::OwnedFd| {
        let leaf = rustix::fs::statat(dir, "leaf", AtFlags::empty()).unwrap();
        (leaf.st_uid, leaf.st_gid)
    };
    assert_eq!(f.count().dirs, 3 + 46 + 701);
    for pass in [Pass::Live, Pass::Final] {
        assert_eq!(f.pass(pass).unwrap().vanished, 0);
    }
    let compared = f.compare().unwrap();
    assert!(compared.is_same(), "{compared:?}");
    for links in [LinkCheck::First, LinkCheck::Along] {
        f.give(links).unwrap();
        assert_eq!((owner(&leaf_dir), owner(&low_dir)), ((1000, 0), (1000, 0)));
        assert!(is_given(&f.srv).wrong.is_empty());
        f.give_back().unwrap();
        assert_eq!((owner(&leaf_dir), owner(&low_dir)), ((0, 0), (0, 0)));
    }
    f.give(LinkCheck::Along).unwrap();
    f.restore(Trust::Bytes).unwrap();
    assert_eq!((owner(&leaf_dir), owner(&low_dir)), ((0, 0), (0, 0)));
    // Gone from the source: the next pass takes both out of the copy again, a restore moves them aside.
    for name in ["wide", "low"] {
        fs::rename(f.srv.join(name), f.dir.path().join(name)).unwrap();
    }
    assert_eq!(f.pass(Pass::Final).unwrap().extras, 2);
    assert!(f.compare().unwrap().is_same());
    for name in ["wide", "low"] {
        fs::rename(f.dir.path().join(name), f.srv.join(name)).unwrap();
    }
    assert_eq!(f.restore(Trust::Times).unwrap().extras, 2);
    assert!(f.srv.join(".ferry/aside/low/0000000/0000001").is_dir());
}

/// A folder of many folders is emptied in one look at each.
#[test]
fn a_wide_and_deep_folder_is_taken_out_of_a_copy() {
    let f = Field::new();
    for n in 0..300 {
        write(&f.copy.join(format!("gone/{n}/{n}/file")), "x");
        fs::create_dir(f.copy.join(format!("gone/{n}/empty"))).unwrap();
    }
    symlink(&f.outside, f.copy.join("gone/7/link")).unwrap();
    let outside = f.seal();
    assert_eq!(f.pass(Pass::Live).unwrap().extras, 1);
    assert!(!f.copy.join("gone").exists());
    f.assert_sealed(&outside);
}
