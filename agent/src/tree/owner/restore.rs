//! Gives every entry back to its former owner, from the record.

use std::{
    collections::{HashMap, HashSet},
    ffi::CStr,
    os::fd::AsFd,
};

use rustix::{
    fs::{AtFlags, chownat},
    io::Errno,
};

use super::{
    super::{
        Problems, RecordReader, Root, Threads, TreeError, Watch, attrs,
        error::{join, show, show_in},
        meta::{Kind, Meta},
        pool::{self, Job, Queue},
        progress::Meter,
        record::{Frame, Item, Part},
        root::RelPath,
        scan::sentence,
    },
    apply,
};

/// What was given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOwnersReport {
    /// Entries that the record speaks of, the root included; one that several transfers recorded
    /// counts each time.
    pub entries: u64,
    /// Entries that were changed.
    pub changed: u64,
    /// Entries that were as recorded.
    pub already_right: u64,
    /// Recorded entries that are gone, or whose name now stands for another kind of entry.
    pub missing: Problems,
}

/// One part of one transfer's record, files or directories.
#[derive(Default)]
struct Sum {
    changed: u64,
    right: u64,
    missing: Problems,
    failed: Problems,
    linked: Vec<LinkedName>,
}

struct Restore<'a> {
    root: &'a Root,
    meter: Meter<'a>,
}

impl Restore<'_> {
    fn part(&self, part: &Part, sum: &mut Sum) -> Result<(), TreeError> {
        let count = u64::try_from(part.items.len()).unwrap_or(u64::MAX);
        self.meter.add(count, 0)?;
        let dir = match self.root.open_dir(&part.dir) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                for name in part.names.iter() {
                    sum.missing.add(|| show_in(&part.dir, name.to_bytes()));
                }
                return Ok(());
            }
            Err(e) => {
                for _ in &part.items {
                    sum.failed.add(|| format!("{}: {e}", show(&part.dir)));
                }
                return Ok(());
            }
        };
        for (index, (name, item)) in part.names.iter().zip(&part.items).enumerate() {
            if index % 256 == 0 {
                self.meter.cancel().check()?;
            }
            if item.linked {
                sum.linked.push(LinkedName {
                    dir: part.dir.clone(),
                    name: name.into(),
                    item: item.clone(),
                });
                continue;
            }
            sum.note(&part.dir, name, item, give_back(&dir, name, item));
        }
        Ok(())
    }
}

/// One recorded name of an entry that had several.
struct LinkedName {
    dir: RelPath,
    name: Box<CStr>,
    item: Item,
}

impl Sum {
    /// Sorts what became of one entry.
    fn note(&mut self, dir: &[u8], name: &CStr, item: &Item, result: Result<bool, Errno>) {
        let path = || show_in(dir, name.to_bytes());
        match result {
            Ok(true) => self.changed += 1,
            Ok(false) => self.right += 1,
            Err(Errno::NOENT) => self.missing.add(path),
            Err(Errno::STALE) => self.missing.add(|| {
                let was = item.kind().word();
                format!("{}: it was a {was}, and is not any more", path())
            }),
            Err(Errno::MLINK) => self
                .failed
                .add(|| format!("{}: it got another hard link since", path())),
            Err(e) => self.failed.add(|| sentence(dir, name, e)),
        }
    }
}

impl Job for Restore<'_> {
    type Task = Part;
    type Local = Sum;

    fn run(&self, part: Part, sum: &mut Sum, _: &Queue<Part>) -> Result<(), TreeError> {
        self.part(&part, sum)
    }
}

/// Makes one entry what the record says; false where it was.
fn give_back(dir: impl AsFd, name: &CStr, item: &Item) -> Result<bool, Errno> {
    let meta = Meta::at(&dir, name)?;
    if meta.kind() != item.kind() {
        return Err(Errno::STALE);
    }
    // A name that came to share its inode with another could reach out of the tree.
    if meta.is_linked() && !item.linked {
        return Err(Errno::MLINK);
    }
    make(dir, name, item, &meta)
}

/// Makes one entry what the record says, once it is known that this reaches nothing else.
fn make(dir: impl AsFd, name: &CStr, item: &Item, meta: &Meta) -> Result<bool, Errno> {
    let same_mode = meta.mode == item.mode || item.kind() == Kind::Symlink;
    if same_mode && item.capability.is_none() && !item.loses_by_chown() && !meta.is_linked() {
        if meta.owner == item.owner {
            return Ok(false);
        }
        let (uid, gid) = (item.owner.to_uid(), item.owner.to_gid());
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        return Ok(true);
    }
    let fd = attrs::open_path(dir, name)?;
    let mut changed = !same_mode;
    if Meta::of(&fd)?.owner != item.owner {
        attrs::set_owner(&fd, item.owner)?;
        changed = true;
    }
    apply::put_back(&fd, item)?;
    Ok(changed)
}

/// Gives everything that `record` speaks of its former owner, mode and capability. Files first, the
/// root last. Can be repeated, and taken up again after a kill.
///
/// # Errors
/// `RecordDamaged` and `RecordVersion` before any change; [`TreeError::Entries`],
/// [`TreeError::Io`], [`TreeError::Cancelled`].
pub fn restore_owners(
    root: &Root,
    record: &mut RecordReader,
    threads: Threads,
    watch: &Watch<'_>,
) -> Result<RestoreOwnersReport, TreeError> {
    let sessions = sessions(record)?;
    let job = Restore {
        root,
        meter: Meter::new(watch),
    };
    let mut report = RestoreOwnersReport::default();
    let mut failed = Problems::default();
    let mut former_root = None;
    let mut linked = Vec::new();
    // The latest transfer first: what an earlier one recorded is older, and wins by coming after.
    for (start, end) in sessions.into_iter().rev() {
        let mut dirs = Vec::new();
        record.seek(start);
        while record.offset() < end.0 {
            let parts = match record.next_frame()? {
                Some(Frame::Parts(parts)) => parts,
                Some(Frame::Start { root, .. }) => {
                    former_root = Some(root);
                    continue;
                }
                Some(Frame::End) => continue,
                None => break,
            };
            let is_dirs = |p: &Part| p.items.first().is_some_and(|i| i.kind() == Kind::Dir);
            let (of_dirs, of_files): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_dirs);
            dirs.extend(of_dirs);
            let entries = of_files.iter().map(|p| p.items.len()).sum::<usize>();
            report.entries += u64::try_from(entries).unwrap_or(u64::MAX);
            let queue = Queue::new();
            queue.push_in_order(of_files);
            for sum in pool::run(&job, &queue, threads)? {
                add(&mut report, &mut failed, &mut linked, sum);
            }
        }
        let entries = dirs.iter().map(|p| p.items.len()).sum::<usize>();
        report.entries += u64::try_from(entries).unwrap_or(u64::MAX);
        let sums = std::sync::Mutex::new(Vec::new());
        apply::by_depth(dirs, threads.min, |part, _| {
            let mut sum = Sum::default();
            job.part(part, &mut sum)?;
            sums.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(sum);
            Ok(0)
        })?;
        for sum in sums
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            add(&mut report, &mut failed, &mut linked, sum);
        }
    }
    let sum = give_back_linked(root, linked);
    add(&mut report, &mut failed, &mut Vec::new(), sum);
    if !failed.is_empty() {
        return Err(TreeError::Entries {
            action: "return to the former owner",
            problems: failed,
        });
    }
    if let Some(item) = former_root {
        report.entries += 1;
        let meta = Meta::of(root).map_err(|e| TreeError::io("stat", b"", e))?;
        if meta.owner == item.owner && meta.mode == item.mode {
            report.already_right += 1;
        } else {
            rustix::fs::fchown(root, Some(item.owner.to_uid()), Some(item.owner.to_gid()))
                .and_then(|()| apply::put_back(root, &item))
                .map_err(|e| TreeError::io("return to the former owner", b"", e))?;
            report.changed += 1;
        }
    }
    // Not every file system has these on disk when a later record of the run is: the copy may be gone by then.
    rustix::fs::syncfs(root).map_err(|e| TreeError::io("sync", b"", e))?;
    Ok(report)
}

type Place = (u64, u64);

/// Where each transfer's frames begin and end. Reads the whole record, so that damage anywhere in
/// it is found before anything changes.
fn sessions(record: &mut RecordReader) -> Result<Vec<(Place, Place)>, TreeError> {
    record.rewind();
    let mut sessions: Vec<(Place, Place)> = Vec::new();
    loop {
        let here = record.place();
        let Some(frame) = record.next_frame()? else {
            return Ok(sessions);
        };
        match (frame, sessions.last_mut()) {
            (Frame::Start { .. }, _) => sessions.push((here, record.place())),
            (_, Some(last)) => last.1 = record.place(),
            (_, None) => {
                return Err(TreeError::RecordDamaged {
                    offset: 0,
                    reason: "it has no beginning",
                });
            }
        }
    }
}

/// Gives back what had several names, after looking that it has no name but those: as many as it has
/// must be among the recorded ones. `linked` has the oldest record of a name last.
fn give_back_linked(root: &Root, linked: Vec<LinkedName>) -> Sum {
    let look = |linked: &LinkedName| -> Result<_, Errno> {
        let dir = root.open_dir(&linked.dir)?;
        let meta = Meta::at(&dir, &linked.name)?;
        Ok((dir, meta))
    };
    let mut sum = Sum::default();
    let mut met: HashMap<(u64, u64), HashSet<Vec<u8>>> = HashMap::new();
    for linked in &linked {
        if let Ok((_, meta)) = look(linked) {
            let path = join(&linked.dir, linked.name.to_bytes());
            met.entry((meta.dev, meta.ino)).or_default().insert(path);
        }
    }
    for linked in &linked {
        let result = look(linked).and_then(|(dir, meta)| {
            if meta.kind() != linked.item.kind() {
                return Err(Errno::STALE);
            }
            let names = met.get(&(meta.dev, meta.ino)).map_or(0, HashSet::len);
            let item = &linked.item;
            let changes = meta.owner != item.owner
                || meta.mode != item.mode
                || (item.capability.is_some()
                    && attrs::get(attrs::open_path(&dir, &linked.name)?, attrs::CAPABILITY)?
                        != item.capability.as_deref().map(Vec::from));
            if changes && names < usize::try_from(meta.nlink).unwrap_or(usize::MAX) {
                return Err(Errno::MLINK);
            }
            make(dir, &linked.name, &linked.item, &meta)
        });
        let result = result.map_err(|e| match e {
            Errno::NOTDIR | Errno::LOOP => Errno::NOENT,
            other => other,
        });
        sum.note(&linked.dir, &linked.name, &linked.item, result);
    }
    sum
}

fn add(
    report: &mut RestoreOwnersReport,
    failed: &mut Problems,
    linked: &mut Vec<LinkedName>,
    sum: Sum,
) {
    linked.extend(sum.linked);
    report.changed += sum.changed;
    report.already_right += sum.right;
    report.missing.merge(sum.missing);
    failed.merge(sum.failed);
}
