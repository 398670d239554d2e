//! One directory: entered, filled with what is told of it, finished.

use std::{
    collections::HashSet,
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
};

use ferry_proto::v1::TreeEntry;
use rustix::{
    fs::{AtFlags, Mode, linkat, mkdirat, mknodat, readlinkat, renameat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    super::{
        TreeError, attrs,
        error::join,
        list::{Lister, Names},
        manifest::{Page, What},
        meta::{Kind, Meta},
        mirror::sync_attributes,
        remove::remove_at,
        root::RelPath,
        temporary::is_temporary,
    },
    First, Pull, PullError, Source,
    file::Want,
    told::{self, Told, Under},
    unsound,
};

/// A directory that is being told.
pub(super) struct Open {
    pub(super) path: RelPath,
    pub(super) fd: OwnedFd,
    /// What lies here and was not told yet.
    before: HashSet<CString>,
    /// What was told.
    told: HashSet<CString>,
    pub(super) page: Page,
}

impl Pull<'_> {
    /// Enters a directory whose name was told before.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Open, PullError> {
        let Some(path) = self.expected.take(path) else {
            return Err(unsound(path, c"", "a directory that was not announced"));
        };
        let fd = self
            .dst
            .open_dir(&path)
            .map_err(|e| TreeError::io("open", &path, e))?;
        let (mut names, mut lister) = (Names::default(), Lister::default());
        lister
            .read(fd.as_fd(), &mut names)
            .map_err(|e| TreeError::io("reading the directory", &path, e))?;
        Ok(Open {
            fd,
            before: names.iter().map(CStr::to_owned).collect(),
            told: HashSet::new(),
            page: self.keeper.page(&path),
            path,
        })
    }

    /// Makes some of its entries.
    pub(super) fn part(
        &mut self,
        dir: &mut Open,
        entries: Vec<TreeEntry>,
        source: &mut dyn Source,
    ) -> Result<(), PullError> {
        let (mut wants, mut links, mut begun) = (Vec::new(), Vec::new(), HashSet::new());
        for entry in entries {
            let (name, under) = told::named(entry).map_err(|what| unsound(&dir.path, c"", what))?;
            if self.dst.excludes(&dir.path, name.to_bytes()) {
                return Err(unsound(&dir.path, &name, "a name that is Ferry's own"));
            }
            if !dir.told.insert(name.clone()) {
                return Err(unsound(&dir.path, &name, "it is told twice"));
            }
            let fresh = !dir.before.remove(&name);
            self.report.entries += 1;
            self.meter.add(1, 0)?;
            let told = match under {
                Under::Entry(told) => told,
                Under::Mount => {
                    let what = "another file system is mounted there, and is not carried";
                    self.problem(&dir.path, &name, what);
                    continue;
                }
                Under::Trouble(what) => {
                    self.problem(&dir.path, &name, &what);
                    continue;
                }
            };
            match told.meta.kind() {
                Kind::Dir => self.folder(dir, &name, fresh)?,
                Kind::Device => self.problem(&dir.path, &name, "a device is not carried"),
                _ if told.meta.is_linked()
                    && (self.first.contains_key(&told.inode()) || !begun.insert(told.inode())) =>
                {
                    links.push((name, told));
                }
                _ => wants.extend(self.settle(dir, name, told, fresh)?),
            }
        }
        self.fetch(dir, wants, source)?;
        for (name, told) in links {
            self.link(dir, name, told, source)?;
        }
        Ok(())
    }

    /// Sees to it that a directory is there; owner, mode and times come when it is full.
    fn folder(&mut self, dir: &mut Open, name: &CStr, fresh: bool) -> Result<(), TreeError> {
        let make = |this: &mut Self| -> Result<(), Errno> {
            if !fresh {
                match Meta::at(&dir.fd, name)? {
                    have if !have.same_mount(this.dst.meta()) => return Err(Errno::XDEV),
                    have if have.kind() == Kind::Dir => return Ok(()),
                    _ => this.put_away(dir, name)?,
                }
            }
            mkdirat(&dir.fd, name, Mode::RWXU)
        };
        match make(self) {
            Ok(()) => {
                self.expected
                    .insert(join(&dir.path, name.to_bytes()).into());
                dir.page.add(name, None);
                Ok(())
            }
            // Its own part will be refused as one that was not announced, so nothing can go on.
            Err(e) => Err(TreeError::io("mkdir", &join(&dir.path, name.to_bytes()), e)),
        }
    }

    /// Removes what the source has not, or has otherwise.
    pub(super) fn put_away(&mut self, dir: &Open, name: &CStr) -> Result<(), Errno> {
        let ours = is_temporary(name);
        match remove_at(dir.fd.as_fd(), name, self.dst.meta(), self.meter.cancel()) {
            Ok(()) => self.report.extras += u64::from(!ours),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// What is to become of an entry that is neither directory nor device: done, or what has to be asked for.
    fn settle(
        &mut self,
        dir: &mut Open,
        name: CString,
        told: Told,
        fresh: bool,
    ) -> Result<Option<Want>, PullError> {
        let have = match fresh {
            true => Err(Errno::NOENT),
            false => Meta::at(&dir.fd, &name),
        };
        let have = match have {
            Ok(have) if !have.same_mount(self.dst.meta()) => Err(Errno::XDEV),
            Ok(have) if have.kind() == told.meta.kind() => Ok(Some(have)),
            Ok(_) => self.put_away(dir, &name).map(|()| None),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        };
        let have = match have {
            Ok(have) => have.filter(|have| self.may_keep(have, &told)),
            Err(e) => {
                self.failed(&dir.path, &name, e)?;
                return Ok(None);
            }
        };
        if let Some(have) = have.as_ref().filter(|have| have.nlink > 1) {
            // Before its content is asked for: another name of it may come meanwhile that stands for something else.
            self.claimed.insert(have.ino, told.inode());
        }
        if told.meta.kind() == Kind::File {
            return Ok(self.settle_file(dir, name, told, (fresh, have))?);
        }
        match self.node(dir, &name, &told, have.as_ref()) {
            Ok(()) => self.note(dir, name, &told, told.node()),
            Err(e) => self.failed(&dir.path, &name, e)?,
        }
        Ok(None)
    }

    /// Whether the inode here may stand for the one there: what shares it here must share it there.
    fn may_keep(&self, have: &Meta, told: &Told) -> bool {
        if have.nlink == 1 {
            return true;
        }
        let of = self.claimed.get(&have.ino);
        told.meta.nlink > 1 && of.is_none_or(|of| *of == told.inode())
    }

    /// Writes an entry down, and remembers it where it has other names.
    pub(super) fn note(&mut self, dir: &mut Open, name: CString, told: &Told, entry: super::Entry) {
        dir.page.add(&name, Some(entry.clone()));
        if !told.meta.is_linked() {
            return;
        }
        if let Ok(here) = Meta::at(&dir.fd, &name) {
            self.claimed.insert(here.ino, told.inode());
        }
        let first = First {
            dir: dir.path.clone(),
            name,
            entry,
        };
        self.first.entry(told.inode()).or_insert(first);
    }

    /// A symbolic link, fifo or socket.
    fn node(
        &mut self,
        dir: &Open,
        name: &CStr,
        told: &Told,
        have: Option<&Meta>,
    ) -> Result<(), Errno> {
        let is_link = told.meta.kind() == Kind::Symlink;
        if let Some(have) = have
            && (!is_link || readlinkat(&dir.fd, name, Vec::new())? == told.target)
        {
            let fd = attrs::open_path(&dir.fd, name)?;
            let set = sync_attributes(&told.attributes, fd.as_fd(), &told.meta, have)?;
            self.report.attributes_set += u64::from(set);
            return Ok(());
        }
        let temporary = self.temporary.name();
        if is_link {
            symlinkat(&told.target, &dir.fd, &temporary)?;
        } else {
            let file_type = rustix::fs::FileType::from_raw_mode(told.meta.mode.into());
            let mode = Mode::from_raw_mode(told.meta.bits().into());
            mknodat(&dir.fd, &temporary, file_type, mode, 0)?;
        }
        let place = || -> Result<(), Errno> {
            let fd = attrs::open_path(&dir.fd, &temporary)?;
            let made = Meta::of(&fd)?;
            sync_attributes(&told.attributes, fd.as_fd(), &told.meta, &made)?;
            renameat(&dir.fd, &temporary, &dir.fd, name)
        };
        place().inspect_err(|_| {
            // Best effort: the next pass removes what the source has not.
            let _ = unlinkat(&dir.fd, &temporary, AtFlags::empty());
        })
    }

    /// One more name of an inode; of the first one where that came to nothing.
    fn link(
        &mut self,
        dir: &mut Open,
        name: CString,
        told: Told,
        source: &mut dyn Source,
    ) -> Result<(), PullError> {
        let Some(first) = self.first.get(&told.inode()) else {
            let wants = self.settle(dir, name, told, false)?;
            return self.fetch(dir, wants.into_iter().collect(), source);
        };
        let (from, from_name) = (first.dir.clone(), first.name.clone());
        let mut entry = first.entry.clone();
        if let What::File { linked, .. } = &mut entry.what {
            linked.get_or_insert((told.meta.dev, told.meta.nlink));
        }
        match self.link_to(dir, &name, (&from, &from_name)) {
            Ok(()) => dir.page.add(&name, Some(entry)),
            Err(e) => self.failed(&dir.path, &name, e)?,
        }
        Ok(())
    }

    fn link_to(
        &mut self,
        dir: &Open,
        name: &CStr,
        (from, from_name): (&RelPath, &CStr),
    ) -> Result<(), Errno> {
        let from = self.dst.open_dir(from)?;
        let target = Meta::at(&from, from_name)?;
        match Meta::at(&dir.fd, name) {
            Ok(have) if have.same_inode(&target) => return Ok(()),
            Ok(have) if have.kind() != target.kind() => self.put_away(dir, name)?,
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        let temporary = self.temporary.name();
        linkat(&from, from_name, &dir.fd, &temporary, AtFlags::empty())?;
        renameat(&dir.fd, &temporary, &dir.fd, name).inspect_err(|_| {
            // Best effort, as above.
            let _ = unlinkat(&dir.fd, &temporary, AtFlags::empty());
        })
    }

    /// All of it was told: removes what was not, and gives it its owner, mode, attributes and times.
    pub(super) fn finish(&mut self, mut dir: Open, own: TreeEntry) -> Result<(), PullError> {
        let own = Told::of(own).map_err(|what| unsound(&dir.path, c"", what))?;
        if own.meta.kind() != Kind::Dir {
            return Err(unsound(&dir.path, c"", "a directory that is none"));
        }
        self.clear(&mut dir)?;
        let set = || -> Result<bool, Errno> {
            let have = Meta::of(&dir.fd)?;
            sync_attributes(&own.attributes, dir.fd.as_fd(), &own.meta, &have)
        };
        match set() {
            Ok(set) => self.report.attributes_set += u64::from(set),
            Err(e) => self.failed(&dir.path, c"", e)?,
        }
        if dir.path.is_empty() {
            self.report.entries += 1;
        }
        dir.page.set_own(own.node());
        Ok(self.keeper.put(dir.page, &mut self.tally)?)
    }

    /// It was gone when its turn came: what is left of it is an empty one, which the next pass removes.
    pub(super) fn gone(&mut self, mut dir: Open) -> Result<(), PullError> {
        self.vanished(&dir.path, c"");
        if !dir.told.is_empty() || dir.path.is_empty() {
            self.problem(&dir.path, c"", "it vanished while it was told; pull again");
        }
        self.clear(&mut dir)?;
        let look = || Ok((Meta::of(&dir.fd)?, attrs::all_of_open(&dir.fd)?));
        let (meta, attributes) = look().map_err(|e: Errno| TreeError::io("stat", &dir.path, e))?;
        let left = Told {
            meta,
            attributes,
            target: CString::default(),
        };
        let mut page = self.keeper.blank_page(&dir.path);
        page.set_own(left.node());
        Ok(self.keeper.put(page, &mut self.tally)?)
    }

    fn clear(&mut self, dir: &mut Open) -> Result<(), TreeError> {
        for name in std::mem::take(&mut dir.before) {
            if self.dst.excludes(&dir.path, name.to_bytes()) {
                continue;
            }
            match self.put_away(dir, &name) {
                Err(Errno::CANCELED) => return Err(TreeError::Cancelled),
                Err(e) => self.failed(&dir.path, &name, e)?,
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
