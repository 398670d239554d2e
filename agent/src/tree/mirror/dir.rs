//! One directory of the source, and the same one of the destination.

use std::{
    collections::HashSet,
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{Mode, mkdirat, openat},
    io::Errno,
};

use super::{
    super::{
        TreeError, attrs,
        error::{join, show_in},
        list::{Lister, Names},
        manifest::{Entry, Page, Proven, Seen as Source, Tally, What, digest_of_attributes},
        meta::{Kind, Meta},
        pool::{Job, Queue},
        root::{DIR, RelPath},
        scan::{Scratch, Seen, Walked, is_replaced, scan_open},
    },
    CopyReport, Extra, Mirror,
    content::Stop,
    entry::{Before, older, same_look, sync_attributes},
    links::LinkedName,
    read_back::Written,
};

/// What one worker did, and what it leaves for the end.
#[derive(Default)]
pub(super) struct Found {
    scratch: Scratch,
    lister: Lister,
    pub(super) report: CopyReport,
    pub(super) linked: Vec<LinkedName>,
    /// Directories that more is put into at the end, and the root.
    pub(super) dirs: Vec<Directory>,
    /// What goes into the manifest.
    pub(super) tally: Tally,
    /// Files to be read back when they are on the disk.
    pub(super) written: Vec<Written>,
    pub(super) buffer: Vec<u8>,
    /// Something was put into the directory at hand, or taken out.
    pub(super) touched: bool,
}

/// A directory of the source, as it was when it was listed.
pub(super) struct Directory {
    path: RelPath,
    want: Meta,
    attributes: Vec<(CString, Vec<u8>)>,
}

impl Found {
    pub(super) fn merge(&mut self, other: Self) {
        let (sum, part) = (&mut self.report, other.report);
        sum.entries += part.entries;
        sum.files_copied += part.files_copied;
        sum.bytes_copied += part.bytes_copied;
        sum.attributes_set += part.attributes_set;
        sum.vanished += part.vanished;
        sum.changed_meanwhile += part.changed_meanwhile;
        sum.extras += part.extras;
        sum.mounts += part.mounts;
        sum.bytes_hashed += part.bytes_hashed;
        sum.damaged.merge(part.damaged);
        self.written.extend(other.written);
        self.linked.extend(other.linked);
        self.dirs.extend(other.dirs);
    }
}

/// The same directory on both sides.
pub(super) struct Pair<'a> {
    pub(super) path: &'a RelPath,
    pub(super) src: BorrowedFd<'a>,
    pub(super) dst: BorrowedFd<'a>,
    /// What the source's files hash to, where that is known.
    pub(super) proven: Option<&'a Proven>,
}

impl Job for Mirror<'_> {
    type Task = RelPath;
    type Local = Found;

    fn run(
        &self,
        path: RelPath,
        found: &mut Found,
        queue: &Queue<RelPath>,
    ) -> Result<(), TreeError> {
        let dst = match self.dst.open_dir(&path) {
            Ok(fd) => fd,
            Err(e) => {
                self.entry_failed(&path, c"", e)?;
                return Ok(());
            }
        };
        let src = match self.src.open_dir(&path) {
            Ok(fd) => fd,
            // Gone, or something else has its name by now.
            Err(e) if e == Errno::NOENT || is_replaced(e) => {
                return self.vanished_dir(&path, dst.as_fd(), found);
            }
            Err(e) => return Err(TreeError::io("open", &path, e)),
        };
        let stat = |fd: BorrowedFd<'_>| Meta::of(fd).map_err(|e| TreeError::io("stat", &path, e));
        let (want, have) = (stat(src.as_fd())?, stat(dst.as_fd())?);
        let mut page = self.keeper.as_ref().map(|keeper| keeper.page(&path));
        let proven = self.proven.map(|manifest| Proven::of(manifest, &path));
        let mut names = Names::default();
        found
            .lister
            .read(dst.as_fd(), &mut names)
            .map_err(|e| TreeError::io("reading the directory", &path, e))?;
        // What is left of these is what the source does not have.
        let mut before: HashSet<&CStr> = names.iter().collect();
        let (mut scratch, mut below) = (std::mem::take(&mut found.scratch), Vec::new());
        let (linked, open) = (found.linked.len(), (&path, src.as_fd()));
        found.touched = false;
        let walked = scan_open(
            self.src,
            open,
            &mut scratch,
            &self.meter,
            |src, name, seen| {
                if self.dst.excludes(&path, name.to_bytes()) {
                    return Ok(());
                }
                let fresh = !before.contains(name);
                let there = match seen {
                    Seen::Entry(meta) => {
                        found.report.entries += 1;
                        let pair = Pair {
                            path: &path,
                            src,
                            dst: dst.as_fd(),
                            proven: proven.as_ref(),
                        };
                        self.entry(&pair, name, (meta, fresh), &mut page, found, &mut below)?
                    }
                    Seen::Mount => {
                        found.report.mounts += 1;
                        true
                    }
                    Seen::Failed(e) => {
                        self.entry_failed(&path, name, e)?;
                        true
                    }
                };
                if there {
                    before.remove(name);
                }
                Ok(())
            },
        )?;
        found.scratch = scratch;
        if walked != Walked::Whole {
            return self.vanished_dir(&path, dst.as_fd(), found);
        }
        for name in before {
            let bytes = name.to_bytes();
            if !self.dst.excludes(&path, bytes) && !self.src.excludes(&path, bytes) {
                if self.is_mount_to_keep(dst.as_fd(), name) {
                    found.report.mounts += 1;
                    continue;
                }
                self.put_away(&path, dst.as_fd(), name, found)?;
            }
        }
        let known = page.as_ref().and_then(|page| page.known_own(&want));
        let same = !found.touched && same_look(&want, &have) && older(&want, &have);
        let has_links = found.linked.len() > linked;
        if known.is_none() || !same || has_links || path.is_empty() {
            let attributes =
                attrs::all_of_open(&src).map_err(|e| TreeError::io("listxattr", &path, e))?;
            if let Some(page) = &mut page {
                page.set_own(known.unwrap_or_else(|| of_directory(&want, &attributes)));
            }
            let directory = Directory {
                path: path.clone(),
                want,
                attributes,
            };
            if has_links || path.is_empty() {
                found.dirs.push(directory);
            } else {
                // All that lies directly in it is there, and what lies deeper is not its affair.
                self.finish_dir(&directory, dst.as_fd(), found)?;
            }
        } else if let (Some(page), Some(known)) = (&mut page, known) {
            page.set_own(known);
        }
        if let (Some(keeper), Some(page)) = (&self.keeper, page) {
            keeper.put(page, &mut found.tally)?;
        }
        queue.push(below);
        Ok(())
    }
}

/// What the manifest says of a directory.
fn of_directory(want: &Meta, attributes: &[(CString, Vec<u8>)]) -> Entry {
    Entry {
        mode: want.mode,
        owner: want.owner,
        mtime: want.mtime,
        attributes: digest_of_attributes(attributes),
        source: Source::of(want),
        what: What::Plain,
    }
}

/// What the kernel says of an entry that is of another kind by now than it was when it was looked
/// at: a folder that is a link or a file, a file that is a link or a socket, a link that is none.
fn is_other(error: Errno) -> bool {
    matches!(
        error,
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR | Errno::INVAL
    )
}

impl Mirror<'_> {
    /// One entry of the source; false where it has vanished.
    fn entry(
        &self,
        pair: &Pair<'_>,
        name: &CStr,
        (meta, fresh): (&Meta, bool),
        page: &mut Option<Page>,
        found: &mut Found,
        below: &mut Vec<RelPath>,
    ) -> Result<bool, TreeError> {
        let known = page.as_mut().and_then(|page| page.said(name));
        if meta.is_linked() {
            found.linked.push(LinkedName {
                inode: (meta.dev, meta.ino),
                dir: pair.path.clone(),
                name: name.into(),
                known,
            });
            return Ok(true);
        }
        let result = if meta.kind() == Kind::Dir {
            self.dir_entry(pair, name, found).map(|()| None)
        } else {
            let before = Before {
                fresh,
                known,
                elsewhere: false,
            };
            self.sync_entry(pair, name, meta, before, found)
        };
        let is_dir = meta.kind() == Kind::Dir;
        match result {
            Ok(entry) => {
                if is_dir {
                    below.push(join(pair.path, name.to_bytes()).into());
                }
                if let Some(page) = page
                    && (is_dir || entry.is_some())
                {
                    page.add(name, entry);
                }
                Ok(true)
            }
            Err(stop) => self.settle(pair.path, name, Err(stop), found),
        }
    }

    /// Sorts what became of an entry into normal, a problem, or the end; false where it vanished.
    pub(super) fn settle(
        &self,
        dir: &[u8],
        name: &CStr,
        result: Result<(), Stop>,
        found: &mut Found,
    ) -> Result<bool, TreeError> {
        match result {
            Ok(()) => Ok(true),
            Err(Stop::Work(error)) => Err(error),
            Err(Stop::Entry(Errno::NOENT)) => self.vanished(dir, name, found).map(|()| false),
            // Something else has its name by now; the next pass sees what.
            Err(Stop::Entry(error)) if self.live && is_other(error) => {
                self.vanished(dir, name, found).map(|()| false)
            }
            Err(Stop::Entry(error)) => self.entry_failed(dir, name, error).map(|()| true),
        }
    }

    fn vanished(&self, dir: &[u8], name: &CStr, found: &mut Found) -> Result<(), TreeError> {
        found.report.vanished += 1;
        if !self.live {
            self.problem(|| {
                let path = show_in(dir, name.to_bytes());
                format!("{path}: it vanished, although nobody should write to the tree")
            });
        }
        Ok(())
    }

    /// A directory vanished after its parent was listed: what remains of it is an empty one, which
    /// the next pass removes. Its parent is finished, so it is left in its place.
    fn vanished_dir(
        &self,
        path: &RelPath,
        dst: BorrowedFd<'_>,
        found: &mut Found,
    ) -> Result<(), TreeError> {
        self.vanished(path, c"", found)?;
        if !self.live {
            return Ok(());
        }
        let mut names = Names::default();
        // Opened again: whoever read it before has left it at its end.
        openat(dst, c".", DIR, Mode::empty())
            .and_then(|again| found.lister.read(again.as_fd(), &mut names))
            .map_err(|e| TreeError::io("reading the directory", path, e))?;
        for name in names.iter() {
            self.put_away(path, dst, name, found)?;
        }
        if let Some(keeper) = &self.keeper {
            let look = || Ok((Meta::of(dst)?, attrs::all_of_open(dst)?));
            let (meta, attributes) = look().map_err(|e: Errno| TreeError::io("stat", path, e))?;
            let mut page = keeper.blank_page(path);
            page.set_own(of_directory(&meta, &attributes));
            keeper.put(page, &mut found.tally)?;
        }
        Ok(())
    }

    /// A restore leaves mounts of the tree alone: a copy has none of them, since none was entered.
    fn is_mount_to_keep(&self, dst: BorrowedFd<'_>, name: &CStr) -> bool {
        matches!(self.extra, Extra::Aside(_))
            && Meta::at(dst, name).is_ok_and(|meta| !meta.same_mount(self.dst.meta()))
    }

    /// Notes a problem; a full or broken file system ends the work, the rest would fail likewise.
    pub(super) fn entry_failed(
        &self,
        dir: &[u8],
        name: &CStr,
        error: Errno,
    ) -> Result<(), TreeError> {
        if matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO) {
            return Err(self.write_failed(&join(dir, name.to_bytes()), error));
        }
        self.problem(|| format!("{}: {error}", show_in(dir, name.to_bytes())));
        Ok(())
    }

    /// Sees to it that a directory is there; its owner, mode and times come when it is full.
    fn dir_entry(&self, pair: &Pair<'_>, name: &CStr, found: &mut Found) -> Result<(), Stop> {
        match Meta::at(pair.dst, name) {
            Ok(meta) if !meta.same_mount(self.dst.meta()) => return Err(Errno::XDEV.into()),
            Ok(meta) if meta.kind() == Kind::Dir => return Ok(()),
            Ok(_) => self.put_away(pair.path, pair.dst, name, found)?,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        found.touched = true;
        Ok(mkdirat(pair.dst, name, Mode::RWXU)?)
    }

    /// Finishes what was left for the end, the root last.
    pub(super) fn finish_dirs(&self, found: &mut Found) -> Result<(), TreeError> {
        let mut dirs = std::mem::take(&mut found.dirs);
        dirs.sort_by(|a, b| b.path.cmp(&a.path));
        for directory in dirs {
            match self.dst.open_dir(&directory.path) {
                Ok(dst) => self.finish_dir(&directory, dst.as_fd(), found)?,
                Err(e) => self.entry_failed(&directory.path, c"", e)?,
            }
        }
        Ok(())
    }

    /// Gives a directory its owner, mode, extended attributes and times.
    fn finish_dir(
        &self,
        directory: &Directory,
        dst: BorrowedFd<'_>,
        found: &mut Found,
    ) -> Result<(), TreeError> {
        let set = || {
            let have = Meta::of(dst)?;
            sync_attributes(&directory.attributes, dst, &directory.want, &have)
        };
        match set() {
            Ok(set) => {
                found.report.attributes_set += u64::from(set);
                Ok(())
            }
            Err(e) => self.entry_failed(&directory.path, c"", e),
        }
    }
}
