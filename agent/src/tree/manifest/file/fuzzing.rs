//! See [`crate::fuzzing`].

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{Frame, MANIFEST_FORMAT, Manifest, TITLE, Totals, envelope, key_of};

/// A file that is nowhere.
fn file(bytes: &[u8]) -> Option<File> {
    let file = File::from(memfd_create("manifest", MemfdFlags::CLOEXEC).ok()?);
    file.write_all_at(bytes, 0).ok()?;
    Some(file)
}

fn whole(bytes: &[u8]) -> Option<Manifest> {
    Manifest::open(file(bytes)?).ok()
}

fn salvaged(bytes: &[u8]) -> Option<Manifest> {
    Manifest::salvage(file(bytes)?).ok()
}

/// The folders that it speaks of, as far as that can be read.
fn folders(manifest: &Manifest) -> BTreeSet<Vec<u8>> {
    let parts = manifest.index.iter().map(|&(_, at)| manifest.part_at(at));
    let read = parts.filter_map(|part| part.ok().flatten());
    read.map(|part| part.dir.to_vec()).collect()
}

fn holds(bytes: &[u8]) {
    let Some(left) = salvaged(bytes) else {
        assert!(whole(bytes).is_none(), "whole, and nothing to salvage");
        return;
    };
    for folder in folders(&left) {
        assert!(left.part(&folder).is_ok(), "damage is passed over");
    }
    let Some(manifest) = whole(bytes) else { return };
    let hash = blake3::hash(bytes);
    assert_eq!(manifest.digest(), hash.to_hex().to_string());

    // Any damage to it is noticed: here at a place that the bytes themselves choose.
    let chosen = hash.as_bytes().iter().take(4);
    let at = chosen.fold(0, |n, &byte| n << 8 | usize::from(byte)) % bytes.len();
    let mut other = bytes.to_vec();
    other[at] ^= 1 << (hash.as_bytes()[4] % 8);
    assert!(whole(&other).is_none(), "a bit at {at} is not missed");
    assert!(
        whole(&bytes[..at]).is_none(),
        "what is behind {at} is not missed"
    );

    // What is left of a part of it is what it says itself, and the first of that.
    let Some(left) = salvaged(&bytes[..at]) else {
        return;
    };
    for folder in folders(&left) {
        let (Ok(Some(found)), Ok(Some(part))) = (left.part(&folder), manifest.part(&folder)) else {
            continue;
        };
        assert!(found.own.is_none() || found.own == part.own);
        assert!(
            found
                .names
                .iter()
                .zip(part.names.iter())
                .all(|(a, b)| a == b)
        );
        assert!(part.entries.starts_with(&found.entries));
    }
}

/// A manifest around one frame, which says of itself how many folders it has.
fn around(key: u64, payload: &[u8], frames: u64) -> Option<Vec<u8>> {
    let end = Totals {
        frames,
        ..Totals::default()
    };
    let mut bytes = TITLE.to_vec();
    bytes.extend_from_slice(&MANIFEST_FORMAT.to_le_bytes());
    bytes.extend(envelope(0, &Frame::Start { live: false }.encode()).ok()?);
    bytes.extend(envelope(key, payload).ok()?);
    bytes.extend(envelope(0, &Frame::End(end).encode()).ok()?);
    Some(bytes)
}

/// A manifest is read or refused, whole ones with any damage to them are refused, and what is salvaged
/// of a cut-off one is what it said; a frame that is read is written as what it is.
pub fn manifest(bytes: &[u8]) {
    holds(bytes);
    // No guess finds a checksum: the bytes as the content of a frame.
    let frame = Frame::decode(bytes);
    let key = match &frame {
        Some(Frame::Part(part)) => key_of(&part.dir),
        _ => 0,
    };
    for frames in [0, 1] {
        if let Some(bytes) = around(key, bytes, frames) {
            holds(&bytes);
        }
    }
    let Some(frame) = frame else { return };
    assert_eq!(Frame::decode(&frame.encode()).as_ref(), Some(&frame));
    if let Frame::Part(part) = frame {
        let read = around(key, bytes, 1).and_then(|bytes| whole(&bytes));
        let read = read.and_then(|manifest| manifest.part(&part.dir).ok().flatten());
        assert_eq!(read, Some(part), "what has a place in it is not found");
    }
}
