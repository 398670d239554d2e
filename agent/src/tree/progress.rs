//! How far the work is, and the wish to stop it: shared by all workers, hence atomics only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::TreeError;

/// Set once by whoever wants the work to end; looked at before each entry or small batch.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to end; it does so with [`TreeError::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(super) fn check(&self) -> Result<(), TreeError> {
        if self.is_cancelled() {
            Err(TreeError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// How far the work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Entries looked at.
    pub entries: u64,
    /// Bytes of content copied or compared.
    pub bytes: u64,
}

/// Told now and then how far the work is, from whichever worker is there.
pub trait Progress: Sync {
    /// At most about ten times a second.
    fn progress(&self, done: Done);
}

impl<F: Fn(Done) + Sync> Progress for F {
    fn progress(&self, done: Done) {
        self(done);
    }
}

/// A listener that does not care.
pub struct Quiet;

impl Progress for Quiet {
    fn progress(&self, _: Done) {}
}

/// Who listens and who may stop the work: handed to every operation.
#[derive(Clone)]
pub struct Watch<'a> {
    /// Told how far the work is.
    pub progress: &'a dyn Progress,
    /// Ends the work when set.
    pub cancel: CancelFlag,
}

impl Default for Watch<'_> {
    fn default() -> Self {
        Self {
            progress: &Quiet,
            cancel: CancelFlag::new(),
        }
    }
}

/// Counts, and speaks to the listener no more often than is worth reading.
pub(super) struct Meter<'a> {
    watch: &'a Watch<'a>,
    entries: AtomicU64,
    bytes: AtomicU64,
    start: Instant,
    spoke: AtomicU64,
}

impl<'a> Meter<'a> {
    const PAUSE_MS: u64 = 100;

    pub(super) fn new(watch: &'a Watch<'a>) -> Self {
        Self {
            watch,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            start: Instant::now(),
            spoke: AtomicU64::new(0),
        }
    }

    /// Adds a batch, and ends the work where that was asked for.
    pub(super) fn add(&self, entries: u64, bytes: u64) -> Result<(), TreeError> {
        self.entries.fetch_add(entries, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.spoke.load(Relaxed);
        if now >= last + Self::PAUSE_MS
            && self
                .spoke
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok()
        {
            self.watch.progress.progress(self.done());
        }
        self.watch.cancel.check()
    }

    pub(super) fn done(&self) -> Done {
        Done {
            entries: self.entries.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }

    pub(super) fn cancel(&self) -> &CancelFlag {
        &self.watch.cancel
    }
}
