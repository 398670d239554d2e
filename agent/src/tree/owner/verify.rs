//! Looks whether a whole tree has one owner; changes nothing.

use super::{
    super::{
        Problems, Root, Threads, TreeError, Watch,
        error::{join, show_in},
        meta::{Kind, Meta},
        pool::{self, Job, Queue},
        progress::Meter,
        root::RelPath,
        scan::{Scratch, Seen, Walked, has_owner, scan, sentence},
    },
    Owner,
};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Entries looked at, the root included.
    pub entries: u64,
    /// Devices, which are not given away.
    pub skipped: u64,
    /// Entries with another owner, or that could not be looked at.
    pub wrong: Problems,
}

#[derive(Default)]
struct Local {
    scratch: Scratch,
    report: VerifyReport,
}

struct Verify<'a> {
    root: &'a Root,
    owner: Owner,
    meter: Meter<'a>,
}

impl Job for Verify<'_> {
    type Task = RelPath;
    type Local = Local;

    fn run(
        &self,
        dir: RelPath,
        local: &mut Local,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let report = &mut local.report;
        let mut below: Vec<RelPath> = Vec::new();
        let walked = scan(
            self.root,
            &dir,
            &mut local.scratch,
            &self.meter,
            |_, name, seen| {
                match seen {
                    Seen::Entry(meta) => {
                        report.entries += 1;
                        if meta.kind() == Kind::Dir {
                            below.push(join(&dir, name.to_bytes()).into());
                        }
                        if !has_owner(meta.kind()) {
                            report.skipped += 1;
                        } else if meta.owner != self.owner {
                            let path = || show_in(&dir, name.to_bytes());
                            report.wrong.add(|| format!("{}: {}", path(), meta.owner));
                        }
                    }
                    Seen::Mount => {}
                    Seen::Failed(e) => report.wrong.add(|| sentence(&dir, name, e)),
                }
                Ok(())
            },
        )?;
        if let Walked::Replaced(e) = walked {
            report.wrong.add(|| sentence(&dir, c"", e));
        }
        queue.push(below);
        Ok(())
    }
}

/// Looks whether every entry of `root` belongs to `owner`.
///
/// # Errors
/// [`TreeError::Io`], [`TreeError::Cancelled`]; entries that are wrong are in the report.
pub fn verify_owner(
    root: &Root,
    owner: Owner,
    watch: &Watch<'_>,
) -> Result<VerifyReport, TreeError> {
    let job = Verify {
        root,
        owner,
        meter: Meter::new(watch),
    };
    let queue = Queue::new();
    queue.push([RelPath::from([])]);
    let meta = Meta::of(root).map_err(|e| TreeError::io("stat", b"", e))?;
    let mut all = VerifyReport {
        entries: 1,
        ..VerifyReport::default()
    };
    if meta.owner != owner {
        all.wrong.add(|| format!(".: {}", meta.owner));
    }
    for Local { report, .. } in pool::run(&job, &queue, Threads::default())? {
        all.entries += report.entries;
        all.skipped += report.skipped;
        all.wrong.merge(report.wrong);
    }
    Ok(all)
}
