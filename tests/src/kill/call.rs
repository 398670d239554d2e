//! A verb of the tool that is followed line by line, so that whoever kills it knows how far it was.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{Programs, programs, send};
use crate::command::of_engine;
use crate::{Error, Result};

/// Longer than the tool itself waits for anything before it says so: two minutes for an agent, five for a server to be as it was, ten for a pod.
const SILENCE: Duration = Duration::from_secs(700);

/// How often it is looked at something else than what a process says.
const GLANCE: Duration = Duration::from_millis(5);

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
