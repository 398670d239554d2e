//! A tree with a neighbour: every operation on the tree, and a proof that the neighbour was left alone.

use super::*;

/// What no copy may ever hold.
const SECRET: &[u8] = b"what lies outside stays outside";

/// All that could be done to an entry of the neighbour, its ctime included.
type Seal = BTreeMap<PathBuf, (u64, u32, u32, u32, u64, (i64, i64), (i64, i64), Vec<u8>)>;

pub(super) struct Field {
    pub(super) dir: tempfile::TempDir,
    pub(super) srv: PathBuf,
    pub(super) copy: PathBuf,
    pub(super) outside: PathBuf,
}

impl Field {
    /// A small ordinary tree, and the neighbour with files and folders of the same names.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [srv, copy, outside] = ["srv", "copy", "outside"].map(|n| dir.path().join(n));
        for (root, content) in [(&srv, &b"of the tree"[..]), (&outside, SECRET)] {
            for name in ["plain", "folder/one", "folder/two", "folder/deep/three"] {
                write(&root.join(name), content);
            }
            mode(&root.join("plain"), 0o640);
        }
        own(&srv.join("folder/one"), 26, 27);
        fs::create_dir(&copy).unwrap();
        fs::create_dir_all(srv.join(".ferry/aside")).unwrap();
        Self {
            dir,
            srv,
            copy,
            outside,
        }
    }

    pub(super) fn seal(&self) -> Seal {
        let mut all = Seal::new();
        for path in snapshot(&self.outside).into_keys() {
            let full = self.outside.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let content = if meta.is_file() {
                fs::read(&full).unwrap()
            } else {
                Vec::new()
            };
            let (mtime, ctime) = (
                (meta.mtime(), meta.mtime_nsec()),
                (meta.ctime(), meta.ctime_nsec()),
            );
            let (ino, uid, gid) = (meta.ino(), meta.uid(), meta.gid());
            let state = (
                ino,
                uid,
                gid,
                meta.mode(),
                meta.len(),
                mtime,
                ctime,
                content,
            );
            all.insert(path, state);
        }
        all
    }

    /// The neighbour is as it was, and nothing of it came into the copy or the tree.
    #[track_caller]
    pub(super) fn assert_sealed(&self, before: &Seal) {
        assert_eq!(&self.seal(), before, "the neighbour was changed");
        for root in [&self.srv, &self.copy] {
            for path in snapshot(root).into_keys() {
                let full = root.join(path);
                if fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_file()) {
                    assert_ne!(fs::read(&full).unwrap(), SECRET, "{full:?} was read in");
                }
            }
        }
    }

    pub(super) fn root(&self) -> Root {
        Root::open(&self.srv, None).unwrap()
    }

    pub(super) fn record(&self) -> PathBuf {
        self.dir.path().join("record")
    }

    pub(super) fn count(&self) -> TreeStats {
        count(&self.root(), &Watch::default()).unwrap()
    }

    pub(super) fn pass(&self, pass: Pass) -> Result<CopyReport, TreeError> {
        let to = Root::open(&self.copy, None).unwrap();
        copy(
            &self.root(),
            &to,
            &CopyOptions::new(pass),
            &Watch::default(),
        )
    }

    pub(super) fn compare(&self) -> Result<CompareReport, TreeError> {
        let options = CompareOptions {
            content: true,
            ..CompareOptions::default()
        };
        let to = Root::open(&self.copy, None).unwrap();
        compare(&self.root(), &to, &options, &Watch::default())
    }

    pub(super) fn restore(&self, trust: Trust) -> Result<CopyReport, TreeError> {
        let aside = Root::open(&self.srv.join(".ferry/aside"), None).unwrap();
        let options = RestoreOptions {
            trust,
            ..RestoreOptions::new(&aside)
        };
        let from = Root::open(&self.copy, None).unwrap();
        restore(&from, &self.root(), &options, &Watch::default())
    }

    pub(super) fn give(&self, links: LinkCheck) -> Result<TransferReport, TreeError> {
        give(&self.srv, &self.record(), links)
    }

    pub(super) fn give_back(&self) -> Result<RestoreOwnersReport, TreeError> {
        give_back(&self.srv, &self.record())
    }

    /// What the tree holds beside the state folder.
    pub(super) fn tree(&self) -> Snapshot {
        let mut tree = snapshot(&self.srv);
        tree.retain(|path, _| !path.starts_with(".ferry"));
        tree
    }

    /// For a tree on which everything can be done: each operation and its undo, with the neighbour
    /// looked at after each.
    #[track_caller]
    pub(super) fn round(&self) {
        let (before, outside) = (self.tree(), self.seal());
        assert!(self.count().unreadable.is_empty());
        self.assert_sealed(&outside);
        for pass in [Pass::Live, Pass::Final] {
            let report = self.pass(pass).unwrap();
            assert_eq!(report.vanished, 0, "{pass:?}: {report:?}");
            self.assert_sealed(&outside);
        }
        let compared = self.compare().unwrap();
        assert!(compared.is_same(), "{compared:?}");
        for links in [LinkCheck::First, LinkCheck::Along] {
            self.give(links).unwrap();
            assert!(is_given(&self.srv).wrong.is_empty());
            self.assert_sealed(&outside);
            let report = self.give_back().unwrap();
            assert!(report.missing.is_empty(), "{report:?}");
            assert_back(&self.tree(), &before);
            self.assert_sealed(&outside);
        }
        // As after days with another version: all has other owners, some other content.
        self.give(LinkCheck::First).unwrap();
        write(&self.srv.join("folder/new"), "new");
        write(&self.srv.join("folder/two"), "changed");
        for trust in [Trust::Times, Trust::Bytes] {
            self.restore(trust).unwrap();
            let compared = self.compare().unwrap();
            assert!(compared.is_same(), "{compared:?}");
            assert_back(&self.tree(), &before);
            self.assert_sealed(&outside);
        }
    }
}

/// Says what a test cannot do here, and why; true where it can.
pub(super) fn can<T, E: std::fmt::Display>(what: &str, tried: Result<T, E>) -> bool {
    match tried {
        Ok(_) => true,
        Err(error) => {
            eprintln!("passed over: no {what} here: {error}");
            false
        }
    }
}
