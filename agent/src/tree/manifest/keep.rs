//! What a pass writes down, and what it knows from earlier ones.

use std::{
    collections::HashMap,
    ffi::CStr,
    sync::{Mutex, PoisonError},
};

use super::{
    super::{Pass, TreeError, meta::Meta, root::RelPath},
    Digest, Entry, Manifest, ManifestFolder, What,
    codec::{Part, Totals},
    file::{Writer, frame_of, hex},
};

/// Frames of one worker go to the file when there are so many bytes of them, or of content that
/// they speak of: a killed pass has no more to hash again.
const HELD: usize = 64 << 10;
const HELD_CONTENT: u64 = 64 << 20;

/// The manifest of a pass, shared by its workers.
pub(in crate::tree) struct Keeper<'a> {
    folder: &'a ManifestFolder,
    pass: Pass,
    known: Vec<Manifest>,
    writer: Mutex<Writer>,
}

/// What one worker has described and not handed on yet.
#[derive(Default)]
pub(in crate::tree) struct Tally {
    frames: Vec<u8>,
    sum: Totals,
}

impl<'a> Keeper<'a> {
    pub(in crate::tree) fn begin(
        folder: &'a ManifestFolder,
        pass: Pass,
    ) -> Result<Self, TreeError> {
        let file = folder.begin(pass)?;
        Ok(Self {
            folder,
            pass,
            known: folder.known(pass),
            writer: Mutex::new(Writer::start(file, pass == Pass::Live)?),
        })
    }

    /// A page for one directory.
    pub(in crate::tree) fn page(&self, dir: &RelPath) -> Page {
        let known = self.known.iter().find_map(|manifest| {
            let part = manifest.part(dir).ok().flatten()?;
            part.own.is_some().then_some(part)
        });
        Page {
            known,
            ..self.blank_page(dir)
        }
    }

    /// A page for what is added to a directory later.
    pub(in crate::tree) fn blank_page(&self, dir: &RelPath) -> Page {
        Page {
            known: None,
            next: 0,
            by_name: None,
            part: Part::new(dir),
        }
    }

    /// Takes a page that is full.
    pub(in crate::tree) fn put(&self, page: Page, tally: &mut Tally) -> Result<(), TreeError> {
        let part = &page.part;
        let files = part.entries.iter().flatten();
        let bytes = files.map(|entry| match entry.what {
            What::File { size, .. } => size,
            _ => 0,
        });
        tally.sum.bytes += bytes.sum::<u64>();
        tally.sum.frames += 1;
        // A directory counts by its own part.
        let entries = part.entries.iter().flatten().count() + usize::from(part.own.is_some());
        tally.sum.entries += u64::try_from(entries).unwrap_or(u64::MAX);
        tally.frames.extend(frame_of(part)?);
        if tally.frames.len() >= HELD || tally.sum.bytes >= HELD_CONTENT {
            self.hand_on(tally, true)
        } else {
            Ok(())
        }
    }

    /// Hands on what a worker holds back.
    pub(in crate::tree) fn hand_on(&self, tally: &mut Tally, flush: bool) -> Result<(), TreeError> {
        if tally.frames.is_empty() {
            return Ok(());
        }
        let Tally { frames, sum } = std::mem::take(tally);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.append(&frames, sum)?;
        if flush && sum.bytes >= HELD_CONTENT {
            writer.flush()?;
        }
        Ok(())
    }

    /// The manifest is complete: gives it its name, and returns its digest in hexadecimal.
    pub(in crate::tree) fn finish(self) -> Result<String, TreeError> {
        let writer = self
            .writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let (digest, _): (Digest, _) = writer.finish()?;
        self.folder.complete(self.pass)?;
        Ok(hex(&digest))
    }
}

/// One directory: what is known of it, and what is written down now.
pub(in crate::tree) struct Page {
    known: Option<Part>,
    /// The known name that most likely comes next: directories list in the same order again.
    next: usize,
    by_name: Option<HashMap<Box<CStr>, usize>>,
    part: Part,
}

impl Page {
    /// What an earlier pass said of an entry, where that still holds for `meta`.
    pub(in crate::tree) fn known(&mut self, name: &CStr, meta: &Meta) -> Option<Entry> {
        self.said(name).filter(|entry| entry.describes(meta))
    }

    /// What an earlier pass said of an entry, whether or not that still holds.
    pub(in crate::tree) fn said(&mut self, name: &CStr) -> Option<Entry> {
        let known = self.known.as_ref()?;
        let index = if self.next < known.names.len() && known.names.get(self.next) == name {
            self.next
        } else {
            let by_name = self.by_name.get_or_insert_with(|| {
                let names = known.names.iter().enumerate();
                names.map(|(index, name)| (name.into(), index)).collect()
            });
            *by_name.get(name)?
        };
        self.next = index + 1;
        known.entries.get(index)?.clone()
    }

    /// The same of the directory itself.
    pub(in crate::tree) fn known_own(&self, meta: &Meta) -> Option<Entry> {
        let own = self.known.as_ref()?.own.as_ref()?;
        own.describes(meta).then(|| own.clone())
    }

    pub(in crate::tree) fn set_own(&mut self, own: Entry) {
        self.part.own = Some(own);
    }

    /// Writes an entry down; `None` for a directory.
    pub(in crate::tree) fn add(&mut self, name: &CStr, entry: Option<Entry>) {
        self.part.names.push(name);
        self.part.entries.push(entry);
    }
}
