//! A file of the operator's on the disk, Compose's or a unit's: read, replaced, put back.
//!
//! Why by descriptor: the file is a person's, in a folder of theirs, and this program may be root's. The folder is opened once,
//! the file is only ever named in it, and a link there is not followed. A new file takes the old one's name in one step, so
//! nobody ever reads half of it; the old one keeps its inode under another name, and with it whatever it had.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};

/// No such file is larger.
const MOST_BYTES: u64 = 1 << 20;

/// A name in a folder that is open.
#[derive(Debug)]
pub(crate) struct OperatorFile {
    folder: OwnedFd,
    name: String,
    path: PathBuf,
}

/// What it held, and what it was.
#[derive(Clone)]
pub(crate) struct Content {
    /// The whole text: it has the values of variables.
    pub(crate) text: String,
    /// BLAKE3 of it, in hexadecimal.
    pub(crate) digest: String,
    stat: Stat,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Content {
    /// Whether both are one file under two names.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.stat.st_dev, other.stat.st_ino)
    }

    /// Whether both belong to the same and let the same in.
    pub(crate) fn is_owned_as(&self, other: &Self) -> bool {
        let of = |it: &Stat| (it.st_uid, it.st_gid, it.st_mode);
        of(&self.stat) == of(&other.stat)
    }
}

/// Why the file is of no use, or what failed on it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("`{}` is no absolute path of a file", .0.display())]
    Path(PathBuf),
    #[error("cannot {doing} `{}` on this machine: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is a link, and links are not followed", .0.display())]
    Link(PathBuf),
    #[error("`{}` is no regular file", .0.display())]
    Kind(PathBuf),
    #[error("`{}` is larger than such a file can be", .0.display())]
    Large(PathBuf),
    #[error("`{}` is no text in UTF-8", .0.display())]
    Text(PathBuf),
    #[error("`{}` has another name too, which a new file in its place would not have", .0.display())]
    Names(PathBuf),
    #[error("`{}` belongs to uid {uid}, and only root could give a new file to it", path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("`{}` is there already and is not this run's", .0.display())]
    Taken(PathBuf),
    #[error("`{}` was changed in this moment", .0.display())]
    Moved(PathBuf),
}

impl FileError {
    /// Nothing is there, not even the folder.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

type Result<T> = std::result::Result<T, FileError>;

impl OperatorFile {
    /// The file of that path. It need not be there; its folder must.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let parts = path
            .parent()
            .zip(path.file_name().and_then(|it| it.to_str()));
        let (parent, name) = parts
            .filter(|_| path.is_absolute())
            .ok_or_else(|| FileError::Path(path.to_owned()))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = rustix::fs::open(parent, flags, Mode::empty());
        Ok(Self {
            folder: folder.map_err(|error| failed("open", parent, error))?,
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Where it is kept as it was.
    pub(crate) fn kept_path(&self, run: &str) -> PathBuf {
        self.path.with_file_name(kept(&self.name, run))
    }

    /// What it holds; `None` when it is not there.
    pub(crate) fn read(&self) -> Result<Option<Content>> {
        self.read_named(&self.name)
    }

    /// What the run has kept of it; `None` when it has kept nothing.
    pub(crate) fn read_kept(&self, run: &str) -> Result<Option<Content>> {
        self.read_named(&kept(&self.name, run))
    }

    fn read_named(&self, name: &str) -> Result<Option<Content>> {
        let path = self.path.with_file_name(name);
        // Without NONBLOCK the open of a pipe would wait for somebody to write to it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(FileError::Link(path)),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed("read", &path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FileError::Kind(path));
        }
        let mut bytes = Vec::new();
        let read = File::from(fd).take(MOST_BYTES + 1).read_to_end(&mut bytes);
        let count = read.map_err(|source| FileError::Io {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        if count as u64 > MOST_BYTES {
            return Err(FileError::Large(path));
        }
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let text = String::from_utf8(bytes).map_err(|_| FileError::Text(path))?;
        Ok(Some(Content { text, digest, stat }))
    }

    /// Whether another file can take its place here, without trying it.
    pub(crate) fn check_replaceable(&self, content: &Content) -> Result<()> {
        if content.stat.st_nlink != 1 {
            return Err(FileError::Names(self.path.clone()));
        }
        let me = rustix::process::geteuid();
        if !me.is_root() && me.as_raw() != content.stat.st_uid {
            return Err(FileError::Owner {
                path: self.path.clone(),
                uid: content.stat.st_uid,
            });
        }
        let write = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.folder, ".", write, AtFlags::EACCESS)
            .map_err(|error| failed("put another file in the place of", &self.path, error))
    }

    /// Gives the file a second name, under which it outlives its own. Twice is once.
    pub(crate) fn keep(&self, run: &str, content: &Content) -> Result<()> {
        let name = kept(&self.name, run);
        let linked = rustix::fs::linkat(
            &self.folder,
            &*self.name,
            &self.folder,
            &*name,
            AtFlags::empty(),
        );
        let path = self.path.with_file_name(&name);
        match linked {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("keep the old file as", &path, error)),
        }
        match self.read_kept(run)? {
            Some(kept) if kept.is_same_file(content) => self.sync(),
            _ => Err(FileError::Taken(path)),
        }
    }

    /// Puts a new file with this text in the place of the old one, with its owner and mode.
    pub(crate) fn replace(&self, run: &str, old: &Content, text: &str) -> Result<()> {
        let name = format!("{}.new", kept(&self.name, run));
        let path = self.path.with_file_name(&name);
        let fail = |error: Errno| failed("write", &path, error);
        self.remove(&name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, &*name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(fd.map_err(fail)?);
        let written = file.write_all(text.as_bytes());
        written.map_err(|source| FileError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        let (uid, gid) = (old.stat.st_uid, old.stat.st_gid);
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(fail)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(old.stat.st_mode & 0o7777)).map_err(fail)?;
        rustix::fs::fsync(&file).map_err(fail)?;
        let unmoved = self
            .read()?
            .is_some_and(|now| now.is_same_file(old) && now.digest == old.digest);
        if !unmoved {
            return Err(FileError::Moved(self.path.clone()));
        }
        rustix::fs::renameat(&self.folder, &*name, &self.folder, &*self.name).map_err(fail)?;
        self.sync()
    }

    /// Gives the kept file its own name back, in the place of whatever has it.
    pub(crate) fn put_back(&self, run: &str) -> Result<()> {
        let name = kept(&self.name, run);
        rustix::fs::renameat(&self.folder, &*name, &self.folder, &*self.name)
            .map_err(|error| failed("put back", &self.path, error))?;
        self.sync()
    }

    /// Takes the second name and a new file that was not finished away. Neither need be there.
    pub(crate) fn forget(&self, run: &str) -> Result<()> {
        let name = kept(&self.name, run);
        self.remove(&name)?;
        self.forget_unfinished(run)
    }

    /// Takes a new file that was not finished away.
    pub(crate) fn forget_unfinished(&self, run: &str) -> Result<()> {
        self.remove(&format!("{}.new", kept(&self.name, run)))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path.with_file_name(name), error)),
        }
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.folder)
            .map_err(|error| failed("sync the folder of", &self.path, error))
    }
}

fn kept(name: &str, run: &str) -> String {
    format!("{name}.ferry-{run}")
}

fn failed(doing: &'static str, path: &Path, error: Errno) -> FileError {
    FileError::Io {
        doing,
        path: path.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        file: OperatorFile,
    }

    impl Scene {
        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn text(&self, name: &str) -> String {
            fs_err::read_to_string(self.path(name)).unwrap()
        }

        fn content(&self) -> Content {
            self.file.read().unwrap().unwrap()
        }
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yml");
        fs_err::write(&path, "old").unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let file = OperatorFile::at(&path).unwrap();
        Scene { folder, file }
    }

    #[test]
    fn the_new_file_has_the_old_ones_mode_and_the_old_one_is_kept_whole() {
        let scene = scene();
        let old = scene.content();
        let inode = fs_err::metadata(scene.path("c.yml")).unwrap().ino();
        scene.file.check_replaceable(&old).unwrap();
        for _ in 0..2 {
            scene.file.keep("r1", &old).unwrap();
        }
        fs_err::write(scene.path("c.yml.ferry-r1.new"), "cut off").unwrap();
        scene.file.replace("r1", &old, "new").unwrap();
        assert_eq!(scene.text("c.yml"), "new");
        assert_eq!(scene.text("c.yml.ferry-r1"), "old");
        let mode = |name| fs_err::metadata(scene.path(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("c.yml"), mode("c.yml.ferry-r1")), (0o640, 0o640));
        assert!(scene.content().is_owned_as(&old));

        scene.file.put_back("r1").unwrap();
        scene.file.forget("r1").unwrap();
        assert_eq!(scene.text("c.yml"), "old");
        assert_eq!(fs_err::metadata(scene.path("c.yml")).unwrap().ino(), inode);
        assert_eq!(fs_err::read_dir(scene.folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_changes_in_this_moment_is_left_as_it_is() {
        let scene = scene();
        let old = scene.content();
        scene.file.keep("r1", &old).unwrap();
        fs_err::write(scene.path("other"), "theirs").unwrap();
        fs_err::rename(scene.path("other"), scene.path("c.yml")).unwrap();
        let error = scene.file.replace("r1", &old, "new").unwrap_err();
        assert!(matches!(error, FileError::Moved(_)), "{error}");
        assert_eq!(scene.text("c.yml"), "theirs");
        assert!(matches!(
            scene.file.keep("r1", &scene.content()),
            Err(FileError::Taken(_))
        ));
    }

    #[test]
    fn only_a_regular_file_of_one_name_is_taken() {
        let scene = scene();
        let at = |name| OperatorFile::at(&scene.path(name)).unwrap();
        fs_err::os::unix::fs::symlink(scene.path("c.yml"), scene.path("link")).unwrap();
        assert!(matches!(at("link").read(), Err(FileError::Link(_))));
        fs_err::create_dir(scene.path("folder")).unwrap();
        assert!(matches!(at("folder").read(), Err(FileError::Kind(_))));
        nix::unistd::mkfifo(&scene.path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(at("pipe").read(), Err(FileError::Kind(_))));
        fs_err::write(scene.path("binary"), [0xff, 0xfe]).unwrap();
        assert!(matches!(at("binary").read(), Err(FileError::Text(_))));
        fs_err::write(scene.path("large"), vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(at("large").read(), Err(FileError::Large(_))));
        assert!(at("none").read().unwrap().is_none());
        assert!(OperatorFile::at(Path::new("c.yml")).is_err());
        let nowhere = OperatorFile::at(&scene.path("no/c.yml")).unwrap_err();
        assert!(nowhere.is_missing(), "{nowhere}");
        fs_err::hard_link(scene.path("c.yml"), scene.path("second")).unwrap();
        let checked = scene.file.check_replaceable(&scene.content());
        assert!(matches!(checked, Err(FileError::Names(_))));
    }
}
