//! Changes the owner of what a record describes.

use std::{ffi::CStr, os::fd::AsFd, thread};

use rustix::{
    fs::{AtFlags, chownat},
    io::{Errno, Result},
};

use super::{
    super::{
        Problems, Root, TreeError, attrs,
        error::{show, show_in},
        meta::{Kind, Meta},
        progress::Meter,
        record::{Item, Part},
        scan::sentence,
    },
    Owner,
};

/// What could not be changed.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) problems: Problems,
    /// Entries that the immutable or append-only attribute keeps from it.
    pub(super) immutable: Problems,
}

impl Refused {
    pub(super) fn merge(&mut self, other: Self) {
        self.problems.merge(other.problems);
        self.immutable.merge(other.immutable);
    }

    /// All of it as one.
    pub(super) fn into_problems(self) -> Problems {
        let Self {
            mut problems,
            immutable,
        } = self;
        problems.merge(immutable);
        problems
    }

    /// The attribute of an entry that was not looked at shows when its owner is changed.
    fn entry(&mut self, fd: impl AsFd, dir: &[u8], name: &CStr, error: Errno) {
        let immutable = error == Errno::PERM && Meta::at(fd, name).is_ok_and(|m| m.immutable);
        if immutable {
            self.immutable.add(|| show_in(dir, name.to_bytes()));
        } else {
            self.problems.add(|| sentence(dir, name, error));
        }
    }
}

/// Gives all entries of a part to `target`, but those with several names. Returns how many changed.
pub(super) fn give(
    root: &Root,
    part: &Part,
    target: Owner,
    meter: &Meter<'_>,
    refused: &mut Refused,
) -> std::result::Result<u64, TreeError> {
    let dir = match root.open_dir(&part.dir) {
        Ok(dir) => dir,
        Err(e) => {
            for _ in &part.items {
                let sentence = || format!("{}: {e}", show(&part.dir));
                refused.problems.add(sentence);
            }
            return Ok(0);
        }
    };
    let (uid, gid) = (target.to_uid(), target.to_gid());
    let mut changed = 0;
    for (index, (name, item)) in part.names.iter().zip(&part.items).enumerate() {
        if index % 256 == 0 {
            meter.cancel().check()?;
        }
        if item.linked {
            continue;
        }
        let result = if item.loses_by_chown() {
            give_and_put_back(&dir, name, item, target)
        } else {
            chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        };
        match result {
            Ok(()) => changed += 1,
            Err(e) => refused.entry(&dir, &part.dir, name, e),
        }
    }
    Ok(changed)
}

/// Changes the owner of one inode, and puts back what that took away.
fn give_and_put_back(dir: impl AsFd, name: &CStr, item: &Item, target: Owner) -> Result<()> {
    let fd = attrs::open_path(dir, name)?;
    if Meta::of(&fd)?.kind() != item.kind() {
        return Err(Errno::STALE);
    }
    attrs::set_owner(&fd, target)?;
    put_back(&fd, item)
}

/// Sets the mode and the capability that the record names, where they differ.
pub(super) fn put_back(fd: impl AsFd, item: &Item) -> Result<()> {
    // A symbolic link has no mode of its own.
    if item.kind() != Kind::Symlink && Meta::of(&fd)?.mode != item.mode {
        attrs::set_mode(&fd, item.mode & 0o7777)?;
    }
    if let Some(capability) = &item.capability
        && attrs::get(&fd, attrs::CAPABILITY)?.as_deref() != Some(&**capability)
    {
        attrs::set(&fd, attrs::CAPABILITY, capability)?;
    }
    Ok(())
}

/// Changes a file with several names through its descriptor, after looking that it still is the
/// inode all of whose names were met.
pub(super) fn give_linked(
    root: &Root,
    dir: &[u8],
    name: &CStr,
    (item, inode, target): (&Item, (u64, u64), Owner),
) -> Result<bool> {
    let dir = root.open_dir(dir)?;
    let fd = attrs::open_path(&dir, name)?;
    let meta = Meta::of(&fd)?;
    if (meta.dev, meta.ino) != inode {
        return Err(Errno::STALE);
    }
    if meta.owner == target {
        return Ok(false);
    }
    attrs::set_owner(&fd, target)?;
    if item.loses_by_chown() {
        put_back(&fd, item)?;
    }
    Ok(true)
}

/// Directories, the deepest first: a parent that is right has nothing wrong below it.
pub(super) fn by_depth(
    mut parts: Vec<Part>,
    workers: usize,
    work: impl Fn(&Part, &mut Problems) -> std::result::Result<u64, TreeError> + Sync,
) -> std::result::Result<(u64, Problems), TreeError> {
    let depth = |part: &Part| match part.dir.len() {
        0 => 0,
        _ => 1 + part.dir.iter().filter(|&&b| b == b'/').count(),
    };
    parts.sort_by_cached_key(|part| std::cmp::Reverse(depth(part)));
    let (mut changed, mut problems) = (0, Problems::default());
    for level in parts.chunk_by(|a, b| depth(a) == depth(b)) {
        let share = level.len().div_ceil(workers.max(1));
        let results = thread::scope(|scope| {
            let start = |parts| {
                let work = &work;
                scope.spawn(move || {
                    let mut problems = Problems::default();
                    let sum = <[Part]>::iter(parts)
                        .map(|part| work(part, &mut problems))
                        .sum();
                    std::result::Result::<u64, TreeError>::map(sum, |n| (n, problems))
                })
            };
            let running: Vec<_> = level.chunks(share).map(start).collect();
            running
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect::<Vec<_>>()
        });
        for result in results {
            let (n, p) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            changed += n;
            problems.merge(p);
        }
    }
    Ok((changed, problems))
}
