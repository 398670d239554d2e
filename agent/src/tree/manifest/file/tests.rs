//! Any bytes, and what the first release wrote.

use std::io::Write;

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        super::{Owner, meta::Stamp},
        codec::{
            Entry, Seen, What,
            tests::{entry, part},
        },
    },
    *,
};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A manifest with these parts, as bytes.
fn written(parts: &[Part]) -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::start(file.try_clone().unwrap(), true).unwrap();
    for part in parts {
        let sum = Totals {
            frames: 1,
            ..Totals::default()
        };
        writer.append(&frame_of(part).unwrap(), sum).unwrap();
    }
    writer.finish().unwrap();
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn parts_of_format_1() -> [Part; 2] {
    let ctime = Stamp {
        sec: 1_700_000_001,
        nsec: 6,
    };
    let entry = |mode, (uid, gid), ino, what| Entry {
        mode,
        owner: Owner { uid, gid },
        mtime: Stamp {
            sec: 1_700_000_000,
            nsec: 5,
        },
        attributes: None,
        source: Seen { ino, ctime },
        what,
    };
    let part = |dir: &str, own, entries: Vec<(&str, Option<Entry>)>| {
        let mut part = Part::new(&dir.as_bytes().into());
        part.own = Some(own);
        for (name, entry) in entries {
            assert!(part.names.push_bytes(name.as_bytes()));
            part.entries.push(entry);
        }
        part
    };
    let file = |size, byte, linked| What::File {
        size,
        digest: [byte; 32],
        linked,
    };
    let link = What::Symlink(Box::from(&b"nowhere"[..]));
    let before_1970 = Entry {
        mtime: Stamp {
            sec: -1,
            nsec: 999_999_999,
        },
        attributes: Some([9; 32]),
        ..entry(0o040_700, (26, 26), 5, What::Plain)
    };
    let shared = file(6, 8, Some((64_769, 2)));
    [
        part(
            "",
            entry(0o040_755, (1000, 0), 2, What::Plain),
            vec![
                ("data", None),
                (
                    "file",
                    Some(entry(0o100_640, (997, 996), 3, file(5, 7, None))),
                ),
                ("link", Some(entry(0o120_777, (0, 0), 4, link))),
            ],
        ),
        part(
            "data",
            before_1970,
            vec![
                ("fifo", Some(entry(0o010_600, (26, 26), 6, What::Plain))),
                (
                    "device",
                    Some(entry(0o020_666, (0, 0), 7, What::Device(259))),
                ),
                // Out of a frame of its own.
                ("a", Some(entry(0o100_600, (26, 26), 8, shared))),
            ],
        ),
    ]
}

/// Written by the first release: every later one must read it.
#[test]
fn a_manifest_of_format_1_is_read_by_every_release() {
    let manifest = include_bytes!("../../tests/copy-v1.manifest");
    let manifest = Manifest::open(file(manifest)).unwrap();
    for part in parts_of_format_1() {
        assert_eq!(manifest.part(&part.dir).unwrap(), Some(part));
    }
    let sums = (manifest.entries(), manifest.bytes(), manifest.is_live());
    assert_eq!(sums, (7, 11, false));
}

proptest! {
    #[test]
    fn parts_are_found_by_their_directory(parts in vec(part(), 0..12), own in entry()) {
        let mut parts = parts;
        for (number, part) in parts.iter_mut().enumerate() {
            part.dir = number.to_string().into_bytes().into();
            part.own = Some(own.clone());
        }
        let bytes = written(&parts);
        let manifest = Manifest::open(file(&bytes)).unwrap();
        prop_assert_eq!(manifest.digest(), blake3::hash(&bytes).to_hex().to_string());
        for part in parts {
            prop_assert_eq!(manifest.part(&part.dir).unwrap(), Some(part));
        }
        prop_assert_eq!(manifest.part(b"another").unwrap(), None);
    }

    #[test]
    fn any_bytes_are_refused_or_read_but_never_panic(
        parts in vec(part(), 0..4),
        noise in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = written(&parts);
        let at = at.index(bytes.len());
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        for bytes in [&bytes[..], &bytes[..at], &noise] {
            let _ = Manifest::open(file(bytes));
            if let Ok(manifest) = Manifest::salvage(file(bytes)) {
                for part in &parts {
                    // Damage is passed over: what is found is what was written.
                    if let Some(found) = manifest.part(&part.dir).unwrap() {
                        let known = |name| parts.iter().any(|p| p.names.iter().any(|n| n == name));
                        let all_known = found.names.iter().all(known);
                        prop_assert!(all_known);
                    }
                }
            }
        }
    }
}
