//! A host agent of a test's own, as somebody has it on another machine: `ferryd host` on loopback, with certificates made by the
//! commands that the documentation tells people to type.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{of_engine, run};
use crate::kill::{programs, send};
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
    process: Child,
    port: u16,
}

impl HostAgent {
    /// Starts one for the servers that are called so.
    ///
    /// # Errors
    /// When the documented commands fail, or it does not start.
    pub fn start(containers: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ferry-host-").tempdir()?;
        let page = fs_err::read_to_string(PAGE)?;
        make_certificates(folder.path())?;
        let policy =
            fenced(&page, "json").ok_or_else(|| Error::of("the page has no policy".into()))?;
        let mut policy: serde_json::Value = serde_json::from_str(policy)?;
        policy["containers"] = containers.into();
        policy["images"] = serde_json::json!(["ferry-test/pmm-server:3.*"]);
        fs_err::write(folder.path().join("policy.json"), policy.to_string())?;
        let (process, port) = begin(folder.path(), 0)?;
        Ok(Self {
            folder,
            process,
            port,
        })
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
        send(self.process.id(), Signal::KILL)?;
        self.process.wait()?;
        (self.process, self.port) = begin(self.folder.path(), self.port)?;
        Ok(())
    }

    /// Asks it to end, and gives its exit code.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn end(mut self) -> Result<Option<i32>> {
        send(self.process.id(), Signal::TERM)?;
        Ok(self.process.wait()?.code())
    }
}

/// Makes the certificates of an agent that is called `localhost` and of a caller, by the commands of the page: a folder each.
pub(crate) fn make_certificates(folder: &Path) -> Result<()> {
    let page = fs_err::read_to_string(PAGE)?;
    let commands =
        fenced(&page, "sh").ok_or_else(|| Error::of("the page has no commands".into()))?;
    run(Command::new("sh")
        .args(["-e", "-c", &commands.replace(AGENT.0, AGENT.1)])
        .current_dir(folder))?;
    Ok(())
}

impl Drop for HostAgent {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
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
