//! A Podman of a test's own: its service, with a storage of its own, so that nothing on the machine is touched. It is root's, or that of
//! an ordinary user who is made for it.
//!
//! The tests go on speaking `docker`, which Podman understands; the tool speaks to it as `podman:NAME`.

mod user;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{Elsewhere, output, run};
use crate::kill::send;
use crate::{Error, Result, images};

pub(crate) use user::Entry;
pub use user::{FIRST, UID, User};

/// How long the service gets to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Podman needs on a machine without systemd, with control groups of both versions and a low limit of open files.
const CONFIGURATION: &str = r#"[containers]
default_ulimits = ["nofile=10000:10000", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// Podman with the images of the doubles. All of it goes when it is dropped.
#[derive(Debug)]
pub struct PrivatePodman {
    service: Child,
    storage: Storage,
}

/// Where it has everything, and whose it is.
#[derive(Debug)]
struct Storage {
    /// The user, who is at home in the folder; `None` is root.
    user: Option<User>,
    folder: tempfile::TempDir,
}

impl PrivatePodman {
    /// Starts root's and loads the doubles into it. Needs root, `podman` and `runc`.
    ///
    /// # Errors
    /// When it does not start, with its own words.
    pub fn start() -> Result<Self> {
        Self::of(Storage {
            user: None,
            folder: folder()?,
        })
    }

    /// Starts an ordinary user's. Needs root, `podman`, `runc`, `uidmap` and `slirp4netns`.
    ///
    /// # Errors
    /// When it does not start, with its own words.
    pub fn start_rootless() -> Result<Self> {
        let folder = folder()?;
        Self::of(Storage {
            user: Some(User::at(folder.path())?),
            folder,
        })
    }

    fn of(storage: Storage) -> Result<Self> {
        let images = images::ensure()?;
        let path = storage.folder.path();
        fs_err::write(path.join("containers.conf"), CONFIGURATION)?;
        let log = fs_err::File::create(path.join("log"))?;
        let service = storage
            .podman()
            .args(["system", "service", "--time=0", &storage.address()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .map_err(|source| Error::Start {
                program: "podman".to_owned(),
                source,
            })?;
        let engine = Self { service, storage };
        engine.wait()?;
        for image in [&images.pmm2, &images.pmm3] {
            let archive = engine.storage.folder.path().join("image.tar");
            let path = archive.to_string_lossy();
            run(Command::new("docker").args(["save", "--output", &path, image]))?;
            if engine.storage.user.is_some() {
                std::os::unix::fs::chown(&archive, Some(UID), Some(UID))?;
            }
            run(engine
                .storage
                .podman()
                .args(["load", "--quiet", "--input", &path]))?;
            fs_err::remove_file(&archive)?;
        }
        Ok(engine)
    }

    /// Its address, for `DOCKER_HOST` and `CONTAINER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        self.storage.address()
    }

    /// The user whose it is; `None` is root.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.storage.user.as_ref()
    }

    /// PMM 3 in which something is wrong from the start, by the name that Podman has for it.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn failing_image(&self) -> Result<String> {
        const NAME: &str = "localhost/ferry-test/failing:3.8.1";
        let folder = tempfile::tempdir()?;
        let lines = format!(
            "FROM localhost/{}\nENV STANDIN_FAULT=exit\n",
            images::ensure()?.pmm3
        );
        let file = folder.path().join("Dockerfile");
        fs_err::write(&file, lines)?;
        if self.storage.user.is_some() {
            for path in [folder.path(), &file] {
                std::os::unix::fs::chown(path, Some(UID), Some(UID))?;
            }
        }
        run(self
            .storage
            .podman()
            .args(["build", "--quiet", "--tag", NAME])
            .arg(folder.path()))?;
        Ok(NAME.to_owned())
    }

    /// The words that a program of root's is started by so that it knows the user.
    #[must_use]
    pub fn of_root(&self) -> Vec<String> {
        self.user().map(User::of_root).unwrap_or_default()
    }

    /// A user's client, which uses the same storage without asking the service, and without words for it that a unit would have too.
    pub(crate) fn client(&self, user: &User) -> Command {
        let mut command = user.command(Path::new("podman"));
        command.env(
            "CONTAINERS_CONF",
            self.storage.folder.path().join("containers.conf"),
        );
        command
    }

    /// The same for a client that nobody gives words to: the lines of its environment. Where it has its storage it reads at home.
    ///
    /// # Errors
    /// When its settings cannot be written.
    pub(crate) fn client_variables(&self, user: &User) -> Result<String> {
        let path = self.storage.folder.path().display();
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{path}/root\"\nrunroot = \"{path}/run\"\n"
        );
        fs_err::write(user.home().join(".config/containers/storage.conf"), text)?;
        Ok(format!(
            "CONTAINERS_CONF={path}/containers.conf\nDISABLE_HC_SYSTEMD=true\n"
        ))
    }

    /// While the result lives, this thread means this engine.
    #[must_use]
    pub fn enter(&self) -> Elsewhere {
        Elsewhere::at(&self.address())
    }

    fn wait(&self) -> Result<()> {
        let began = Instant::now();
        let words = ["--host", &self.address(), "version", "--format", "ok"];
        while !output(Command::new("docker").args(words))?.status.success() {
            if began.elapsed() > PATIENCE {
                return Err(Error::TimedOut {
                    what: "the answer of Podman's service".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: fs_err::read_to_string(self.storage.folder.path().join("log"))?,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn folder() -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix("ferry-podman-").tempdir()?)
}

impl Storage {
    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Where the user's own `podman` client looks for it, too.
    fn socket(&self) -> PathBuf {
        match &self.user {
            Some(user) => user.runtime().join("podman/podman.sock"),
            None => self.folder.path().join("sock"),
        }
    }

    /// The program with the storage in the folder.
    fn podman(&self) -> Command {
        let mut command = match &self.user {
            Some(user) => user.command(Path::new("podman")),
            None => Command::new("podman"),
        };
        let folder = self.folder.path();
        command
            .env("CONTAINERS_CONF", folder.join("containers.conf"))
            .env("DISABLE_HC_SYSTEMD", "true")
            .env_remove("CONTAINER_HOST")
            .arg("--root")
            .arg(folder.join("root"))
            .arg("--runroot")
            .arg(folder.join("run"))
            // Left to itself it may choose to copy a whole image for each container.
            .args(["--storage-driver", "overlay"]);
        command
    }
}

impl Drop for PrivatePodman {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        for words in [
            &["rm", "--all", "--force", "--volumes", "--time", "5"][..],
            &["volume", "rm", "--all", "--force"],
            &["rmi", "--all", "--force"],
        ] {
            let _told = output(self.storage.podman().args(words));
        }
        let _over = send(self.service.id(), Signal::TERM);
        let began = Instant::now();
        while matches!(self.service.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _over = self.service.kill();
        let _over = self.service.wait();
        let root = self.storage.folder.path().join("root/overlay");
        let _over = output(Command::new("umount").arg(root));
    }
}
