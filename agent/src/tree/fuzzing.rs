//! See [`crate::fuzzing`].

use std::{fs::File, os::unix::fs::FileExt};

use rustix::fs::{MemfdFlags, memfd_create};

pub use super::manifest::fuzzed as manifest;
pub use super::pull::fuzzed as told;
use super::{
    RecordReader, RecordWriter,
    record::{Frame, envelope},
};

/// A file that is nowhere.
fn file(bytes: &[u8]) -> Option<File> {
    let file = File::from(memfd_create("record", MemfdFlags::CLOEXEC).ok()?);
    file.write_all_at(bytes, 0).ok()?;
    Some(file)
}

/// All frames, or `None` where the record is refused.
fn frames(file: &File) -> Option<Vec<Frame>> {
    let mut reader = RecordReader::open(file.try_clone().ok()?).ok()?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().ok()? {
        frames.push(frame);
    }
    Some(frames)
}

fn holds(bytes: &[u8]) {
    let Some(file) = file(bytes) else { return };
    let Some(mut all) = frames(&file) else { return };
    let Ok(mut writer) = file.try_clone().map_err(drop).and_then(|file| {
        // What can be read can be written on.
        RecordWriter::open(file).map_err(drop)
    }) else {
        panic!("a record that can be read cannot be opened for writing");
    };
    assert!(writer.append(&Frame::End).is_ok() && writer.finish().is_ok());
    all.push(Frame::End);
    assert_eq!(frames(&file), Some(all), "what was written on is not read");
}

/// A record of former owners is read or refused; a frame that is read is written as what it is.
pub fn record(bytes: &[u8]) {
    holds(bytes);
    if let Some(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()).as_ref(), Some(&frame));
    }
    // No guess finds a checksum: the bytes as the content of a frame, before and behind sound ones.
    let end = envelope(1, &Frame::End.encode());
    holds(&[envelope(0, bytes), end].concat());
    let first = envelope(0, &Frame::End.encode());
    let second = envelope(1, bytes);
    holds(&[&first[..], &second].concat());
    holds(&[&first[..], &second[..second.len() / 2]].concat());
}
