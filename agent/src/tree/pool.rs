//! Workers on one tree: as many as it takes to keep the cores or the disk busy, no more.
//!
//! With a warm cache the work is bound by the cores, and more workers than cores hinder one another;
//! with a cold one it waits for the disk, which is fastest with about eight requests at a time
//! (facts/practice.md 1.1). Which of the two it is shows while it runs: the process reads from a disk and
//! does not use all cores, or it uses few although work is queued. So the pool starts with one worker a core
//! and adds some then. Cores alone do not tell: workers on one large directory wait for its lock, and more of
//! them would wait longer; and who reads inodes from a disk has much to do for each, so that slow cores are more
//! than half busy beside the waiting.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::TreeError;

/// How many workers may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// At the start.
    pub min: usize,
    /// While the disk is what is waited for.
    pub max: usize,
}

impl Threads {
    /// For work that makes many files: it is bound by the file system's journal, and more than two hinder one another
    /// (facts/building-blocks.md 9).
    pub const WRITING: Self = Self { min: 2, max: 2 };
    /// For work that looks at many files and writes few: where neither side is in memory it waits for the disk.
    pub const LOOKING: Self = Self { min: 2, max: 8 };
}

impl Default for Threads {
    fn default() -> Self {
        let cores = thread::available_parallelism()
            .map_or(2, |n| n.get())
            .clamp(2, 8);
        Self { min: cores, max: 8 }
    }
}

/// What the workers do.
pub(super) trait Job: Sync {
    /// One piece of work.
    type Task: Send;
    /// What each worker keeps for itself.
    type Local: Send + Default;

    /// Does one piece; new ones go to `queue`.
    fn run(
        &self,
        task: Self::Task,
        local: &mut Self::Local,
        queue: &Queue<Self::Task>,
    ) -> Result<(), TreeError>;

    /// Called when the worker finds nothing to do: what it holds back is to be passed on.
    fn idle(&self, _local: &mut Self::Local, _queue: &Queue<Self::Task>) -> Result<(), TreeError> {
        Ok(())
    }
}

struct State<T> {
    urgent: VecDeque<T>,
    stack: Vec<T>,
    /// Queued, being done, or in other hands (see `lend`).
    open: usize,
    error: Option<TreeError>,
}

/// The pieces still to do.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Waited for by the one that counts the workers, who need not hear of every piece.
    ended: Condvar,
    stop: AtomicBool,
    /// Set while what was collected should be worked off before more is.
    full: AtomicBool,
}

enum Next<T> {
    Task(T),
    Nothing,
    End,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State {
            urgent: VecDeque::new(),
            stack: Vec::new(),
            open: 0,
            error: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    /// Adds new pieces; the last is taken first, which keeps the walk deep and the queue short.
    pub(super) fn push(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        let before = state.stack.len();
        state.stack.extend(tasks);
        let added = state.stack.len() - before;
        state.open += added;
        drop(state);
        if added > 0 {
            self.changed.notify_all();
        }
    }

    /// Announces a piece that is in other hands, and comes back through `hand_back`.
    pub(super) fn lend(&self) {
        self.lock().open += 1;
    }

    /// A lent piece is ready; such pieces go first.
    pub(super) fn hand_back(&self, tasks: impl IntoIterator<Item = T>) {
        self.lock().urgent.extend(tasks);
        self.changed.notify_all();
    }

    /// Adds new pieces that are taken in the order given.
    pub(super) fn push_in_order(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        let before = state.urgent.len();
        state.urgent.extend(tasks);
        state.open += state.urgent.len() - before;
        drop(state);
        self.changed.notify_all();
    }

    /// Holds back (or lets go on) the pieces that are not urgent.
    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Relaxed) && !full {
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    /// Ends the work.
    pub(super) fn fail(&self, error: TreeError) {
        self.lock().error.get_or_insert(error);
        self.stop.store(true, Relaxed);
        self.changed.notify_all();
        self.ended.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, finished: bool, wait: bool) -> Next<T> {
        let mut state = self.lock();
        if finished {
            state.open -= 1;
            if state.open == 0 {
                self.changed.notify_all();
                self.ended.notify_all();
            }
        }
        loop {
            if self.is_stopped() {
                return Next::End;
            }
            if let Some(task) = state.urgent.pop_front() {
                return Next::Task(task);
            }
            if !self.full.load(Relaxed)
                && let Some(task) = state.stack.pop()
            {
                return Next::Task(task);
            }
            if !wait {
                return Next::Nothing;
            }
            if state.open == 0 {
                return Next::End;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work<J: Job<Task = T>>(&self, job: &J, local: &mut J::Local) {
        let (mut finished, mut wait) = (false, false);
        loop {
            match self.next(finished, wait) {
                Next::Task(task) => {
                    if let Err(error) = job.run(task, local, self) {
                        self.fail(error);
                    }
                    (finished, wait) = (true, false);
                }
                Next::Nothing => {
                    if let Err(error) = job.idle(local, self) {
                        self.fail(error);
                    }
                    (finished, wait) = (false, true);
                }
                Next::End => return,
            }
        }
    }
}

/// Works until nothing is left, or the first error; returns what each worker kept.
pub(super) fn run<J: Job>(
    job: &J,
    queue: &Queue<J::Task>,
    threads: Threads,
) -> Result<Vec<J::Local>, TreeError> {
    let locals = thread::scope(|scope| {
        let spawn = || {
            scope.spawn(|| {
                let mut local = J::Local::default();
                queue.work(job, &mut local);
                local
            })
        };
        let mut workers: Vec<_> = (0..threads.min.max(1)).map(|_| spawn()).collect();
        while workers.len() < threads.max && wait_for_idle_cores(queue, threads.min) {
            workers.push(spawn());
            workers.push(spawn());
        }
        workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    let mut kept = Vec::with_capacity(locals.len());
    for local in locals {
        match local {
            Ok(local) => kept.push(local),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    match queue.lock().error.take() {
        Some(error) => Err(error),
        None => Ok(kept),
    }
}

/// True once the cores had time to spare although work was queued, a little of it being enough while a disk is read;
/// false at the end of the work.
fn wait_for_idle_cores<T>(queue: &Queue<T>, cores: usize) -> bool {
    const SAMPLE: Duration = Duration::from_millis(20);
    loop {
        let (start, used, read) = (Instant::now(), cpu_time(), bytes_read());
        let mut state = queue.lock();
        while start.elapsed() < SAMPLE {
            if state.open == 0 || queue.is_stopped() {
                return false;
            }
            let left = SAMPLE.saturating_sub(start.elapsed());
            state = match queue.ended.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poison) => poison.into_inner().0,
            };
        }
        let queued = state.stack.len() + state.urgent.len();
        drop(state);
        let busy = cpu_time().saturating_sub(used).as_secs_f64() / start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
        let load = busy / cores as f64;
        let disk = bytes_read().saturating_sub(read) >= FROM_DISK;
        if queued > 0 && load < if disk { 0.9 } else { 0.5 } {
            return true;
        }
    }
}

/// What a process reads from disks while it waits for them: more than now and then a page of a sample.
const FROM_DISK: u64 = 16 * 4096;

/// Bytes that this process has had read from disks so far; none where the kernel does not tell.
fn bytes_read() -> u64 {
    let text = fs_err::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("read_bytes: "));
    line.and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        t.tv_sec.try_into().unwrap_or(0),
        t.tv_nsec.try_into().unwrap_or(0),
    )
}
