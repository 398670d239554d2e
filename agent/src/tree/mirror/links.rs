//! Files with several names: copied once, then linked, so that the copy shares what the source shares.

use std::{ffi::CStr, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, linkat, renameat, unlinkat},
    io::Errno,
};

use super::{
    super::{TreeError, meta::Meta, root::RelPath},
    Mirror,
    content::Stop,
    dir::{Found, Pair},
};

/// One name of a file that has several.
pub(super) struct LinkedName {
    pub(super) inode: (u64, u64),
    pub(super) dir: RelPath,
    pub(super) name: Box<CStr>,
}

/// Whether what lies under a name in the destination has names that are not the source's as well:
/// whatever is set on it is set out there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elsewhere(pub(super) bool);

impl Mirror<'_> {
    /// Copies the first name of each such file and links the others to it.
    pub(super) fn sync_links(&self, found: &mut Found) -> Result<(), TreeError> {
        let mut names = std::mem::take(&mut found.linked);
        names.sort_by(|a, b| (a.inode, &a.dir, &a.name).cmp(&(b.inode, &b.dir, &b.name)));
        for group in names.chunk_by(|a, b| a.inode == b.inode) {
            let (first, others) = (&group[0], &group[1..]);
            let result = self.sync_first(group, found);
            let failed = result.is_err();
            self.settle(&first.dir, &first.name, result, found)?;
            if failed {
                continue;
            }
            for other in others {
                let result = self.link(first, other, found);
                self.settle(&other.dir, &other.name, result, found)?;
            }
        }
        Ok(())
    }

    fn sync_first(&self, group: &[LinkedName], found: &mut Found) -> Result<(), Stop> {
        self.meter.add(0, 0)?;
        let first = &group[0];
        let (src, dst) = (
            self.src.open_dir(&first.dir)?,
            self.dst.open_dir(&first.dir)?,
        );
        let pair = Pair {
            path: &first.dir,
            src: src.as_fd(),
            dst: dst.as_fd(),
        };
        let meta = Meta::at(&src, &first.name)?;
        let elsewhere = self.elsewhere(group)?;
        self.sync_entry(&pair, &first.name, &meta, elsewhere, found)
    }

    /// Looks under all names of `group` for what the first stands for in the destination.
    fn elsewhere(&self, group: &[LinkedName]) -> Result<Elsewhere, Errno> {
        let look = |linked: &LinkedName| Meta::at(self.dst.open_dir(&linked.dir)?, &linked.name);
        let first = match look(&group[0]) {
            Ok(meta) if meta.is_linked() => meta,
            Ok(_) | Err(Errno::NOENT) => return Ok(Elsewhere(false)),
            Err(e) => return Err(e),
        };
        let met = group
            .iter()
            .filter(|linked| look(linked).is_ok_and(|meta| meta.same_inode(&first)))
            .count();
        Ok(Elsewhere(
            met < usize::try_from(first.nlink).unwrap_or(usize::MAX),
        ))
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
        let temporary = self.temporary();
        linkat(&from, &*first.name, &to, &temporary, AtFlags::empty())?;
        renameat(&to, &temporary, &to, &*other.name).map_err(|e| {
            let _ = unlinkat(&to, &temporary, AtFlags::empty());
            e.into()
        })
    }
}
