//! A machine with systemd, for a test: folders of units of its own and a double of `systemctl` in a mount namespace, so that nothing of the
//! real machine is touched and nothing else sees it. Those of an ordinary user are in that user's home instead.
//!
//! What is doubled is the service manager alone, where it is not a real one in a container of its own ([`Units::of_systemd`]) ([`systemctl-double`](../src/bin/systemctl-double.rs)): the units, what they run, the
//! engine and the containers are real.

mod users;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{docker, engine_address, of_engine, output, run};
use crate::podman::{Entry, UID};
use crate::server::TestServer;
use crate::systemd::Systemd;
use crate::{Error, Result};

/// Puts the folders and the double in their places, and goes on as the rest of its words.
const ENTER: &str = "mount --bind \"$1\" /etc/systemd/system && mount --bind \"$2\" /usr/bin/systemctl && \
                     { test ! -d /etc/containers || mount --bind \"$3\" /etc/containers; } && shift 3 && exec \"$@\"";
/// Where Podman has its settings, and quadlets in a folder below.
const PODMANS: &str = "/etc/containers";

/// The folders, and the double.
#[derive(Debug)]
pub struct Units {
    /// Where a person writes units, and quadlets.
    units: PathBuf,
    quadlets: PathBuf,
    whose: Whose,
}

/// Whose service manager.
#[derive(Debug)]
enum Whose {
    /// The machine's.
    Machine {
        folder: tempfile::TempDir,
        /// What Podman has at [`PODMANS`], with a folder for quadlets.
        podmans: tempfile::TempDir,
        double: PathBuf,
        /// The service manager itself, where the double only hands on to a real one.
        systemd: Option<Systemd>,
    },
    /// An ordinary user's, for whom the double is in its place.
    User(Entry),
}

impl Units {
    /// A machine without units. `double` is the program that stands for `systemctl`.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn of(double: &Path) -> Result<Self> {
        let folder = || tempfile::Builder::new().prefix("ferry-units-").tempdir();
        let podmans = folder()?;
        if Path::new(PODMANS).exists() {
            run(Command::new("cp")
                .args(["--archive", &format!("{PODMANS}/.")])
                .arg(podmans.path()))?;
        }
        let folder = folder()?;
        let units = Self {
            units: folder.path().to_owned(),
            quadlets: podmans.path().join("systemd"),
            whose: Whose::Machine {
                folder,
                podmans,
                double: double.to_owned(),
                systemd: None,
            },
        };
        fs_err::create_dir_all(&units.quadlets)?;
        // Whoever calls the manager, what a unit starts means the engine that this test means.
        if let Some(address) = engine_address() {
            let lines = format!("DOCKER_HOST={address}\nCONTAINER_HOST={address}\n");
            units.set_environment(&lines)?;
        }
        Ok(units)
    }

    /// As that with a real systemd, which runs beside this machine, sees its folder of units and its engine, and is asked through its own
    /// `systemctl`. It goes with the units, and `name` is how it is called.
    ///
    /// # Errors
    /// When it does not start.
    pub fn of_systemd(name: &str) -> Result<Self> {
        let mut units = Self::of(Path::new(SCRIPT))?;
        let Whose::Machine {
            folder,
            double,
            systemd,
            ..
        } = &mut units.whose
        else {
            return Err(Error::of("the units are nobody's".into()));
        };
        let docker = which_docker()?;
        let (units_there, client) = (
            format!("{}:/etc/systemd/system", folder.path().display()),
            format!("{docker}:{docker}:ro"),
        );
        let volumes = [
            "--volume",
            &units_there,
            "--volume",
            &client,
            "--volume",
            "/var/run/docker.sock:/var/run/docker.sock",
        ];
        // Nothing that the machine's own units hang on: only what a person writes is in that folder.
        let machine = Systemd::start(name, &volumes)?;
        let script = folder.path().join(SCRIPT);
        fs_err::write(
            &script,
            format!("#!/bin/sh\nexec {docker} exec {name} systemctl \"$@\"\n"),
        )?;
        fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        *double = script;
        *systemd = Some(machine);
        Ok(units)
    }

    /// What all has in its environment that the manager starts.
    fn set_environment(&self, lines: &str) -> Result<()> {
        let own = self.units.join(OWN);
        fs_err::create_dir_all(&own)?;
        self.give(&own)?;
        Ok(fs_err::write(own.join("environment"), lines)?)
    }

    /// Makes it the property of whose units they are.
    fn give(&self, path: &Path) -> Result<()> {
        if let Whose::User(_) = self.whose {
            std::os::unix::fs::chown(path, Some(UID), Some(UID))?;
        }
        Ok(())
    }

    /// The words that a program of this machine is started by. Of a user's there are none beside the user's own.
    #[must_use]
    pub fn within(&self) -> Vec<String> {
        let Whose::Machine {
            folder,
            podmans,
            double,
            ..
        } = &self.whose
        else {
            return Vec::new();
        };
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "sh",
        ];
        let mut words: Vec<String> = words.map(str::to_owned).into();
        words.push(folder.path().display().to_string());
        words.push(double.display().to_string());
        words.push(podmans.path().display().to_string());
        words
    }

    /// `systemctl` with these words.
    ///
    /// # Errors
    /// With what it said.
    pub fn systemctl(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words))
    }

    /// Whether `systemctl` refuses these words, and how.
    ///
    /// # Errors
    /// When it does what it was told.
    pub fn refused(&self, words: &[&str]) -> Result<String> {
        let said = output(&mut self.command(words))?;
        if said.status.success() {
            return Err(Error::of(format!(
                "`systemctl {}` was done",
                words.join(" ")
            )));
        }
        Ok(String::from_utf8_lossy(&said.stderr).into_owned())
    }

    fn command(&self, words: &[&str]) -> Command {
        const PROGRAM: &str = "/usr/bin/systemctl";
        let mut command = match &self.whose {
            Whose::Machine { .. } => {
                let within = self.within();
                let mut command = of_engine(&within[0]);
                command.args(&within[1..]).arg(PROGRAM);
                command
            }
            Whose::User(entry) => {
                let mut command = entry.command(PROGRAM);
                command.arg("--user");
                command
            }
        };
        command.args(words);
        command
    }

    /// Writes a file of the folder of units, or a quadlet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs_err::write(&path, text)?;
        self.give(&path)
    }

    /// What such a file holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> Result<String> {
        Ok(fs_err::read_to_string(self.path(name))?)
    }

    /// The names of all such files, but for what the double keeps there.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for folder in [&self.units, &self.quadlets] {
            for entry in fs_err::read_dir(folder)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        names.retain(|it| it != OWN && it != SCRIPT);
        names.sort();
        Ok(names)
    }

    /// Where such a file is, outside of the namespace.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        if name.contains(QUADLET) {
            return self.quadlets.join(name);
        }
        self.units.join(name)
    }
}

/// Where the double keeps what it knows, beside the units.
const OWN: &str = ".double";
/// The program that hands on to a real systemd, beside the units.
const SCRIPT: &str = ".systemctl";
/// What the names of quadlets end with, and those of kept ones have within.
const QUADLET: &str = ".container";

/// A server's unit, which makes its container at each start and removes it at each stop, or starts the one there is. Stopped when dropped,
/// which has to be before the server is.
#[derive(Debug)]
pub struct Unit {
    /// The machine.
    pub units: Units,
    /// What it is called.
    pub name: String,
    /// Its file, which a person writes.
    pub file: String,
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _over = self.units.systemctl(&["stop", &self.name]);
    }
}

impl Unit {
    /// The container of a server with data is made anew by a unit, on the same volume. `options` is what else the unit gives it.
    ///
    /// # Errors
    /// When the unit does not start it, or it is not ready in time.
    pub fn of(server: &TestServer, double: &Path, options: &str) -> Result<Self> {
        Self::on(server, Units::of(double)?, options)
    }

    /// As that on a machine with a real systemd.
    ///
    /// # Errors
    /// As [`Unit::of`].
    pub fn of_systemd(server: &TestServer, options: &str) -> Result<Self> {
        let units = Units::of_systemd(&format!("{}-systemd", server.name))?;
        Self::on(server, units, options)
    }

    fn on(server: &TestServer, units: Units, options: &str) -> Result<Self> {
        let (docker, container) = (which_docker()?, &server.name);
        Self::made(
            server,
            units,
            format!("{container}.service"),
            |volume, image| {
                format!(
                    "# PMM, since 2021\n[Unit]\nDescription=PMM\n\n[Service]\nEnvironment=VOLUME={volume}\nRestart=always\n\
                 ExecStartPre=-{docker} rm --force {container}\n\
                 ExecStart={docker} run --rm --name {container} \\\n    -v ${{VOLUME}}:/srv \\\n{options}    {image}\n\
                 ExecStop={docker} stop --time 10 {container}\n\n[Install]\nWantedBy=multi-user.target\n"
                )
            },
        )
    }

    /// The container of a server is started by a unit from here on, as it is.
    ///
    /// # Errors
    /// As [`Unit::of`].
    pub fn starting(server: &TestServer, units: Units) -> Result<Self> {
        let (docker, container) = (which_docker()?, &server.name);
        let name = format!("{container}.service");
        let text = format!(
            "[Unit]\nDescription=PMM\n\n[Service]\nEnvironment=NAME={container}\nRestart=always\n\
             ExecStart={docker} start --attach ${{NAME}}\nExecStop={docker} stop --time 10 {container}\n"
        );
        server.stop(60)?;
        let unit = Self {
            units,
            file: name.clone(),
            name,
        };
        unit.begin(server, &text)?;
        Ok(unit)
    }

    /// As that by a quadlet, for a server of Podman's.
    ///
    /// # Errors
    /// As [`Unit::of`].
    pub fn of_quadlet(server: &TestServer, units: Units, options: &str) -> Result<Self> {
        let container = &server.name;
        Self::made(
            server,
            units,
            format!("{container}{QUADLET}"),
            |volume, image| {
                format!(
                    "# PMM, since 2023\n[Unit]\nDescription=PMM\n\n[Container]\nContainerName={container}\nImage={image}\n\
                 Volume={volume}:/srv\n{options}\n[Service]\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n"
                )
            },
        )
    }

    fn made(
        server: &TestServer,
        units: Units,
        file: String,
        text: impl FnOnce(&str, &str) -> String,
    ) -> Result<Self> {
        let volume = server.data_mount()?["Name"].clone();
        let image = server.inspect()?["Config"]["Image"].clone();
        let (volume, image) = (
            volume.as_str().unwrap_or_default(),
            image.as_str().unwrap_or_default(),
        );
        server.stop(60)?;
        docker(&["rm", &server.name])?;
        let unit = Self {
            units,
            name: format!("{}.service", server.name),
            file,
        };
        unit.begin(server, &text(volume, image))?;
        Ok(unit)
    }

    fn begin(&self, server: &TestServer, text: &str) -> Result<()> {
        self.units.write(&self.file, text)?;
        self.units.systemctl(&["daemon-reload"])?;
        self.units.systemctl(&["start", &self.name])?;
        wait_up(server).map_err(|error| Error::of(format!("{error}\n{}", self.log())))
    }

    /// Its file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self) -> Result<String> {
        self.units.text(&self.file)
    }

    /// Whether it runs by the file that is there.
    ///
    /// # Errors
    /// When the double fails.
    pub fn is_active(&self) -> Result<bool> {
        let shown = self.units.systemctl(&["show", &self.name])?;
        Ok(shown.contains("ActiveState=active") && shown.contains("NeedDaemonReload=no"))
    }

    /// What the double and the unit's programs said.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.units.path(&format!("{OWN}/{}.log", self.name));
        fs_err::read_to_string(log).unwrap_or_default()
    }

    /// All files of the folder of units, by name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        let names = self.units.names()?.into_iter();
        names
            .map(|name| Ok((name.clone(), self.units.text(&name)?)))
            .collect()
    }
}

/// Where this machine has its engine's client, for a unit that names it by its whole path.
///
/// # Errors
/// When it has none.
pub fn which_docker() -> Result<String> {
    run(Command::new("sh").args(["-c", "command -v docker"])).map(|path| path.trim().to_owned())
}

/// A simple service has started before its container is there.
///
/// # Errors
/// When it is not ready in time.
pub fn wait_up(server: &TestServer) -> Result<()> {
    let began = std::time::Instant::now();
    while !is_up(server) && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    server.wait_ready()
}

/// Whether a server's container is there and runs.
#[must_use]
pub fn is_up(server: &TestServer) -> bool {
    server
        .inspect()
        .is_ok_and(|it| it["State"]["Running"] == true)
}
