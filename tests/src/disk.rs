//! A disk that holds more than the engine's own has room for, and takes up next to nothing: the file system is in a file with holes,
//! and what lies on it was allocated and never written.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Result;
use crate::command::{docker, run};

/// The files that fill a disk up.
const FULL: [&str; 2] = ["full", "full-rest"];

/// A mounted file system with a volume of the engine on it. Both go when it is dropped; drop what uses them before.
#[derive(Debug)]
pub struct Disk {
    folder: tempfile::TempDir,
    /// The volume's name.
    pub volume: String,
}

impl Disk {
    /// Makes a file system of so many bytes, mounts it, and makes a volume of it. Needs root.
    ///
    /// # Errors
    /// When the machine has no loop devices, or the engine refuses.
    pub fn make(name: &str, bytes: u64) -> Result<Self> {
        const FEW_INODES: [&str; 7] = ["-q", "-m", "0", "-i", "1048576", "-O", "^has_journal"];
        let disk = Self::mounted(name, bytes, Command::new("mkfs.ext4").args(FEW_INODES))?;
        fs_err::remove_dir(disk.mountpoint().join("lost+found"))?;
        disk.make_volume(&disk.mountpoint())?;
        Ok(disk)
    }

    /// As that with a file system whose files can share blocks, and the volume in its folder `data`. `None` where this machine's kernel has
    /// no such file system.
    ///
    /// # Errors
    /// As [`Disk::make`].
    pub fn sharing(name: &str, bytes: u64) -> Result<Option<Self>> {
        let known = fs_err::read_to_string("/proc/filesystems")?;
        if !known.split_whitespace().any(|it| it == "xfs") {
            return Ok(None);
        }
        const SHARES: [&str; 3] = ["-q", "-m", "reflink=1"];
        let disk = Self::mounted(name, bytes, Command::new("mkfs.xfs").args(SHARES))?;
        let data = disk.mountpoint().join("data");
        fs_err::create_dir(&data)?;
        disk.make_volume(&data)?;
        Ok(Some(disk))
    }

    fn mounted(name: &str, bytes: u64, format: &mut Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        fs_err::File::create(&image)?.set_len(bytes)?;
        run(format.arg(&image))?;
        let disk = Self {
            volume: name.to_owned(),
            folder,
        };
        fs_err::create_dir(disk.mountpoint())?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &disk.mountpoint()]))?;
        Ok(disk)
    }

    fn make_volume(&self, folder: &Path) -> Result<()> {
        let device = format!("device={}", folder.display());
        docker(&[
            "volume",
            "create",
            "--opt",
            "type=none",
            "--opt",
            "o=bind",
            "--opt",
            &device,
            &self.volume,
        ])
        .map(drop)
    }

    /// Where it is mounted on this machine.
    #[must_use]
    pub fn mountpoint(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Takes up all that is free, to the last block.
    ///
    /// # Errors
    /// When something else than room is missing.
    pub fn fill_up(&self) -> Result<()> {
        // What the file system needs to note a file's blocks is free as well, so that not all of it can be had at once.
        const MARGIN: u64 = 8 << 20;
        let free = free_bytes(&self.mountpoint())?;
        let mut rest = keeping_time(&self.mountpoint(), || {
            if free > MARGIN {
                self.fill(FULL[0], free - MARGIN)?;
            }
            Ok(fs_err::File::create(self.mountpoint().join(FULL[1]))?)
        })?;
        let mut block = vec![0; 1 << 20];
        while !block.is_empty() {
            match rest.write_all(&block).and_then(|()| rest.sync_all()) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// As [`Disk::fill_up`], and so it stays until the guard is dropped: what others give back is taken at once.
    ///
    /// # Errors
    /// As [`Disk::fill_up`].
    pub fn keep_full(&self) -> Result<Full> {
        self.fill_up()?;
        let rest = self.mountpoint().join(FULL[1]);
        let mut rest = fs_err::File::options().append(true).open(rest)?;
        let on = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&on);
        let thread = std::thread::spawn(move || {
            let block = [0; 4096];
            while asked.load(Ordering::Relaxed) {
                if rest.write_all(&block).is_err() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let thread = Some(thread);
        Ok(Full { on, thread })
    }

    /// Takes up all but so many bytes.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn leave(&self, bytes: u64) -> Result<()> {
        keeping_time(&self.mountpoint(), || {
            fs_err::File::create(self.mountpoint().join(FULL[1]))?;
            self.fill(
                FULL[0],
                free_bytes(&self.mountpoint())?.saturating_sub(bytes),
            )
        })
    }

    /// Gives back what [`Disk::fill_up`] or [`Disk::leave`] took.
    ///
    /// # Errors
    /// When it took nothing.
    pub fn empty(&self) -> Result<()> {
        keeping_time(&self.mountpoint(), || {
            for file in FULL {
                fs_err::remove_file(self.mountpoint().join(file))?;
            }
            Ok(())
        })
    }

    /// Takes up so many bytes for a file, without writing them.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn fill(&self, file: &str, bytes: u64) -> Result<()> {
        run(Command::new("fallocate")
            .args(["--length", &bytes.to_string()])
            .arg(self.mountpoint().join(file)))
        .map(drop)
    }
}

/// A disk that stays full.
#[derive(Debug)]
pub struct Full {
    on: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Full {
    fn drop(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot fail but by a panic, which is its own message.
            let _over = thread.join();
        }
    }
}

/// Changes something in a folder of a server, which has the time afterwards that it had: what a test does there is no run's doing.
///
/// # Errors
/// What `change` fails with, or a time that cannot be set.
pub fn keeping_time<T>(folder: &Path, change: impl FnOnce() -> Result<T>) -> Result<T> {
    let time = fs_err::metadata(folder)?.modified()?;
    let changed = change()?;
    fs_err::File::open(folder)?.set_modified(time)?;
    Ok(changed)
}

/// Turns one bit of a file's content and leaves everything else as it is, its times included. Twice, and the file is as it was.
///
/// # Errors
/// When the file is empty, or cannot be written.
pub fn flip_bit(file: &Path) -> Result<()> {
    let opened = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)?;
    let before = opened.metadata()?;
    let mut byte = [0];
    opened.file().read_exact_at(&mut byte, 0)?;
    opened.file().write_all_at(&[byte[0] ^ 1], 0)?;
    let times = std::fs::FileTimes::new()
        .set_accessed(before.accessed()?)
        .set_modified(before.modified()?);
    Ok(opened.file().set_times(times)?)
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        // Copies of what was on it are named after it.
        let listed = docker(&["volume", "ls", "--quiet"]).unwrap_or_default();
        for volume in listed.lines().filter(|it| it.starts_with(&self.volume)) {
            let _ = docker(&["volume", "rm", "--force", volume]);
        }
        let _ = run(Command::new("umount").arg("--lazy").arg(self.mountpoint()));
    }
}

/// Bytes that are free where a folder is.
///
/// # Errors
/// When it cannot be asked.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(folder).map_err(std::io::Error::from)?;
    Ok(space.f_bavail * space.f_frsize)
}

/// Makes a file one that nobody may change, not even root; or an ordinary one again.
///
/// # Errors
/// When the file system knows no such thing.
pub fn set_immutable(file: &Path, immutable: bool) -> Result<()> {
    let flag = if immutable { "+i" } else { "-i" };
    run(Command::new("chattr").arg(flag).arg(file)).map(drop)
}
