//! Names that lead out of the tree: symbolic links, and hard links.

use super::{field::Field, *};
use std::os::unix::fs::symlink;

#[test]
fn a_symlink_is_carried_as_a_link_wherever_it_leads() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    let absolute = f.outside.join("folder");
    let links: [(&str, &Path); 10] = [
        ("absolute", &absolute),
        ("absolute file", &f.outside.join("plain")),
        ("relative", Path::new("../outside/folder")),
        ("root", Path::new("/")),
        ("up", Path::new("..")),
        ("dangling", Path::new("../outside/nobody")),
        ("self", Path::new("self")),
        ("loop a", Path::new("loop b")),
        ("loop b", Path::new("loop a")),
        ("state", Path::new(".ferry")),
    ];
    for (name, target) in links {
        symlink(target, f.srv.join(name)).unwrap();
        own(&f.srv.join(name), 7, 8);
    }
    assert_eq!(f.count().symlinks, 10);
    f.round();
    for (name, target) in links {
        assert_eq!(fs::read_link(f.copy.join(name)).unwrap(), target);
    }
    // A folder of the copy, and then of the tree, is a link to the neighbour: replaced, not entered.
    let outside = f.seal();
    fs::remove_dir_all(f.copy.join("folder")).unwrap();
    symlink(&absolute, f.copy.join("folder")).unwrap();
    f.pass(Pass::Final).unwrap();
    assert!(f.compare().unwrap().is_same());
    f.assert_sealed(&outside);
    fs::remove_dir_all(f.srv.join("folder")).unwrap();
    symlink(&absolute, f.srv.join("folder")).unwrap();
    f.restore(Trust::Times).unwrap();
    assert!(f.compare().unwrap().is_same());
    let aside = f.srv.join(".ferry/aside/folder~1");
    assert_eq!(
        fs::read_link(aside).unwrap(),
        absolute,
        "moved aside as a link"
    );
    f.assert_sealed(&outside);
}

#[test]
fn a_file_with_a_name_outside_is_copied_and_never_changed() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    write(&f.outside.join("shared"), "shared with the tree");
    own(&f.outside.join("shared"), 5, 5);
    fs::hard_link(f.outside.join("shared"), f.srv.join("trap")).unwrap();
    let (before, outside) = (f.tree(), f.seal());
    assert_eq!(
        f.count().hard_links_outside.first,
        ["trap: 1 of 2 names are in the tree"]
    );
    std::thread::sleep(std::time::Duration::from_millis(150));
    f.pass(Pass::Live).unwrap();
    f.pass(Pass::Final).unwrap();
    assert!(f.compare().unwrap().is_same());
    assert_eq!(fs::metadata(f.copy.join("trap")).unwrap().nlink(), 1);
    f.assert_sealed(&outside);

    let error = f.give(LinkCheck::First).unwrap_err();
    assert_eq!(error.code(), "tree-links-outside");
    assert_back(&f.tree(), &before);
    let error = f.give(LinkCheck::Along).unwrap_err();
    assert_eq!(error.code(), "tree-links-outside");
    assert!(error.to_string().contains("trap: 1 of 2"), "{error}");
    f.assert_sealed(&outside);
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
    f.assert_sealed(&outside);

    // Given away by other hands: the tree gets a file of its own back, the other name keeps what it has.
    own(&f.outside.join("shared"), 9, 9);
    let outside = f.seal();
    f.restore(Trust::Bytes).unwrap();
    f.assert_sealed_but_links(&outside);
    assert_back(&f.tree(), &before);
    assert_eq!(fs::metadata(f.srv.join("trap")).unwrap().nlink(), 1);
}

impl Field {
    /// As `assert_sealed`; taking away a name of the tree's changes the ctime of what it shared.
    #[track_caller]
    fn assert_sealed_but_links(&self, before: &BTreeMap<PathBuf, SealOf>) {
        let strip = |seal: &BTreeMap<PathBuf, SealOf>| -> Vec<_> {
            seal.iter()
                .map(|(path, s)| (path.clone(), s.0, s.1, s.2, s.3, s.4, s.5, s.7.clone()))
                .collect()
        };
        assert_eq!(
            strip(&self.seal()),
            strip(before),
            "the neighbour was changed"
        );
    }
}

type SealOf = (u64, u32, u32, u32, u64, (i64, i64), (i64, i64), Vec<u8>);

/// The tree has two names of one file; one of them became a name of the neighbour's that looks alike.
#[test]
fn a_restore_of_linked_files_does_not_reach_what_took_their_name() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    write(&f.srv.join("a"), "shared");
    fs::hard_link(f.srv.join("a"), f.srv.join("b")).unwrap();
    own(&f.srv.join("a"), 26, 26);
    f.pass(Pass::Final).unwrap();
    let before = f.tree();
    for both in [false, true] {
        let mtime = fs::metadata(f.copy.join("a")).unwrap().modified().unwrap();
        let prey = f.outside.join(format!("prey {both}"));
        write(&prey, "shared");
        File::options()
            .write(true)
            .open(&prey)
            .unwrap()
            .set_modified(mtime)
            .unwrap();
        let names: &[&str] = if both { &["a", "b"] } else { &["a"] };
        for name in names {
            fs::remove_file(f.srv.join(name)).unwrap();
            fs::hard_link(&prey, f.srv.join(name)).unwrap();
        }
        let outside = f.seal();
        f.restore(Trust::Times).unwrap();
        f.assert_sealed_but_links(&outside);
        assert_eq!(fs::metadata(&prey).unwrap().nlink(), 1);
        assert!(f.compare().unwrap().is_same());
        assert_back(&f.tree(), &before);
    }
}

#[test]
fn owners_are_not_given_back_through_names_that_another_file_took() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    write(&f.srv.join("a"), "shared");
    fs::hard_link(f.srv.join("a"), f.srv.join("b")).unwrap();
    own(&f.srv.join("a"), 26, 26);
    f.give(LinkCheck::First).unwrap();
    for name in ["a", "b"] {
        fs::remove_file(f.srv.join(name)).unwrap();
        fs::hard_link(f.outside.join("plain"), f.srv.join(name)).unwrap();
    }
    let outside = f.seal();
    let Err(TreeError::Entries { problems, .. }) = f.give_back() else {
        panic!("it must be told");
    };
    let mut told = problems.first.clone();
    told.sort();
    assert_eq!(
        told,
        [
            "a: it got another hard link since",
            "b: it got another hard link since"
        ]
    );
    assert_eq!(f.seal(), outside);
    assert_eq!(
        fs::metadata(f.srv.join("folder/one")).unwrap().uid(),
        26,
        "the others are"
    );
}

#[test]
fn what_is_no_file_and_has_a_name_outside_is_refused_too() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    drop(std::os::unix::net::UnixListener::bind(f.outside.join("socket")).unwrap());
    symlink("nowhere", f.outside.join("link")).unwrap();
    for name in ["socket", "link"] {
        fs::hard_link(f.outside.join(name), f.srv.join(name)).unwrap();
    }
    let (before, outside) = (f.tree(), f.seal());
    assert_eq!(f.count().hard_links_outside.count, 2);
    for links in [LinkCheck::First, LinkCheck::Along] {
        let error = f.give(links).unwrap_err();
        assert_eq!(error.code(), "tree-links-outside");
        f.assert_sealed(&outside);
    }
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
    f.pass(Pass::Final).unwrap();
    assert!(f.compare().unwrap().is_same());
    own(&f.outside.join("socket"), 9, 9);
    own(&f.outside.join("link"), 9, 9);
    let outside = f.seal();
    f.restore(Trust::Times).unwrap();
    f.assert_sealed_but_links(&outside);
    assert_back(&f.tree(), &before);
}
