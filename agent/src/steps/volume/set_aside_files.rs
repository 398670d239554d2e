//! Moves files aside that the target would stop at, such as alert rules for a notifier that PMM 3
//! does not have (facts/pmm.md 6, row 12). They are kept in the run's folder.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::StepError,
    steps::{Work, count, done, done_with, in_doubt, skipped},
};

pub(in crate::steps) struct SetAsideFiles(pub(in crate::steps) v1::SetAsideFiles);

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

/// Where one file was; written before it is moved.
#[derive(Serialize, Deserialize)]
struct Moves {
    moves: Vec<Move>,
}

#[derive(Serialize, Deserialize)]
struct Move {
    path: String,
    /// Its name in the run's folder.
    aside: String,
    /// The folder's mtime, which the move changes and undo sets back.
    folder_mtime: (i64, i64),
}

impl Move {
    fn parts(&self) -> Result<(&Path, &std::ffi::OsStr), StepError> {
        let path = Path::new(&self.path);
        let plain = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        match (plain, path.parent(), path.file_name()) {
            (true, Some(folder), Some(name)) => Ok((folder, name)),
            _ => Err(StepError::new(
                "bad-parameter",
                format!("`{}` is no relative path", self.path),
            )),
        }
    }
}

#[async_trait]
impl Work for SetAsideFiles {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let moves = match cx.first_kept::<Moves>()? {
            Some(kept) => kept,
            None => {
                let planned = self.look(cx)?;
                cx.keep(&planned)?;
                planned
            }
        };
        let mut moved = 0;
        for it in &moves.moves {
            let (folder, name) = it.parts()?;
            let folder = open_folder(cx, folder)?;
            match rustix::fs::renameat(&folder, name, cx.run_dir.fd(), it.aside.as_str()) {
                Ok(()) => moved += 1,
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(failed(&it.path, error)),
            }
            sync(&folder)?;
        }
        if moves.moves.is_empty() {
            return Ok(skipped("they are not there any more"));
        }
        // The target must not find them again after a loss of power.
        sync(&cx.run_dir.fd())?;
        Ok(done(format!(
            "{}, kept in `{}`",
            count(moved, "file"),
            cx.run_dir.path().display()
        )))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let left = self.look(cx)?.moves;
        match left.first() {
            None => Ok(()),
            Some(first) => Err(StepError::new(
                "file-left",
                format!("`{}` is still in its place", first.path),
            )),
        }
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let Some(Moves { moves }) = cx.first_kept()? else {
            return Ok(done("nothing was moved"));
        };
        let (mut warnings, mut is_lost) = (Vec::new(), false);
        for it in &moves {
            let (path, name) = it.parts()?;
            let data = &cx.surroundings.volume()?.data;
            let folder = match open_below(data, path) {
                Ok(folder) => folder,
                // Somebody has removed it: it comes back from the copy, with the file, when that is compared.
                Err(rustix::io::Errno::NOENT) => {
                    warnings.push(format!(
                        "the folder of `{}` is not there any more; the file is `{}`",
                        it.path,
                        cx.run_dir.path().join(&it.aside).display()
                    ));
                    is_lost = true;
                    continue;
                }
                Err(error) => return Err(failed(&it.path, error)),
            };
            match rustix::fs::renameat_with(
                cx.run_dir.fd(),
                it.aside.as_str(),
                &folder,
                name,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Ok(()) => set_mtime(&folder, it.folder_mtime)?,
                Err(rustix::io::Errno::NOENT) => {
                    if rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                        warnings.push(format!(
                            "somebody has removed `{}`, which was kept as `{}`: it comes back from the copy of the data",
                            it.path,
                            cx.run_dir.path().join(&it.aside).display()
                        ));
                        is_lost = true;
                        continue;
                    }
                    // Back already: whoever moved it may have died before it set the time.
                    set_mtime(&folder, it.folder_mtime)?;
                }
                // Restored with the rest of the data; or somebody has made one.
                Err(rustix::io::Errno::EXIST) => {
                    if !same(cx, &it.aside, &folder, name)? {
                        warnings.push(format!(
                            "`{}` is another file now; the one from before is `{}`",
                            it.path,
                            cx.run_dir.path().join(&it.aside).display()
                        ));
                    }
                }
                Err(error) => return Err(failed(&it.path, error)),
            }
            sync(&folder)?;
        }
        let back = count((moves.len() - warnings.len()) as u64, "file");
        let outcome = done_with(format!("{back} in place again"), warnings);
        Ok(match is_lost {
            true => in_doubt(outcome),
            false => outcome,
        })
    }
}

impl SetAsideFiles {
    /// Which of the wanted files are there, and when their folders were changed last.
    fn look(&self, cx: &Context) -> Result<Moves, StepError> {
        let mut moves = Vec::new();
        for (number, path) in self.0.paths.iter().enumerate() {
            let mut it = Move {
                path: path.clone(),
                aside: format!("aside-{number}"),
                folder_mtime: (0, 0),
            };
            let (folder, name) = it.parts()?;
            let Ok(folder) = open_folder(cx, folder) else {
                continue;
            };
            if rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                continue;
            }
            let stat = rustix::fs::fstat(&folder).map_err(|e| failed(path, e))?;
            it.folder_mtime = (
                stat.st_mtime,
                i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            );
            moves.push(it);
        }
        Ok(Moves { moves })
    }
}

/// Opens a folder of the data part by part, following no symlink.
fn open_folder(cx: &Context, folder: &Path) -> Result<OwnedFd, StepError> {
    let data = &cx.surroundings.volume()?.data;
    open_below(data, folder).map_err(|error| failed(&folder.display().to_string(), error))
}

fn open_below(data: &Path, folder: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    let mut fd = rustix::fs::open(data, FOLDER, Mode::empty())?;
    for part in folder.components() {
        fd = rustix::fs::openat(fd.as_fd(), part.as_os_str(), FOLDER, Mode::empty())?;
    }
    Ok(fd)
}

fn sync(folder: &impl AsFd) -> Result<(), StepError> {
    // The run's folder is held by a descriptor that only names it.
    rustix::fs::openat(folder, ".", FOLDER, Mode::empty())
        .and_then(rustix::fs::fsync)
        .map_err(|e| failed("a folder", e))
}

/// Whether a file that was set aside is as large and as old as the one in its place.
fn same(
    cx: &Context,
    aside: &str,
    folder: &OwnedFd,
    name: &std::ffi::OsStr,
) -> Result<bool, StepError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let aside = rustix::fs::statat(cx.run_dir.fd(), aside, flags);
    let there = rustix::fs::statat(folder, name, flags);
    let (aside, there) = aside
        .and_then(|aside| Ok((aside, there?)))
        .map_err(|e| failed("a file", e))?;
    let face = |it: &rustix::fs::Stat| (it.st_size, it.st_mtime, it.st_mtime_nsec);
    Ok(face(&aside) == face(&there))
}

fn set_mtime(folder: &OwnedFd, (tv_sec, tv_nsec): (i64, i64)) -> Result<(), StepError> {
    let last_access = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_OMIT,
    };
    let last_modification = Timespec { tv_sec, tv_nsec };
    rustix::fs::futimens(
        folder,
        &Timestamps {
            last_access,
            last_modification,
        },
    )
    .map_err(|e| failed("a folder's time", e))
}

fn failed(path: &str, error: rustix::io::Errno) -> StepError {
    StepError::new("set-aside", format!("`{path}` cannot be moved: {error}"))
}
