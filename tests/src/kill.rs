//! Processes that are killed at a moment of the test's choice.
//!
//! A controller that dies between two of its own lines of code is what the journal is for, so the tests here read what it says of
//! itself, line by line, and kill the real process when it says the word. Where an agent's work is over in the blink of an eye it is
//! stopped first (SIGSTOP), so that a test can prove that the moment was the right one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::{docker, of_engine};
use crate::looks::inspect;
use crate::{Error, Result};

/// Longer than the tool itself waits for anything before it says so: two minutes for an agent, five for a server to be as it was, ten for a pod.
const SILENCE: Duration = Duration::from_secs(700);

/// How often it is looked at something else than what a process says.
const GLANCE: Duration = Duration::from_millis(5);

/// The two programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The controller.
    pub ferryctl: PathBuf,
    /// The agent, static.
    pub ferryd: PathBuf,
}

/// Those that `FERRYCTL` and `FERRYD` name, else what `cargo xtask build` makes.
///
/// # Errors
/// When they cannot be built.
pub fn programs() -> Result<Programs> {
    if let (Some(ferryctl), Some(ferryd)) =
        (std::env::var_os("FERRYCTL"), std::env::var_os("FERRYD"))
    {
        return Ok(Programs {
            ferryctl: ferryctl.into(),
            ferryd: ferryd.into(),
        });
    }
    // One builds, the others wait: cargo would queue them anyhow, but each would print.
    let lock = fs_err::File::create(std::env::temp_dir().join("ferry-test-build.lock"))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    let text = xtask(&["build"])?;
    let paths: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    let of = |name: &str| paths.iter().find(|p| p.ends_with(name)).cloned();
    match (of("ferryctl"), of("ferryd")) {
        (Some(ferryctl), Some(ferryd)) => Ok(Programs { ferryctl, ferryd }),
        _ => Err(
            std::io::Error::other(format!("`cargo xtask build` named no programs: {text}")).into(),
        ),
    }
}

/// Runs one of the project's own commands and gives its standard output.
///
/// # Errors
/// When it fails.
pub fn xtask(words: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    crate::command::run(
        Command::new(cargo)
            .current_dir(root)
            .arg("xtask")
            .args(words),
    )
}

/// `ferryctl` with a state folder of its own.
#[derive(Debug)]
pub struct Tool {
    programs: Programs,
    state: tempfile::TempDir,
    /// What the program is called by, with its words.
    before: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl Tool {
    /// Finds or builds the programs.
    ///
    /// # Errors
    /// When they cannot be built.
    pub fn new() -> Result<Self> {
        Ok(Self {
            programs: programs()?,
            state: tempfile::tempdir()?,
            before: Vec::new(),
            environment: Vec::new(),
        })
    }

    /// Where the agent that lives within the tool has the ledgers of a run.
    pub(crate) fn ledgers(&self, run: &str) -> PathBuf {
        self.state.path().join("host/runs").join(run)
    }

    /// The agent's program.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.programs.ferryd
    }

    /// Started by these words: in a namespace, for one. They have to become the program, so that who is killed is the program.
    #[must_use]
    pub fn within(mut self, words: Vec<String>) -> Self {
        self.before = words;
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Starts a verb, with JSON on its standard output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Call> {
        let mut command = match self.before.split_first() {
            None => of_engine(&self.programs.ferryctl),
            Some((first, rest)) => {
                let mut command = of_engine(first);
                command.args(rest).arg(&self.programs.ferryctl);
                command
            }
        };
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(words)
            .args(["--output", "json", "--state-dir"]);
        command.arg(self.state.path());
        command.arg("--agent-binary").arg(&self.programs.ferryd);
        command.env_remove("FERRY_LOG").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Call::start(&mut command)
    }

    /// A verb from start to end.
    ///
    /// # Errors
    /// When it cannot be started or falls silent.
    pub fn run(&self, words: &[&str]) -> Result<Ended> {
        self.start(words)?.end()
    }
}

/// A verb that goes on. Dropping it kills the process.
#[derive(Debug)]
pub struct Call {
    child: Child,
    lines: Receiver<(Instant, String)>,
    /// When the last line came that was read.
    heard: Instant,
    seen: Vec<Value>,
    stderr: Option<JoinHandle<String>>,
}

/// A verb that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed, each line an object.
    pub lines: Vec<Value>,
    /// What it said beside that.
    pub stderr: String,
}

impl Call {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().map_err(|source| Error::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                    if sender.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
        }
        let stderr = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _cut_off = stderr.read_to_string(&mut text);
                text
            })
        });
        Ok(Self {
            child,
            lines,
            heard: Instant::now(),
            seen: Vec::new(),
            stderr,
        })
    }

    /// Reads on until `is_it` says so of a line, and gives that line.
    ///
    /// # Errors
    /// When the process ends before, or says nothing for minutes.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let line = self.wait_for_either(what, is_it, || false, SILENCE)?;
        Ok(line.unwrap_or_default())
    }

    /// As [`Call::wait_for`], or until `or` says so, which is asked all the while; `None` then.
    ///
    /// # Errors
    /// As [`Call::wait_for`].
    pub fn wait_for_or(
        &mut self,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
        or: impl FnMut() -> bool,
    ) -> Result<Option<Value>> {
        self.wait_for_either(what, is_it, or, GLANCE)
    }

    /// As [`Call::wait_for`]; `meanwhile` is called all the while.
    ///
    /// # Errors
    /// As [`Call::wait_for`].
    pub fn wait_for_watching(
        &mut self,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
        mut meanwhile: impl FnMut(),
    ) -> Result<Value> {
        let look = || {
            meanwhile();
            false
        };
        let line = self.wait_for_either(what, is_it, look, GLANCE)?;
        Ok(line.unwrap_or_default())
    }

    fn wait_for_either(
        &mut self,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
        mut or: impl FnMut() -> bool,
        glance: Duration,
    ) -> Result<Option<Value>> {
        let mut silent_since = Instant::now();
        loop {
            if or() {
                return Ok(None);
            }
            match self.lines.recv_timeout(glance) {
                Ok((heard, line)) => {
                    self.heard = heard;
                    let line: Value = serde_json::from_str(&line)?;
                    self.seen.push(line.clone());
                    if is_it(&line) {
                        return Ok(Some(line));
                    }
                    silent_since = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) if silent_since.elapsed() < SILENCE => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.timed_out(what)),
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = self.collect()?;
                    return Err(Error::TimedOut {
                        what: what.to_owned(),
                        seconds: 0,
                        log: format!("{ended:?}"),
                    });
                }
            }
        }
    }

    /// When the last line came that was waited for; whoever reads may be behind.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// The run's name, which the first event of a run tells.
    ///
    /// # Errors
    /// When no run is begun.
    pub fn run_name(&mut self) -> Result<String> {
        let began = |line: &Value| line["event"] == "started";
        let line = match self.seen.iter().find(|line| began(line)) {
            Some(line) => line.clone(),
            None => self.wait_for("the begin of the run", began)?,
        };
        Ok(line["run"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.child.id(), signal)
    }

    /// SIGKILL, and what it had said until then.
    ///
    /// # Errors
    /// When it had ended by itself, and was not killed at all.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        let ended = self.collect()?;
        if ended.code != -1 {
            return Err(
                std::io::Error::other(format!("it ended before it was killed: {ended:?}")).into(),
            );
        }
        Ok(ended)
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// When it says nothing for minutes.
    pub fn end(mut self) -> Result<Ended> {
        self.collect()
    }

    fn collect(&mut self) -> Result<Ended> {
        loop {
            match self.lines.recv_timeout(SILENCE) {
                // A line that the kill cut in two says nothing.
                Ok((_, line)) => self.seen.extend(serde_json::from_str::<Value>(&line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.timed_out("its end")),
            }
        }
        let status = self.child.wait()?;
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok());
        Ok(Ended {
            code: status.code().unwrap_or(-1),
            lines: std::mem::take(&mut self.seen),
            stderr: stderr.unwrap_or_default(),
        })
    }

    fn timed_out(&self, what: &str) -> Error {
        let from = self.seen.len().saturating_sub(5);
        Error::TimedOut {
            what: what.to_owned(),
            seconds: SILENCE.as_secs(),
            log: format!("{:?}", &self.seen[from..]),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // It may be over already, and there is nobody to tell.
        let _over = self.child.kill();
        let _over = self.child.wait();
    }
}

impl Ended {
    /// The last line of a kind, such as `summary` or `error`.
    #[must_use]
    pub fn last(&self, kind: &str) -> &Value {
        let found = self.lines.iter().rev().find(|line| line["kind"] == kind);
        found.unwrap_or(&Value::Null)
    }

    /// The last word about the run: a rehearsal has one of its own, and so has what is done about a crossing after it.
    #[must_use]
    pub fn report(&self) -> &Value {
        let kinds = ["summary", "rehearsal", "upkeep"];
        let is_one = |line: &&Value| kinds.iter().any(|kind| line["kind"] == *kind);
        let found = self.lines.iter().rev().find(is_one);
        found.unwrap_or(&Value::Null)
    }

    /// How often an event came for a step.
    #[must_use]
    pub fn count(&self, event: &str, step: &str) -> usize {
        let is_it = |line: &&Value| line["event"] == event && line["step_id"] == step;
        self.lines.iter().filter(is_it).count()
    }
}

/// Whether a line is this event of this step, forward or on the way back.
pub fn is(event: &'static str, step: &'static str, undo: bool) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == event && line["step_id"] == step && line["undo"] == undo
}

/// Sends a signal to a process of this machine.
///
/// # Errors
/// When there is no such process.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("no process id"))?;
    Ok(kill_process(pid, signal).map_err(std::io::Error::from)?)
}

/// The process of a container that runs, as this machine numbers it.
///
/// # Errors
/// When it does not run.
pub fn pid_of(container: &str) -> Result<u32> {
    let pid = inspect(container)?["State"]["Pid"].as_u64();
    match pid.and_then(|pid| u32::try_from(pid).ok()) {
        Some(pid) if pid > 0 => Ok(pid),
        _ => Err(Error::of(format!("`{container}` does not run"))),
    }
}

/// Where this machine has a path of a container that runs.
///
/// # Errors
/// When it does not run.
pub(crate) fn path_in(container: &str, path: &str) -> Result<PathBuf> {
    let pid = pid_of(container)?;
    Ok(format!("/proc/{pid}/root{path}").into())
}

/// Waits for a process that was started with all of these words, and gives its id as this machine numbers it. It is looked for without
/// pause: what a helper does may be over in the blink of an eye.
///
/// # Errors
/// When none is started within a minute.
pub fn process_of(words: &[&str]) -> Result<u32> {
    let is_it = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |word: &&str| {
            line.split(|byte| *byte == 0)
                .any(|it| it == word.as_bytes())
        };
        words.iter().all(has)
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let names = fs_err::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        if let Some(pid) = names
            .filter_map(|name| name.parse().ok())
            .find(|pid| is_it(*pid))
        {
            return Ok(pid);
        }
    }
    Err(std::io::Error::other(format!("no process was started with {words:?}")).into())
}

/// Kills a container's first process by the engine.
///
/// # Errors
/// When it does not run.
pub fn kill_container(container: &str) -> Result<()> {
    docker(&["kill", "--signal", "KILL", container]).map(drop)
}

/// What of Ferry's own is there for a server: containers of its agents and volumes of their sockets. Empty when nothing is.
///
/// # Errors
/// When the engine does not answer.
pub fn agents_of(server: &str) -> Result<Vec<String>> {
    let label = format!("label=ferry.server={server}");
    let mut found = docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"])?;
    found.push('\n');
    found.push_str(&docker(&["volume", "ls", "--format", "{{.Name}}"])?);
    let ours =
        |name: &&str| name.starts_with("ferry-volume-") || name.starts_with("ferry-sidecar-");
    let of_it = |name: &&str| name.contains(&format!("{server}-")) || name.ends_with(server);
    Ok(found
        .lines()
        .filter(ours)
        .filter(of_it)
        .map(str::to_owned)
        .collect())
}

/// Owner, group and permission bits of all below a folder. Unlike [`crate::snapshot`] it may be taken while a server runs.
///
/// # Errors
/// When something that is there cannot be read.
pub fn owners(root: &Path) -> Result<BTreeMap<PathBuf, (u32, u32, u32)>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = match fs_err::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if path == root.join(".ferry") {
            continue;
        }
        if meta.is_dir() {
            match fs_err::read_dir(&path) {
                Ok(entries) => left.extend(entries.filter_map(|e| e.ok().map(|e| e.path()))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
        found.insert(below, (meta.uid(), meta.gid(), meta.mode() & 0o7777));
    }
    Ok(found)
}

/// Many small files in a folder of the data, so that a step over them takes long enough to be hit.
#[derive(Debug)]
pub struct Bulk {
    root: PathBuf,
    folders: usize,
    files: usize,
}

/// Whom the files belong to before: nobody that any server knows.
pub const BULK_OWNER: (u32, u32) = (4321, 4322);

impl Bulk {
    /// Makes `folders` folders of `files` empty files each, below `root`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make(root: PathBuf, folders: usize, files: usize) -> Result<Self> {
        let (uid, gid) = BULK_OWNER;
        let own = |path: &Path| fs_err::os::unix::fs::lchown(path, Some(uid), Some(gid));
        for folder in 0..folders {
            let folder = root.join(format!("d{folder}"));
            fs_err::create_dir_all(&folder)?;
            for file in 0..files {
                let path = folder.join(format!("f{file}"));
                fs_err::File::create(&path)?;
                own(&path)?;
            }
            own(&folder)?;
        }
        own(&root)?;
        Ok(Self {
            root,
            folders,
            files,
        })
    }

    /// How many files are no longer `BULK_OWNER`'s, of how many.
    ///
    /// # Errors
    /// When one is gone.
    pub fn changed(&self) -> Result<(usize, usize)> {
        let mut changed = 0;
        for folder in 0..self.folders {
            for file in 0..self.files {
                changed += usize::from(self.is_changed(folder, file)?);
            }
        }
        Ok((changed, self.folders * self.files))
    }

    /// Waits until the first files changed their owner, looking at one of each folder without pause.
    ///
    /// # Errors
    /// When that does not happen within a minute.
    pub fn wait_changing(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            for folder in 0..self.folders {
                if self.is_changed(folder, folder % self.files)? {
                    return Ok(());
                }
            }
        }
        Err(std::io::Error::other("no owner changed within a minute").into())
    }

    fn is_changed(&self, folder: usize, file: usize) -> Result<bool> {
        let path = self.root.join(format!("d{folder}/f{file}"));
        let meta = fs_err::symlink_metadata(path)?;
        Ok((meta.uid(), meta.gid()) != BULK_OWNER)
    }
}
