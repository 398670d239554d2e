//! How much more room a tree takes when it is made equal to another one: looked at before a restore begins, because one that ends for want of
//! room in its middle leaves the server down.
//!
//! It is what a restore takes at least. What the copy does not have stays, moved aside, and gives nothing back. A file that is replaced is
//! written beside the old one first, so that a restore may need more than this for a moment.

use std::{collections::HashMap, ffi::CString};

use super::{
    Root, Threads, TreeError, Watch,
    error::join,
    meta::{Kind, Meta},
    pool::{self, Job, Queue},
    progress::Meter,
    root::RelPath,
    scan::{Scratch, Seen, scan},
};

type Inode = (u64, u64);

/// Bytes that come and bytes that go.
#[derive(Default)]
struct Local {
    scratch: Scratch,
    takes: u64,
    gives: u64,
    /// Files with several names, which take their room once: of the copy, with what they take; and of the data, with what they give.
    linked: HashMap<Inode, u64>,
    linked_before: HashMap<Inode, u64>,
}

impl Local {
    fn merge(&mut self, other: Self) {
        self.takes = self.takes.saturating_add(other.takes);
        self.gives = self.gives.saturating_add(other.gives);
        self.linked.extend(other.linked);
        self.linked_before.extend(other.linked_before);
    }

    fn bytes(&self) -> u64 {
        let sum = |linked: &HashMap<Inode, u64>| linked.values().sum::<u64>();
        let takes = self.takes.saturating_add(sum(&self.linked));
        takes.saturating_sub(self.gives.saturating_add(sum(&self.linked_before)))
    }

    fn file(&mut self, wanted: &Meta, now: Option<&Meta>) {
        match wanted.is_linked() {
            false => self.takes = self.takes.saturating_add(wanted.allocated),
            true => {
                let inode = (wanted.dev, wanted.ino);
                self.linked.insert(inode, wanted.allocated);
            }
        }
        match now {
            None => {}
            Some(now) if now.is_linked() => {
                let inode = (now.dev, now.ino);
                self.linked_before.insert(inode, now.allocated);
            }
            Some(now) => self.gives = self.gives.saturating_add(now.allocated),
        }
    }
}

struct Growth<'a> {
    copy: &'a Root,
    data: &'a Root,
    meter: Meter<'a>,
}

impl Growth<'_> {
    /// What the data has in a folder; nothing where it has no such folder.
    fn present(
        &self,
        dir: &RelPath,
        scratch: &mut Scratch,
    ) -> Result<HashMap<CString, Meta>, TreeError> {
        let mut present = HashMap::new();
        scan(self.data, dir, scratch, &self.meter, |_, name, seen| {
            if let Seen::Entry(meta) = seen {
                present.insert(name.to_owned(), *meta);
            }
            Ok(())
        })?;
        Ok(present)
    }
}

impl Job for Growth<'_> {
    type Task = RelPath;
    type Local = Local;

    fn run(
        &self,
        dir: RelPath,
        local: &mut Local,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let mut scratch = std::mem::take(&mut local.scratch);
        let present = self.present(&dir, &mut scratch)?;
        let mut below: Vec<RelPath> = Vec::new();
        scan(
            self.copy,
            &dir,
            &mut scratch,
            &self.meter,
            |_, name, seen| {
                let Seen::Entry(wanted) = seen else {
                    return Ok(());
                };
                let now = present.get(name);
                match wanted.kind() {
                    Kind::Dir => below.push(join(&dir, name.to_bytes()).into()),
                    Kind::File => {
                        local.file(wanted, now.filter(|now| now.kind() == Kind::File));
                    }
                    Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::Device => {}
                }
                Ok(())
            },
        )?;
        local.scratch = scratch;
        queue.push(below);
        Ok(())
    }
}

/// The bytes that `data` takes more, at least, when it is made equal to `copy`. Changes nothing, and may look at data in use.
///
/// # Errors
/// [`TreeError::Io`], [`TreeError::Cancelled`].
pub fn growth(copy: &Root, data: &Root, watch: &Watch<'_>) -> Result<u64, TreeError> {
    let job = Growth {
        copy,
        data,
        meter: Meter::new(watch),
    };
    let queue = Queue::new();
    queue.push([RelPath::from([])]);
    let mut all = Local::default();
    for local in pool::run(&job, &queue, Threads::default())? {
        all.merge(local);
    }
    Ok(all.bytes())
}
