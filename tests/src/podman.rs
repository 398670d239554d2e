//! A Podman of a test's own: its service, with a storage of its own, so that nothing on the machine is touched.
//!
//! The tests go on speaking `docker`, which Podman understands; the tool speaks to it as `podman:NAME`.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{Elsewhere, output, run};
use crate::kill::send;
use crate::{Error, Result, images};

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
    folder: tempfile::TempDir,
    service: Child,
}

impl PrivatePodman {
    /// Starts one and loads the doubles into it. Needs root, `podman` and `runc`.
    ///
    /// # Errors
    /// When it does not start, with its own words.
    pub fn start() -> Result<Self> {
        let images = images::ensure()?;
        let folder = tempfile::Builder::new().prefix("ferry-podman-").tempdir()?;
        fs_err::write(folder.path().join("containers.conf"), CONFIGURATION)?;
        let log = fs_err::File::create(folder.path().join("log"))?;
        let address = address(&folder);
        let service = podman(&folder)
            .args(["system", "service", "--time=0", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .map_err(|source| Error::Start {
                program: "podman".to_owned(),
                source,
            })?;
        let engine = Self { folder, service };
        engine.wait()?;
        for image in [&images.pmm2, &images.pmm3] {
            let archive = engine.folder.path().join("image.tar");
            let path = archive.to_string_lossy();
            run(Command::new("docker").args(["save", "--output", &path, image]))?;
            run(podman(&engine.folder).args(["load", "--quiet", "--input", &path]))?;
            fs_err::remove_file(&archive)?;
        }
        Ok(engine)
    }

    /// Its address, for `DOCKER_HOST` and `CONTAINER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.folder)
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
                    log: fs_err::read_to_string(self.folder.path().join("log"))?,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn address(folder: &tempfile::TempDir) -> String {
    format!("unix://{}", folder.path().join("sock").display())
}

/// The program with the storage in the folder.
fn podman(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new("podman");
    command
        .env("CONTAINERS_CONF", folder.path().join("containers.conf"))
        .env("DISABLE_HC_SYSTEMD", "true")
        .env_remove("CONTAINER_HOST")
        .arg("--root")
        .arg(folder.path().join("root"))
        .arg("--runroot")
        .arg(folder.path().join("run"));
    command
}

impl Drop for PrivatePodman {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        for words in [
            &["rm", "--all", "--force", "--volumes", "--time", "5"][..],
            &["volume", "rm", "--all", "--force"],
            &["rmi", "--all", "--force"],
        ] {
            let _told = output(podman(&self.folder).args(words));
        }
        let _over = send(self.service.id(), Signal::TERM);
        let began = Instant::now();
        while matches!(self.service.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _over = self.service.kill();
        let _over = self.service.wait();
        let root = self.folder.path().join("root/overlay");
        let _over = output(Command::new("umount").arg(root));
    }
}
