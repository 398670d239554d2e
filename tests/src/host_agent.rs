//! A host agent of a test's own, as somebody has it on another machine: `ferryd host` on loopback, with certificates made by the
//! commands that the documentation tells people to type; or the unit of `deploy/` on a machine with a real systemd.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{docker, of_engine, run};
use crate::kill::{programs, send};
use crate::systemd::Systemd;
use crate::{Error, Result};

/// The page with the commands.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/remote.md");
/// Whom the page calls the agent's machine, and what it is here.
const AGENT: (&str, &str) = ("db7.example.com", "localhost");
/// Whom the page calls the controller's machine.
const CONTROLLER: &str = "night.example.com";
/// How long it gets to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host agent. All of it goes when it is dropped.
#[derive(Debug)]
pub struct HostAgent {
    folder: tempfile::TempDir,
    runs: Runs,
    port: u16,
}

/// What it runs by.
#[derive(Debug)]
enum Runs {
    /// As a process of this machine's.
    Here(Child),
    /// By its unit.
    Unit(Systemd),
}

/// The unit, as it is shipped.
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/ferryd-host.service");
/// What it is called.
const NAME: &str = "ferryd-host.service";
/// Where the unit's agent listens.
const PORT: &str = "7650";

impl HostAgent {
    /// Starts one for the servers that are called so.
    ///
    /// # Errors
    /// When the documented commands fail, or it does not start.
    pub fn start(containers: &[&str]) -> Result<Self> {
        let folder = Self::prepare(containers)?;
        let (process, port) = begin(folder.path(), 0)?;
        Ok(Self {
            folder,
            runs: Runs::Here(process),
            port,
        })
    }

    /// As that by the unit, on a machine that is called so.
    ///
    /// # Errors
    /// As [`HostAgent::start`], or when systemd does not start.
    pub fn start_by_unit(name: &str, containers: &[&str]) -> Result<Self> {
        let folder = Self::prepare(containers)?;
        let at = |inside: &str, place: &str| {
            format!("{}:{place}:ro", folder.path().join(inside).display())
        };
        let program = format!("{}:/usr/local/bin/ferryd:ro", programs()?.ferryd.display());
        let (tls, policy) = (
            at(AGENT.1, "/etc/ferry/tls"),
            at("policy.json", "/etc/ferry/policy.json"),
        );
        let port = format!("127.0.0.1::{PORT}");
        let socket = "/var/run/docker.sock:/var/run/docker.sock";
        let volumes = [&*program, &*tls, &*policy, socket];
        let volumes = volumes.iter().flat_map(|volume| ["--volume", volume]);
        let more: Vec<&str> = volumes.chain(["--publish", &port]).collect();
        let machine = Systemd::start(name, &more)?;
        docker(&["cp", UNIT, &format!("{name}:/etc/systemd/system/")])?;
        machine.sh(&format!("systemctl enable --now {NAME}"))?;
        let port = docker(&["port", name, &format!("{PORT}/tcp")])?;
        let port = port.lines().next().and_then(|it| it.rsplit_once(':'));
        let port = port.and_then(|(_, port)| port.parse().ok());
        Ok(Self {
            folder,
            runs: Runs::Unit(machine),
            port: port.ok_or_else(|| Error::of("no port is published".into()))?,
        })
    }

    /// Its certificates, and a policy for these servers, in a folder.
    ///
    /// # Errors
    /// When the documented commands fail.
    pub fn prepare(containers: &[&str]) -> Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new().prefix("ferry-host-").tempdir()?;
        certificates(folder.path())?;
        let page = fs_err::read_to_string(PAGE)?;
        let policy =
            fenced(&page, "json").ok_or_else(|| Error::of("the page has no policy".into()))?;
        let mut policy: serde_json::Value = serde_json::from_str(policy)?;
        policy["containers"] = containers.into();
        policy["images"] = serde_json::json!(["ferry-test/pmm-server:3.*"]);
        fs_err::write(folder.path().join("policy.json"), policy.to_string())?;
        Ok(folder)
    }

    /// The address of a server behind it.
    #[must_use]
    pub fn address(&self, server: &str) -> String {
        format!("https://{}:{}/{server}", AGENT.1, self.port)
    }

    /// The controller's certificates.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.folder.path().join(CONTROLLER)
    }

    /// The agent's own certificates, which the policy knows no role for.
    #[must_use]
    pub fn foreign_tls(&self) -> PathBuf {
        self.folder.path().join(AGENT.1)
    }

    /// Kills it with SIGKILL, and starts another in its place.
    ///
    /// # Errors
    /// When the other does not start.
    pub fn replace(&mut self) -> Result<()> {
        match &mut self.runs {
            Runs::Here(process) => {
                send(process.id(), Signal::KILL)?;
                process.wait()?;
                let (process, port) = begin(self.folder.path(), self.port)?;
                (self.runs, self.port) = (Runs::Here(process), port);
            }
            // The other is systemd's business.
            Runs::Unit(machine) => drop(machine.sh(&format!(
                "systemctl kill --kill-whom=main --signal=KILL {NAME}"
            ))?),
        }
        Ok(())
    }

    /// Asks it to end, and gives its exit code.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn end(mut self) -> Result<Option<i32>> {
        match &mut self.runs {
            Runs::Here(process) => {
                send(process.id(), Signal::TERM)?;
                Ok(process.wait()?.code())
            }
            Runs::Unit(machine) => {
                machine.sh(&format!("systemctl stop {NAME}"))?;
                let shown =
                    machine.sh(&format!("systemctl show --property ExecMainStatus {NAME}"))?;
                Ok(shown
                    .rsplit_once('=')
                    .and_then(|(_, code)| code.parse().ok()))
            }
        }
    }

    /// How often its unit has started it again by itself; `None` where it has no unit.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub fn restarts(&self) -> Result<Option<u32>> {
        let Runs::Unit(machine) = &self.runs else {
            return Ok(None);
        };
        let shown = machine.sh(&format!("systemctl show --property NRestarts {NAME}"))?;
        Ok(shown
            .rsplit_once('=')
            .and_then(|(_, number)| number.parse().ok()))
    }
}

impl Drop for HostAgent {
    fn drop(&mut self) {
        if let Runs::Here(process) = &mut self.runs {
            let _ended = process.kill();
            let _reaped = process.wait();
        }
    }
}

/// Makes certificates in a folder: of an agent at `localhost`, and of a controller at `night.example.com`.
pub(crate) fn certificates(folder: &Path) -> Result<()> {
    let page = fs_err::read_to_string(PAGE)?;
    let commands =
        fenced(&page, "sh").ok_or_else(|| Error::of("the page has no commands".into()))?;
    run(Command::new("sh")
        .args(["-e", "-c", &commands.replace(AGENT.0, AGENT.1)])
        .current_dir(folder))?;
    Ok(())
}

fn begin(folder: &Path, port: u16) -> Result<(Child, u16)> {
    let mut command = of_engine(&programs()?.ferryd);
    command
        .args(["host", "--listen", &format!("127.0.0.1:{port}")])
        .arg("--tls")
        .arg(folder.join(AGENT.1))
        .arg("--policy")
        .arg(folder.join("policy.json"))
        .arg("--state")
        .arg(folder.join("state"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = command.spawn().map_err(|source| Error::Start {
        program: "ferryd".to_owned(),
        source,
    })?;
    let lines = lines_of(&mut process);
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        let port = line.rsplit_once("address=127.0.0.1:");
        let port = port.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        if let Some(port) = port {
            return Ok((process, port));
        }
        said.push_str(&line);
        said.push('\n');
    }
    let _ended = process.kill();
    let _reaped = process.wait();
    Err(Error::TimedOut {
        what: "the host agent".to_owned(),
        seconds: PATIENCE.as_secs(),
        log: said,
    })
}

/// What it says, read to the end so that it never waits for a reader.
fn lines_of(process: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    if let Some(stderr) = process.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(|line| line.ok()) {
                let _nobody_listens = sender.send(line);
            }
        });
    }
    lines
}

/// The first block of a page in this language.
pub(crate) fn fenced<'p>(page: &'p str, language: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&format!("\n```{language}\n"))?;
    Some(rest.split_once("\n```")?.0)
}
