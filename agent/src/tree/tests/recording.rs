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
