//! Restores that hold the data against the hashes of the backup's manifest.

use super::{field::Field, *};

/// Data of three files, its copy, and the manifest of that.
struct Backed {
    field: Field,
    folder: PathBuf,
}

const FILES: [&str; 3] = ["one", "folder/two", "folder/three"];

impl Backed {
    fn new() -> Self {
        Self::made(|_| {})
    }

    fn made(and: impl Fn(&Path)) -> Self {
        let field = Field::new();
        for name in FILES {
            write(&field.srv.join(name), "as it was");
        }
        and(&field.srv);
        let folder = field.dir.path().join("manifests");
        fs::create_dir(&folder).unwrap();
        let manifests = ManifestFolder::open(&folder).unwrap();
        let options = CopyOptions {
            manifest: Some(&manifests),
            ..CopyOptions::new(Pass::Final)
        };
        let to = Root::open(&field.copy, None).unwrap();
        copy(&field.root(), &to, &options, &Watch::default()).unwrap();
        Self { field, folder }
    }

    fn restore(&self) -> CopyReport {
        self.try_restore().unwrap()
    }

    fn try_restore(&self) -> Result<CopyReport, TreeError> {
        self.restore_with(false)
    }

    fn restore_with(&self, accept_damaged: bool) -> Result<CopyReport, TreeError> {
        let manifest = ManifestFolder::open(&self.folder).unwrap().recall();
        assert!(manifest.is_some());
        let aside = self.field.srv.join(".ferry/aside");
        fs::create_dir_all(&aside).unwrap();
        let aside = Root::open(&aside, None).unwrap();
        let options = RestoreOptions {
            trust: Trust::Bytes,
            manifest: manifest.as_ref(),
            accept_damaged,
            ..RestoreOptions::new(&aside)
        };
        let from = Root::open(&self.field.copy, None).unwrap();
        restore(&from, &self.field.root(), &options, &Watch::default())
    }
}

/// Other bytes of the same number, and the time is put back.
fn forge(path: &Path) {
    let mtime = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, "as it is.").unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(mtime).unwrap();
}

#[test]
fn what_only_its_hash_tells_is_brought_back() {
    if !is_root() {
        return;
    }
    let backed = Backed::new();
    for name in FILES {
        forge(&backed.field.srv.join(name));
        assert_eq!(backed.restore().files_copied, 1, "{name}");
        let text = fs::read_to_string(backed.field.srv.join(name)).unwrap();
        assert_eq!(text, "as it was", "{name}");
    }
    assert_eq!(backed.restore().files_copied, 0);
}

/// A copy that has gone bad does not spoil data that is still what the manifest says.
#[test]
fn data_that_has_the_right_hash_is_left_alone_whatever_the_copy_holds() {
    if !is_root() {
        return;
    }
    let backed = Backed::new();
    forge(&backed.field.copy.join("folder/two"));
    assert_eq!(backed.restore().files_copied, 0);
    let text = fs::read_to_string(backed.field.srv.join("folder/two")).unwrap();
    assert_eq!(text, "as it was");
}

/// What the copy lost by itself is not brought back, and the data stays what it is.
#[test]
fn a_copy_that_has_gone_bad_is_not_brought_back() {
    if !is_root() {
        return;
    }
    let backed = Backed::new();
    forge(&backed.field.copy.join("folder/two"));
    let there = backed.field.srv.join("folder/two");
    fs::write(&there, "of a newer version").unwrap();
    let error = backed.try_restore().unwrap_err();
    assert!(
        matches!(&error, TreeError::BackupDiffers { path } if path == "folder/two"),
        "{error}"
    );
    assert_eq!(error.code(), "backup-differs");
    assert_eq!(fs::read_to_string(&there).unwrap(), "of a newer version");
    let beside = fs::read_dir(there.parent().unwrap()).unwrap();
    let names: Vec<_> = beside.map(|it| it.unwrap().file_name()).collect();
    let left = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".ferry~");
    assert!(!names.iter().any(left), "{names:?}");
}

/// Who accepts it gets what the copy has, and is told of which files that is not what was copied. What the data still has stays.
#[test]
fn what_has_gone_bad_is_brought_back_where_that_is_accepted() {
    if !is_root() {
        return;
    }
    let backed = Backed::new();
    let time = fs::metadata(backed.field.srv.join("one")).unwrap();
    let time = time.modified().unwrap();
    for name in ["one", "folder/two"] {
        fs::write(backed.field.copy.join(name), "bad").unwrap();
    }
    let there = backed.field.srv.join("folder/two");
    fs::write(&there, "of a newer version").unwrap();
    let restored = backed.restore_with(true).unwrap();
    assert_eq!(restored.files_copied, 1);
    assert_eq!(restored.damaged.first, ["folder/two"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "bad");
    let whole = backed.field.srv.join("one");
    assert_eq!(fs::read_to_string(&whole).unwrap(), "as it was");
    // It keeps its time, and a comparison that knows of the damage finds nothing else.
    assert_eq!(fs::metadata(&whole).unwrap().modified().unwrap(), time);
    let manifest = ManifestFolder::open(&backed.folder).unwrap().recall();
    let copy = Root::open(&backed.field.copy, None).unwrap();
    let compared = |proven| {
        let options = CompareOptions {
            proven,
            ..CompareOptions::default()
        };
        compare(&backed.field.root(), &copy, &options, &Watch::default()).unwrap()
    };
    assert_eq!(compared(manifest.as_ref()).differences.first, [""; 0]);
    let without = compared(None).differences;
    assert!(without.first.iter().all(|it| it.starts_with("one: ")) && !without.is_empty());
}

/// Size and time are not the manifest's either: it is no longer the file that was copied.
#[test]
fn a_copy_that_was_written_to_is_not_brought_back() {
    if !is_root() {
        return;
    }
    for (name, to) in [("one", "a later!!"), ("folder/three", "longer than before")] {
        let backed = Backed::new();
        fs::write(backed.field.copy.join(name), to).unwrap();
        let error = backed.try_restore().unwrap_err();
        assert!(
            matches!(&error, TreeError::BackupDiffers { path } if path == name),
            "{error}"
        );
        let text = fs::read_to_string(backed.field.srv.join(name)).unwrap();
        assert_eq!(text, "as it was");
    }
}

/// A file with several names is copied by another way, which asks the manifest as well.
#[test]
fn a_copy_with_several_names_that_has_gone_bad_is_not_brought_back() {
    if !is_root() {
        return;
    }
    let backed = Backed::made(|srv| {
        fs::hard_link(srv.join("one"), srv.join("folder/also one")).unwrap();
    });
    let (copy, there) = (backed.field.copy.join("one"), backed.field.srv.join("one"));
    fs::write(&there, "of a newer version").unwrap();
    assert_eq!(backed.restore().files_copied, 1);
    assert_eq!(fs::read_to_string(&there).unwrap(), "as it was");
    forge(&copy);
    fs::write(&there, "of a newer version").unwrap();
    let error = backed.try_restore().unwrap_err();
    assert!(matches!(error, TreeError::BackupDiffers { .. }), "{error}");
    assert_eq!(fs::read_to_string(&there).unwrap(), "of a newer version");
}

/// Nobody has ever described such a file, so nobody knows what it should be.
#[test]
fn what_the_manifest_does_not_know_is_not_brought_back() {
    if !is_root() {
        return;
    }
    let backed = Backed::new();
    fs::write(backed.field.copy.join("folder/four"), "from nowhere").unwrap();
    let error = backed.try_restore().unwrap_err();
    assert!(
        matches!(&error, TreeError::BackupDiffers { path } if path == "folder/four"),
        "{error}"
    );
    let restored = backed.restore_with(true).unwrap();
    assert_eq!(restored.damaged.first, ["folder/four"]);
}
