//! The file of frames: written one after another, read by directory.

#[doc(hidden)]
pub(super) mod fuzzing;

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    super::TreeError,
    Digest, MANIFEST_FORMAT,
    codec::{Frame, Part, Totals, put_part},
};

const TITLE: [u8; 12] = *b"FerryManifst";
/// Title and format.
const PRELUDE: usize = TITLE.len() + 4;
const MAGIC: [u8; 4] = *b"fMan";
/// `magic, length, key, checksum`.
const HEAD: usize = 4 + 4 + 8 + 16;
/// What is written or read at once.
const CHUNK: usize = 1 << 20;

/// Appends frames, and keeps the digest of all of them.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    buffer: Vec<u8>,
    at: u64,
    hasher: blake3::Hasher,
    totals: Totals,
}

impl Writer {
    /// Begins a manifest in an empty file.
    pub(super) fn start(file: File, live: bool) -> Result<Self, TreeError> {
        let mut writer = Self {
            file,
            buffer: Vec::with_capacity(CHUNK),
            at: 0,
            hasher: blake3::Hasher::new(),
            totals: Totals::default(),
        };
        let mut bytes = TITLE.to_vec();
        bytes.extend_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        bytes.extend(envelope(0, &Frame::Start { live }.encode())?);
        writer.append(&bytes, Totals::default())?;
        Ok(writer)
    }

    /// Appends frames that [`frame_of`] made, and what they sum up to.
    pub(super) fn append(&mut self, frames: &[u8], sum: Totals) -> Result<(), TreeError> {
        self.totals.frames += sum.frames;
        self.totals.entries += sum.entries;
        self.totals.bytes += sum.bytes;
        self.hasher.update(frames);
        self.buffer.extend_from_slice(frames);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands what was appended to the file system, so that it outlives this process.
    pub(super) fn flush(&mut self) -> Result<(), TreeError> {
        self.file
            .write_all_at(&self.buffer, self.at)
            .map_err(|e| failed("write", e))?;
        self.at += to_u64(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Ends the manifest; it is on disk when this returns.
    pub(super) fn finish(mut self) -> Result<(Digest, Totals), TreeError> {
        let totals = self.totals;
        let end = envelope(0, &Frame::End(totals).encode())?;
        self.append(&end, Totals::default())?;
        self.flush()?;
        self.file.sync_all().map_err(|e| failed("sync", e))?;
        Ok((self.hasher.finalize().into(), totals))
    }
}

/// The frame of a part as it lies in the file.
pub(super) fn frame_of(part: &Part) -> Result<Vec<u8>, TreeError> {
    let mut payload = Vec::with_capacity(64 + 96 * part.entries.len());
    put_part(&mut payload, part);
    envelope(key_of(&part.dir), &payload)
}

fn envelope(key: u64, payload: &[u8]) -> Result<Vec<u8>, TreeError> {
    let len = u32::try_from(payload.len())
        .map_err(|_| failed("write", io::ErrorKind::FileTooLarge.into()))?;
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&key.to_le_bytes());
    let sum = checksum(&bytes, payload);
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// A manifest that was opened: whole and proven to be intact, or what is left of a cut-off one.
#[derive(Debug)]
pub struct Manifest {
    file: File,
    /// Key and place of each frame of a directory, sorted.
    index: Vec<(u64, u64)>,
    digest: Digest,
    live: bool,
    totals: Totals,
    /// Each frame's checksum was looked at when it was opened.
    whole: bool,
}

impl Manifest {
    /// Reads all of `file`: every checksum must be right, and its end must be there.
    ///
    /// # Errors
    /// [`TreeError::ManifestDamaged`], [`TreeError::ManifestVersion`], [`TreeError::Io`].
    pub fn open(file: File) -> Result<Self, TreeError> {
        let mut scan = Scan::new(&file)?;
        let mut index = Vec::new();
        let (mut live, mut end, mut hasher) = (None, None, blake3::Hasher::new());
        hasher.update(&scan.window[..PRELUDE]);
        while let Some(head) = scan.head()? {
            let at = scan.place();
            let damaged = |reason| TreeError::ManifestDamaged { offset: at, reason };
            if end.is_some() {
                return Err(damaged("something follows its end"));
            }
            let bytes = scan.frame(&head)?;
            hasher.update(bytes);
            let payload = &bytes[HEAD..];
            if checksum(&bytes[..16], payload) != head.sum {
                return Err(damaged("a checksum is wrong"));
            }
            // Most frames are parts, which are decoded when they are asked for.
            match payload.first() {
                Some(2) if live.is_some() => index.push((head.key, at)),
                _ => match Frame::decode(payload) {
                    Some(Frame::Start { live: of }) if live.is_none() => live = Some(of),
                    Some(Frame::End(totals)) if live.is_some() => end = Some(totals),
                    _ => return Err(damaged("a frame that does not belong there")),
                },
            }
            scan.skip(&head);
        }
        let offset = scan.place();
        let damaged = |reason| TreeError::ManifestDamaged { offset, reason };
        let Some(totals) = end else {
            return Err(damaged("its end is missing"));
        };
        if totals.frames != to_u64(index.len()) {
            return Err(damaged("it names another number of frames than it has"));
        }
        index.sort_unstable();
        Ok(Self {
            digest: hasher.finalize().into(),
            live: live.unwrap_or_default(),
            file,
            index,
            totals,
            whole: true,
        })
    }

    /// What of `file` can be found, up to the first damage. Each part is checked when it is read.
    pub(super) fn salvage(file: File) -> Result<Self, TreeError> {
        let mut scan = Scan::new(&file)?;
        let mut index = Vec::new();
        while let Ok(Some(head)) = scan.head() {
            index.push((head.key, scan.place()));
            scan.skip(&head);
        }
        index.sort_unstable();
        Ok(Self {
            file,
            index,
            digest: Digest::default(),
            live: true,
            totals: Totals::default(),
            whole: false,
        })
    }

    /// BLAKE3 of the file, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(&self.digest)
    }

    /// It was written while the source was in use.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Entries that it names, the root included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.totals.entries
    }

    /// Bytes of content that it speaks of.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// All that it says of a directory; `None` where it says nothing.
    pub(in crate::tree) fn part(&self, dir: &[u8]) -> Result<Option<Part>, TreeError> {
        let key = key_of(dir);
        let from = self.index.partition_point(|(k, _)| *k < key);
        let frames = self.index[from..].iter().take_while(|(k, _)| *k == key);
        let mut found: Option<Part> = None;
        for &(_, at) in frames {
            let Some(part) = self.part_at(at)?.filter(|part| *part.dir == *dir) else {
                continue;
            };
            match &mut found {
                None => found = Some(part),
                Some(found) => {
                    found.own = found.own.take().or(part.own);
                    for (name, entry) in part.names.iter().zip(part.entries) {
                        found.names.push(name);
                        found.entries.push(entry);
                    }
                }
            }
        }
        Ok(found)
    }

    /// A damaged part is an error in a whole manifest, and nothing in one that was cut off.
    fn part_at(&self, at: u64) -> Result<Option<Part>, TreeError> {
        let mut head = [0; HEAD];
        let read = |buffer: &mut [u8], at| {
            self.file
                .read_exact_at(buffer, at)
                .map_err(|e| failed("read", e))
        };
        read(&mut head, at)?;
        let Head { len, sum, .. } = Head::read(&head).unwrap_or_default();
        let mut payload = vec![0; len];
        read(&mut payload, at + to_u64(HEAD))?;
        let intact = checksum(&head[..16], &payload) == sum;
        match Frame::decode(&payload) {
            Some(Frame::Part(part)) if intact => Ok(Some(part)),
            _ if !self.whole => Ok(None),
            _ => Err(TreeError::ManifestDamaged {
                offset: at,
                reason: "a part that was intact cannot be read any more",
            }),
        }
    }
}

#[derive(Default)]
struct Head {
    len: usize,
    key: u64,
    sum: [u8; 16],
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes.strip_prefix(&MAGIC)?;
        let mut take = |n| rest.split_off(..n);
        Some(Self {
            len: u32::from_le_bytes(take(4)?.try_into().ok()?)
                .try_into()
                .ok()?,
            key: u64::from_le_bytes(take(8)?.try_into().ok()?),
            sum: take(16)?.try_into().ok()?,
        })
    }
}

/// Goes over a file with one window.
struct Scan<'a> {
    file: &'a File,
    len: u64,
    window: Vec<u8>,
    /// Where the window begins, and how far in it the next frame is.
    base: u64,
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(file: &'a File) -> Result<Self, TreeError> {
        let len = file.metadata().map_err(|e| failed("stat", e))?.len();
        let mut scan = Self {
            file,
            len,
            window: Vec::new(),
            base: 0,
            at: 0,
        };
        let has_title = scan.fill(PRELUDE)? && scan.window.starts_with(&TITLE);
        if !has_title {
            return Err(TreeError::ManifestDamaged {
                offset: 0,
                reason: "it does not begin as a manifest does",
            });
        }
        let format = scan.window[TITLE.len()..PRELUDE].iter().rev();
        let found = format.fold(0, |n, &byte| n << 8 | u32::from(byte));
        if found != MANIFEST_FORMAT {
            return Err(TreeError::ManifestVersion {
                found,
                known: MANIFEST_FORMAT,
            });
        }
        scan.at = PRELUDE;
        Ok(scan)
    }

    fn place(&self) -> u64 {
        self.base + to_u64(self.at)
    }

    /// The head of the next frame; `None` at the end of the file.
    fn head(&mut self) -> Result<Option<Head>, TreeError> {
        let offset = self.place();
        if offset == self.len {
            return Ok(None);
        }
        let damaged = |reason| TreeError::ManifestDamaged { offset, reason };
        if !self.fill(HEAD)? {
            return Err(damaged("it is cut off"));
        }
        let head = Head::read(&self.window[self.at..])
            .ok_or_else(|| damaged("no frame begins where one must"))?;
        if to_u64(HEAD + head.len) > self.len - offset {
            return Err(damaged("it is cut off"));
        }
        Ok(Some(head))
    }

    /// The whole frame, its head included.
    fn frame(&mut self, head: &Head) -> Result<&[u8], TreeError> {
        let size = HEAD + head.len;
        if !self.fill(size)? {
            return Err(TreeError::ManifestDamaged {
                offset: self.place(),
                reason: "it became shorter while it was read",
            });
        }
        Ok(&self.window[self.at..self.at + size])
    }

    fn skip(&mut self, head: &Head) {
        self.at += HEAD + head.len;
    }

    /// Sees to it that `size` bytes from the current place on are in the window; false where the
    /// file ends before.
    fn fill(&mut self, size: usize) -> Result<bool, TreeError> {
        if self.window.len().saturating_sub(self.at) >= size {
            return Ok(true);
        }
        let base = self.place();
        if to_u64(size) > self.len.saturating_sub(base) {
            return Ok(false);
        }
        let left = usize::try_from(self.len - base).unwrap_or(usize::MAX);
        self.window.resize(size.max(CHUNK).min(left), 0);
        (self.base, self.at) = (base, 0);
        self.file
            .read_exact_at(&mut self.window, base)
            .map_err(|e| failed("read", e))?;
        Ok(true)
    }
}

/// What a directory is found by: half of a half of BLAKE3; who finds a part looks at its path too.
fn key_of(dir: &[u8]) -> u64 {
    let hash = blake3::hash(dir);
    let first = hash.as_bytes().iter().take(8);
    first.fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// The first half of BLAKE3: against accidents. Against forgers there is the digest of the whole.
fn checksum(head: &[u8], payload: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(payload);
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

/// A digest as it is shown.
pub(super) fn hex(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

pub(super) fn failed(action: &'static str, source: io::Error) -> TreeError {
    TreeError::io(action, b"(the manifest)", source)
}

#[cfg(test)]
mod tests;
