//! The file of frames: written ahead, read back, torn only at its end.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    super::{Owner, TreeError},
    Frame, Part, RECORD_FORMAT,
};

/// Frames begin at multiples of this, so that one behind a damaged one can be found.
const STEP: usize = 512;
/// `magic, format, length, sequence, checksum`.
const HEAD: usize = 4 + 4 + 8 + 8 + 16;
const MAGIC: [u8; 4] = *b"fOwn";
/// What is written ahead as zeros, so that a sync of a frame need not wait for the file system's own
/// journal, which is full of the owners just changed.
const AHEAD: u64 = 8 << 20;

/// Appends frames, each on disk when `append` returns.
#[derive(Debug)]
pub struct RecordWriter {
    file: File,
    at: u64,
    sequence: u64,
    zeroed: u64,
    started: bool,
    complete: bool,
}

impl RecordWriter {
    /// Takes an empty file, or one that an earlier transfer to the same owner wrote (or was writing
    /// when it was killed: a torn end is cut off). The file must be open for reading and writing,
    /// and lie outside the tree or below its state folder; whoever creates it syncs its folder.
    ///
    /// # Errors
    /// As [`RecordReader::open`].
    pub fn open(file: File) -> Result<Self, TreeError> {
        let mut reader = RecordReader::open(file)?;
        let mut complete = true;
        while let Some(frame) = reader.next_frame()? {
            complete = frame == Frame::End;
        }
        let RecordReader {
            file, at, sequence, ..
        } = reader;
        file.set_len(at)
            .map_err(|e| failed("cut of the torn end", e))?;
        Ok(Self {
            file,
            at,
            sequence,
            zeroed: at,
            started: false,
            complete,
        })
    }

    /// The same file, to be read from its start.
    pub(in crate::tree) fn reader(&self) -> Result<RecordReader, TreeError> {
        RecordReader::open(
            self.file
                .try_clone()
                .map_err(|e| failed("second handle", e))?,
        )
    }

    /// Whether this writer has written anything.
    pub(in crate::tree) fn is_started(&self) -> bool {
        self.started
    }

    /// Whether nothing was ever written.
    pub(in crate::tree) fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Whether the file, as it was opened, is empty or ends with a complete transfer.
    pub(in crate::tree) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Writes one frame and waits until it is on disk.
    pub(in crate::tree) fn append(&mut self, frame: &Frame) -> Result<(), TreeError> {
        self.append_payload(&frame.encode(), matches!(frame, Frame::Parts(_)))
    }

    /// Writes [`Frame::Parts`] and waits until it is on disk.
    pub(in crate::tree) fn append_parts<'a>(
        &mut self,
        parts: impl IntoIterator<Item = &'a Part>,
    ) -> Result<(), TreeError> {
        self.append_payload(&Frame::encode_parts(parts), true)
    }

    fn append_payload(&mut self, payload: &[u8], more_follows: bool) -> Result<(), TreeError> {
        let bytes = envelope(self.sequence, payload);
        let end = self.at + to_u64(bytes.len());
        if end > self.zeroed && more_follows {
            self.zero_ahead(end)?;
        }
        self.started = true;
        self.file
            .write_all_at(&bytes, self.at)
            .map_err(|e| failed("write", e))?;
        self.file.sync_data().map_err(|e| failed("sync", e))?;
        self.at = end;
        self.sequence += 1;
        Ok(())
    }

    /// Removes the zeros ahead: the end of the work.
    pub(in crate::tree) fn finish(self) -> Result<(), TreeError> {
        self.file.set_len(self.at).map_err(|e| failed("cut", e))?;
        self.file.sync_all().map_err(|e| failed("sync", e))
    }

    fn zero_ahead(&mut self, end: u64) -> Result<(), TreeError> {
        let zeros = vec![0; 1 << 20];
        self.zeroed = self.zeroed.max(self.at);
        while self.zeroed < end + AHEAD {
            self.file
                .write_all_at(&zeros, self.zeroed)
                .map_err(|e| failed("write", e))?;
            self.zeroed += to_u64(zeros.len());
        }
        Ok(())
    }
}

/// Reads frames from the start; stops at the end or at a torn last frame, refuses anything else.
#[derive(Debug)]
pub struct RecordReader {
    file: File,
    len: u64,
    at: u64,
    sequence: u64,
}

impl RecordReader {
    /// Reads from the start of `file`.
    ///
    /// # Errors
    /// [`TreeError::Io`]; `RecordDamaged` and `RecordVersion` come while reading.
    pub fn open(file: File) -> Result<Self, TreeError> {
        let len = file.metadata().map_err(|e| failed("stat", e))?.len();
        Ok(Self {
            file,
            len,
            at: 0,
            sequence: 0,
        })
    }

    /// The owner that the recorded transfer gave, or `None` where nothing was recorded.
    ///
    /// # Errors
    /// As [`RecordReader::open`].
    pub fn target(&mut self) -> Result<Option<Owner>, TreeError> {
        self.rewind();
        let first = self.next_frame()?;
        self.rewind();
        match first {
            Some(Frame::Start { target, .. }) => Ok(Some(target)),
            Some(_) => Err(TreeError::RecordDamaged {
                offset: 0,
                reason: "it has no beginning",
            }),
            None => Ok(None),
        }
    }

    pub(in crate::tree) fn rewind(&mut self) {
        (self.at, self.sequence) = (0, 0);
    }

    pub(in crate::tree) fn offset(&self) -> u64 {
        self.at
    }

    /// Offset and sequence of the next frame: what [`RecordReader::seek`] takes.
    pub(in crate::tree) fn place(&self) -> (u64, u64) {
        (self.at, self.sequence)
    }

    pub(in crate::tree) fn seek(&mut self, place: (u64, u64)) {
        (self.at, self.sequence) = place;
    }

    /// The next frame; `None` at the end.
    pub(in crate::tree) fn next_frame(&mut self) -> Result<Option<Frame>, TreeError> {
        if self.at >= self.len {
            return Ok(None);
        }
        match self.frame_at(self.at)? {
            Some((sequence, payload)) if sequence == self.sequence => {
                let damaged = |reason| TreeError::RecordDamaged {
                    offset: self.at,
                    reason,
                };
                let frame = Frame::decode(&payload)
                    .ok_or_else(|| damaged("the checksum is right, the content cannot be read"))?;
                self.at += to_u64(padded(HEAD + payload.len()));
                self.sequence += 1;
                Ok(Some(frame))
            }
            Some(_) => Err(TreeError::RecordDamaged {
                offset: self.at,
                reason: "frames are missing before this one",
            }),
            None if self.intact_after(self.at)? => Err(TreeError::RecordDamaged {
                offset: self.at,
                reason: "intact frames follow a damaged one",
            }),
            None => Ok(None),
        }
    }

    /// Whether any intact frame begins behind `at`.
    fn intact_after(&self, at: u64) -> Result<bool, TreeError> {
        let mut chunk = vec![0; 1 << 20];
        let mut base = at + to_u64(STEP);
        while base < self.len {
            let got = self.read_at(&mut chunk, base)?;
            for offset in (0..got).step_by(STEP) {
                if chunk[offset..got].starts_with(&MAGIC)
                    && self.frame_at(base + to_u64(offset))?.is_some()
                {
                    return Ok(true);
                }
            }
            base += to_u64(chunk.len());
        }
        Ok(false)
    }

    /// Sequence and payload of the intact frame that begins at `at`.
    fn frame_at(&self, at: u64) -> Result<Option<(u64, Vec<u8>)>, TreeError> {
        let mut head = [0; HEAD];
        if self.read_at(&mut head, at)? < HEAD || head[..4] != MAGIC {
            return Ok(None);
        }
        let (format, len) = (number(&head[4..8]), number(&head[8..16]));
        if len > self.len.saturating_sub(at) {
            return Ok(None);
        }
        let Ok(size) = usize::try_from(len) else {
            return Ok(None);
        };
        let mut payload = vec![0; size];
        if self.read_at(&mut payload, at + to_u64(HEAD))? < size
            || checksum(&head[..24], &payload) != head[24..]
        {
            return Ok(None);
        }
        match u32::try_from(format) {
            Ok(RECORD_FORMAT) => Ok(Some((number(&head[16..24]), payload))),
            found => Err(TreeError::RecordVersion {
                found: found.unwrap_or(u32::MAX),
                known: RECORD_FORMAT,
            }),
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, TreeError> {
        let mut got = 0;
        while got < buffer.len() {
            match self.file.read_at(&mut buffer[got..], at + to_u64(got)) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("read", e)),
            }
        }
        Ok(got)
    }
}

/// The frame as it lies in the file.
pub(in crate::tree) fn envelope(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(padded(HEAD + payload.len()));
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&RECORD_FORMAT.to_le_bytes());
    bytes.extend_from_slice(&to_u64(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    let sum = checksum(&bytes, payload);
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(payload);
    bytes.resize(padded(bytes.len()), 0);
    bytes
}

/// The first half of BLAKE3: against accidents, not against forgers, who could write a whole record.
fn checksum(head: &[u8], payload: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(payload);
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(STEP)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn failed(action: &'static str, source: io::Error) -> TreeError {
    TreeError::io(action, b"(the record of former owners)", source)
}
