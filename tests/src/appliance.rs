//! A PMM 2 as on an appliance: its own supervisor runs it, and `ferryd` runs beside that and not under it, reached over TCP with
//! certificates that were made by the commands of the documentation. The machine is a container here, of which no test uses the engine's side.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::command::docker;
use crate::host_agent::{certificates, fenced};
use crate::kill::programs;
use crate::port::free_port;
use crate::server::{Container, Options, Seed, TestServer};
use crate::{Error, Result};

/// The page with the policy.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/appliance.md");
/// Whom the page calls the new machine, and which certificate it has here.
const NEW: (&str, &str) = ("new.example.com", "night.example.com");
/// The old machine's name in its certificate.
const OLD: &str = "localhost";

/// The old machine.
#[derive(Debug)]
pub struct Appliance {
    /// What runs on it.
    pub server: TestServer,
    folder: tempfile::TempDir,
    port: u16,
    published: Cell<u16>,
}

/// What an appliance becomes on the new machine.
#[derive(Debug)]
pub struct NewServer {
    /// Its container, which need not be there yet.
    pub container: Container,
    /// Its volume.
    pub volume: String,
    /// The port of loopback that leads to it.
    pub port: u16,
}

impl NewServer {
    /// Its address for the tool.
    #[must_use]
    pub fn address(&self) -> String {
        format!("docker:{}", self.container.name)
    }

    /// Where its data is; `None` where there is no volume.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn data(&self) -> Result<Option<PathBuf>> {
        let names = docker(&["volume", "ls", "--format", "{{.Name}}"])?;
        if !names.lines().any(|name| name == self.volume) {
            return Ok(None);
        }
        let words = ["volume", "inspect", "--format", "{{.Mountpoint}}"];
        Ok(Some(
            docker(&[&words[..], &[&self.volume]].concat())?.into(),
        ))
    }

    /// Whether its container is there, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn is_there(&self) -> Result<bool> {
        let names = docker(&["ps", "--all", "--format", "{{.Names}}"])?;
        Ok(names.lines().any(|name| name == self.container.name))
    }
}

/// What a pull said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Files whose content came.
    pub files: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Files that were here by their times.
    pub known: u64,
    /// Files that were here by their hash.
    pub same: u64,
}

impl Appliance {
    /// A used PMM 2 with its agent, and with all that people leave on a volume. The policy is the page's, changed by `policy`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(policy: impl FnOnce(&mut serde_json::Value)) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ferry-move-").tempdir()?;
        certificates(folder.path())?;
        let page = fs_err::read_to_string(PAGE)?;
        let text =
            fenced(&page, "json").ok_or_else(|| Error::of("the page has no policy".into()))?;
        let mut rules = serde_json::from_str(&text.replace(NEW.0, NEW.1))?;
        policy(&mut rules);
        fs_err::write(folder.path().join("policy.json"), rules.to_string())?;
        let port = free_port()?;
        let mount = |from: PathBuf, to: &str| {
            ["--volume".to_owned(), format!("{}:{to}:ro", from.display())]
        };
        let mut words = vec!["--publish".to_owned(), format!("127.0.0.1:{port}:7650")];
        words.extend(mount(programs()?.ferryd, "/usr/local/bin/ferryd"));
        words.extend(mount(folder.path().join(OLD), "/etc/ferry/tls"));
        words.extend(mount(
            folder.path().join("policy.json"),
            "/etc/ferry/policy.json",
        ));
        let server = TestServer::used(Options {
            docker: words,
            seed: Seed {
                odd: true,
                ..Seed::default()
            },
            ..Options::default()
        })?;
        let mark = "printf ami > /srv/pmm-distribution";
        server.exec(&["sh", "-c", mark])?;
        let this = Self {
            server,
            folder,
            port,
            published: Cell::new(free_port()?),
        };
        this.start_agent()?;
        Ok(this)
    }

    /// Starts its agent, as systemd would.
    ///
    /// # Errors
    /// When it does not listen soon.
    pub fn start_agent(&self) -> Result<()> {
        let ferryd = "/usr/local/bin/ferryd";
        let words = ["exec", "--detach", &self.server.name, ferryd, "appliance"];
        docker(&[&words[..], &["--listen", "0.0.0.0:7650"]].concat())?;
        self.server.wait_until("its agent", 20, || {
            let listens = "exec 3<>/dev/tcp/127.0.0.1/7650";
            self.server.exec(&["bash", "-c", listens]).is_ok()
        })
    }

    /// Ends its agent, as a machine that is cut off does.
    ///
    /// # Errors
    /// When there is none.
    pub fn end_agent(&self) -> Result<()> {
        let end = "for p in /proc/[0-9]*; do if [ \"$(readlink $p/exe)\" = /usr/local/bin/ferryd ]; then kill -9 ${p#/proc/}; fi; done";
        self.server.exec(&["sh", "-c", end]).map(drop)
    }

    /// The words of a verb that moves it to a container on the new machine, which is this one, and on to this image.
    #[must_use]
    pub fn words(&self, verb: &str, to: &str) -> Vec<String> {
        let new = self.new_server();
        let tls = self.folder.path().join(NEW.1);
        let words = [
            verb.to_owned(),
            format!("https://{OLD}:{}", self.port),
            "--onto".to_owned(),
            new.address(),
            "--to".to_owned(),
            to.to_owned(),
            "--data-to-volume".to_owned(),
            new.volume,
            "--publish".to_owned(),
            format!("127.0.0.1:{}:443", new.port),
            "--tls".to_owned(),
            tls.display().to_string(),
        ];
        words.into()
    }

    /// From now on it becomes a server at another port.
    ///
    /// # Errors
    /// When there is none.
    pub fn take_another_port(&self) -> Result<()> {
        self.published.set(free_port()?);
        Ok(())
    }

    /// Where its certificate as the new machine is.
    #[must_use]
    pub fn tls(&self) -> String {
        self.folder.path().join(NEW.1).display().to_string()
    }

    /// What it becomes there.
    #[must_use]
    pub fn new_server(&self) -> NewServer {
        NewServer {
            // Both go with the old one.
            container: self.server.named(&format!("{}-new", self.server.name)),
            volume: format!("{}-moved", self.server.name),
            port: self.published.get(),
        }
    }

    /// A new, empty volume on the new machine, which is this one: its name, and where it is.
    ///
    /// # Errors
    /// When the engine does not make it.
    pub fn new_volume(&self) -> Result<(String, PathBuf)> {
        // Goes with the server.
        let name = format!("{}-moved", self.server.name);
        docker(&["volume", "create", &name])?;
        let words = ["volume", "inspect", "--format", "{{.Mountpoint}}", &name];
        Ok((name.clone(), docker(&words)?.into()))
    }

    /// `ferryd pull` into a folder, with these words more.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn pull(&self, into: &std::path::Path, words: &[&str]) -> Result<Command> {
        self.pull_as(NEW.1, into, words)
    }

    /// The same with the old machine's own certificate, which no policy knows.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn pull_as_stranger(&self, into: &std::path::Path) -> Result<Command> {
        self.pull_as(OLD, into, &[])
    }

    fn pull_as(&self, who: &str, into: &std::path::Path, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(programs()?.ferryd);
        command
            .arg("pull")
            .arg(format!("https://{OLD}:{}", self.port))
            .arg("--into")
            .arg(into)
            .arg("--tls")
            .arg(self.folder.path().join(who))
            .args(words)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

/// Runs it to its end; it must be good.
///
/// # Errors
/// When it is not.
pub fn done(mut command: Command) -> Result<Pulled> {
    let (code, said) = ended(&command.output()?);
    if code != Some(0) {
        return Err(Error::of(format!("{code:?}: {said}")));
    }
    Ok(counted(&said))
}

/// Runs it to its end; it must be refused. Gives what it said.
///
/// # Errors
/// When it is not.
pub fn refused(mut command: Command) -> Result<String> {
    let (code, said) = ended(&command.output()?);
    if code != Some(1) {
        return Err(Error::of(format!("{code:?}: {said}")));
    }
    Ok(said)
}

/// Starts it without waiting.
///
/// # Errors
/// When it cannot be started.
pub fn begun(mut command: Command) -> Result<Child> {
    Ok(command.stderr(Stdio::null()).spawn()?)
}

fn ended(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// The numbers of its last pass: `… 12 files with 345 bytes received, 6 were here by their times and 7 by their hash`.
fn counted(said: &str) -> Pulled {
    let mut lines = said.lines().filter(|it| it.contains(" bytes received, "));
    let last = lines.next_back().unwrap_or_default();
    let words: Vec<&str> = last.split_whitespace().collect();
    let before = |mark: &[&str]| {
        let at = words.windows(mark.len()).position(|it| it == mark);
        let number = at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok());
        number.unwrap_or_default()
    };
    Pulled {
        files: before(&["files", "with"]),
        bytes: before(&["bytes", "received,"]),
        known: before(&["were", "here"]),
        same: before(&["by", "their", "hash"]).max(before(&["by", "their", "hash;"])),
    }
}
