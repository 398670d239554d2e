//! Files with several names: copied once, then linked, so that the copy shares what the source shares.

use std::{ffi::CStr, mem, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, linkat, renameat, unlinkat},
    io::Errno,
};

use super::{
    super::{
        TreeError,
        manifest::{Entry, Proven, What},
        meta::Meta,
        root::RelPath,
    },
    Mirror,
    content::Stop,
    dir::{Found, Pair},
    entry::Before,
};

/// One name of a file that has several.
pub(super) struct LinkedName {
    pub(super) inode: (u64, u64),
    pub(super) dir: RelPath,
    pub(super) name: Box<CStr>,
    /// What an earlier manifest says of it, whether or not that still holds.
    pub(super) known: Option<Entry>,
}

impl Mirror<'_> {
    /// Copies the first name of each such file and links the others to it.
    pub(super) fn sync_links(&self, found: &mut Found) -> Result<(), TreeError> {
        let mut names = mem::take(&mut found.linked);
        names.sort_by(|a, b| (a.inode, &a.dir, &a.name).cmp(&(b.inode, &b.dir, &b.name)));
        let mut written = Vec::new();
        // What the manifest says of the directory that was needed last: most such files share theirs with others.
        let mut proven = None;
        for group in names.chunk_by_mut(|a, b| a.inode == b.inode) {
            // The first name that is still there is copied, the others are linked to it.
            let mut first: Option<(usize, Option<Entry>)> = None;
            let (inode, start) = (group[0].inode, written.len());
            for index in 0..group.len() {
                let result = match &first {
                    Some((first, entry)) => self
                        .link(&group[*first], &group[index], found)
                        .map(|()| entry.clone()),
                    None => self.sync_first(&mut group[index..], &mut proven, found),
                };
                let name = &group[index];
                match result {
                    Ok(entry) => {
                        if let Some(entry) = &entry {
                            written.push((name.dir.clone(), name.name.clone(), entry.clone()));
                        }
                        if first.is_none() {
                            first = Some((index, entry));
                        }
                    }
                    Err(stop) => {
                        if !self.settle(&name.dir, &name.name, Err(stop), found)? {
                            self.forget(name, found)?;
                        }
                    }
                }
            }
            share(inode, &mut written[start..]);
        }
        self.write_down(written, found)
    }

    /// Takes away what an earlier pass copied under a name that has vanished.
    fn forget(&self, name: &LinkedName, found: &mut Found) -> Result<(), TreeError> {
        match self.dst.open_dir(&name.dir) {
            Ok(dst) => self.put_away(&name.dir, dst.as_fd(), &name.name, found),
            Err(_) => Ok(()),
        }
    }

    /// Adds to the manifest what was not there when the other files of its directory were.
    fn write_down(
        &self,
        mut written: Vec<(RelPath, Box<CStr>, Entry)>,
        found: &mut Found,
    ) -> Result<(), TreeError> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        written.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        for group in written.chunk_by(|a, b| a.0 == b.0) {
            let mut page = keeper.blank_page(&group[0].0);
            for (_, name, entry) in group {
                page.add(name, Some(entry.clone()));
            }
            keeper.put(page, &mut found.tally)?;
        }
        Ok(())
    }

    fn sync_first(
        &self,
        group: &mut [LinkedName],
        proven: &mut Option<(RelPath, Proven)>,
        found: &mut Found,
    ) -> Result<Option<Entry>, Stop> {
        self.meter.add(0, 0)?;
        let known = group[0].known.take();
        let group = &*group;
        let first = &group[0];
        let (src, dst) = (
            self.src.open_dir(&first.dir)?,
            self.dst.open_dir(&first.dir)?,
        );
        if let Some(manifest) = self.proven
            && proven.as_ref().is_none_or(|(dir, _)| *dir != first.dir)
        {
            *proven = Some((first.dir.clone(), Proven::of(manifest, &first.dir)));
        }
        let pair = Pair {
            path: &first.dir,
            src: src.as_fd(),
            dst: dst.as_fd(),
            proven: proven.as_ref().map(|(_, proven)| proven),
        };
        let meta = Meta::at(&src, &first.name)?;
        let before = Before {
            fresh: false,
            known,
            elsewhere: self.elsewhere(group)?,
        };
        self.sync_entry(&pair, &first.name, &meta, before, found)
    }

    /// Whether what the first of `group` stands for in the destination has names that are not the
    /// source's as well: whatever is set on it is set out there too.
    fn elsewhere(&self, group: &[LinkedName]) -> Result<bool, Errno> {
        let look = |linked: &LinkedName| Meta::at(self.dst.open_dir(&linked.dir)?, &linked.name);
        let first = match look(&group[0]) {
            Ok(meta) if meta.is_linked() => meta,
            Ok(_) | Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(e),
        };
        let met = group
            .iter()
            .filter(|linked| look(linked).is_ok_and(|meta| meta.same_inode(&first)))
            .count();
        Ok(met < usize::try_from(first.nlink).unwrap_or(usize::MAX))
    }

    /// Makes `other` a name of what `first` is a name of.
    fn link(&self, first: &LinkedName, other: &LinkedName, found: &mut Found) -> Result<(), Stop> {
        let from = self.dst.open_dir(&first.dir)?;
        let to = self.dst.open_dir(&other.dir)?;
        let target = Meta::at(&from, &first.name)?;
        match Meta::at(&to, &other.name) {
            Ok(have) if have.same_inode(&target) => return Ok(()),
            Ok(have) if !have.same_mount(self.dst.meta()) => return Err(Errno::XDEV.into()),
            Ok(have) if have.kind() != target.kind() => {
                self.put_away(&other.dir, to.as_fd(), &other.name, found)?;
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let temporary = self.temporary.name();
        linkat(&from, &*first.name, &to, &temporary, AtFlags::empty())?;
        renameat(&to, &temporary, &to, &*other.name).map_err(|e| {
            let _ = unlinkat(&to, &temporary, AtFlags::empty());
            e.into()
        })
    }
}

/// Names that share an inode in the copy say so in the manifest, whatever became of the source's
/// meanwhile: in a tree that is in use an inode's number may be another file's by now.
fn share((dev, ino): (u64, u64), group: &mut [(RelPath, Box<CStr>, Entry)]) {
    let names = u32::try_from(group.len()).unwrap_or(u32::MAX);
    for (_, _, entry) in group {
        entry.source.ino = ino;
        if let What::File { linked, .. } = &mut entry.what {
            let seen = linked.map_or(0, |(_, names)| names);
            let names = names.max(seen);
            *linked = (names > 1).then_some((dev, names));
        }
    }
}
