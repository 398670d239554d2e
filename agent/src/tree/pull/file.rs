//! One file: kept where it is here already, received otherwise, held against its hash, renamed into place.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
};

use ferry_proto::v1::{
    FileEnd, FilePiece, ReadFilesRequest, WantedFile, file_piece::Kind as Piece,
};
use rustix::{
    fs::{AtFlags, Mode, OFlags, fchmod, fchown, ftruncate, openat, renameat, unlinkat},
    io::{Errno, pwrite},
};

use super::{
    super::{
        TreeError, attrs,
        error::join,
        give::{HOLE, zeros},
        manifest::{Digest, What},
        meta::{Kind, Meta},
        mirror::{STALE, Stop, hash_of, open_source, set_times, sync_attributes},
        space::PER_FILE,
    },
    Pull, PullError, Source,
    dir::Open,
    read_back::Written,
    told::Told,
    unsound,
};

/// Files asked for at once.
const BATCH: usize = 512;

/// A file whose content has to be asked for.
pub(super) struct Want {
    name: CString,
    told: Told,
    /// There is no such name here.
    fresh: bool,
    /// What the one here hashes to.
    have: Option<Digest>,
}

/// What came of one.
enum Came {
    Kept(Digest),
    Written(Digest),
    Stale(Digest),
}

/// A file that is being written.
struct Target {
    fd: OwnedFd,
    /// Under which name it is written; the file's own where there was none.
    name: CString,
    hasher: blake3::Hasher,
    at: u64,
    written: u64,
}

impl Pull<'_> {
    /// Keeps a file that a manifest knows to be here, and otherwise says what to ask for.
    pub(super) fn settle_file(
        &mut self,
        dir: &mut Open,
        name: CString,
        told: Told,
        (fresh, have): (bool, Option<Meta>),
    ) -> Result<Option<Want>, TreeError> {
        let want = |told, have| Want {
            name: name.clone(),
            told,
            fresh,
            have,
        };
        let looks = |have: &Meta| have.size == told.meta.size && have.mtime == told.meta.mtime;
        let Some(have) = have.filter(looks) else {
            return Ok(Some(want(told, None)));
        };
        let known = dir.page.known(&name, &told.meta).map(|entry| entry.what);
        let Some(What::File { digest, .. }) = known else {
            let have = self.digest(dir, &name, have.size)?;
            return Ok(Some(want(told, have)));
        };
        match self.attributes(dir, &name, &told) {
            Ok(()) => {
                self.report.files_known += 1;
                let entry = told.file(digest);
                self.note(dir, name, &told, entry);
            }
            Err(e) => self.failed(&dir.path, &name, e)?,
        }
        Ok(None)
    }

    /// What a file here hashes to; `None` where it cannot be read, so that it is sent.
    fn digest(&mut self, dir: &Open, name: &CStr, size: u64) -> Result<Option<Digest>, TreeError> {
        let Ok(fd) = open_source(dir.fd.as_fd(), name) else {
            return Ok(None);
        };
        let cancel = self.meter.cancel().clone();
        let mut due = |_| cancel.check();
        match hash_of(fd.as_fd(), size, &mut self.buffer, &mut due) {
            Ok(digest) => Ok(Some(digest)),
            Err(Stop::Entry(_)) => Ok(None),
            Err(Stop::Work(error)) => Err(error),
        }
    }

    /// Gives a file that is kept the attributes that it has there.
    fn attributes(&mut self, dir: &Open, name: &CStr, told: &Told) -> Result<(), Errno> {
        let fd = attrs::open_path(&dir.fd, name)?;
        let have = Meta::of(&fd)?;
        let set = sync_attributes(&told.attributes, fd.as_fd(), &told.meta, &have)?;
        self.report.attributes_set += u64::from(set);
        Ok(())
    }

    /// Asks for files, and takes them as they come.
    pub(super) fn fetch(
        &mut self,
        dir: &mut Open,
        wants: Vec<Want>,
        source: &mut dyn Source,
    ) -> Result<(), PullError> {
        let mut wants = wants.into_iter().peekable();
        while wants.peek().is_some() {
            let batch: Vec<Want> = wants.by_ref().take(BATCH).collect();
            let file = |want: &Want| WantedFile {
                name: want.name.to_bytes().to_vec(),
                have: want.have.map_or_else(Vec::new, |digest| digest.to_vec()),
            };
            source.read(ReadFilesRequest {
                dir: dir.path.to_vec(),
                files: batch.iter().map(file).collect(),
            })?;
            for want in batch {
                self.receive(dir, want, source)?;
            }
            if source.next_piece()?.is_some() {
                return Err(unsound(&dir.path, c"", "more files than were asked for"));
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        dir: &mut Open,
        want: Want,
        source: &mut dyn Source,
    ) -> Result<(), PullError> {
        let odd = |what| unsound(&dir.path, &want.name, what);
        let head = match next(source)?.ok_or_else(|| odd("a file that was asked for is missing"))? {
            Piece::Head(head) => Told::of(head).map_err(odd)?,
            Piece::Failed(failed) if failed.gone => {
                self.vanished(&dir.path, &want.name);
                if !want.fresh
                    && let Err(e) = self.put_away(dir, &want.name)
                {
                    self.failed(&dir.path, &want.name, e)?;
                }
                return Ok(());
            }
            Piece::Failed(failed) => {
                self.problem(&dir.path, &want.name, &failed.reason);
                return Ok(());
            }
            _ => return Err(odd("its content without its head")),
        };
        if head.meta.kind() != Kind::File {
            return Err(odd("content of what is no file"));
        }
        let mut target = None;
        let came = self.content(dir, &want, &head, &mut target, source);
        if let (Err(_), Some(Target { name, .. })) = (&came, &target) {
            // Best effort: the next pass sees to what is left.
            let _ = unlinkat(&dir.fd, name, AtFlags::empty());
        }
        let (digest, stale) = match came {
            Ok(Came::Kept(digest)) => {
                self.report.files_same += 1;
                (digest, false)
            }
            Ok(Came::Written(digest)) => (digest, false),
            Ok(Came::Stale(digest)) => (digest, true),
            Err(Ended::Entry(e)) => return Ok(self.failed(&dir.path, &want.name, e)?),
            Err(Ended::Problem(what)) => {
                self.problem(&dir.path, &want.name, what);
                return Ok(());
            }
            Err(Ended::Pull(error)) => return Err(error),
        };
        let mut entry = head.file(digest);
        if stale {
            self.report.changed_meanwhile += 1;
            entry.mtime = STALE;
        }
        if head.inode() == want.told.inode() {
            self.note(dir, want.name, &head, entry);
        } else {
            dir.page.add(&want.name, Some(entry));
        }
        Ok(())
    }

    /// Takes data and holes up to the file's end, and puts the file into its place.
    fn content(
        &mut self,
        dir: &Open,
        want: &Want,
        head: &Told,
        target: &mut Option<Target>,
        source: &mut dyn Source,
    ) -> Result<Came, Ended> {
        let odd = |what| Ended::Pull(unsound(&dir.path, &want.name, what));
        loop {
            let piece = next(source)?.ok_or_else(|| odd("a file without its end"))?;
            if let Piece::End(end) = &piece
                && end.same
            {
                let digest = want.have.filter(|have| *end.digest == *have);
                let digest = digest.ok_or_else(|| odd("the same as what nobody has told of"))?;
                if target.is_some() {
                    return Err(odd("the same, behind content"));
                }
                return self.kept(dir, want, head, end, digest);
            }
            let to = match target.as_mut() {
                Some(to) => to,
                None => target.insert(self.begin(dir, want, head)?),
            };
            match piece {
                Piece::Data(bytes) => {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    if length > head.meta.size.saturating_sub(to.at) {
                        return Err(odd("more bytes than its size"));
                    }
                    if let Some(limiter) = &self.limiter {
                        limiter.wait(length, &self.meter)?;
                    }
                    write(to, &bytes)?;
                    self.meter.add(0, length)?;
                }
                Piece::Hole(length) => {
                    if length > head.meta.size.saturating_sub(to.at) {
                        return Err(odd("more bytes than its size"));
                    }
                    let mut rest = length;
                    while rest > 0 {
                        let piece = rest.min(HOLE);
                        zeros(&mut to.hasher, piece);
                        rest -= piece;
                        self.meter.add(0, 0)?;
                    }
                    to.at += length;
                    self.meter.add(0, 0)?;
                }
                Piece::End(end) => return self.place(dir, want, (head, &end), to),
                Piece::Head(_) | Piece::Failed(_) => return Err(odd("a file without its end")),
            }
        }
    }

    fn begin(&mut self, dir: &Open, want: &Want, head: &Told) -> Result<Target, Ended> {
        let path = join(&dir.path, want.name.to_bytes());
        let bytes = head.meta.size.min(head.meta.allocated);
        self.room
            .take(self.dst, &path, bytes.saturating_add(PER_FILE))?;
        // A new name needs no rename: until the file is finished its time is that of the writing, and it is asked for again.
        let name = match want.fresh {
            true => want.name.clone(),
            false => self.temporary.name(),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = openat(&dir.fd, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Target {
            fd,
            name,
            hasher: blake3::Hasher::new(),
            at: 0,
            written: 0,
        })
    }

    /// All of it came: is it what was read there?
    fn place(
        &mut self,
        dir: &Open,
        want: &Want,
        (head, end): (&Told, &FileEnd),
        to: &Target,
    ) -> Result<Came, Ended> {
        let digest: Digest = to.hasher.finalize().into();
        if to.at != head.meta.size || *end.digest != digest {
            let path = super::show_in(&dir.path, want.name.to_bytes());
            return Err(Ended::Pull(PullError::Corrupt { path }));
        }
        let stale = self.is_stale(want, head, end)?;
        ftruncate(&to.fd, head.meta.size)?;
        let owner = head.meta.owner;
        fchown(&to.fd, Some(owner.to_uid()), Some(owner.to_gid()))?;
        fchmod(&to.fd, Mode::from_raw_mode(head.meta.bits().into()))?;
        attrs::replace_all(&to.fd, &head.attributes)?;
        let mtime = if stale { STALE } else { head.meta.mtime };
        set_times(to.fd.as_fd(), head.meta.atime, mtime)?;
        if self.read_back {
            self.written.push(Written {
                dir: dir.path.clone(),
                name: want.name.as_c_str().into(),
                size: head.meta.size,
                digest,
            });
        }
        if to.name != want.name {
            renameat(&dir.fd, &to.name, &dir.fd, &want.name)?;
        }
        self.report.files_received += 1;
        self.report.bytes_received += to.written;
        Ok(if stale {
            Came::Stale(digest)
        } else {
            Came::Written(digest)
        })
    }

    fn kept(
        &mut self,
        dir: &Open,
        want: &Want,
        head: &Told,
        end: &FileEnd,
        digest: Digest,
    ) -> Result<Came, Ended> {
        let stale = self.is_stale(want, head, end)?;
        self.attributes(dir, &want.name, head)?;
        if !stale {
            return Ok(Came::Kept(digest));
        }
        let fd = attrs::open_path(&dir.fd, &want.name)?;
        set_times(fd.as_fd(), head.meta.atime, STALE)?;
        Ok(Came::Stale(digest))
    }

    /// Whether the next pass has to look at it again; in the last one there is no next.
    fn is_stale(&self, want: &Want, head: &Told, end: &FileEnd) -> Result<bool, Ended> {
        let changed = end.changed || head.inode() != want.told.inode();
        if changed && !self.live {
            return Err(Ended::Problem(
                "it changed while it was read, although nobody should write to the tree",
            ));
        }
        Ok(changed || (self.live && end.recent))
    }
}

fn write(to: &mut Target, bytes: &[u8]) -> Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match pwrite(&to.fd, rest, to.at) {
            // A file system that takes nothing and says nothing is full.
            Ok(0) => return Err(Errno::NOSPC),
            Ok(n) => {
                to.hasher.update(&rest[..n]);
                rest = &rest[n..];
                let n = u64::try_from(n).unwrap_or(0);
                to.at += n;
                to.written += n;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn next(source: &mut dyn Source) -> Result<Option<Piece>, PullError> {
    Ok(source.next_piece()?.and_then(|FilePiece { kind }| kind))
}

/// Why a file did not come to its place.
enum Ended {
    /// This file alone, by what the kernel said.
    Entry(Errno),
    /// This file alone.
    Problem(&'static str),
    /// The whole pull.
    Pull(PullError),
}

impl From<Errno> for Ended {
    fn from(error: Errno) -> Self {
        Self::Entry(error)
    }
}

impl From<TreeError> for Ended {
    fn from(error: TreeError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<PullError> for Ended {
    fn from(error: PullError) -> Self {
        Self::Pull(error)
    }
}
