//! Keeps the key that PMM 3 has made at its first start with the backup.
//!
//! Why: from then on the passwords of all monitored services are encrypted with it in PMM 3's database, and the backup was made
//! before it existed. Whoever loses the file loses them all (facts/pmm.md 6, row 7). The backup is a secret already: it has the
//! databases.

use std::{io::Read as _, path::Path};

use async_trait::async_trait;
use ferry_proto::v1::Outcome;
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use crate::{
    context::Context,
    error::StepError,
    state_dir::StateDir,
    steps::{Work, done, done_with, skipped},
};

pub(in crate::steps) struct KeepEncryptionKey;

/// Where PMM 3 has it, in the server's data (facts/pmm.md 1.5), and what it is called beside the copy.
const KEY: &str = "pmm-encryption.key";
/// The folder beside the copy.
const FOLDER: &str = "keys";
/// A key has 32 bytes, with its text around it some hundred.
const LARGEST: u64 = 64 << 10;

#[async_trait]
impl Work for KeepEncryptionKey {
    /// The crossing is proven by now, and is not taken back because a file could not be kept: that is told.
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let volume = cx.surroundings.volume()?;
        Ok(match keep(&volume.data, &volume.backup) {
            Ok(true) => done(format!("`{FOLDER}/{KEY}` in the backup")),
            Ok(false) => skipped(format!("PMM has made no `{KEY}` in its data")),
            Err(error) => {
                let advice = format!("copy `/srv/{KEY}` to a safe place yourself");
                done_with("not kept", vec![format!("{error}; {advice}")])
            }
        })
    }

    /// What was kept was read back.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    /// It stays: what PMM 3 has encrypted is kept too when the data is restored.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the key stays with the backup"))
    }
}

/// Keeps the key and reads it back; false when there is none.
fn keep(data: &Path, backup: &Path) -> Result<bool, StepError> {
    let Some(key) = read(data)? else {
        return Ok(false);
    };
    let folder = StateDir::open(backup, FOLDER)?;
    folder.replace(KEY, &key)?;
    if folder.read(KEY)?.as_ref() == Some(&key) {
        return Ok(true);
    }
    let what = format!("`{FOLDER}/{KEY}` in the backup is not what was written");
    Err(StepError::new("key-differs", what))
}

/// The key; `None` where there is none. The data is PMM 3's by now, so that nothing but a small file of its own is believed.
fn read(data: &Path) -> Result<Option<Vec<u8>>, StepError> {
    let failed =
        |why: String| StepError::new("key-unreadable", format!("`{KEY}` in the data {why}"));
    let io = |error: Errno| failed(format!("cannot be read: {error}"));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let root = rustix::fs::open(data, flags | OFlags::DIRECTORY, Mode::empty()).map_err(io)?;
    let file = match rustix::fs::openat(&root, KEY, flags | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(failed("is a symbolic link".to_owned())),
        Err(error) => return Err(io(error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(io)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(failed("is no file of its own".to_owned()));
    }
    let mut key = Vec::new();
    let mut file = std::fs::File::from(file).take(LARGEST + 1);
    file.read_to_end(&mut key)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if key.len() as u64 > LARGEST {
        return Err(failed(format!("has more than {LARGEST} bytes")));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let [data, backup] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        assert!(!keep(data.path(), backup.path()).unwrap());
        for text in ["one", "another"] {
            fs_err::write(data.path().join(KEY), text).unwrap();
            assert!(keep(data.path(), backup.path()).unwrap());
            let kept = backup.path().join(FOLDER).join(KEY);
            assert_eq!(fs_err::read_to_string(&kept).unwrap(), text);
            let mode = fs_err::metadata(&kept).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_is_read_and_nothing_else_is_taken_for_one() {
        let data = tempfile::tempdir().unwrap();
        let key = data.path().join(KEY);
        assert_eq!(read(data.path()).unwrap(), None);
        fs_err::write(&key, "32 bytes").unwrap();
        assert_eq!(read(data.path()).unwrap(), Some(b"32 bytes".to_vec()));
        fs_err::hard_link(&key, data.path().join("other")).unwrap();
        let said = read(data.path()).unwrap_err().to_string();
        assert!(said.contains("no file of its own"), "{said}");
        fs_err::remove_file(&key).unwrap();
        std::os::unix::fs::symlink("other", &key).unwrap();
        let said = read(data.path()).unwrap_err().to_string();
        assert!(said.contains("symbolic link"), "{said}");
        fs_err::remove_file(&key).unwrap();
        fs_err::create_dir(&key).unwrap();
        let said = read(data.path()).unwrap_err().to_string();
        assert!(said.contains("no file of its own"), "{said}");
        fs_err::remove_dir(&key).unwrap();
        fs_err::write(&key, vec![0; 65 << 10]).unwrap();
        let said = read(data.path()).unwrap_err().to_string();
        assert!(said.contains("more than 65536 bytes"), "{said}");
    }
}
