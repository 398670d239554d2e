//! One entry that is no directory: left, given other attributes, or made anew and renamed into place.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, mknodat, openat, readlinkat,
        renameat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    super::{
        attrs,
        meta::{Kind, Meta, Stamp},
    },
    Mirror, Same,
    content::{Stop, same_bytes},
    dir::{Found, Pair},
    links::Elsewhere,
};

/// A file that changed this shortly before it was read may change again within one tick of the
/// clock that stamps it, and look unchanged.
const RACY: Duration = Duration::from_millis(100);
/// The mtime of a copy that is known to be stale: no file has it, so the next pass copies again.
const STALE: Stamp = Stamp { sec: -1, nsec: 0 };

impl Mirror<'_> {
    /// Makes `name` in the destination what it is in the source.
    pub(super) fn sync_entry(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        want: &Meta,
        elsewhere: Elsewhere,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let have = match Meta::at(pair.dst, name) {
            Ok(have) if !have.same_mount(self.dst.meta()) => return Err(Errno::XDEV.into()),
            Ok(have) if have.kind() == want.kind() => Some(have),
            Ok(_) => {
                self.put_away(pair.path, pair.dst, name, found)?;
                None
            }
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(have) = have
            && self.is_same(pair, name, want, &have)?
        {
            if self.same == Same::SinceCopied && older(want, &have) && same_look(want, &have) {
                return Ok(());
            }
            let src = attrs::open_path(pair.src, name)?;
            let dst = attrs::open_path(pair.dst, name)?;
            let as_it_is = || -> Result<bool, Errno> {
                Ok(same_look(want, &have) && attrs::all(&src)? == attrs::all(&dst)?)
            };
            // Never set anything on what has a name out of the tree: it gets an inode of its own.
            if elsewhere == Elsewhere(false) || as_it_is()? {
                let set = self.sync_attributes(src.as_fd(), dst.as_fd(), want, &have)?;
                found.report.attributes_set += u64::from(set);
                return Ok(());
            }
        }
        match want.kind() {
            Kind::File => self.copy_file(pair, name, found),
            _ => self.copy_node(pair, name, want),
        }
    }

    /// Whether the content (or target, or device) is the same.
    fn is_same(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        want: &Meta,
        have: &Meta,
    ) -> Result<bool, Stop> {
        // What shares its inode where the source's does not must get its own.
        if have.nlink > 1 && want.nlink == 1 {
            return Ok(false);
        }
        match want.kind() {
            Kind::Symlink => {
                let target = |dir| readlinkat(dir, name, Vec::new());
                Ok(target(pair.src)? == target(pair.dst)?)
            }
            Kind::Fifo | Kind::Socket | Kind::Dir => Ok(true),
            Kind::Device => Ok(want.rdev == have.rdev && want.mode >> 12 == have.mode >> 12),
            Kind::File => {
                let times = want.size == have.size && want.mtime == have.mtime;
                Ok(match self.same {
                    Same::SinceCopied => times && older(want, have),
                    Same::Times => times,
                    Same::Bytes => {
                        want.size == have.size && {
                            let a = open_source(pair.src, name)?;
                            let b = open_source(pair.dst, name)?;
                            same_bytes(a.as_fd(), b.as_fd(), &self.meter)?
                        }
                    }
                })
            }
        }
    }

    fn copy_file(&self, pair: &Pair<'_>, name: &CStr, found: &mut Found) -> Result<(), Stop> {
        let src = open_source(pair.src, name)?;
        let before = Meta::of(&src)?;
        if before.kind() != Kind::File {
            return Err(Errno::NOENT.into()); // replaced meanwhile: as good as gone
        }
        let temporary = self.temporary();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let dst = openat(pair.dst, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let result = self
            .fill_file(&src, &dst, &before)
            .and_then(|(bytes, stale)| {
                if stale && !self.live {
                    // Seldom enough to be worth its own sentence: ESTALE says what happened.
                    return Err(Errno::STALE.into());
                }
                renameat(pair.dst, &temporary, pair.dst, name)?;
                found.report.files_copied += 1;
                found.report.bytes_copied += bytes;
                found.report.changed_meanwhile += u64::from(stale);
                Ok(())
            });
        if result.is_err() {
            // Best effort: a leftover is removed by the next pass as an entry the source has not.
            let _ = unlinkat(pair.dst, &temporary, AtFlags::empty());
        }
        result
    }

    /// Content and attributes; says whether the source changed (or may have) meanwhile.
    fn fill_file(&self, src: &OwnedFd, dst: &OwnedFd, before: &Meta) -> Result<(u64, bool), Stop> {
        let bytes = self.copy_content(src.as_fd(), dst.as_fd(), before.size)?;
        let after = Meta::of(src)?;
        let changed =
            (after.size, after.mtime, after.ctime) != (before.size, before.mtime, before.ctime);
        let stale = changed || (self.live && is_recent(before));
        attrs::set_owner(dst, before.owner)?;
        attrs::set_mode(dst, before.bits())?;
        attrs::replace_all(dst, &attrs::all(src)?)?;
        let mtime = if stale && self.live {
            STALE
        } else {
            before.mtime
        };
        set_times(dst.as_fd(), before.atime, mtime)?;
        Ok((bytes, stale))
    }

    /// A symbolic link, fifo, socket or device.
    fn copy_node(&self, pair: &Pair<'_>, name: &CStr, want: &Meta) -> Result<(), Stop> {
        let temporary = self.temporary();
        let mode = Mode::from_raw_mode(want.bits().into());
        if want.kind() == Kind::Symlink {
            let target = readlinkat(pair.src, name, Vec::new())?;
            symlinkat(&target, pair.dst, &temporary)?;
        } else {
            let file_type = FileType::from_raw_mode(want.mode.into());
            mknodat(pair.dst, &temporary, file_type, mode, want.rdev)?;
        }
        let fill = || -> Result<(), Errno> {
            let src = attrs::open_path(pair.src, name)?;
            let dst = attrs::open_path(pair.dst, &temporary)?;
            let have = Meta::of(&dst)?;
            self.sync_attributes(src.as_fd(), dst.as_fd(), want, &have)?;
            renameat(pair.dst, &temporary, pair.dst, name)
        };
        fill().map_err(|e| {
            let _ = unlinkat(pair.dst, &temporary, AtFlags::empty());
            e.into()
        })
    }

    /// Owner, mode, extended attributes and times of an inode that is open on both sides; returns
    /// whether anything had to be set.
    pub(super) fn sync_attributes(
        &self,
        src: BorrowedFd<'_>,
        dst: BorrowedFd<'_>,
        want: &Meta,
        have: &Meta,
    ) -> Result<bool, Errno> {
        let mut set = false;
        let owner = want.owner != have.owner;
        if owner {
            attrs::set_owner(dst, want.owner)?;
            set = true;
        }
        let is_link = want.kind() == Kind::Symlink;
        // A change of owner may have taken setuid and setgid away.
        if !is_link && (owner || want.mode != have.mode) && Meta::of(dst)?.mode != want.mode {
            attrs::set_mode(dst, want.bits())?;
            set = true;
        }
        let attributes = attrs::all(src)?;
        if attributes != attrs::all(dst)? {
            attrs::replace_all(dst, &attributes)?;
            set = true;
        }
        if want.mtime != have.mtime {
            set_times(dst, want.atime, want.mtime)?;
            set = true;
        }
        Ok(set)
    }
}

/// The source has not changed since the copy was finished.
fn older(src: &Meta, copy: &Meta) -> bool {
    src.ctime < copy.ctime
}

/// Same owner, mode and mtime.
fn same_look(a: &Meta, b: &Meta) -> bool {
    (a.owner, a.mode, a.mtime) == (b.owner, b.mode, b.mtime)
}

fn is_recent(meta: &Meta) -> bool {
    let newest = meta.mtime.max(meta.ctime);
    let Ok(sec) = u64::try_from(newest.sec) else {
        return false;
    };
    let at = SystemTime::UNIX_EPOCH + Duration::new(sec, newest.nsec);
    SystemTime::now()
        .duration_since(at)
        .is_ok_and(|age| age < RACY)
}

fn set_times(fd: BorrowedFd<'_>, atime: Stamp, mtime: Stamp) -> Result<(), Errno> {
    let spec = |s: Stamp| Timespec {
        tv_sec: s.sec,
        tv_nsec: s.nsec.into(),
    };
    let times = Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    };
    match utimensat(fd, c"", &times, AtFlags::EMPTY_PATH) {
        // Before 5.8 the kernel takes no flag here; the descriptor's own link does as well.
        Err(Errno::INVAL) => utimensat(CWD, attrs::link(fd), &times, AtFlags::empty()),
        other => other,
    }
}

/// Opens a file for reading: no link followed, no wait for a fifo's writer, atime left alone.
pub(in crate::tree) fn open_source(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}
