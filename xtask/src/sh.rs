//! The one module that starts programs: always by an argument list, never through a shell of ours.
#![allow(
    clippy::disallowed_methods,
    reason = "the place where the project's own commands start programs"
)]

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

use crate::error::{Error, Result};

/// A program and all that it is given.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    input: Option<String>,
}

impl Tool {
    /// A program by name or path, run in the root of the repository.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().into(),
            args: Vec::new(),
            envs: Vec::new(),
            input: None,
        }
    }

    /// Cargo: the one that runs this command, so that the toolchain stays the same.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable beside the inherited ones.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// What the program reads; without it there is nothing to read.
    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Through `sudo` when this process is not root.
    pub(crate) fn with_root(mut self) -> Result<Self> {
        if is_root()? {
            return Ok(self);
        }
        if which("sudo").is_none() {
            return Err(Error::with_hint(
                format!("`{}` needs root, and there is no `sudo`", self.shown()),
                "run the command again as root",
            ));
        }
        // sudo clears the environment: what was asked for is said again behind `env`.
        let mut args = vec![OsString::from("env")];
        for (name, value) in std::mem::take(&mut self.envs) {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            args.push(pair);
        }
        args.push(std::mem::replace(&mut self.program, "sudo".into()));
        args.append(&mut self.args);
        self.args = args;
        Ok(self)
    }

    /// Runs it on this terminal.
    pub(crate) fn show(&self) -> Result<()> {
        let mut command = self.command()?;
        let status = self.spawn(&mut command)?.wait()?;
        self.judge(status, String::new)
    }

    /// Runs it unseen and returns what it wrote to stdout. An error carries what it wrote to both.
    pub(crate) fn read(&self) -> Result<String> {
        let output = self.output()?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        self.judge(output.status, || {
            tail(
                &format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)),
                40,
            )
        })?;
        Ok(stdout)
    }

    /// Runs it unseen: did it end well?
    pub(crate) fn works(&self) -> bool {
        self.output().is_ok_and(|output| output.status.success())
    }

    /// Starts it beside this program, with everything that it says going to the end of a file. It stays in the group of the
    /// terminal, so that Ctrl-C ends it too.
    pub(crate) fn start(&self, log: &Path) -> Result<Running> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let mut command = self.command()?;
        command.stdin(Stdio::null());
        command
            .stdout(file.file().try_clone()?)
            .stderr(file.file().try_clone()?);
        Ok(Running {
            child: self.spawn(&mut command)?,
            log: log.to_path_buf(),
        })
    }

    /// The command line as a person would write it, but for the quotes.
    pub(crate) fn shown(&self) -> String {
        let mut text = self.program.to_string_lossy().into_owned();
        for arg in &self.args {
            text.push(' ');
            text.push_str(&arg.to_string_lossy());
        }
        text
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.envs.iter().cloned())
            .current_dir(crate::place::root()?);
        Ok(command)
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        command.spawn().map_err(|source| Error::Start {
            program: self.shown(),
            source,
        })
    }

    fn output(&self) -> Result<Output> {
        let mut command = self.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = self.spawn(&mut command)?;
        let (Some(text), Some(mut stdin)) = (self.input.clone(), child.stdin.take()) else {
            return Ok(child.wait_with_output()?);
        };
        // Written beside the reading, or two full pipes would wait for each other.
        let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output()?;
        match writer.join() {
            // A program that ends without reading everything has its own status to say so.
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(output),
        }
    }

    fn judge(&self, status: ExitStatus, output: impl FnOnce() -> String) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        Err(Error::Ended {
            command: self.shown(),
            status: status.to_string(),
            output: output(),
        })
    }
}

/// A program that runs beside this one. Dropped, it goes on.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Where its words go.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it and all below it to end, and waits for it.
    pub(crate) fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let mut all = vec![self.child.id().to_string()];
            let mut next = 0;
            while let Some(parent) = all.get(next) {
                all.extend(children(parent));
                next += 1;
            }
            // `works` hides the answer: one that has just ended is what was wanted.
            let _asked = Tool::new("kill").args(["-TERM", "--"]).args(&all).works();
            let _status = self.child.wait();
        }
    }
}

/// The direct children of a process; none when it is gone.
fn children(pid: &str) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Where a program is: in `PATH`, or in the folders of administration that a user's `PATH` often leaves out.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> Result<bool> {
    Ok(Tool::new("id").arg("-u").read()?.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::{Tool, tail, which};

    #[test]
    fn what_goes_in_comes_out_even_when_it_is_more_than_a_pipe_holds() {
        let text = "0123456789abcdef".repeat(40_000);
        assert_eq!(Tool::new("cat").input(text.clone()).read().unwrap(), text);
    }

    #[test]
    fn a_failure_carries_the_command_and_its_words() {
        let error = Tool::new("sh")
            .args(["-c", "echo here; echo there >&2; exit 3"])
            .read()
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("here\nthere"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Tool::new("/nonexistent/program").read().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot start `/nonexistent/program`"),
            "{error}"
        );
        assert!(which("no-program-of-this-name").is_none());
        assert!(which("sh").is_some());
    }

    #[test]
    fn stopping_reaches_the_children_of_children() {
        let log = std::env::temp_dir().join(format!("xtask-stop-{}", std::process::id()));
        let script = "sh -c 'sleep 300 & echo $!; wait' & wait";
        let mut running = Tool::new("sh").args(["-c", script]).start(&log).unwrap();
        let pid = loop {
            let text = fs_err::read_to_string(&log).unwrap();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        running.stop();
        fs_err::remove_file(&log).unwrap();
        let start = std::time::Instant::now();
        while alive(&pid) {
            assert!(start.elapsed().as_secs() < 10, "process {pid} goes on");
        }
    }

    /// Neither gone nor a dead entry that its new parent has not collected yet.
    fn alive(pid: &str) -> bool {
        fs_err::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
