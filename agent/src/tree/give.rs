//! A tree as it is told to the agent of another machine: its entries, and what files hold. Nothing of it is changed, the times of
//! access of files and folders neither; the kernel knows no way to read a symbolic link without one.
//!
//! The other side decides what it needs and asks for it, so that nothing has to be remembered here, and a pull that was cut off goes
//! on from what lies on the other side.
//!
//! What is asked for comes from elsewhere: a path is taken apart and every name in it looked at before the kernel sees it, and it is
//! opened beneath the root only.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use ferry_proto::v1::{
    self, FileEnd, FileFailed, FilePiece, ReadFilesRequest, TreeAttribute, TreeEntry, TreePart,
    TreeTime, WantedFile, file_piece::Kind as Piece,
};
use rustix::{fs::readlinkat, io::Errno};

use super::{
    Root, TreeError, Watch, attrs,
    error::join,
    meta::{Kind, Meta, Stamp},
    mirror::{BUFFER, Stop, fill, hash_of, is_recent, open_source, room_for, seek_data},
    progress::Meter,
    root::RelPath,
    scan::{Scratch, Seen, Walked, scan_open},
};

/// A part has no more entries than this.
const ENTRIES: usize = 512;
/// Nor many more bytes of attributes and targets than this: a message has to fit what the other side accepts.
const BYTES: usize = 1 << 20;
/// Hashed at once of a hole: whoever is to end does not wait for one of exabytes.
pub(super) const HOLE: u64 = 256 << 20;

/// Takes one piece after the other; an error ends the work.
type Sink<'s, T> = &'s mut dyn FnMut(T) -> Result<(), TreeError>;

/// Tells all entries of a tree, each directory before what lies in it.
///
/// # Errors
/// [`TreeError::Io`], [`TreeError::Cancelled`], and what `sink` ends it with.
pub fn list(root: &Root, watch: &Watch<'_>, sink: Sink<'_, TreePart>) -> Result<(), TreeError> {
    let meter = Meter::new(watch);
    let mut scratch = Scratch::default();
    let mut todo = vec![RelPath::from([])];
    while let Some(dir) = todo.pop() {
        match root.open_dir(&dir) {
            Ok(fd) => list_dir(root, (&dir, fd), &mut scratch, &meter, &mut todo, sink)?,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => sink(gone(&dir))?,
            Err(e) => return Err(TreeError::io("open", &dir, e)),
        }
    }
    Ok(())
}

fn gone(dir: &RelPath) -> TreePart {
    TreePart {
        dir: dir.to_vec(),
        gone: true,
        ..TreePart::default()
    }
}

fn list_dir(
    root: &Root,
    (dir, fd): (&RelPath, OwnedFd),
    scratch: &mut Scratch,
    meter: &Meter<'_>,
    todo: &mut Vec<RelPath>,
    sink: Sink<'_, TreePart>,
) -> Result<(), TreeError> {
    let blank = || TreePart {
        dir: dir.to_vec(),
        ..TreePart::default()
    };
    let own = Meta::of(&fd).map_err(|e| TreeError::io("stat", dir, e))?;
    let attributes = attrs::all_of_open(&fd).map_err(|e| TreeError::io("listxattr", dir, e))?;
    let (mut part, mut bytes) = (blank(), 0);
    let open = (dir, fd.as_fd());
    let walked = scan_open(root, open, scratch, meter, |fd, name, seen| {
        let entry = match seen {
            Seen::Mount => TreeEntry {
                name: name.to_bytes().to_vec(),
                mount: true,
                ..TreeEntry::default()
            },
            Seen::Failed(error) => trouble(name, error),
            Seen::Entry(meta) => match look(fd, name, meta) {
                Ok(entry) => entry,
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => trouble(name, error),
            },
        };
        if !entry.mount && entry.trouble.is_empty() && kind_of(&entry) == Some(Kind::Dir) {
            todo.push(join(dir, name.to_bytes()).into());
        }
        let values = entry.attributes.iter().map(|it| it.value.len());
        bytes += entry.target.len() + values.sum::<usize>();
        part.entries.push(entry);
        if part.entries.len() >= ENTRIES || bytes >= BYTES {
            bytes = 0;
            sink(std::mem::replace(&mut part, blank()))?;
        }
        Ok(())
    })?;
    if walked != Walked::Whole {
        return sink(gone(dir));
    }
    part.own = Some(entry(c"", &own, attributes));
    sink(part)
}

fn kind_of(entry: &TreeEntry) -> Option<Kind> {
    u16::try_from(entry.mode).ok().map(Kind::of_mode)
}

fn trouble(name: &CStr, error: Errno) -> TreeEntry {
    TreeEntry {
        name: name.to_bytes().to_vec(),
        trouble: error.to_string(),
        ..TreeEntry::default()
    }
}

/// An entry with its attributes and its target.
fn look(dir: BorrowedFd<'_>, name: &CStr, meta: &Meta) -> Result<TreeEntry, Errno> {
    if meta.kind() == Kind::Dir {
        // It tells its attributes when it is open.
        return Ok(entry(name, meta, Vec::new()));
    }
    let attributes = attrs::all(attrs::open_path(dir, name)?)?;
    let target = match meta.kind() {
        Kind::Symlink => readlinkat(dir, name, Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    Ok(TreeEntry {
        target,
        ..entry(name, meta, attributes)
    })
}

fn entry(name: &CStr, meta: &Meta, attributes: Vec<(CString, Vec<u8>)>) -> TreeEntry {
    let attribute = |(name, value): (CString, Vec<u8>)| TreeAttribute {
        name: name.into_bytes(),
        value,
    };
    TreeEntry {
        name: name.to_bytes().to_vec(),
        mode: meta.mode.into(),
        owner: Some(v1::Owner {
            uid: meta.owner.uid,
            gid: meta.owner.gid,
        }),
        mtime: Some(time(meta.mtime)),
        atime: Some(time(meta.atime)),
        ctime: Some(time(meta.ctime)),
        ino: meta.ino,
        dev: meta.dev,
        nlink: meta.nlink,
        size: meta.size,
        allocated: meta.allocated,
        attributes: attributes.into_iter().map(attribute).collect(),
        ..TreeEntry::default()
    }
}

fn time(stamp: Stamp) -> TreeTime {
    TreeTime {
        sec: stamp.sec,
        nsec: stamp.nsec,
    }
}

/// Whether a path from elsewhere is one below the root, and made of names alone.
fn is_path(dir: &[u8]) -> bool {
    dir.is_empty() || dir.split(|&b| b == b'/').all(is_name)
}

/// Whether it can be the name of an entry.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// Whether a path lies in what is not part of the tree.
fn is_excluded(root: &Root, dir: &[u8], name: &[u8]) -> bool {
    let first = dir.split(|&b| b == b'/').next().unwrap_or_default();
    root.excludes(b"", first) || root.excludes(dir, name)
}

/// Tells what files hold, in the order that they are asked for.
///
/// # Errors
/// As [`list`]; `tree-request` for a name or path that can be none.
pub fn read(
    root: &Root,
    request: &ReadFilesRequest,
    watch: &Watch<'_>,
    sink: Sink<'_, FilePiece>,
) -> Result<(), TreeError> {
    let names = request.files.iter().all(|file| is_name(&file.name));
    if !is_path(&request.dir) || !names {
        return Err(TreeError::Request);
    }
    let (meter, mut buffer) = (Meter::new(watch), Vec::new());
    let dir = root.open_dir(&request.dir);
    for file in &request.files {
        let result = match &dir {
            Ok(_) if is_excluded(root, &request.dir, &file.name) => Err(Errno::NOENT.into()),
            Ok(dir) => read_file(root, (dir.as_fd(), file), &meter, &mut buffer, sink),
            Err(error) => Err((*error).into()),
        };
        match result {
            Ok(()) => {}
            Err(Stop::Work(error)) => return Err(error),
            Err(Stop::Entry(error)) => sink(piece(Piece::Failed(FileFailed {
                gone: is_gone(error),
                reason: error.to_string(),
            })))?,
        }
    }
    Ok(())
}

/// Not there any more, or something else by now.
fn is_gone(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR | Errno::XDEV
    )
}

fn piece(kind: Piece) -> FilePiece {
    FilePiece { kind: Some(kind) }
}

fn read_file(
    root: &Root,
    (dir, file): (BorrowedFd<'_>, &WantedFile),
    meter: &Meter<'_>,
    buffer: &mut Vec<u8>,
    sink: Sink<'_, FilePiece>,
) -> Result<(), Stop> {
    let name = CString::new(&*file.name).map_err(|_| Errno::INVAL)?;
    // To open a fifo wakes who waits at its other end, and to open a device may do anything.
    if Meta::at(dir, &name)?.kind() != Kind::File {
        return Err(Errno::NOENT.into());
    }
    let fd = open_source(dir, &name)?;
    let before = Meta::of(&fd)?;
    if before.kind() != Kind::File || !before.same_mount(root.meta()) {
        return Err(Errno::NOENT.into());
    }
    // A file that was read to its last byte and then failed would leave the other side without an end: what can fail comes first.
    let attributes = attrs::all_of_open(&fd)?;
    let same = match <[u8; 32]>::try_from(&*file.have) {
        Ok(have) => hash_of(fd.as_fd(), before.size, buffer, &mut |n| meter.add(0, n))? == have,
        Err(_) => false,
    };
    sink(piece(Piece::Head(entry(c"", &before, attributes))))?;
    let digest = match <[u8; 32]>::try_from(&*file.have) {
        Ok(have) if same => have,
        _ => content((fd.as_fd(), &before), meter, buffer, sink)?,
    };
    let after = Meta::of(&fd).map_err(|e| TreeError::io("stat", &file.name, e))?;
    let look = |meta: &Meta| (meta.size, meta.mtime, meta.ctime);
    Ok(sink(piece(Piece::End(FileEnd {
        digest: digest.to_vec(),
        same,
        changed: look(&after) != look(&before),
        recent: is_recent(&before),
    })))?)
}

/// Data and holes up to the size that was told; a file that became shorter meanwhile ends with a hole.
fn content(
    (fd, meta): (BorrowedFd<'_>, &Meta),
    meter: &Meter<'_>,
    buffer: &mut Vec<u8>,
    sink: Sink<'_, FilePiece>,
) -> Result<[u8; 32], TreeError> {
    let fail = |e: Errno| TreeError::io("read", b"", e);
    let (size, whole) = (meta.size, meta.allocated >= meta.size);
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < size {
        let (start, end) = seek_data(fd, at, size, whole)
            .map_err(fail)?
            .unwrap_or((size, size));
        if start > at {
            hole(&mut hasher, start - at, meter, sink)?;
            at = start;
        }
        while at < end {
            let want = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
            room_for(buffer, want);
            let got = fill(fd, &mut buffer[..want], at).map_err(fail)?;
            if got == 0 {
                hole(&mut hasher, size - at, meter, sink)?;
                return Ok(hasher.finalize().into());
            }
            hasher.update(&buffer[..got]);
            let bytes = u64::try_from(got).unwrap_or(0);
            meter.add(0, bytes)?;
            sink(piece(Piece::Data(buffer[..got].to_vec())))?;
            at += bytes;
        }
    }
    Ok(hasher.finalize().into())
}

fn hole(
    hasher: &mut blake3::Hasher,
    mut count: u64,
    meter: &Meter<'_>,
    sink: Sink<'_, FilePiece>,
) -> Result<(), TreeError> {
    while count > 0 {
        let length = count.min(HOLE);
        zeros(hasher, length);
        meter.add(0, 0)?;
        sink(piece(Piece::Hole(length)))?;
        count -= length;
    }
    Ok(())
}

/// Takes so many zeros into a hash.
pub(super) fn zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    let zeros = [0; 16 << 10];
    while count > 0 {
        let n = usize::try_from(count).map_or(zeros.len(), |n| n.min(zeros.len()));
        hasher.update(&zeros[..n]);
        count -= u64::try_from(n).unwrap_or(count);
    }
}
