//! The tool itself, as its users call it: the static program, with a state folder of its own for each test.
//!
//! Rejected: calling the library. What a person types, what stands on both streams and the exit code are the promise; all else may change.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::command::{of_engine, output, run};
use crate::podman::{PrivatePodman, UID};
use crate::{Error, Result};

/// No call takes longer and still ends well; a tool that hangs must fail a test, not stop the suite.
const PATIENCE: Duration = Duration::from_secs(900);

/// The tool with its own state.
#[derive(Debug)]
pub struct Ferryctl {
    program: PathBuf,
    agent: PathBuf,
    state: tempfile::TempDir,
    environment: Vec<(OsString, Option<OsString>)>,
    /// What the program is called by, with its words.
    before: Vec<OsString>,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// A call that is going on. Dropping it kills the process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    began: Instant,
    streams: [std::thread::JoinHandle<String>; 2],
}

impl Ferryctl {
    /// Finds the programs, or builds them.
    ///
    /// # Errors
    /// When they are not named by `FERRYCTL` and `FERRYD` and cannot be built.
    pub fn new() -> Result<Self> {
        let (program, agent) = programs()?;
        Ok(Self {
            program,
            agent,
            state: tempfile::tempdir()?,
            environment: Vec::new(),
            before: Vec::new(),
        })
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The agent's program.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// Another user's: the same programs with nothing in the journals.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn stranger(&self) -> Result<Self> {
        Ok(Self {
            program: self.program.clone(),
            agent: self.agent.clone(),
            state: tempfile::tempdir()?,
            environment: self.environment.clone(),
            before: self.before.clone(),
        })
    }

    /// Started by these words: in a namespace, for one.
    #[must_use]
    pub fn within(mut self, words: Vec<String>) -> Self {
        self.before = words.into_iter().map(Into::into).collect();
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.into(), Some(value.as_ref().to_owned())));
        self
    }

    /// As it is called by a user of a Podman, who has copies of the programs where that user can read them.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn called_by(mut self, podman: &PrivatePodman) -> Result<Self> {
        let Some(user) = podman.user() else {
            return Ok(self);
        };
        let state = self.state.path();
        for program in [&mut self.program, &mut self.agent] {
            let name = program.file_name().unwrap_or_default();
            let copy = state.join(name);
            fs_err::copy(&*program, &copy)?;
            *program = copy;
        }
        chown(state, Some(UID), Some(UID))?;
        let entry = user.entry();
        self.before = entry.words;
        self.environment.extend(entry.variables);
        Ok(self)
    }

    /// Without a variable that is there otherwise.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// The call, ready to be started in any way; the terminal tests put it behind a pseudo terminal.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.before.split_first() {
            None => of_engine(&self.program),
            Some((first, rest)) => {
                let mut command = of_engine(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command
            .args(words)
            .env("FERRY_STATE_DIR", self.state.path())
            .env("FERRY_AGENT_BINARY", &self.agent)
            .env_remove("FERRY_LOG")
            .env_remove("NO_COLOR")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color");
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Starts a call, with pipes on both streams and nobody at the keyboard.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self, words: &[&str]) -> Result<Running> {
        let mut command = self.command(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::start(&mut command)
    }

    /// A call from start to end.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        self.spawn(words)?.wait()
    }

    /// The id of the only run in the journals.
    ///
    /// # Errors
    /// When the journals cannot be read.
    ///
    /// # Panics
    /// When there is none or more than one.
    pub fn only_run(&self) -> Result<String> {
        let runs = self.run(&["runs", "--output", "json"])?;
        let lines = runs.json()?;
        assert_eq!(lines.len(), 1, "{runs:?}");
        let run = lines[0]["run"].as_str();
        assert!(run.is_some(), "{runs:?}");
        Ok(run.unwrap_or_default().to_owned())
    }
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().map_err(|source| Error::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let streams = [
            gather(child.stdout.take().map(|s| Box::new(s) as Box<_>)),
            gather(child.stderr.take().map(|s| Box::new(s) as Box<_>)),
        ];
        Ok(Self {
            child,
            began: Instant::now(),
            streams,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without warning, as a crash does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(mut self) -> Result<Finished> {
        self.child.kill()?;
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after minutes.
    pub fn wait(mut self) -> Result<Finished> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.began.elapsed() > PATIENCE {
                self.child.kill()?;
                self.child.wait()?;
                let [stdout, stderr] = self.streams.map(text);
                return Err(Error::TimedOut {
                    what: "the end of ferryctl".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    log: format!("{stdout}\n{stderr}"),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let took = self.began.elapsed();
        let [stdout, stderr] = self.streams.map(text);
        Ok(Finished {
            code: status.code().unwrap_or(-1),
            stdout,
            stderr,
            took,
        })
    }
}

impl Finished {
    /// Each line of stdout as JSON.
    ///
    /// # Errors
    /// When a line is none.
    pub fn json(&self) -> Result<Vec<Value>> {
        Ok(self
            .stdout
            .lines()
            .map(serde_json::from_str)
            .collect::<std::result::Result<_, _>>()?)
    }

    /// Exit code and both streams, as they stand in a snapshot.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self {
            code,
            stdout,
            stderr,
            ..
        } = self;
        format!("exit code: {code}\n--- stdout ---\n{stdout}--- stderr ---\n{stderr}")
    }
}

fn gather(stream: Option<Box<dyn Read + Send>>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read until the failure is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn text(stream: std::thread::JoinHandle<String>) -> String {
    stream.join().unwrap_or_default()
}

/// `ferryctl` and `ferryd`: as named, else built. Processes take turns, so that one builds and the others find it done.
fn programs() -> Result<(PathBuf, PathBuf)> {
    static FOUND: Mutex<Option<(PathBuf, PathBuf)>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(programs) = &*found {
        return Ok(programs.clone());
    }
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let programs = match (named("FERRYCTL"), named("FERRYD")) {
        (Some(ferryctl), Some(ferryd)) => (ferryctl, ferryd),
        _ => build()?,
    };
    *found = Some(programs.clone());
    Ok(programs)
}

fn build() -> Result<(PathBuf, PathBuf)> {
    let lock = fs_err::File::create(std::env::temp_dir().join("ferry-test-programs.lock"))?;
    flock(lock.file(), FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The paths stand on its stdout, a line each.
    let printed = run(Command::new(cargo)
        .current_dir(tests.parent().unwrap_or(tests))
        .args(["xtask", "build"]))?;
    let named = |name: &str| {
        let mut paths = printed.lines().map(PathBuf::from);
        paths
            .find(|path| path.file_name() == Some(OsStr::new(name)))
            .ok_or_else(|| Error::Failed {
                command: "cargo xtask build".to_owned(),
                status: "success".to_owned(),
                stderr: format!("names no `{name}`: {printed}"),
            })
    };
    Ok((named("ferryctl")?, named("ferryd")?))
}

/// A call behind a pseudo terminal of so many columns, by `script` of util-linux: everything that it drew, as it drew it.
///
/// # Errors
/// When `script` cannot be started.
pub fn on_terminal(command: &Command, columns: u16) -> Result<Finished> {
    let mut script = script(command, columns);
    script.stdin(Stdio::null());
    let began = Instant::now();
    let output = output(&mut script)?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: began.elapsed(),
    })
}

/// A call behind a pseudo terminal with somebody at the keyboard.
#[derive(Debug)]
pub struct Asking {
    child: Child,
    began: Instant,
    said: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
}

impl Asking {
    /// Starts the call, and waits until it has asked its question.
    ///
    /// # Errors
    /// It does not ask, or `script` cannot be started.
    pub fn start(command: &Command, question: &str) -> Result<Self> {
        let mut script = script(command, 120);
        script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = script.spawn()?;
        let mut stdout = child.stdout.take();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Some(number) = stdout.as_mut().and_then(|it| it.read(&mut bytes).ok())
                && number > 0
            {
                let text = String::from_utf8_lossy(&bytes[..number]);
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push_str(&text);
            }
        });
        let asking = Self {
            child,
            began: Instant::now(),
            said,
            reader,
        };
        while !asking.said().contains(question) {
            if asking.began.elapsed() > PATIENCE || asking.reader.is_finished() {
                return Err(Error::of(format!("no `{question}` in {}", asking.said())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(asking)
    }

    /// Types a line, and waits for the end.
    ///
    /// # Errors
    /// When it does not read it.
    pub fn answer(mut self, line: &str) -> Result<Finished> {
        let mut stdin = self.child.stdin.take();
        if let Some(stdin) = &mut stdin {
            writeln!(stdin, "{line}")?;
        }
        let status = self.child.wait()?;
        let said = Arc::clone(&self.said);
        let took = self.began.elapsed();
        let _ended = self.reader.join();
        let stdout = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Finished {
            code: status.code().unwrap_or(-1),
            stdout,
            stderr: String::new(),
            took,
        })
    }

    fn said(&self) -> String {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn script(command: &Command, columns: u16) -> Command {
    let quoted = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let mut line = format!("stty cols {columns} rows 24; exec ");
    line.push_str(&quoted(command.get_program()));
    for word in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(word));
    }
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--flush", "--command", &line])
        .arg("/dev/null");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
}
