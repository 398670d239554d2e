//! One entry that is no directory: left, given other attributes, or made anew and renamed into place.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, fchmod, fchown, futimens,
        mknodat, openat, readlinkat, renameat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    super::{
        TreeError, attrs,
        error::{join, show},
        manifest::{Digest, Entry, ProvenFile, Seen, What, digest_of_attributes},
        meta::{Kind, Meta, Stamp},
        root::RelPath,
    },
    Mirror, Same,
    content::{Flow, Stop, hash_of, same_bytes},
    dir::{Found, Pair},
    read_back::Written,
};

/// A file that changed this shortly before it was read may change again within one tick of the
/// clock that stamps it, and look unchanged.
const RACY: Duration = Duration::from_millis(100);
/// The mtime of a copy that is known to be stale: no file has it, so the next pass copies again.
pub(in crate::tree) const STALE: Stamp = Stamp { sec: -1, nsec: 0 };

/// What is known of an entry before it is looked at on the other side.
pub(super) struct Before {
    /// The destination has no such name.
    pub(super) fresh: bool,
    /// What an earlier manifest says, whether or not that still describes the source.
    pub(super) known: Option<Entry>,
    /// What lies there has names out of the source's reach: whatever is set on it is set out there too.
    pub(super) elsewhere: bool,
}

pub(in crate::tree) type Attributes = Vec<(CString, Vec<u8>)>;

impl Mirror<'_> {
    /// Makes `name` in the destination what it is in the source. Returns what the manifest says of
    /// it, where there is one.
    pub(super) fn sync_entry(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        want: &Meta,
        Before {
            fresh,
            known,
            elsewhere,
        }: Before,
        found: &mut Found,
    ) -> Result<Option<Entry>, Stop> {
        let said_other = known.as_ref().is_some_and(|it| !it.describes(want));
        let known = known.filter(|_| !said_other);
        let have = match fresh {
            true => Err(Errno::NOENT),
            false => Meta::at(pair.dst, name),
        };
        let have = match have {
            Ok(have) if !have.same_mount(self.dst.meta()) => return Err(Errno::XDEV.into()),
            Ok(have) if have.kind() == want.kind() => Some(have),
            Ok(_) => {
                self.put_away(pair.path, pair.dst, name, found)?;
                None
            }
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(have) = &have {
            let by_times = self.same == Same::SinceCopied && older(want, have);
            // A clock that was put back makes a later change look older than the copy.
            let in_doubt = said_other || known.is_none() && is_future(have.ctime);
            let untouched = by_times && !in_doubt && same_look(want, have);
            if untouched && known.is_some() && want.size == have.size && want.nlink == have.nlink {
                return Ok(known);
            }
            let same = self.is_same(pair, name, (want, have), &mut found.buffer)?;
            if same && !(in_doubt && by_times && !self.same_content(pair, name, want, found)?) {
                if untouched && self.keeper.is_none() {
                    return Ok(None);
                }
                let as_it_is = || -> Result<bool, Errno> {
                    let (src, dst) = (
                        attrs::open_path(pair.src, name)?,
                        attrs::open_path(pair.dst, name)?,
                    );
                    Ok(same_look(want, have) && attrs::all(&src)? == attrs::all(&dst)?)
                };
                // Never set anything on what has a name out of the tree: it gets an inode of its own.
                if !elsewhere || as_it_is()? {
                    // Left alone because it is what was copied, it does not get the times of what the copy has become.
                    let spared = match self.accept_damaged && want.kind() == Kind::File {
                        true => self.proven_file(pair, name, want)?,
                        false => None,
                    };
                    let spared = spared.filter(|file| !file.looks_like(want));
                    let was = spared.map_or(*want, |file| file.as_it_was(want));
                    return self.describe(pair, name, (&was, have), known, found);
                }
            }
        }
        match want.kind() {
            Kind::File => self.copy_file(pair, name, have.is_none(), found),
            _ => self.copy_node(pair, name, want, found),
        }
    }

    /// Whether the bytes of a file are the same on both sides, of whose times nothing can be said.
    fn same_content(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        want: &Meta,
        found: &mut Found,
    ) -> Result<bool, Stop> {
        if want.kind() != Kind::File {
            return Ok(true); // looked at already
        }
        let mut digest = |dir| {
            let file = open_source(dir, name)?;
            self.hash_known_file(file.as_fd(), want.size, &mut found.buffer)
        };
        Ok(digest(pair.src)? == digest(pair.dst)?)
    }

    /// Sees to the attributes of an entry whose content is right, and says what it is.
    fn describe(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        (want, have): (&Meta, &Meta),
        known: Option<Entry>,
        found: &mut Found,
    ) -> Result<Option<Entry>, Stop> {
        let (src, dst) = (
            attrs::open_path(pair.src, name)?,
            attrs::open_path(pair.dst, name)?,
        );
        let attributes = attrs::all(&src)?;
        let set = sync_attributes(&attributes, dst.as_fd(), want, have)?;
        found.report.attributes_set += u64::from(set);
        if self.keeper.is_none() || known.is_some() {
            return Ok(known);
        }
        if want.kind() != Kind::File {
            return Ok(Some(node(want, pair.src, name, &attributes)?));
        }
        let src = open_source(pair.src, name)?;
        let digest = self.hash_known_file(src.as_fd(), want.size, &mut found.buffer)?;
        let after = Meta::of(&src)?;
        if !after.same_inode(want) || (after.size, after.ctime) != (want.size, want.ctime) {
            // It was unchanged up to now: what was hashed is not what was copied.
            return self.copy_file(pair, name, false, found);
        }
        if !self.live {
            // What a killed pass copied: nobody has read it back.
            found.written.push(Written {
                dir: RelPath::clone(pair.path),
                name: name.into(),
                want: *want,
                digest,
            });
        }
        found.report.bytes_hashed += want.size;
        Ok(Some(file(want, want.size, digest, &attributes)))
    }

    /// Whether the content (or target, or device) is the same.
    fn is_same(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        (want, have): (&Meta, &Meta),
        buffer: &mut Vec<u8>,
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
                    Same::Bytes => match self.proven_file(pair, name, want)? {
                        Some(file) if file.size != have.size => false,
                        Some(file) => {
                            let there = open_source(pair.dst, name)?;
                            let mut due = |_| self.meter.cancel().check();
                            hash_of(there.as_fd(), have.size, buffer, &mut due)? == file.digest
                        }
                        None if want.size != have.size => false,
                        None => {
                            let there = open_source(pair.dst, name)?;
                            let from = open_source(pair.src, name)?;
                            same_bytes(from.as_fd(), there.as_fd(), &self.meter)?
                        }
                    },
                })
            }
        }
    }

    /// What a file of the backup was when it was copied; `None` where no manifest is asked, or has no such file and that is accepted.
    fn proven_file(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        copy: &Meta,
    ) -> Result<Option<ProvenFile>, Stop> {
        let Some(proven) = pair.proven else {
            return Ok(None);
        };
        let file = proven.file(name);
        if self.accept_damaged || file.is_some_and(|file| file.looks_like(copy)) {
            return Ok(file);
        }
        let path = show(&join(pair.path, name.to_bytes()));
        Err(Stop::Work(TreeError::BackupDiffers { path }))
    }

    fn copy_file(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        fresh: bool,
        found: &mut Found,
    ) -> Result<Option<Entry>, Stop> {
        let src = open_source(pair.src, name)?;
        let before = Meta::of(&src)?;
        if before.kind() != Kind::File {
            return Err(Errno::NOENT.into()); // replaced meanwhile: as good as gone
        }
        found.touched = true;
        // A new name needs no rename: until the file is finished its mtime is that of the copying,
        // and the next pass copies it again.
        let temporary = (!fresh).then(|| self.temporary.name());
        let target = temporary.as_deref().unwrap_or(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let dst = openat(pair.dst, target, flags, Mode::RUSR | Mode::WUSR)?;
        let proven = self.proven_file(pair, name, &before)?;
        let expected = proven.map(|file| file.digest);
        let result = self
            .fill_file((pair.path, name), &src, &dst, (&before, expected), found)
            .and_then(|filled| {
                if filled.stale && !self.live {
                    // Seldom enough to be worth its own sentence: ESTALE says what happened.
                    return Err(Errno::STALE.into());
                }
                if temporary.is_some() {
                    renameat(pair.dst, target, pair.dst, name)?;
                }
                found.report.files_copied += 1;
                if filled.damaged || proven.is_none() && pair.proven.is_some() {
                    let path = || show(&join(pair.path, name.to_bytes()));
                    found.report.damaged.add(path);
                }
                if let Some(digest) = filled.digest.filter(|_| !self.live) {
                    found.written.push(Written {
                        dir: RelPath::clone(pair.path),
                        name: name.into(),
                        want: before,
                        digest,
                    });
                }
                found.report.bytes_copied += filled.bytes;
                found.report.changed_meanwhile += u64::from(filled.stale);
                Ok(filled.entry)
            });
        if result.is_err() {
            // Best effort: a leftover is not what the source has, and the next pass sees to it.
            let _ = unlinkat(pair.dst, target, AtFlags::empty());
        }
        result
    }

    /// Content and attributes; says whether the source changed (or may have) meanwhile.
    fn fill_file(
        &self,
        (dir, name): (&[u8], &CStr),
        src: &OwnedFd,
        dst: &OwnedFd,
        (before, proven): (&Meta, Option<Digest>),
        found: &mut Found,
    ) -> Result<Filled, Stop> {
        let hashed = self.keeper.is_some() || proven.is_some();
        let mut hasher = hashed.then(blake3::Hasher::new);
        let path = join(dir, name.to_bytes());
        let mut flow = Flow {
            from: src.as_fd(),
            to: dst.as_fd(),
            path: &path,
            buffer: &mut found.buffer,
            hasher: hasher.as_mut(),
        };
        let bytes = self.copy_content(&mut flow, before)?;
        let after = Meta::of(src)?;
        let changed =
            (after.size, after.mtime, after.ctime) != (before.size, before.mtime, before.ctime);
        let stale = changed || (self.live && is_recent(before));
        fchown(
            dst,
            Some(before.owner.to_uid()),
            Some(before.owner.to_gid()),
        )?;
        fchmod(dst, Mode::from_raw_mode(before.bits().into()))?;
        let attributes = attrs::all_of_open(src)?;
        attrs::replace_all(dst, &attributes)?;
        let mut look = *before;
        if stale && self.live {
            look.mtime = STALE;
        }
        futimens(dst, &times(before.atime, look.mtime))?;
        let Some(hasher) = hasher else {
            return Ok(Filled {
                bytes,
                stale,
                damaged: false,
                digest: None,
                entry: None,
            });
        };
        let digest = hasher.finalize().into();
        let damaged = proven.is_some_and(|proven| proven != digest);
        if damaged && !self.accept_damaged {
            let path = show(&path);
            return Err(Stop::Work(TreeError::BackupDiffers { path }));
        }
        Ok(Filled {
            bytes,
            stale,
            damaged,
            digest: Some(digest),
            entry: Some(file(&look, before.size, digest, &attributes)),
        })
    }

    /// A symbolic link, fifo, socket or device.
    fn copy_node(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        want: &Meta,
        found: &mut Found,
    ) -> Result<Option<Entry>, Stop> {
        found.touched = true;
        let temporary = self.temporary.name();
        let mode = Mode::from_raw_mode(want.bits().into());
        if want.kind() == Kind::Symlink {
            let target = readlinkat(pair.src, name, Vec::new())?;
            symlinkat(&target, pair.dst, &temporary)?;
        } else {
            let file_type = FileType::from_raw_mode(want.mode.into());
            mknodat(pair.dst, &temporary, file_type, mode, want.rdev)?;
        }
        let fill = || -> Result<Option<Entry>, Errno> {
            let src = attrs::open_path(pair.src, name)?;
            let dst = attrs::open_path(pair.dst, &temporary)?;
            let have = Meta::of(&dst)?;
            let attributes = attrs::all(&src)?;
            sync_attributes(&attributes, dst.as_fd(), want, &have)?;
            renameat(pair.dst, &temporary, pair.dst, name)?;
            match &self.keeper {
                Some(_) => node(want, pair.src, name, &attributes).map(Some),
                None => Ok(None),
            }
        };
        fill().map_err(|e| {
            let _ = unlinkat(pair.dst, &temporary, AtFlags::empty());
            e.into()
        })
    }
}

/// Owner, mode, extended attributes and times of the inode that is open as `dst`; returns whether anything had to be set.
pub(in crate::tree) fn sync_attributes(
    attributes: &Attributes,
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
    if *attributes != attrs::all(dst)? {
        attrs::replace_all(dst, attributes)?;
        set = true;
    }
    if want.mtime != have.mtime {
        set_times(dst, want.atime, want.mtime)?;
        set = true;
    }
    Ok(set)
}

/// What became of a file's copy.
struct Filled {
    bytes: u64,
    stale: bool,
    /// Its bytes are not what the manifest says.
    damaged: bool,
    /// Where a manifest is written, or told what it should be.
    digest: Option<Digest>,
    entry: Option<Entry>,
}

/// What the manifest says of a file; `look` is the copy's, `size` what was copied.
fn file(look: &Meta, size: u64, digest: Digest, attributes: &Attributes) -> Entry {
    let linked = (look.nlink > 1).then_some((look.dev, look.nlink));
    entry_of(
        look,
        attributes,
        What::File {
            size,
            digest,
            linked,
        },
    )
}

/// What the manifest says of anything that is neither file nor directory.
fn node(
    look: &Meta,
    dir: BorrowedFd<'_>,
    name: &CStr,
    attributes: &Attributes,
) -> Result<Entry, Errno> {
    let what = match look.kind() {
        Kind::Symlink => What::Symlink(readlinkat(dir, name, Vec::new())?.to_bytes().into()),
        Kind::Device => What::Device(look.rdev),
        _ => What::Plain,
    };
    Ok(entry_of(look, attributes, what))
}

fn entry_of(look: &Meta, attributes: &Attributes, what: What) -> Entry {
    Entry {
        mode: look.mode,
        owner: look.owner,
        mtime: look.mtime,
        attributes: digest_of_attributes(attributes),
        source: Seen::of(look),
        what,
    }
}

/// The source has not changed since the copy was finished, unless the clock was put back in between.
pub(super) fn older(src: &Meta, copy: &Meta) -> bool {
    src.ctime < copy.ctime
}

/// Same owner, mode and mtime.
pub(super) fn same_look(a: &Meta, b: &Meta) -> bool {
    (a.owner, a.mode, a.mtime) == (b.owner, b.mode, b.mtime)
}

/// A time that the clock has not come to yet, or not again.
fn is_future(stamp: Stamp) -> bool {
    age(stamp).is_none()
}

/// How long ago it was; `None` where it is still to come.
fn age(stamp: Stamp) -> Option<Duration> {
    let sec = u64::try_from(stamp.sec).unwrap_or(0);
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::new(sec, stamp.nsec))?;
    SystemTime::now().duration_since(at).ok()
}

/// It changed so shortly ago that one more change may not show in its times.
pub(in crate::tree) fn is_recent(meta: &Meta) -> bool {
    // A time of change in the future: the clock was put back, and may come to that time once more.
    // Anybody may give a file a time of modification in the future.
    age(meta.ctime).is_none_or(|age| age < RACY) || age(meta.mtime).is_some_and(|age| age < RACY)
}

fn times(atime: Stamp, mtime: Stamp) -> Timestamps {
    let spec = |s: Stamp| Timespec {
        tv_sec: s.sec,
        tv_nsec: s.nsec.into(),
    };
    Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    }
}

/// Times of the inode that is open, of whatever kind.
pub(in crate::tree) fn set_times(
    fd: BorrowedFd<'_>,
    atime: Stamp,
    mtime: Stamp,
) -> Result<(), Errno> {
    let times = times(atime, mtime);
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
