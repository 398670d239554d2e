//! An ordinary user who may have containers, on a machine that knows of no such user.
//!
//! Why in a mount namespace: Podman asks `/etc/passwd`, `/etc/subuid` and `/etc/subgid` who the user is and which ids are the user's, and its
//! network needs `/dev/net/tun`. In here they say so, and on the machine nothing changes.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::run;
use crate::kill::send;
use crate::{Error, Result};

/// The user's id, and the group's.
pub const UID: u32 = 61_111;
/// The first of the ids that the user may give away: what is 1 in the user's namespace.
pub const FIRST: u32 = 700_000;
/// How many.
const COUNT: u32 = 65_536;
/// What the user is called.
const NAME: &str = "ferry-rootless";
/// How long the namespace may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The user, while this lives.
#[derive(Debug)]
pub struct User {
    /// A process that holds the mount namespace.
    holder: Child,
    folder: PathBuf,
}

/// How a program comes to be the user's.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) words: Vec<OsString>,
    pub(crate) variables: Vec<(OsString, Option<OsString>)>,
}

impl Entry {
    /// A program, started that way.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).arg(program);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl User {
    /// Makes the user, at home in `folder`. Needs root.
    ///
    /// # Errors
    /// When something cannot be mounted.
    pub(super) fn at(folder: &Path) -> Result<Self> {
        for name in ["home", "xdg", "xdg/podman", "etc"] {
            fs_err::create_dir(folder.join(name))?;
            chown(folder.join(name), Some(UID), Some(UID))?;
        }
        fs_err::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
        chown(folder, Some(UID), Some(UID))?;
        let home = folder.join("home").display().to_string();
        let ids = format!("{NAME}:{FIRST}:{COUNT}\n");
        for (name, line) in [
            ("passwd", format!("{NAME}:x:{UID}:{UID}::{home}:/bin/sh\n")),
            ("group", format!("{NAME}:x:{UID}:\n")),
            ("subuid", ids.clone()),
            ("subgid", ids),
        ] {
            let machines = Path::new("/etc").join(name);
            let mut text = fs_err::read_to_string(&machines).unwrap_or_default();
            text.push_str(&line);
            fs_err::write(folder.join("etc").join(name), text)?;
            // Something has to be there to be mounted over.
            fs_err::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&machines)?;
        }
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sleep", "infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| Error::Start {
                program: "unshare".to_owned(),
                source,
            })?;
        let user = Self {
            holder,
            folder: folder.to_owned(),
        };
        user.wait()?;
        for name in ["passwd", "group", "subuid", "subgid"] {
            let from = folder.join("etc").join(name);
            let onto = Path::new("/etc").join(name);
            run(user.root("mount").arg("--bind").arg(from).arg(onto))?;
        }
        run(user
            .root("mount")
            .args(["-t", "tmpfs", "tmpfs", "/dev/net"]))?;
        run(user
            .root("mknod")
            .args(["-m", "0666", "/dev/net/tun", "c", "10", "200"]))?;
        Ok(user)
    }

    /// The folder that `XDG_RUNTIME_DIR` names.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("xdg")
    }

    /// A program that the user starts.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.root("setpriv");
        let id = UID.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.arg(program);
        command
            .current_dir(&self.folder)
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("USER", NAME)
            .env_remove("CONTAINER_HOST")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    /// What a program is called by so that the user starts it: words before its own, and variables.
    pub(crate) fn entry(&self) -> Entry {
        let command = self.command(Path::new(""));
        let mut words = vec![command.get_program().to_owned()];
        words.extend(command.get_args().map(ToOwned::to_owned));
        // The last one is the program itself.
        words.pop();
        let variables = command.get_envs();
        Entry {
            words,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
                .collect(),
        }
    }

    /// For the user and whatever the user starts, a program of the machine's is another one.
    ///
    /// # Errors
    /// When it cannot be mounted there.
    pub(crate) fn put(&self, program: &Path, onto: &str) -> Result<()> {
        run(self.root("mount").arg("--bind").arg(program).arg(onto)).map(drop)
    }

    /// Where the user is at home.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// A program of root's that sees what the user sees.
    fn root(&self, program: &str) -> Command {
        let words = self.of_root();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// The words that come before such a program.
    pub(super) fn of_root(&self) -> Vec<String> {
        let space = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        ["nsenter", &space, "--"].map(str::to_owned).into()
    }

    fn wait(&self) -> Result<()> {
        let own = fs_err::read_link("/proc/self/ns/mnt")?;
        let its = format!("/proc/{}/ns/mnt", self.holder.id());
        let began = Instant::now();
        while fs_err::read_link(&its)? == own {
            if began.elapsed() > PATIENCE {
                return Err(Error::of("`unshare` makes no mount namespace".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Podman leaves a process behind that holds the user's namespace.
        let pause = self.runtime().join("libpod/tmp/pause.pid");
        if let Ok(pid) = fs_err::read_to_string(pause)
            && let Ok(pid) = pid.trim().parse()
        {
            let _over = send(pid, Signal::KILL);
        }
        let _over = self.holder.kill();
        let _over = self.holder.wait();
    }
}
