//! Transfers that take the manifest's word for what has not changed since it was written.

use super::{
    field::{Field, can},
    *,
};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// A sample tree with a copy of it, whose final manifest knows every entry.
struct Known {
    field: Field,
    folder: PathBuf,
}

impl Known {
    fn new() -> Self {
        let field = Field::new();
        sample(&field.srv);
        let folder = field.dir.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        let known = Self { field, folder };
        known.pass();
        known
    }

    fn manifests(&self) -> ManifestFolder {
        ManifestFolder::open(&self.folder).unwrap()
    }

    fn pass(&self) {
        let manifests = self.manifests();
        let options = CopyOptions {
            manifest: Some(&manifests),
            ..CopyOptions::new(Pass::Final)
        };
        let to = Root::open(&self.field.copy, None).unwrap();
        copy(&self.field.root(), &to, &options, &Watch::default()).unwrap();
    }

    fn give(&self) -> Result<TransferReport, TreeError> {
        let manifest = self.manifests().recall();
        self.give_by(manifest.as_ref())
    }

    fn give_by(&self, manifest: Option<&Manifest>) -> Result<TransferReport, TreeError> {
        let options = TransferOptions {
            links: LinkCheck::Along,
            known: manifest,
            ..TransferOptions::default()
        };
        let record = RecordWriter::open(record(&self.field.record()))?;
        let root = self.field.root();
        transfer(&root, TARGET, record, &options, &Watch::default())
    }
}

#[test]
fn a_known_tree_is_given_and_comes_back_exactly() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let before = f.tree();
    let report = known.give().unwrap();
    assert_eq!(report.entries, before.len() as u64);
    assert_eq!(
        report.changed + report.already_right,
        report.entries,
        "{report:?}"
    );
    assert!(is_given(&f.srv).wrong.is_empty(), "{:?}", is_given(&f.srv));
    for (path, (_, _, mode, capability)) in f.tree() {
        assert_eq!((before[&path].2, &before[&path].3), (mode, &capability));
    }
    let report = f.give_back().unwrap();
    assert!(report.missing.is_empty());
    assert_back(&f.tree(), &before);
}

/// Whatever came, went or was exchanged behind the manifest's back is looked at.
#[test]
fn what_the_manifest_does_not_know_is_given_too() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let store = f.srv.join("clickhouse/store");
    write(&store.join("all_0/new.bin"), "new");
    fs::remove_file(store.join("all_1/column_3.bin")).unwrap();
    write(&store.join("all_2/other"), "another inode");
    own(&store.join("all_2/other"), 33, 34);
    fs::rename(store.join("all_2/other"), store.join("all_2/column_4.bin")).unwrap();
    fs::rename(store.join("all_3"), store.join("moved")).unwrap();
    fs::create_dir(store.join("all_3")).unwrap();
    write(&store.join("all_3/column_0.bin"), "of another folder");
    write(&store.join("all_6/deep/er/new.bin"), "new");
    let before = f.tree();
    let report = known.give().unwrap();
    assert_eq!(report.entries, before.len() as u64);
    assert!(is_given(&f.srv).wrong.is_empty(), "{:?}", is_given(&f.srv));
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
}

#[test]
fn what_is_right_by_the_manifest_is_not_touched() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    known.give().unwrap();
    fs::remove_file(f.record()).unwrap();
    known.pass();
    let times = ctimes(&f.srv);
    let report = known.give().unwrap();
    assert_eq!((report.changed, report.already_right), (0, report.entries));
    assert_eq!(ctimes(&f.srv), times);
}

/// A record of an earlier try says that the manifest's owners are not all there any more.
#[test]
fn a_transfer_that_goes_on_looks_for_itself() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let before = f.tree();
    known.give().unwrap();
    own(&f.srv.join("clickhouse/store/all_0/column_1.bin"), 997, 996);
    let report = known.give().unwrap();
    assert_eq!(
        (report.changed, report.already_right),
        (1, report.entries - 1)
    );
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
}

/// The manifest says nothing of the attribute: it shows when the owner is to change.
#[test]
fn an_immutable_file_is_told_as_such() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let name = "clickhouse/store/all_0/column_1.bin";
    let file = File::open(f.srv.join(name)).unwrap();
    let flags = ioctl_getflags(&file);
    let set = flags.and_then(|flags| ioctl_setflags(&file, flags | IFlags::IMMUTABLE));
    if !can("immutable attribute", set) {
        return;
    }
    let error = known.give().unwrap_err();
    ioctl_setflags(&file, flags.unwrap()).unwrap();
    assert_eq!(error.code(), "tree-immutable", "{error}");
    assert!(error.to_string().ends_with(name), "{error}");
    assert_eq!(is_given(&f.srv).wrong.count, 2, "it, and the root");
}

/// A directory with linked files has a second part: damage to that alone leaves the directory's times without all of its
/// names, whichever place it has in the file.
#[test]
fn a_damaged_manifest_only_costs_time() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let before = f.tree();
    let path = known.folder.join("manifest");
    let whole = fs::read(&path).unwrap();
    let starts = whole.windows(4).enumerate();
    let frames: Vec<usize> = starts.filter(|(_, w)| *w == b"fMan").map(|f| f.0).collect();
    assert!(frames.len() > 10, "{frames:?}");
    for frame in frames {
        for place in [0, 5, 9, 20, 33] {
            let mut bytes = whole.clone();
            bytes[frame + place] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            assert!(known.manifests().recall().is_none(), "{frame} {place}");
        }
    }
    let report = known.give().unwrap();
    assert_eq!(report.entries, before.len() as u64);
    assert!(is_given(&f.srv).wrong.is_empty());
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
}

/// Damage that comes after the manifest was opened makes its directory one that is looked at.
#[test]
fn a_part_that_is_lost_meanwhile_only_costs_time() {
    if !is_root() {
        return;
    }
    let known = Known::new();
    let f = &known.field;
    let before = f.tree();
    let manifest = known.manifests().recall().unwrap();
    let path = known.folder.join("manifest");
    let mut bytes = fs::read(&path).unwrap();
    for at in (100..bytes.len()).step_by(7) {
        bytes[at] ^= 0x10;
    }
    fs::write(&path, bytes).unwrap();
    let report = known.give_by(Some(&manifest)).unwrap();
    assert_eq!(report.entries, before.len() as u64);
    assert!(is_given(&f.srv).wrong.is_empty());
    f.give_back().unwrap();
    assert_back(&f.tree(), &before);
}
