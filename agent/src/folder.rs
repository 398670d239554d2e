//! A backup's own folder on the engine's host: looked at, made, found, removed.
//!
//! The host agent may be far from the engine's host, so it has no hand on a folder there but by a
//! container. It starts this program in one that lives for a moment, with the folder above the
//! backup's own at `/target`, no network and no process to see, and reads one line of JSON from it.
//! Nothing but a folder that a run has marked as its own is ever removed.
//!
//! Rejected: letting the engine make the folder. It makes missing folders above it too, and a disk
//! that is not mounted would then be filled up under the place where it should be.

mod look;
mod remove;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::args::FolderAct;
pub use look::Looked;

/// Where the folder is that a backup's own is in.
pub const TARGET: &str = "/target";
/// Where the server's data is, for a look.
pub const DATA: &str = "/data";
/// What tells a run's own folder from anybody else's.
const MARK: &str = "backup.json";
/// The mark until it is on disk.
const NEW_MARK: &str = "backup.json.new";

const DIR: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

/// The one line that is answered.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What the folder above can do.
    Looked(Looked),
    /// Whose own the folder is.
    Found(Found),
    /// It is done.
    Done,
    /// Why it is not: a sentence.
    Refused(String),
}

/// What a run's own folder says of itself.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The run; empty when it is not there.
    pub run: String,
    /// The user namespace that the owners in it are seen from; empty is the engine's default.
    #[serde(default)]
    pub ids: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    run: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ids: String,
}

/// Does what was asked for at [`TARGET`]; the answer as a line, and the exit code.
#[must_use]
pub fn act(act: &FolderAct) -> (String, u8) {
    let answer = answer(Path::new(TARGET), Path::new(DATA), act);
    let code = u8::from(matches!(answer, Answer::Refused(_)));
    let line = serde_json::to_string(&answer).unwrap_or_default();
    (line + "\n", code)
}

fn answer(target: &Path, data: &Path, act: &FolderAct) -> Answer {
    let done = match act {
        FolderAct::Look => look::look(target, data).map(Answer::Looked),
        FolderAct::Make { name, run, ids } => {
            let ids = ids.as_deref().unwrap_or_default();
            make(target, name, run, ids).map(|()| Answer::Done)
        }
        FolderAct::Find { name } => find(target, name).map(Answer::Found),
        FolderAct::Remove { name, run } => discard(target, name, run).map(|()| Answer::Done),
    };
    done.unwrap_or_else(|error| Answer::Refused(error.to_string()))
}

fn open(target: &Path) -> io::Result<OwnedFd> {
    rustix::fs::open(target, DIR, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR => io::Error::other("it is no folder"),
        error => io::Error::other(format!("it cannot be opened: {}", io::Error::from(error))),
    })
}

fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::other(format!("`{name}` is no name of a folder")));
    }
    Ok(())
}

/// Makes it, or accepts it when this run has made it before.
fn make(target: &Path, name: &str, run: &str, ids: &str) -> io::Result<()> {
    check_name(name)?;
    let above = open(target)?;
    match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(io::Error::from(error)),
    }
    let own = rustix::fs::openat(&above, name, DIR, Mode::empty())?;
    match marked(&own)? {
        Some(mark) if mark.run == run => return Ok(()),
        Some(mark) => {
            return Err(io::Error::other(format!(
                "`{name}` is there and belongs to run {}",
                mark.run
            )));
        }
        // A run that was killed right after it made the folder has left no more than that.
        None if remove::has_only(&own, NEW_MARK)? => {}
        None => {
            return Err(io::Error::other(format!(
                "`{name}` is there and is no backup of Ferry's"
            )));
        }
    }
    let mark = Mark {
        format: 1,
        run: run.to_owned(),
        ids: ids.to_owned(),
    };
    let text = serde_json::to_vec(&mark)?;
    remove::gone(rustix::fs::unlinkat(&own, NEW_MARK, AtFlags::empty()))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&own, NEW_MARK, flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(fd);
    file.write_all(&text)?;
    file.sync_all()?;
    rustix::fs::renameat(&own, NEW_MARK, &own, MARK)?;
    rustix::fs::fsync(&own)?;
    rustix::fs::fsync(&above)?;
    Ok(())
}

fn marked(own: &OwnedFd) -> io::Result<Option<Mark>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(own, MARK, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(serde_json::from_str(&text)?))
}

/// Whose own it is.
fn find(target: &Path, name: &str) -> io::Result<Found> {
    check_name(name)?;
    let above = open(target)?;
    match rustix::fs::openat(&above, name, DIR, Mode::empty()) {
        Ok(own) => {
            Ok(marked(&own)?
                .map_or_else(Found::default, |Mark { run, ids, .. }| Found { run, ids }))
        }
        Err(Errno::NOENT) => Ok(Found::default()),
        Err(error) => Err(error.into()),
    }
}

/// Removes it with all in it; gone already is fine. The mark goes last, so that a removal that was
/// cut off can be gone on with.
fn discard(target: &Path, name: &str, run: &str) -> io::Result<()> {
    check_name(name)?;
    let above = open(target)?;
    let own = match rustix::fs::openat(&above, name, DIR, Mode::empty()) {
        Ok(own) => own,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match marked(&own)? {
        Some(mark) if mark.run == run => {}
        None if remove::has_only(&own, NEW_MARK)? => {}
        _ => {
            return Err(io::Error::other(format!(
                "`{name}` is not a backup of run {run}: it is left as it is"
            )));
        }
    }
    remove::all_but(&own, MARK)?;
    remove::gone(rustix::fs::unlinkat(&own, MARK, AtFlags::empty()))?;
    remove::gone(rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR))?;
    rustix::fs::fsync(&above)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(target: &Path, act: &FolderAct) -> Answer {
        answer(target, target, act)
    }

    fn make_of(run: &str) -> FolderAct {
        FolderAct::Make {
            name: "pmm-ferry-r1".into(),
            run: run.into(),
            ids: None,
        }
    }

    fn found(run: &str, ids: &str) -> Answer {
        Answer::Found(Found {
            run: run.into(),
            ids: ids.into(),
        })
    }

    fn remove_of(run: &str) -> FolderAct {
        FolderAct::Remove {
            name: "pmm-ferry-r1".into(),
            run: run.into(),
        }
    }

    fn find_it() -> FolderAct {
        FolderAct::Find {
            name: "pmm-ferry-r1".into(),
        }
    }

    #[test]
    fn it_is_made_once_found_and_removed_with_all_in_it() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        assert_eq!(ask(target, &find_it()), found("", ""));
        assert_eq!(ask(target, &make_of("r1")), Answer::Done);
        assert_eq!(ask(target, &make_of("r1")), Answer::Done, "twice");
        assert_eq!(ask(target, &find_it()), found("r1", ""));

        let own = target.join("pmm-ferry-r1");
        fs_err::create_dir_all(own.join("data/a/b/c")).unwrap();
        fs_err::write(own.join("data/a/b/file"), "x").unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs_err::write(outside.path().join("keep"), "x").unwrap();
        fs_err::os::unix::fs::symlink(outside.path(), own.join("data/link")).unwrap();
        assert_eq!(ask(target, &remove_of("r1")), Answer::Done);
        assert!(!own.exists());
        assert!(outside.path().join("keep").exists(), "no link was followed");
        assert_eq!(ask(target, &remove_of("r1")), Answer::Done, "twice");
    }

    #[test]
    fn what_is_not_the_runs_own_is_neither_taken_nor_removed() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        let own = target.join("pmm-ferry-r1");
        fs_err::create_dir(&own).unwrap();
        fs_err::write(own.join("theirs"), "x").unwrap();
        for act in [make_of("r1"), remove_of("r1")] {
            assert!(matches!(ask(target, &act), Answer::Refused(_)), "{act:?}");
        }
        fs_err::remove_file(own.join("theirs")).unwrap();
        assert_eq!(ask(target, &make_of("r2")), Answer::Done);
        for act in [make_of("r1"), remove_of("r1")] {
            assert!(matches!(ask(target, &act), Answer::Refused(_)), "{act:?}");
        }
        assert_eq!(ask(target, &find_it()), found("r2", ""));
    }

    #[test]
    fn it_says_in_which_namespace_its_owners_are_seen() {
        let target = tempfile::tempdir().unwrap();
        let make = FolderAct::Make {
            name: "pmm-ferry-r1".into(),
            run: "r1".into(),
            ids: Some("keep-id:uid=1000,gid=1000".into()),
        };
        assert_eq!(ask(target.path(), &make), Answer::Done);
        let answer = ask(target.path(), &find_it());
        assert_eq!(answer, found("r1", "keep-id:uid=1000,gid=1000"));
    }

    #[test]
    fn a_name_cannot_lead_out() {
        let target = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../x", "a/b"] {
            let name = name.to_owned();
            let run = "r1".to_owned();
            let answer = ask(target.path(), &FolderAct::Remove { name, run });
            assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        }
        let outside = tempfile::tempdir().unwrap();
        let link = target.path().join("pmm-ferry-r1");
        fs_err::os::unix::fs::symlink(outside.path(), link).unwrap();
        for act in [make_of("r1"), remove_of("r1")] {
            let answer = ask(target.path(), &act);
            assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        }
    }

    #[test]
    fn a_folder_without_its_mark_is_the_runs_that_was_cut_off() {
        let target = tempfile::tempdir().unwrap();
        let own = target.path().join("pmm-ferry-r1");
        for act in [make_of("r1"), remove_of("r1")] {
            fs_err::create_dir(&own).unwrap();
            fs_err::write(own.join(NEW_MARK), "{\"for").unwrap();
            assert_eq!(ask(target.path(), &act), Answer::Done, "{act:?}");
            assert_eq!(ask(target.path(), &remove_of("r1")), Answer::Done);
            assert!(!own.exists());
        }
    }

    #[test]
    fn two_that_remove_the_same_are_not_in_each_others_way() {
        let target = tempfile::tempdir().unwrap();
        let own = target.path().join("pmm-ferry-r1");
        assert_eq!(ask(target.path(), &make_of("r1")), Answer::Done);
        for folder in 0..300 {
            let folder = own.join(format!("data/d{folder}/e"));
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("file"), "").unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    assert_eq!(ask(target.path(), &remove_of("r1")), Answer::Done);
                });
            }
        });
        assert!(!own.exists());
    }

    #[test]
    fn a_removal_that_was_cut_off_is_gone_on_with() {
        let target = tempfile::tempdir().unwrap();
        let own = target.path().join("pmm-ferry-r1");
        assert_eq!(ask(target.path(), &make_of("r1")), Answer::Done);
        fs_err::create_dir(own.join("data")).unwrap();
        remove::all_but(&open(&own).unwrap(), MARK).unwrap();
        assert!(own.join(MARK).exists());
        fs_err::remove_file(own.join(MARK)).unwrap();
        assert_eq!(ask(target.path(), &remove_of("r1")), Answer::Done);
        assert!(!own.exists());
    }
}
