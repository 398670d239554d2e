//! A pull from who tells anything at all.

use std::collections::VecDeque;

use ferry_proto::v1::{
    FileEnd, FilePiece, Owner, ReadFilesRequest, TreeEntry, TreePart, TreeTime, file_piece::Kind,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// Whatever is told.
struct Liar {
    parts: VecDeque<TreePart>,
    pieces: Vec<Kind>,
    next: VecDeque<FilePiece>,
}

impl Source for Liar {
    fn list(&mut self) -> Result<(), PullError> {
        Ok(())
    }

    fn next_part(&mut self) -> Result<Option<TreePart>, PullError> {
        Ok(self.parts.pop_front())
    }

    fn read(&mut self, _request: ReadFilesRequest) -> Result<(), PullError> {
        let piece = |kind: &Kind| FilePiece {
            kind: Some(kind.clone()),
        };
        self.next = self.pieces.iter().map(piece).collect();
        Ok(())
    }

    fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError> {
        Ok(self.next.pop_front())
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    select(vec![
        "", ".", "..", "a", "b", "link", "file", "../out", "a/b", "/etc",
    ])
    .prop_map(|name| name.as_bytes().to_vec())
}

fn entry() -> impl Strategy<Value = TreeEntry> {
    let modes = vec![
        0o040_755_u32,
        0o100_644,
        0o120_777,
        0o010_600,
        0o020_600,
        0o104_755,
    ];
    let head = (name(), select(modes), 1..3_u64, 1..3_u32, 0..4_u64);
    (head, select(vec!["", "../out", "/etc", "a"])).prop_map(
        |((name, mode, ino, nlink, size), target)| {
            let time = Some(TreeTime { sec: 1, nsec: 1 });
            TreeEntry {
                name,
                mode,
                owner: Some(Owner { uid: 0, gid: 0 }),
                mtime: time,
                atime: time,
                ctime: time,
                ino,
                nlink,
                size,
                target: target.as_bytes().to_vec(),
                ..TreeEntry::default()
            }
        },
    )
}

fn part() -> impl Strategy<Value = TreePart> {
    let entries = vec(entry(), 0..4);
    (
        name(),
        entries,
        option::weighted(0.8, entry()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(dir, entries, own, gone)| TreePart {
            dir,
            entries,
            own: own.map(|own| TreeEntry {
                mode: 0o040_755,
                target: Vec::new(),
                ..own
            }),
            gone,
        })
}

fn piece() -> impl Strategy<Value = Kind> {
    prop_oneof![
        entry().prop_map(Kind::Head),
        vec(any::<u8>(), 0..4).prop_map(Kind::Data),
        (0..4_u64).prop_map(Kind::Hole),
        any::<bool>().prop_map(|same| Kind::End(FileEnd {
            digest: blake3::hash(b"").as_bytes().to_vec(),
            same,
            ..FileEnd::default()
        })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_source_gets_out_of_the_folder(parts in vec(part(), 1..5), pieces in vec(piece(), 0..6)) {
        let outer = tempfile::tempdir().unwrap();
        write(&outer.path().join("out/file"), "theirs");
        let folder = outer.path().join("folder");
        write(&folder.join("file"), "here");
        std::os::unix::fs::symlink("../out", folder.join("link")).unwrap();
        let notes = tempfile::tempdir().unwrap();
        let mut parts = VecDeque::from(parts);
        parts[0].dir.clear();
        let mut source = Liar { parts, pieces, next: VecDeque::new() };
        let (dst, manifest) = (Root::open(&folder, None).unwrap(), ManifestFolder::open(notes.path()).unwrap());
        let options = PullOptions { pass: Pass::Final, bytes_per_second: None, manifest: &manifest, read_back: true };
        let _ = pull(&mut source, &dst, &options, &Watch::default());
        let out = outer.path().join("out");
        prop_assert_eq!(fs::read(out.join("file")).unwrap(), b"theirs");
        prop_assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_hole_of_exabytes_does_not_hold_up_who_is_told_to_end() {
    let time = Some(TreeTime { sec: 1, nsec: 1 });
    let entry = |name: &str, mode: u32, size: u64| TreeEntry {
        name: name.as_bytes().to_vec(),
        mode,
        owner: Some(Owner { uid: 0, gid: 0 }),
        mtime: time,
        atime: time,
        ctime: time,
        nlink: 1,
        size,
        ..TreeEntry::default()
    };
    let size = u64::try_from(i64::MAX).unwrap();
    let part = TreePart {
        entries: vec![entry("file", 0o100_644, size)],
        own: Some(entry("", 0o040_755, 0)),
        ..TreePart::default()
    };
    let mut source = Liar {
        parts: VecDeque::from([part]),
        pieces: vec![Kind::Head(entry("", 0o100_644, size)), Kind::Hole(size)],
        next: VecDeque::new(),
    };
    let (folder, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dst = Root::open(folder.path(), None).unwrap();
    let manifest = ManifestFolder::open(notes.path()).unwrap();
    let options = PullOptions {
        pass: Pass::Final,
        bytes_per_second: None,
        manifest: &manifest,
        read_back: true,
    };
    let cancel = CancelFlag::new();
    let tell = |_| cancel.cancel();
    let watch = Watch {
        progress: &tell,
        cancel: cancel.clone(),
    };
    let error = pull(&mut source, &dst, &options, &watch).unwrap_err();
    assert_eq!(error.code(), TreeError::Cancelled.code());
    assert!(!folder.path().join("file").exists());
}
