//! The immutable and the append-only attribute: root cannot change such an entry either.

use super::{
    field::{Field, can},
    *,
};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// Takes the attribute off again, whatever becomes of the test: nobody could remove the tree else.
struct Flagged(File, IFlags);

impl Drop for Flagged {
    fn drop(&mut self) {
        let _ = ioctl_setflags(&self.0, self.1);
    }
}

/// `None`, and a word about it, where the file system has no such attribute.
fn flag(path: &Path, flag: IFlags) -> Option<Flagged> {
    let file = File::open(path).unwrap();
    let flags = ioctl_getflags(&file);
    let set = flags.and_then(|flags| ioctl_setflags(&file, flags | flag));
    can("immutable attribute", set).then(|| Flagged(file, flags.unwrap()))
}

const BOTH: [IFlags; 2] = [IFlags::IMMUTABLE, IFlags::APPEND];

#[test]
fn an_immutable_entry_stops_a_change_of_owner_before_it_begins() {
    if !is_root() {
        return;
    }
    for kind in BOTH {
        for name in ["folder/one", "folder", ""] {
            let f = Field::new();
            let before = f.tree();
            let Some(held) = flag(&f.srv.join(name), kind) else {
                return;
            };
            let shown = if name.is_empty() { "." } else { name };
            let stats = f.count();
            assert_eq!(
                (stats.immutable.count, &*stats.immutable.first[0]),
                (1, shown)
            );
            let error = f.give(LinkCheck::First).unwrap_err();
            assert_eq!(error.code(), "tree-immutable");
            let sentence =
                format!("immutable or append-only entries were left alone, 1 of them: {shown}");
            assert_eq!(error.to_string(), sentence);
            assert!(error.hint().unwrap().contains("chattr -i -a"));
            assert_back(&f.tree(), &before);

            // Found out on the way, it is left alone, and all else is given and given back.
            let error = f.give(LinkCheck::Along).unwrap_err();
            assert_eq!(error.code(), "tree-immutable");
            let wrong = is_given(&f.srv).wrong;
            assert_eq!(
                wrong.count,
                if name.is_empty() { 1 } else { 2 },
                "and the root: {wrong}"
            );
            f.give_back().unwrap();
            assert_back(&f.tree(), &before);
            drop(held);
            f.round();
        }
    }
}

#[test]
fn an_entry_that_became_immutable_is_named_and_the_others_are_given_back() {
    if !is_root() {
        return;
    }
    for kind in BOTH {
        let f = Field::new();
        let before = f.tree();
        f.give(LinkCheck::First).unwrap();
        let Some(held) = flag(&f.srv.join("folder/one"), kind) else {
            return;
        };
        let Err(TreeError::Entries { problems, .. }) = f.give_back() else {
            panic!("it must be told");
        };
        assert_eq!(problems.count, 1);
        assert!(problems.first[0].starts_with("folder/one: Operation not permitted"));
        assert_eq!(
            fs::metadata(f.srv.join("plain")).unwrap().uid(),
            0,
            "the others are"
        );
        drop(held);
        f.give_back().unwrap();
        assert_back(&f.tree(), &before);
    }
}

/// The attribute itself is not carried: the copy can be completed, removed and restored from.
#[test]
fn an_immutable_entry_is_copied_without_its_attribute() {
    if !is_root() {
        return;
    }
    for kind in BOTH {
        let f = Field::new();
        let (Some(_file), Some(_dir)) = (
            flag(&f.srv.join("folder/one"), kind),
            flag(&f.srv.join("folder/deep"), kind),
        ) else {
            return;
        };
        f.pass(Pass::Live).unwrap();
        f.pass(Pass::Final).unwrap();
        assert!(f.compare().unwrap().is_same());
        let copy = count(&Root::open(&f.copy, None).unwrap(), &Watch::default()).unwrap();
        assert!(copy.immutable.is_empty());
    }
}

#[test]
fn a_restore_names_what_it_could_not_replace_and_restores_the_rest() {
    if !is_root() {
        return;
    }
    for kind in BOTH {
        let f = Field::new();
        let before = f.tree();
        f.pass(Pass::Final).unwrap();
        for name in ["plain", "folder/one", "folder/deep/three"] {
            write(&f.srv.join(name), "of another version");
        }
        write(&f.srv.join("folder/deep/new"), "new");
        let (Some(file), Some(dir)) = (
            flag(&f.srv.join("folder/one"), kind),
            flag(&f.srv.join("folder/deep"), kind),
        ) else {
            return;
        };
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
        assert!(
            starts.contains(&"folder/one") && starts.contains(&"folder/deep/new"),
            "{told:?}"
        );
        assert_eq!(fs::read(f.srv.join("plain")).unwrap(), b"of the tree");
        assert_eq!(
            fs::read(f.srv.join("folder/deep/new")).unwrap(),
            b"new",
            "not lost"
        );
        drop((file, dir));
        f.restore(Trust::Times).unwrap();
        assert!(f.compare().unwrap().is_same());
        assert_back(&f.tree(), &before);
        let left: Vec<_> = snapshot(&f.srv)
            .into_keys()
            .filter(|p| p.to_string_lossy().contains(".ferry~"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
