//! Bytes of a file from one descriptor to another: shared where the file system can, holes kept.

use std::{
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek},
    io::{Errno, pread, pwrite},
};

use super::{
    super::{TreeError, progress::Meter},
    Mirror,
};

/// Bytes between two looks at the cancel flag.
const PIECE: usize = 8 << 20;

/// Spreads bytes over time.
pub(super) struct Limiter {
    per_second: u64,
    free_at: Mutex<Instant>,
}

impl Limiter {
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second: per_second.max(1),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` more are due; looks at the cancel flag meanwhile.
    fn wait(&self, bytes: u64, meter: &Meter<'_>) -> Result<(), TreeError> {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let due = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + cost;
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

impl Mirror<'_> {
    /// Fills the empty file `to` with the `size` bytes of `from`; returns how many were written.
    pub(super) fn copy_content(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
    ) -> Result<u64, Stop> {
        if size == 0 {
            return Ok(0);
        }
        if self.can_clone.load(Relaxed) {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(size),
                Err(e) if cannot(e) => self.can_clone.store(false, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        let (mut at, mut copied) = (0, 0);
        while at < size {
            let (start, end) = match seek(from, SeekFrom::Data(at)) {
                Ok(start) => (start, seek(from, SeekFrom::Hole(start))?.min(size)),
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                // A file system that knows no holes.
                Err(Errno::INVAL | Errno::NOTSUP) => (at, size),
                Err(e) => return Err(e.into()),
            };
            let n = self.copy_range(from, to, start, end)?;
            copied += n;
            if n < end.saturating_sub(start) {
                break;
            }
            at = end.max(start);
        }
        ftruncate(to, size)?;
        Ok(copied)
    }

    fn copy_range(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: u64,
    ) -> Result<u64, Stop> {
        let mut at = start;
        let mut buffer = Vec::new();
        while at < end {
            let piece = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
            if let Some(limiter) = &self.limiter {
                limiter.wait(u64::try_from(piece).unwrap_or(0), &self.meter)?;
            }
            let n = self.copy_piece((from, to), at, piece, &mut buffer)?;
            if n == 0 {
                break; // the file became shorter meanwhile
            }
            at += n;
            self.meter.add(0, n)?;
        }
        Ok(at.saturating_sub(start))
    }

    fn copy_piece(
        &self,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        at: u64,
        piece: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<u64, Errno> {
        if self.can_copy_range.load(Relaxed) {
            match copy_file_range(
                from,
                Some(&mut at.clone()),
                to,
                Some(&mut at.clone()),
                piece,
            ) {
                Ok(n) => return Ok(u64::try_from(n).unwrap_or(0)),
                Err(e) if cannot(e) => self.can_copy_range.store(false, Relaxed),
                Err(e) => return Err(e),
            }
        }
        buffer.resize(piece.min(256 * 1024), 0);
        let n = pread(from, &mut buffer[..], at)?;
        let mut written = 0;
        while written < n {
            let offset = at + u64::try_from(written).unwrap_or(0);
            written += pwrite(to, &buffer[written..n], offset)?;
        }
        Ok(u64::try_from(n).unwrap_or(0))
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

fn fill(fd: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
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
