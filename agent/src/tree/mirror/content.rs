//! Bytes of a file from one descriptor to another: shared where the file system can, holes kept,
//! hashed on the way where a manifest is written.
//!
//! With a hash, the bytes come through this process anyway, and are written from the same buffer:
//! what is hashed is what is written. Rejected: `copy_file_range` and a read besides, which may see
//! other bytes than were copied.

use std::{
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Advice, SeekFrom, copy_file_range, fadvise, ftruncate, ioctl_ficlone, seek},
    io::{Errno, pread, pwrite},
};

use super::{
    super::{
        TreeError, give::zeros, manifest::Digest, meta::Meta, progress::Meter, space::PER_FILE,
    },
    Mirror,
};

/// Bytes between two looks at the cancel flag.
const PIECE: usize = 8 << 20;
/// Bytes of one file between two looks at the room that is left.
const LOOK: u64 = 64 << 20;

/// What is read and written at once.
pub(in crate::tree) const BUFFER: usize = 256 << 10;

/// Spreads bytes over time.
pub(in crate::tree) struct Limiter {
    per_second: u64,
    free_at: Mutex<Instant>,
}

impl Limiter {
    /// What was not used in so long may be caught up with: a sleep that was too long, an open that
    /// took its time.
    const CREDIT: Duration = Duration::from_millis(100);

    pub(in crate::tree) fn new(per_second: u64) -> Self {
        Self {
            per_second: per_second.max(1),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// The most that should be waited for at once, so that the load is even.
    fn piece(&self) -> usize {
        usize::try_from(self.per_second / 10).map_or(PIECE, |piece| piece.clamp(4096, PIECE))
    }

    /// Waits until `bytes` more are due; looks at the cancel flag meanwhile.
    pub(in crate::tree) fn wait(&self, bytes: u64, meter: &Meter<'_>) -> Result<(), TreeError> {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let due = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *free_at = (*free_at).max(now.checked_sub(Self::CREDIT).unwrap_or(now)) + cost;
            *free_at
        };
        loop {
            meter.cancel().check()?;
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// Why a copy of content stopped: the entry's own trouble, or the end of the whole work.
pub(in crate::tree) enum Stop {
    Entry(Errno),
    Work(TreeError),
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Entry(error)
    }
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        Self::Work(error)
    }
}

/// A file's bytes on their way.
pub(super) struct Flow<'a> {
    pub(super) from: BorrowedFd<'a>,
    pub(super) to: BorrowedFd<'a>,
    /// Where it lies, for errors.
    pub(super) path: &'a [u8],
    pub(super) buffer: &'a mut Vec<u8>,
    /// Takes what is copied, holes as zeros.
    pub(super) hasher: Option<&'a mut blake3::Hasher>,
}

impl Flow<'_> {
    fn zeros(&mut self, count: u64) {
        if let Some(hasher) = &mut self.hasher {
            zeros(hasher, count);
        }
    }
}

impl Mirror<'_> {
    /// Fills the empty file `to` with the bytes of `from`, which looks like `meta`; returns how many
    /// were written.
    pub(super) fn copy_content(&self, flow: &mut Flow<'_>, meta: &Meta) -> Result<u64, Stop> {
        let size = meta.size;
        if size == 0 {
            return Ok(0);
        }
        if self.can_clone.load(Relaxed) {
            match ioctl_ficlone(flow.to, flow.from) {
                Ok(()) => {
                    if let Some(hasher) = &mut flow.hasher {
                        // Sharing costs the disk nothing; the reading does.
                        let mut due = |bytes| self.due(bytes);
                        hash_all(flow.to, size, flow.buffer, hasher, &mut due)?;
                    }
                    return Ok(size);
                }
                // One file of those whose blocks are not to be shared says nothing of the others.
                Err(Errno::INVAL) => {}
                Err(e) if cannot(e) => self.can_clone.store(false, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        self.make_room(flow.path, size.min(meta.allocated))?;
        let whole = meta.allocated >= size;
        let (mut at, mut copied) = (0, 0);
        while at < size {
            let (start, end) = match seek_data(flow.from, at, size, whole)? {
                Some(found) => found,
                // Nothing but a hole up to the end.
                None => break,
            };
            flow.zeros(start - at);
            let n = self.copy_range(flow, start, end)?;
            copied += n;
            at = start + n;
            if at < end {
                break; // the file became shorter meanwhile
            }
        }
        if at < size {
            flow.zeros(size - at);
            ftruncate(flow.to, size)?;
        }
        Ok(copied)
    }

    fn make_room(&self, path: &[u8], bytes: u64) -> Result<(), TreeError> {
        match &self.room {
            Some(room) => room.take(self.dst, path, bytes.saturating_add(PER_FILE)),
            None => Ok(()),
        }
    }

    fn copy_range(&self, flow: &mut Flow<'_>, start: u64, end: u64) -> Result<u64, Stop> {
        let most = self.limiter.as_ref().map_or(PIECE, Limiter::piece);
        let mut at = start;
        let mut looked = start;
        while at < end {
            let piece = usize::try_from(end - at).map_or(most, |left| left.min(most));
            if let Some(limiter) = &self.limiter {
                limiter.wait(u64::try_from(piece).unwrap_or(0), &self.meter)?;
            }
            let n = self.copy_piece(flow, at, piece)?;
            if n == 0 {
                break; // the file became shorter meanwhile
            }
            at += n;
            self.meter.add(0, n)?;
            // Others may fill the file system while a large file is copied.
            if at - looked >= LOOK && at < end {
                looked = at;
                self.make_room(flow.path, end - at)?;
            }
        }
        Ok(at.saturating_sub(start))
    }

    fn copy_piece(&self, flow: &mut Flow<'_>, at: u64, piece: usize) -> Result<u64, Errno> {
        if flow.hasher.is_none() && self.can_copy_range.load(Relaxed) {
            let (mut from, mut to) = (at, at);
            match copy_file_range(flow.from, Some(&mut from), flow.to, Some(&mut to), piece) {
                Ok(n) => return Ok(u64::try_from(n).unwrap_or(0)),
                Err(e) if cannot(e) => self.can_copy_range.store(false, Relaxed),
                Err(e) => return Err(e),
            }
        }
        let size = piece.min(BUFFER);
        room_for(flow.buffer, size);
        let n = fill(flow.from, &mut flow.buffer[..size], at)?;
        let mut written = 0;
        while written < n {
            let offset = at + u64::try_from(written).unwrap_or(0);
            match pwrite(flow.to, &flow.buffer[written..n], offset) {
                // A file system that takes nothing and says nothing is full.
                Ok(0) => return Err(Errno::NOSPC),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        if let Some(hasher) = &mut flow.hasher {
            hasher.update(&flow.buffer[..n]);
        }
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// The hash of an unchanged file that no manifest knows.
    pub(super) fn hash_known_file(
        &self,
        fd: BorrowedFd<'_>,
        size: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Digest, Stop> {
        hash_of(fd, size, buffer, &mut |bytes| self.due(bytes))
    }

    /// Waits until so many bytes may be read for their hash alone.
    fn due(&self, bytes: u64) -> Result<(), TreeError> {
        if let Some(limiter) = &self.limiter {
            limiter.wait(bytes, &self.meter)?;
        }
        self.meter.add(0, bytes)
    }
}

/// The next bytes of a file from `at` on, as start and end; `None` where only a hole follows.
pub(in crate::tree) fn seek_data(
    fd: BorrowedFd<'_>,
    at: u64,
    size: u64,
    whole: bool,
) -> Result<Option<(u64, u64)>, Errno> {
    if whole {
        return Ok(Some((at, size)));
    }
    match seek(fd, SeekFrom::Data(at)) {
        Ok(start) if start < size => Ok(Some((start, seek(fd, SeekFrom::Hole(start))?.min(size)))),
        Ok(_) | Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some((at, size))),
        Err(e) => Err(e),
    }
}

/// Has what is read of a file next come from the disk instead of memory. Only what is on the disk already: sync before. A file system that
/// lies in memory, and one that does not know the advice, does without.
pub(in crate::tree) fn forget(fd: BorrowedFd<'_>) {
    let _advice = fadvise(fd, 0, None, Advice::DontNeed);
}

/// BLAKE3 of the first `size` bytes of a file; `due` is told before each piece is read.
pub(in crate::tree) fn hash_of(
    fd: BorrowedFd<'_>,
    size: u64,
    buffer: &mut Vec<u8>,
    due: &mut dyn FnMut(u64) -> Result<(), TreeError>,
) -> Result<Digest, Stop> {
    let mut hasher = blake3::Hasher::new();
    hash_all(fd, size, buffer, &mut hasher, due)?;
    Ok(hasher.finalize().into())
}

/// A file that is shorter than `size` has another hash than any of that size.
fn hash_all(
    fd: BorrowedFd<'_>,
    size: u64,
    buffer: &mut Vec<u8>,
    hasher: &mut blake3::Hasher,
    due: &mut dyn FnMut(u64) -> Result<(), TreeError>,
) -> Result<(), Stop> {
    let mut at = 0;
    while at < size {
        let piece = usize::try_from(size - at).map_or(BUFFER, |left| left.min(BUFFER));
        due(u64::try_from(piece).unwrap_or(0))?;
        room_for(buffer, piece);
        let n = fill(fd, &mut buffer[..piece], at)?;
        hasher.update(&buffer[..n]);
        at += u64::try_from(n).unwrap_or(0);
        if n < piece {
            break;
        }
    }
    Ok(())
}

/// A buffer is kept by its worker, and zeroed once.
pub(in crate::tree) fn room_for(buffer: &mut Vec<u8>, size: usize) {
    if buffer.len() < size {
        buffer.resize(size.max(64 << 10), 0);
    }
}

/// The file systems or the kernel cannot do it at all, as opposed to having failed at it.
fn cannot(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOTSUP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM
    )
}

/// Whether two files hold the same bytes.
pub(in crate::tree) fn same_bytes(
    a: BorrowedFd<'_>,
    b: BorrowedFd<'_>,
    meter: &Meter<'_>,
) -> Result<bool, Stop> {
    let (mut left, mut right) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let mut at = 0;
    loop {
        let n = fill(a, &mut left, at)?;
        let m = fill(b, &mut right, at)?;
        if n != m || left[..n] != right[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
        let n = u64::try_from(n).unwrap_or(0);
        at += n;
        meter.add(0, n)?;
    }
}

/// Reads until the buffer is full or the file ends.
pub(in crate::tree) fn fill(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    at: u64,
) -> Result<usize, Errno> {
    let mut got = 0;
    while got < buffer.len() {
        match pread(fd, &mut buffer[got..], at + u64::try_from(got).unwrap_or(0)) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
