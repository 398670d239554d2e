//! The server's supervisor, over its XML-RPC socket.
//!
//! Why not `supervisorctl`: states and faults come typed, nothing is parsed from a table, no Python is started, and no
//! program has to run in the server for it (`facts/pmm.md` 8.1).
//!
//! No call blocks for longer than it takes the supervisor to answer: programs are stopped and started without waiting,
//! and watched from here. A paused server answers nothing, so each call has a time limit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::supervisor_config::SupervisorConfig;
use super::xmlrpc::{self, Answer, Fault, Value};
use super::{Result, ServerError, ServerRoot};

/// How long one call may take.
const CALL_TIME: Duration = Duration::from_secs(10);

/// The state of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// Stopped on request, or never started.
    Stopped,
    /// Started, not yet for long enough.
    Starting,
    /// Running.
    Running,
    /// Ended too early, and will be tried again.
    Backoff,
    /// Asked to stop.
    Stopping,
    /// Ended by itself.
    Exited,
    /// Given up.
    Fatal,
    /// A number that this version does not know.
    Unknown(i64),
}

impl ProcessState {
    /// The state with the supervisor's number.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Stopped,
            10 => Self::Starting,
            20 => Self::Running,
            30 => Self::Backoff,
            40 => Self::Stopping,
            100 => Self::Exited,
            200 => Self::Fatal,
            other => Self::Unknown(other),
        }
    }

    /// Whether no process of the program exists and the supervisor will not make one by itself.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Fatal)
    }

    /// Whether the program runs or is about to.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Starting)
    }

    /// The supervisor's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

/// A program of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its group; the same as the name unless it was put into one.
    pub group: String,
    /// Its state.
    pub state: ProcessState,
    /// Its process id in the server's namespace, while there is a process.
    pub pid: Option<u32>,
    /// The exit status of the last process.
    pub exit_status: i64,
    /// Why it could not be started.
    pub spawn_error: String,
    /// Where its standard output goes, in the server's names.
    pub logfile: String,
    /// When the process started, in seconds since 1970; 0 if never.
    pub started: i64,
}

impl Process {
    /// The name that the supervisor takes in calls: `name`, or `group:name` where they differ.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.group == self.name {
            self.name.clone()
        } else {
            format!("{}:{}", self.group, self.name)
        }
    }

    /// Whether `name` means this program: its full name, or its bare name where that is the same.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.full_name() == name || self.name == name
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key| value.get(key).and_then(Value::as_int);
        let name = text("name")?;
        Some(Self {
            group: text("group").unwrap_or_else(|| name.clone()),
            state: ProcessState::from_number(number("state")?),
            pid: number("pid")
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0),
            exit_status: number("exitstatus").unwrap_or_default(),
            spawn_error: text("spawnerr").unwrap_or_default(),
            logfile: text("stdout_logfile")
                .or_else(|| text("logfile"))
                .unwrap_or_default(),
            started: number("start").unwrap_or_default(),
            name,
        })
    }
}

/// The supervisor's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorState {
    /// At work.
    Running,
    /// Restarting.
    Restarting,
    /// Shutting down.
    Shutdown,
    /// Broken.
    Fatal,
    /// A number that this version does not know.
    Unknown(i64),
}

/// The way to one supervisor.
#[derive(Debug, Clone)]
pub struct Supervisor {
    socket: PathBuf,
    authorization: String,
    config: SupervisorConfig,
}

impl Supervisor {
    /// Finds the socket of the server's supervisor, and the way in, from the server's own configuration.
    ///
    /// # Errors
    /// The configuration cannot be read. Whether the supervisor answers shows with the first call.
    pub fn at(root: &ServerRoot) -> Result<Self> {
        let config = SupervisorConfig::read(root)?;
        let socket = root.resolve(config.socket())?;
        let (user, password) = config.credentials();
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Ok(Self {
            socket,
            authorization,
            config,
        })
    }

    /// The socket, as this process sees it.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the supervisor was configured with.
    #[must_use]
    pub fn config(&self) -> &SupervisorConfig {
        &self.config
    }

    /// All programs, in the supervisor's order.
    ///
    /// # Errors
    /// The supervisor cannot be reached, or its answer cannot be understood.
    pub async fn processes(&self) -> Result<Vec<Process>> {
        const METHOD: &str = "supervisor.getAllProcessInfo";
        match self.call(METHOD, &[]).await? {
            Value::Array(items) => items
                .iter()
                .map(|item| Process::from_value(item).ok_or_else(|| incomplete(METHOD)))
                .collect(),
            _ => Err(incomplete(METHOD)),
        }
    }

    /// One program, by its full name.
    ///
    /// # Errors
    /// As [`Self::processes`]; fault 10 when there is no such program.
    pub async fn process(&self, name: &str) -> Result<Process> {
        const METHOD: &str = "supervisor.getProcessInfo";
        let value = self.call(METHOD, &[Value::Str(name.into())]).await?;
        Process::from_value(&value).ok_or_else(|| incomplete(METHOD))
    }

    /// Asks a program to stop and returns at once. False when it does not run.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub async fn stop(&self, name: &str) -> Result<bool> {
        self.ask("supervisor.stopProcess", name, Fault::NOT_RUNNING)
            .await
    }

    /// Asks a program to start and returns at once. False when it runs already.
    ///
    /// One that could not be started, or had ended by the time of the answer, is no error here: the supervisor tries again where
    /// it may, and the program's state tells what came of it. Which of two starts that fail alike is answered with
    /// [`Fault::SPAWN_ERROR`] depends on nothing but who is quicker, the program or the answer.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub async fn start(&self, name: &str) -> Result<bool> {
        let asked = self
            .ask("supervisor.startProcess", name, Fault::ALREADY_STARTED)
            .await;
        match asked {
            Err(ServerError::SupervisorFault { fault, .. }) if fault.code == Fault::SPAWN_ERROR => {
                Ok(true)
            }
            other => other,
        }
    }

    async fn ask(&self, method: &'static str, name: &str, already: i64) -> Result<bool> {
        match self
            .call(method, &[Value::Str(name.into()), Value::Bool(false)])
            .await
        {
            Ok(_) => Ok(true),
            Err(ServerError::SupervisorFault { fault, .. }) if fault.code == already => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The supervisor's process id in the server's namespace.
    ///
    /// # Errors
    /// As [`Self::processes`].
    pub async fn pid(&self) -> Result<u32> {
        const METHOD: &str = "supervisor.getPID";
        let value = self.call(METHOD, &[]).await?;
        value
            .as_int()
            .and_then(|pid| u32::try_from(pid).ok())
            .ok_or_else(|| incomplete(METHOD))
    }

    /// The supervisor's version, such as `4.2.4`.
    ///
    /// # Errors
    /// As [`Self::processes`].
    pub async fn version(&self) -> Result<String> {
        const METHOD: &str = "supervisor.getSupervisorVersion";
        let value = self.call(METHOD, &[]).await?;
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| incomplete(METHOD))
    }

    /// The supervisor's own state.
    ///
    /// # Errors
    /// As [`Self::processes`].
    pub async fn state(&self) -> Result<SupervisorState> {
        const METHOD: &str = "supervisor.getState";
        let value = self.call(METHOD, &[]).await?;
        let code = value.get("statecode").and_then(Value::as_int);
        Ok(match code.ok_or_else(|| incomplete(METHOD))? {
            1 => SupervisorState::Running,
            0 => SupervisorState::Restarting,
            -1 => SupervisorState::Shutdown,
            2 => SupervisorState::Fatal,
            other => SupervisorState::Unknown(other),
        })
    }

    async fn call(&self, method: &'static str, params: &[Value]) -> Result<Value> {
        let answer = tokio::time::timeout(CALL_TIME, self.exchange(method, params)).await;
        let body = answer.map_err(|_| ServerError::Timeout {
            what: format!("the supervisor's answer to `{method}`"),
            after: CALL_TIME,
        })??;
        match xmlrpc::decode_answer(&body) {
            Ok(Answer::Value(value)) => Ok(value),
            Ok(Answer::Fault(fault)) => Err(ServerError::SupervisorFault { method, fault }),
            Err(why) => Err(ServerError::SupervisorAnswer { method, why }),
        }
    }

    async fn exchange(&self, method: &'static str, params: &[Value]) -> Result<Bytes> {
        let unreachable = |why: String| ServerError::SupervisorUnreachable {
            socket: self.socket.clone(),
            why,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        // Ends with the sender, at the end of this call.
        let connection = tokio::spawn(connection);
        let request = Request::post("/RPC2")
            .header("Host", "localhost")
            .header("Content-Type", "text/xml")
            .header("Authorization", &self.authorization)
            .body(Full::new(Bytes::from(xmlrpc::encode_call(method, params))))
            .map_err(|error| unreachable(error.to_string()))?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| unreachable(error.to_string()))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), xmlrpc::MAX_ANSWER)
            .collect()
            .await;
        drop(sender);
        connection.abort();
        match status.as_u16() {
            200 => Ok(body
                .map_err(|error| unreachable(error.to_string()))?
                .to_bytes()),
            401 | 403 => Err(ServerError::SupervisorRefused {
                socket: self.socket.clone(),
            }),
            other => Err(unreachable(format!("it answers with HTTP status {other}"))),
        }
    }
}

fn incomplete(method: &'static str) -> ServerError {
    ServerError::SupervisorAnswer {
        method,
        why: "something is missing in it".into(),
    }
}
