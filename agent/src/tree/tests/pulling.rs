//! A tree pulled from another machine: the same there and here, nothing sent twice, and nothing made of what cannot be true.

use std::{collections::VecDeque, thread, time::Duration};

use ferry_proto::v1::{
    Failure, FilePiece, ReadFilesRequest, TreeEntry, TreePart, WantedFile, file_piece::Kind,
};
use tempfile::TempDir;

use super::*;

/// A source in this process. What it tells can be spoilt on the way.
struct Near<'a> {
    root: &'a Root,
    parts: VecDeque<TreePart>,
    pieces: VecDeque<FilePiece>,
    /// Data and holes that are still sent before the connection is lost.
    left: usize,
    spoil_part: fn(&mut TreePart),
    spoil_piece: fn(&mut FilePiece),
}

impl<'a> Near<'a> {
    fn of(root: &'a Root) -> Self {
        Self {
            root,
            parts: VecDeque::new(),
            pieces: VecDeque::new(),
            left: usize::MAX,
            spoil_part: |_| {},
            spoil_piece: |_| {},
        }
    }
}

impl Source for Near<'_> {
    fn list(&mut self) -> Result<(), PullError> {
        let mut all = VecDeque::new();
        list(self.root, &Watch::default(), &mut |part| {
            all.push_back(part);
            Ok(())
        })?;
        self.parts = all;
        Ok(())
    }

    fn next_part(&mut self) -> Result<Option<TreePart>, PullError> {
        let mut part = self.parts.pop_front();
        part.iter_mut().for_each(self.spoil_part);
        Ok(part)
    }

    fn read(&mut self, request: ReadFilesRequest) -> Result<(), PullError> {
        let mut all = VecDeque::new();
        read(self.root, &request, &Watch::default(), &mut |piece| {
            all.push_back(piece);
            Ok(())
        })?;
        self.pieces = all;
        Ok(())
    }

    fn next_piece(&mut self) -> Result<Option<FilePiece>, PullError> {
        let mut piece = self.pieces.pop_front();
        piece.iter_mut().for_each(self.spoil_piece);
        if let Some(FilePiece {
            kind: Some(Kind::Data(_) | Kind::Hole(_)),
        }) = &piece
        {
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                PullError::Source(Failure {
                    code: "connection-lost".into(),
                    ..Failure::default()
                })
            })?;
        }
        Ok(piece)
    }
}

/// Both sides, and where the manifests are.
struct Sides {
    src: TempDir,
    dst: TempDir,
    notes: TempDir,
}

impl Sides {
    fn new() -> Self {
        let new = || tempfile::tempdir().unwrap();
        Self {
            src: new(),
            dst: new(),
            notes: new(),
        }
    }

    /// With the sample on one side, old enough for nobody to doubt its times.
    fn sampled() -> Self {
        let sides = Self::new();
        sample(sides.src.path());
        thread::sleep(Duration::from_millis(200));
        sides
    }

    fn src(&self) -> Root {
        Root::open(self.src.path(), None).unwrap()
    }

    fn pull(&self, source: &mut dyn Source, pass: Pass) -> Result<PullReport, PullError> {
        let dst = Root::open(self.dst.path(), None)?;
        let manifest = ManifestFolder::open(self.notes.path())?;
        let options = PullOptions {
            pass,
            bytes_per_second: None,
            manifest: &manifest,
            read_back: true,
        };
        pull(source, &dst, &options, &Watch::default())
    }

    fn plain(&self, pass: Pass) -> PullReport {
        let root = self.src();
        self.pull(&mut Near::of(&root), pass).unwrap()
    }

    fn manifest(&self) -> Manifest {
        let folder = ManifestFolder::open(self.notes.path()).unwrap();
        folder.read(Pass::Final).unwrap()
    }

    fn proven(&self) -> ProveReport {
        let dst = Root::open(self.dst.path(), None).unwrap();
        let options = ProveOptions::default();
        prove(&dst, &self.manifest(), &options, &Watch::default()).unwrap()
    }

    fn confirmed(&self) -> Problems {
        let root = self.src();
        confirm(&mut Near::of(&root), &self.manifest(), &Watch::default()).unwrap()
    }

    #[track_caller]
    fn assert_same(&self) {
        let options = CompareOptions {
            content: true,
            ..CompareOptions::default()
        };
        let dst = Root::open(self.dst.path(), None).unwrap();
        let report = compare(&self.src(), &dst, &options, &Watch::default()).unwrap();
        assert!(report.is_same(), "{}", report.differences);
    }
}

fn files_of(root: &Path) -> u64 {
    let is_file = |mode: u32| mode & 0o170_000 == 0o100_000;
    let all = snapshot(root).into_iter();
    let ours = |path: &PathBuf| path.starts_with(".ferry");
    let files = all.filter(|(path, (_, _, mode, _))| is_file(*mode) && !ours(path));
    u64::try_from(files.count()).unwrap()
}

#[test]
fn all_of_it_comes_over_and_is_not_sent_again() {
    if !is_root() {
        return;
    }
    let sides = Sides::sampled();
    let before = (snapshot(sides.src.path()), ctimes(sides.src.path()));
    let live = sides.plain(Pass::Live);
    // Both names of the file that has two are one file.
    assert_eq!(live.files_received, files_of(sides.src.path()) - 1);
    sides.assert_same();
    let last = sides.plain(Pass::Final);
    assert_eq!((last.files_received, last.bytes_received), (0, 0));
    assert_eq!(last.files_known, live.files_received);
    sides.assert_same();
    assert!(sides.proven().is_proven(), "{}", sides.proven().differences);
    assert!(sides.confirmed().is_empty(), "{}", sides.confirmed());
    assert!(!sides.dst.path().join(".ferry").exists());
    // And of the source nothing has changed, not even when.
    assert!(before == (snapshot(sides.src.path()), ctimes(sides.src.path())));
}

#[test]
fn what_changed_comes_over_and_what_is_gone_goes() {
    if !is_root() {
        return;
    }
    let sides = Sides::sampled();
    sides.plain(Pass::Live);
    let src = sides.src.path();
    write(&src.join("clickhouse/store/all_0/column_1.bin"), "changed");
    fs::remove_file(src.join("clickhouse/store/all_0/column_2.bin")).unwrap();
    fs::remove_dir_all(src.join("clickhouse/store/all_1")).unwrap();
    own(&src.join("clickhouse/store/all_2/column_1.bin"), 1, 2);
    fs::remove_file(src.join("grafana/dangling")).unwrap();
    fs::create_dir(src.join("grafana/dangling")).unwrap();
    fs::remove_file(src.join("links/b")).unwrap();
    write(&src.join("links/b"), "its own");
    fs::hard_link(src.join("links/b"), src.join("links/c")).unwrap();
    let last = sides.plain(Pass::Final);
    sides.assert_same();
    assert!(sides.proven().is_proven(), "{}", sides.proven().differences);
    // Two were written, and one must not share its inode any more. One has another owner: what it holds is compared.
    assert_eq!((last.files_received, last.files_same), (3, 1), "{last:?}");
}

#[test]
fn what_shared_an_inode_shares_what_it_shares_there() {
    if !is_root() {
        return;
    }
    let sides = Sides::new();
    let src = sides.src.path();
    let link = |a: &str, b: &str| fs::hard_link(src.join(a), src.join(b)).unwrap();
    write(&src.join("a"), "same");
    link("a", "b");
    link("a", "below");
    fs::remove_file(src.join("below")).unwrap();
    fs::create_dir(src.join("below")).unwrap();
    link("a", "below/c");
    thread::sleep(Duration::from_millis(200));
    sides.plain(Pass::Live);
    sides.assert_same();
    // The same bytes and time, and two pairs where there were three names of one.
    let times = fs::metadata(src.join("a")).unwrap().modified().unwrap();
    fs::remove_file(src.join("b")).unwrap();
    fs::remove_file(src.join("below/c")).unwrap();
    write(&src.join("b"), "same");
    let file = File::options().write(true).open(src.join("b")).unwrap();
    file.set_modified(times).unwrap();
    link("b", "below/c");
    link("a", "below/d");
    thread::sleep(Duration::from_millis(200));
    sides.plain(Pass::Final);
    sides.assert_same();
    assert!(sides.proven().is_proven(), "{}", sides.proven().differences);
}

#[test]
fn holes_stay_holes() {
    if !is_root() {
        return;
    }
    let sides = Sides::new();
    let file = File::create(sides.src.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 8 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    drop(file);
    let report = sides.plain(Pass::Final);
    assert!(report.bytes_received < 1 << 20, "{report:?}");
    let there = fs::metadata(sides.dst.path().join("sparse")).unwrap();
    assert_eq!(there.len(), 64 << 20);
    assert!(there.blocks() * 512 < 1 << 20);
    sides.assert_same();
    assert!(sides.proven().is_proven());
}

#[test]
fn a_pull_that_was_cut_off_goes_on_where_it_was() {
    if !is_root() {
        return;
    }
    let sides = Sides::sampled();
    let root = sides.src();
    let mut cut = Near::of(&root);
    cut.left = 60;
    let error = sides.pull(&mut cut, Pass::Live).unwrap_err();
    assert_eq!(error.code(), "connection-lost");
    let rest = sides.plain(Pass::Live);
    let files = files_of(sides.src.path()) - 1;
    assert_eq!(rest.files_received, files - 60, "{rest:?}");
    assert_eq!(rest.files_known + rest.files_same, 60, "{rest:?}");
    sides.assert_same();
}

#[test]
fn without_manifests_hashes_decide() {
    if !is_root() {
        return;
    }
    let sides = Sides::sampled();
    sides.plain(Pass::Final);
    let spoilt = sides.dst.path().join("clickhouse/store/all_0/column_1.bin");
    let times = fs::metadata(&spoilt).unwrap().modified().unwrap();
    fs::write(&spoilt, "0 x").unwrap();
    File::options()
        .write(true)
        .open(&spoilt)
        .unwrap()
        .set_modified(times)
        .unwrap();
    // By its times it is the same, and only the proof can tell.
    assert_eq!(sides.plain(Pass::Final).files_received, 0);
    assert_eq!(sides.proven().differences.count, 1);
    let looks = ProveOptions {
        looks_only: true,
        ..ProveOptions::default()
    };
    let dst = Root::open(sides.dst.path(), None).unwrap();
    let report = prove(&dst, &sides.manifest(), &looks, &Watch::default()).unwrap();
    assert_eq!((report.is_proven(), report.bytes), (true, 0));
    ManifestFolder::open(sides.notes.path())
        .unwrap()
        .forget()
        .unwrap();
    let report = sides.plain(Pass::Final);
    assert_eq!((report.files_received, report.files_known), (1, 0));
    assert_eq!(report.files_same, files_of(sides.src.path()) - 2);
    sides.assert_same();
    assert!(sides.proven().is_proven());
}

#[test]
fn bytes_that_are_not_those_that_were_read_are_refused() {
    if !is_root() {
        return;
    }
    let spoilers: [fn(&mut FilePiece); 2] = [
        |piece| {
            if let Some(Kind::Data(bytes)) = &mut piece.kind {
                bytes[0] ^= 1;
            }
        },
        |piece| {
            if let Some(Kind::Data(bytes)) = &mut piece.kind {
                bytes.pop();
            }
        },
    ];
    for spoil in spoilers {
        let sides = Sides::new();
        write(&sides.src.path().join("folder/file"), "content");
        write(&sides.dst.path().join("folder/file"), "what was here");
        let root = sides.src();
        let mut source = Near::of(&root);
        source.spoil_piece = spoil;
        let error = sides.pull(&mut source, Pass::Final).unwrap_err();
        assert_eq!(error.code(), "pull-corrupt");
        assert!(error.to_string().contains("folder/file"), "{error}");
        let folder = sides.dst.path().join("folder");
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"what was here");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }
}

type Spoiler = fn(&mut TreePart);

#[test]
fn nothing_leads_out_of_the_folder() {
    if !is_root() {
        return;
    }
    let spoilers: [(&str, Spoiler); 6] = [
        ("a name that can be none", |part| {
            for entry in &mut part.entries {
                entry.name = b"../out".to_vec();
            }
        }),
        ("not announced", |part| {
            if !part.dir.is_empty() {
                part.dir = b"../out".to_vec();
            }
        }),
        ("not announced", |part| {
            if !part.dir.is_empty() {
                part.dir = b"link".to_vec();
            }
        }),
        ("Ferry's own", |part| {
            for entry in &mut part.entries {
                if part.dir.is_empty() {
                    entry.name = b".ferry".to_vec();
                }
            }
        }),
        ("told twice", |part| {
            let twice: Vec<TreeEntry> = part.entries.clone();
            part.entries.extend(twice);
        }),
        ("too early", |part| {
            if part.dir.is_empty() {
                let also = TreeEntry {
                    name: b"never-told".to_vec(),
                    ..part.own.clone().unwrap()
                };
                part.entries.push(also);
            }
        }),
    ];
    for (told, spoil) in spoilers {
        let sides = Sides::new();
        write(&sides.src.path().join("folder/file"), "content");
        let out = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(out.path(), sides.dst.path().join("link")).unwrap();
        let root = sides.src();
        let mut source = Near::of(&root);
        source.spoil_part = spoil;
        let error = sides.pull(&mut source, Pass::Final).unwrap_err();
        assert_eq!(error.code(), "pull-unsound", "{told}");
        assert!(error.to_string().contains(told), "{told}: {error}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "{told}");
    }
}

#[test]
fn links_in_the_way_are_replaced_and_not_followed() {
    if !is_root() {
        return;
    }
    let sides = Sides::new();
    write(&sides.src.path().join("folder/file"), "content");
    write(&sides.src.path().join("file"), "content");
    let out = tempfile::tempdir().unwrap();
    write(&out.path().join("file"), "theirs");
    let link = std::os::unix::fs::symlink::<PathBuf, PathBuf>;
    link(out.path().into(), sides.dst.path().join("folder")).unwrap();
    link(out.path().join("file"), sides.dst.path().join("file")).unwrap();
    sides.plain(Pass::Final);
    sides.assert_same();
    assert_eq!(fs::read(out.path().join("file")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn a_device_is_neither_made_nor_passed_over() {
    if !is_root() {
        return;
    }
    let sides = Sides::new();
    let flags = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    let path = sides.src.path().join("null");
    if rustix::fs::mknodat(CWD, &path, flags, rustix::fs::Mode::RUSR, null).is_err() {
        return eprintln!("passed over: devices cannot be made here");
    }
    let root = sides.src();
    let error = sides.pull(&mut Near::of(&root), Pass::Final).unwrap_err();
    assert_eq!(error.code(), "tree-entries-failed");
    assert!(error.to_string().contains("null: a device"), "{error}");
    assert_eq!(fs::read_dir(sides.dst.path()).unwrap().count(), 0);
}

#[test]
fn only_what_is_part_of_the_tree_is_given() {
    let sides = Sides::new();
    write(&sides.src.path().join("folder/file"), "content");
    write(&sides.src.path().join(".ferry/secret"), "ours");
    std::os::unix::fs::symlink("/etc", sides.src.path().join("etc")).unwrap();
    let root = sides.src();
    let ask = |dir: &str, name: &str| {
        let request = ReadFilesRequest {
            dir: dir.into(),
            files: vec![WantedFile {
                name: name.into(),
                have: Vec::new(),
            }],
        };
        let mut first = None;
        let result = read(&root, &request, &Watch::default(), &mut |piece| {
            first.get_or_insert(piece.kind.unwrap());
            Ok(())
        });
        result.map(|()| first.unwrap())
    };
    assert!(matches!(ask("folder", "file"), Ok(Kind::Head(_))));
    for (dir, name) in [
        ("..", "file"),
        ("/etc", "hostname"),
        ("folder/../..", "file"),
        ("folder", "../file"),
        ("folder/", "file"),
        ("", ""),
    ] {
        assert!(
            matches!(ask(dir, name), Err(TreeError::Request)),
            "{dir} {name}"
        );
    }
    for (dir, name) in [
        (".ferry", "secret"),
        ("etc", "hostname"),
        ("", "etc"),
        ("", "none"),
    ] {
        let told = ask(dir, name);
        let gone = matches!(&told, Ok(Kind::Failed(failed)) if failed.gone);
        assert!(gone, "{dir} {name}: {told:?}");
    }
}

type Change = fn(&Path);

#[test]
fn a_source_that_changed_behind_the_pull_is_seen() {
    if !is_root() {
        return;
    }
    let changes: [(&str, Change); 5] = [
        ("written", |src| {
            write(&src.join("postgres14/PG_VERSION"), "15")
        }),
        ("new", |src| write(&src.join("postgres14/new"), "")),
        ("gone", |src| fs::remove_file(src.join("links/a")).unwrap()),
        ("owner", |src| own(&src.join("bin/capable"), 7, 7)),
        ("folder", |src| {
            fs::create_dir(src.join("grafana/new")).unwrap()
        }),
    ];
    for (what, change) in changes {
        let sides = Sides::sampled();
        sides.plain(Pass::Final);
        assert!(sides.confirmed().is_empty(), "{}", sides.confirmed());
        change(sides.src.path());
        assert!(!sides.confirmed().is_empty(), "{what}");
    }
}
