//! A clock that jumps between the passes. Nobody can give a file a time of change, so it is written into a file system while that is not
//! mounted: what lies there afterwards is what a jump leaves.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{field::can, *};

/// A file system in a file, with a tree and its copy.
pub(super) struct Image {
    dir: tempfile::TempDir,
    pub(super) at: PathBuf,
    /// When it was made, in seconds since 1970: however long a test takes, its times stay where they are to each other.
    made: i64,
}

/// Nothing of it is left mounted, whatever becomes of the test.
impl Drop for Image {
    fn drop(&mut self) {
        let _ = run("umount", &["--lazy", &self.at.to_string_lossy()]);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the programs that make and change a file system are what a jump is tried with"
)]
fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(words).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    // debugfs tells its name and version, and ends well whatever became of its work.
    let well = done.status.success()
        && said
            .lines()
            .skip(1)
            .all(|line| line.starts_with("debugfs "));
    if well { Ok(()) } else { Err(said) }
}

const NAMES: [&str; 4] = ["plain", "folder/one", "folder/two", "deep/er/three"];
const DAYS: i64 = 3 * 86_400;

impl Image {
    /// With a live pass behind it, which took nothing for changed meanwhile.
    pub(super) fn with_a_live_pass() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mounted");
        fs::create_dir_all(&at).unwrap();
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let made = made.as_secs().cast_signed();
        let image = Self { dir, at, made };
        File::create(image.file())
            .unwrap()
            .set_len(16 << 20)
            .unwrap();
        let file = image.file();
        let made = run("mkfs.ext4", &["-q", "-I", "256", &file])
            .and_then(|()| run("debugfs", &["-R", "stats", &file]))
            .and_then(|()| image.mount());
        if !can("file system of its own", made) {
            return None;
        }
        for name in NAMES {
            write(&image.srv().join(name), "as it was");
        }
        fs::create_dir(image.copy()).unwrap();
        fs::create_dir(image.at.join("manifests")).unwrap();
        thread::sleep(Duration::from_millis(200));
        let report = image.pass(Pass::Live, true);
        assert_eq!(
            (report.files_copied, report.changed_meanwhile),
            (4, 0),
            "{report:?}"
        );
        Some(image)
    }

    pub(super) fn file(&self) -> String {
        self.dir.path().join("image").display().to_string()
    }

    pub(super) fn srv(&self) -> PathBuf {
        self.at.join("srv")
    }

    pub(super) fn copy(&self) -> PathBuf {
        self.at.join("copy")
    }

    fn mount(&self) -> Result<(), String> {
        run(
            "mount",
            &["-o", "loop", &self.file(), &self.at.to_string_lossy()],
        )
    }

    /// Returns when nobody has it mounted: a container that was being started has all mounts of the machine for a moment, and the kernel keeps what
    /// it knows of the files as long.
    fn unmount(&self) {
        run("umount", &[&self.at.to_string_lossy()]).unwrap();
        let (file, began) = (self.file(), Instant::now());
        let is_ours = |device: fs::DirEntry| {
            let of = fs::read_to_string(device.path().join("loop/backing_file"));
            of.is_ok_and(|of| of.trim_end() == file)
        };
        let is_there = || {
            let devices = fs::read_dir("/sys/block").unwrap();
            devices.filter_map(Result::ok).any(is_ours)
        };
        while is_there() {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(60), "{file} stays mounted");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Gives entries times of change, in seconds from when it was made.
    fn changed(&self, times: &[(&str, i64)]) {
        self.unmount();
        let script = self.dir.path().join("script");
        let lines = times.iter().map(|(path, from)| {
            let seconds = self.made + from;
            format!("sif /{path} ctime @{seconds}\nsif /{path} ctime_extra 0\n")
        });
        fs::write(&script, lines.collect::<String>()).unwrap();
        let script = script.to_string_lossy();
        run("debugfs", &["-w", "-f", &script, &self.file()]).unwrap();
        self.mount().unwrap();
        for (path, from) in times {
            let meta = fs::symlink_metadata(self.at.join(path)).unwrap();
            assert_eq!(meta.ctime(), self.made + from, "{path}");
        }
    }

    /// The copy's files are as old as that, in seconds from when it was made.
    fn copied(&self, from: i64) {
        let paths = NAMES.map(|name| format!("copy/{name}"));
        let times: Vec<_> = paths.iter().map(|path| (&**path, from)).collect();
        self.changed(&times);
    }

    pub(super) fn pass(&self, pass: Pass, with_manifest: bool) -> CopyReport {
        let manifests = ManifestFolder::open(&self.at.join("manifests")).unwrap();
        let options = CopyOptions {
            manifest: with_manifest.then_some(&manifests),
            ..CopyOptions::new(pass)
        };
        let (src, dst) = self.roots();
        copy(&src, &dst, &options, &Watch::default()).unwrap()
    }

    pub(super) fn roots(&self) -> (Root, Root) {
        let open = |path: PathBuf| Root::open(&path, None).unwrap();
        (open(self.srv()), open(self.copy()))
    }

    #[track_caller]
    fn assert_same(&self) {
        let options = CompareOptions {
            content: true,
            ..CompareOptions::default()
        };
        let (src, dst) = self.roots();
        let report = compare(&src, &dst, &options, &Watch::default()).unwrap();
        assert!(report.is_same(), "{report:?}");
    }

    /// Other bytes of the same number, and the time of modification is put back, as tools do that carry times along.
    fn forge(&self, name: &str) {
        let path = self.srv().join(name);
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "as it is.").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(mtime).unwrap();
    }
}

/// The live pass was made in a future that the clock was then put back from.
#[test]
fn a_clock_that_was_put_back_by_days_hides_no_change() {
    if !is_root() {
        return;
    }
    for with_manifest in [true, false] {
        let Some(image) = Image::with_a_live_pass() else {
            return;
        };
        image.copied(DAYS);
        image.forge("folder/one");
        set_capability(&image.srv().join("plain"));
        let report = image.pass(Pass::Final, with_manifest);
        image.assert_same();
        assert_eq!(report.files_copied, 1, "{report:?}");
        // What the manifest knows is not read, jump or not.
        let read = if with_manifest { 9 } else { 0 };
        assert_eq!(report.bytes_hashed, read, "{report:?}");
    }
}

/// It was put back by little, and has passed by the time of the copy again since.
#[test]
fn a_clock_that_was_put_back_by_a_second_hides_no_change() {
    if !is_root() {
        return;
    }
    let Some(image) = Image::with_a_live_pass() else {
        return;
    };
    image.forge("folder/one");
    image.changed(&[("copy/folder/one", -10), ("srv/folder/one", -11)]);
    let report = image.pass(Pass::Final, true);
    image.assert_same();
    assert_eq!(report.files_copied, 1, "{report:?}");
}

/// It was put forward: all that was there is old, and what changed since is newer than that.
#[test]
fn a_clock_that_was_put_forward_hides_no_change() {
    if !is_root() {
        return;
    }
    let Some(image) = Image::with_a_live_pass() else {
        return;
    };
    image.copied(-DAYS);
    let old = NAMES.map(|name| format!("srv/{name}"));
    let old: Vec<_> = old.iter().map(|path| (&**path, -DAYS - 1)).collect();
    image.changed(&old);
    image.forge("folder/one");
    let report = image.pass(Pass::Final, false);
    image.assert_same();
    assert_eq!(report.files_copied, 1, "{report:?}");
}
