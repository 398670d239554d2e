//! Gives a whole tree to one owner, with a record to undo it, at the speed of the file system.
//!
//! ```text
//!  workers:  look at directories ──► bulks ──► writer: record, sync ──► workers: change those bulks
//! ```
//! Files first, then files with several names, then directories from the deepest up, the root last:
//! its owner is the mark that all below is right.

use std::{
    os::fd::AsFd,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustix::io::Errno;

use super::{
    super::{
        Manifest, Problems, RecordWriter, Root, Threads, TreeError, Watch, attrs,
        error::join,
        meta::Meta,
        pool::{self, Job, Queue},
        progress::Meter,
        record::{Frame, Part},
        root::RelPath,
        scan::sentence,
    },
    Owner,
    apply::{self, Refused},
    collect::{BULK, Bulk, Found, Wanted, plain},
};

/// When files with names outside the tree are found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkCheck {
    /// Before the first change, entries with the immutable attribute too: the whole tree is looked at, then changed. What is to change is kept
    /// in memory meanwhile, about 60 bytes an entry.
    #[default]
    First,
    /// While it goes: such files are left alone and the transfer fails at its end, other entries
    /// having changed. Needs memory for directories alone; for a tree of many millions whose links
    /// `count` has just looked at.
    Along,
}

/// How a transfer goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransferOptions<'a> {
    /// Workers.
    pub threads: Threads,
    /// When hard links are checked.
    pub links: LinkCheck,
    /// What the tree at rest held a moment ago, as the final pass of a backup wrote it down: directories that
    /// are still the same are not looked at entry by entry. A transfer that goes on with an earlier one's
    /// record makes no use of it.
    pub known: Option<&'a Manifest>,
}

/// What a transfer did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// Entries looked at, the root included.
    pub entries: u64,
    /// Entries that were given the owner.
    pub changed: u64,
    /// Entries that had it already.
    pub already_right: u64,
    /// Devices, which are not given away.
    pub skipped: u64,
    /// Mounts met below the root, not entered.
    pub mounts: u64,
    /// Files whose setuid, setgid or capability an earlier, killed transfer had left cleared.
    pub mended: u64,
}

enum Task {
    Dir(RelPath),
    Give(Bulk),
}

struct Transfer<'a> {
    root: &'a Root,
    target: Owner,
    meter: Meter<'a>,
    links: LinkCheck,
    known: Option<&'a Manifest>,
    /// Entries found but not changed yet.
    pending: AtomicUsize,
    to_writer: Sender<Bulk>,
}

/// Bulks between finding and changing: bounds memory, and keeps the writer busy meanwhile.
const IN_FLIGHT: usize = 8 * BULK;

impl Transfer<'_> {
    fn flush(&self, bulk: Bulk, queue: &Queue<Task>) -> Result<(), TreeError> {
        if bulk.len == 0 {
            return Ok(());
        }
        if self.links == LinkCheck::Along {
            queue.lend();
            let pending = self.pending.fetch_add(bulk.len, Relaxed) + bulk.len;
            queue.set_full(pending > IN_FLIGHT);
        }
        // The writer only hangs up after it has failed the queue with its own error.
        self.to_writer.send(bulk).map_err(|_| TreeError::Cancelled)
    }
}

impl Job for Transfer<'_> {
    type Task = Task;
    type Local = Found;

    fn run(&self, task: Task, found: &mut Found, queue: &Queue<Task>) -> Result<(), TreeError> {
        match task {
            Task::Dir(dir) => {
                let what = Wanted {
                    root: self.root,
                    target: self.target,
                    known: self.known,
                    meter: &self.meter,
                };
                let flush = |bulk| self.flush(bulk, queue);
                found.collect(what, &dir, queue, Task::Dir, flush)
            }
            Task::Give(bulk) => {
                for part in &bulk.files {
                    found.changed += apply::give(
                        self.root,
                        part,
                        self.target,
                        &self.meter,
                        &mut found.refused,
                    )?;
                }
                if self.links == LinkCheck::Along {
                    let pending = self.pending.fetch_sub(bulk.len, Relaxed) - bulk.len;
                    queue.set_full(pending > IN_FLIGHT);
                }
                Ok(())
            }
        }
    }

    fn idle(&self, found: &mut Found, queue: &Queue<Task>) -> Result<(), TreeError> {
        self.flush(std::mem::take(&mut found.bulk), queue)
    }
}

/// What the writer keeps for the time after the walk.
#[derive(Default)]
struct Written {
    held: Vec<Bulk>,
    dirs: Vec<Part>,
}

/// Gives every entry of `root` to `target`. What is right already is not touched, not even its
/// ctime; permission bits stay, and setuid, setgid and capabilities, which the kernel clears, are
/// put back. `record` has each former owner on disk before its entry changes.
///
/// # Errors
/// [`TreeError::LinksOutside`], [`TreeError::Immutable`], [`TreeError::Entries`] (all other entries were changed, the root was
/// not), [`TreeError::RecordOfOther`], [`TreeError::Io`], [`TreeError::Cancelled`].
pub fn transfer(
    root: &Root,
    target: Owner,
    mut record: RecordWriter,
    options: &TransferOptions<'_>,
    watch: &Watch<'_>,
) -> Result<TransferReport, TreeError> {
    let mended = mend_earlier(root, target, &record)?;
    let was_complete = record.is_complete();
    // What an earlier transfer has changed already is not as the manifest says.
    let known = options.known.filter(|_| record.is_empty());
    let root_meta = Meta::of(root).map_err(|e| TreeError::io("stat", b"", e))?;
    let start = Frame::Start {
        target,
        root: plain(&root_meta),
    };

    let (to_writer, from_workers) = channel();
    let queue = Queue::new();
    queue.push([Task::Dir(RelPath::from([]))]);
    let job = Transfer {
        root,
        target,
        meter: Meter::new(watch),
        links: options.links,
        known,
        pending: AtomicUsize::new(0),
        to_writer,
    };
    let (result, written, meter) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = write(&mut record, &start, &from_workers, &queue, options.links);
            // Dropped here, so that no worker waits for a writer that is gone.
            drop(from_workers);
            written
        });
        let result = pool::run(&job, &queue, options.threads);
        let Transfer {
            to_writer, meter, ..
        } = job;
        drop(to_writer);
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (result, written, meter)
    });
    // The writer's own failure is the reason, the workers' is what follows from it.
    let Written { held, dirs } = written?;
    let mut found = Found::default();
    for local in result? {
        found.merge(local);
    }

    let outside = found.links.outside();
    if root_meta.immutable && root_meta.owner != target {
        found.refused.immutable.add(|| ".".to_owned());
    }
    if options.links == LinkCheck::First {
        if !found.refused.immutable.is_empty() {
            let problems = found.refused.immutable;
            return Err(TreeError::Immutable { problems });
        }
        if !outside.is_empty() {
            return Err(TreeError::LinksOutside { problems: outside });
        }
        give_held(root, target, held, &meter, options.threads, &mut found)?;
    }
    for linked in std::mem::take(&mut found.linked) {
        if !found.links.all_inside(linked.inode) {
            continue;
        }
        let what = (&linked.item, linked.inode, target);
        match apply::give_linked(root, &linked.dir, &linked.name, what) {
            Ok(true) => found.changed += 1,
            Ok(false) => found.right += 1,
            Err(e) => found
                .refused
                .problems
                .add(|| sentence(&linked.dir, &linked.name, e)),
        }
    }
    let (changed, problems) = apply::by_depth(dirs, options.threads.min, |part, problems| {
        let mut refused = Refused::default();
        let changed = apply::give(root, part, target, &meter, &mut refused);
        problems.merge(refused.into_problems());
        changed
    })?;
    found.changed += changed;
    found.refused.problems.merge(problems);
    if !found.refused.problems.is_empty() {
        found.refused.problems.merge(found.refused.immutable);
        return Err(TreeError::Entries {
            action: "change of owner",
            problems: found.refused.problems,
        });
    }
    if !found.refused.immutable.is_empty() {
        let problems = found.refused.immutable;
        return Err(TreeError::Immutable { problems });
    }
    if !outside.is_empty() {
        return Err(TreeError::LinksOutside { problems: outside });
    }

    if root_meta.owner == target {
        found.right += 1;
    } else {
        if !record.is_started() {
            record.append(&start)?;
        }
        rustix::fs::fchown(root.as_fd(), Some(target.to_uid()), Some(target.to_gid()))
            .map_err(|e| TreeError::io("change of owner", b"", e))?;
        found.changed += 1;
    }
    if record.is_started() || !was_complete {
        record.append(&Frame::End)?;
    }
    record.finish()?;
    Ok(TransferReport {
        entries: found.entries + 1,
        changed: found.changed,
        already_right: found.right,
        skipped: found.skipped,
        mounts: found.mounts,
        mended,
    })
}

/// Records what the workers found, bulk after bulk, and lets it be changed once it is on disk.
fn write(
    record: &mut RecordWriter,
    start: &Frame,
    from_workers: &Receiver<Bulk>,
    queue: &Queue<Task>,
    links: LinkCheck,
) -> Result<Written, TreeError> {
    let mut written = Written::default();
    let mut batch = |bulks: Vec<Bulk>| -> Result<(), TreeError> {
        if !record.is_started() {
            record.append(start)?;
        }
        record.append_parts(bulks.iter().flat_map(|b| b.files.iter().chain(&b.dirs)))?;
        let mut ready = Vec::with_capacity(bulks.len());
        for mut bulk in bulks {
            written.dirs.append(&mut bulk.dirs);
            ready.push(bulk);
        }
        match links {
            LinkCheck::First => written.held.append(&mut ready),
            LinkCheck::Along => queue.hand_back(ready.into_iter().map(Task::Give)),
        }
        Ok(())
    };
    while let Ok(first) = from_workers.recv() {
        let mut bulks = vec![first];
        bulks.extend(from_workers.try_iter());
        if let Err(error) = batch(bulks) {
            queue.fail(TreeError::Cancelled);
            return Err(error);
        }
    }
    Ok(written)
}

/// Changes what was held back until the whole tree had been looked at.
fn give_held(
    root: &Root,
    target: Owner,
    held: Vec<Bulk>,
    meter: &Meter<'_>,
    threads: Threads,
    found: &mut Found,
) -> Result<(), TreeError> {
    struct Give<'a>(&'a Root, Owner, &'a Meter<'a>);
    impl Job for Give<'_> {
        type Task = Part;
        type Local = (u64, Refused);
        fn run(
            &self,
            part: Part,
            (changed, refused): &mut (u64, Refused),
            _: &Queue<Part>,
        ) -> Result<(), TreeError> {
            *changed += apply::give(self.0, &part, self.1, self.2, refused)?;
            Ok(())
        }
    }
    let queue = Queue::new();
    queue.push_in_order(held.into_iter().flat_map(|bulk| bulk.files));
    for (changed, refused) in pool::run(&Give(root, target, meter), &queue, threads)? {
        found.changed += changed;
        found.refused.merge(refused);
    }
    Ok(())
}

/// A transfer that was killed between a change of owner and putting back what it cleared left a file
/// that looks right: the record knows better. Also refuses a record made for another owner.
fn mend_earlier(root: &Root, target: Owner, record: &RecordWriter) -> Result<u64, TreeError> {
    let mut reader = record.reader()?;
    if let Some(recorded) = reader.target()?.filter(|&recorded| recorded != target) {
        let (recorded, wanted) = (recorded.to_string(), target.to_string());
        return Err(TreeError::RecordOfOther { recorded, wanted });
    }
    let (mut mended, mut problems) = (0, Problems::default());
    let mut seen = std::collections::HashSet::new();
    while let Some(frame) = reader.next_frame()? {
        let Frame::Parts(parts) = frame else { continue };
        for part in parts {
            let lossy = part
                .names
                .iter()
                .zip(&part.items)
                .filter(|(_, i)| i.loses_by_chown());
            for (name, item) in lossy {
                // The first record of an entry is its former state; a later one may lack the bits.
                if !seen.insert(join(&part.dir, name.to_bytes())) {
                    continue;
                }
                let mend = || {
                    let fd = attrs::open_path(root.open_dir(&part.dir)?, name)?;
                    let meta = Meta::of(&fd)?;
                    let lost = meta.owner == target && meta.mode | 0o6000 == item.mode | 0o6000;
                    if lost {
                        apply::put_back(&fd, item)?;
                    }
                    Ok(u64::from(lost && meta.mode != item.mode))
                };
                match mend() {
                    Ok(n) => mended += n,
                    Err(Errno::NOENT) => {}
                    Err(e) => problems.add(|| sentence(&part.dir, name, e)),
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(mended)
    } else {
        Err(TreeError::Entries {
            action: "mending of what a killed transfer left",
            problems,
        })
    }
}
