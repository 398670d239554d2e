use std::os::unix::fs::FileExt;

use super::*;

/// A record of a whole transfer, and its tree as it was.
fn recorded(dir: &Path) -> (PathBuf, PathBuf, Snapshot) {
    let (root, record) = (dir.join("srv"), dir.join("record"));
    sample(&root);
    let before = snapshot(&root);
    give(&root, &record, LinkCheck::First).unwrap();
    (root, record, before)
}

#[test]
fn damage_anywhere_but_at_the_end_is_refused_before_a_change() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, path, _) = recorded(dir.path());
    let given = snapshot(&root);
    let whole = fs::read(&path).unwrap();
    let file = record(&path);
    for at in (0..whole.len() - 512).step_by(97) {
        // Padding behind a frame says nothing; all else is covered by a checksum.
        if whole[at..].iter().take(8).all(|&b| b == 0) {
            continue;
        }
        let byte = whole[at] ^ 0x55;
        file.write_all_at(&[byte], at as u64).unwrap();
        let error = give_back(&root, &path).unwrap_err();
        assert!(
            matches!(error, TreeError::RecordDamaged { .. }),
            "byte {at}: {error}"
        );
        assert_back(&snapshot(&root), &given);
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
    give_back(&root, &path).unwrap();
}

#[test]
fn a_torn_end_is_tolerated_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let mut writer = RecordWriter::open(record(&path)).unwrap();
    let item = |uid| super::super::record::Item {
        mode: 0o100_644,
        owner: Owner { uid, gid: 0 },
        linked: false,
        capability: None,
    };
    let start = super::super::record::Frame::Start {
        target: TARGET,
        root: item(1),
    };
    writer.append(&start).unwrap();
    let mut part = super::super::record::Part::new(&b"dir"[..].into());
    for n in 0..200 {
        assert!(part.names.push_bytes(format!("file {n}").as_bytes()));
        part.items.push(item(n % 3));
    }
    writer.append_parts([&part]).unwrap();
    writer.append_parts([&part]).unwrap();
    writer.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut reader = RecordReader::open(record(&path)).unwrap();
        let mut frames = 0;
        while reader.next_frame().unwrap().is_some() {
            frames += 1;
        }
        lengths.insert(frames);
        if length % 50 == 0 {
            // What is written on after the cut is read again.
            let mut writer = RecordWriter::open(record(&path)).unwrap();
            writer.append(&start).unwrap();
            writer.finish().unwrap();
            let mut reader = RecordReader::open(record(&path)).unwrap();
            let mut again = 0;
            while reader.next_frame().unwrap().is_some() {
                again += 1;
            }
            assert_eq!(again, frames + 1);
        }
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_record_for_another_owner_or_of_another_format_is_refused() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, path, before) = recorded(dir.path());
    let opened = Root::open(&root, None).unwrap();
    let writer = RecordWriter::open(record(&path)).unwrap();
    let other = Owner { uid: 1, gid: 1 };
    let result = transfer(
        &opened,
        other,
        writer,
        &TransferOptions::default(),
        &Watch::default(),
    );
    assert!(
        matches!(result, Err(TreeError::RecordOfOther { .. })),
        "{result:?}"
    );
    let mut reader = RecordReader::open(record(&path)).unwrap();
    assert_eq!(reader.target().unwrap(), Some(TARGET));
    fs::write(&path, b"this is no record of former owners").unwrap();
    // Nothing intact in it: an end that was torn at the first byte. Nothing is given back.
    assert_eq!(give_back(&root, &path).unwrap().entries, 0);
    assert_ne!(snapshot(&root), before);
}

/// Written by the first release: every later one must read it.
#[test]
fn a_record_of_format_1_is_read_by_every_release() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    fs::write(&path, include_bytes!("owners-v1.record")).unwrap();
    let mut reader = RecordReader::open(record(&path)).unwrap();
    assert_eq!(reader.target().unwrap(), Some(TARGET));
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push(frame);
    }
    assert_eq!(frames, frames_of_format_1());
}

#[test]
fn a_record_of_a_newer_format_is_refused_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let mut bytes = include_bytes!("owners-v1.record").to_vec();
    bytes[4] = 2;
    let sum = blake3::Hasher::new()
        .update(&bytes[..24])
        .update(&bytes[40..40 + usize::from(bytes[8])])
        .finalize();
    bytes[24..40].copy_from_slice(&sum.as_bytes()[..16]);
    fs::write(&path, &bytes).unwrap();
    let error = RecordWriter::open(record(&path)).unwrap_err();
    assert_eq!(error.code(), "tree-record-version");
    assert_eq!(
        error.to_string(),
        "the record of former owners has format 2, and this version reads up to 1"
    );
    assert!(error.hint().unwrap().contains("release"));
    assert_eq!(fs::read(&path).unwrap(), bytes, "kept as it is");
}

fn frames_of_format_1() -> [super::super::record::Frame; 4] {
    use super::super::record::{Frame, Item, Part};
    let item = |mode, uid, gid| Item {
        mode,
        owner: Owner { uid, gid },
        linked: false,
        capability: None,
    };
    let mut files = Part::new(&b"postgres14/base"[..].into());
    let mut dirs = Part::new(&b""[..].into());
    for (name, item) in [
        (&b"PG_VERSION"[..], item(0o100_600, 26, 26)),
        (b"new\nline\xff", item(0o100_600, 26, 26)),
        (
            b"capable",
            Item {
                capability: Some(CAPABILITY.into()),
                ..item(0o104_755, 0, 0)
            },
        ),
        (
            b"linked",
            Item {
                linked: true,
                ..item(0o100_644, 4_294_967_294, 65_534)
            },
        ),
    ] {
        assert!(files.names.push_bytes(name));
        files.items.push(item);
    }
    assert!(dirs.names.push_bytes(b"postgres14"));
    dirs.items.push(item(0o040_700, 26, 26));
    [
        Frame::Start {
            target: TARGET,
            root: item(0o040_755, 0, 0),
        },
        Frame::Parts(vec![files, dirs]),
        Frame::Parts(Vec::new()),
        Frame::End,
    ]
}
