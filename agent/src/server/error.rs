//! What can go wrong when a server is reached.
//!
//! One enum, so that the edge maps it to a status in one place. Each variant is a sentence for an operator; the stable
//! code is for programs, and the hint names what to try next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure to reach, read or change a server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file or folder of the server could not be used.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    File {
        /// The verb: `read`, `list`, `create`.
        doing: &'static str,
        /// The path as this process sees it.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the server does not say what it must.
    #[error("`{}` cannot be understood: {why}", path.display())]
    Content {
        /// The path as this process sees it.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The supervisor's socket does not answer.
    #[error("the supervisor at `{}` cannot be reached: {why}", socket.display())]
    SupervisorUnreachable {
        /// The socket's path as this process sees it.
        socket: PathBuf,
        /// Why not.
        why: String,
    },
    /// The supervisor wants another user name or password.
    #[error("the supervisor at `{}` refused the user name and password of its own configuration", socket.display())]
    SupervisorRefused {
        /// The socket's path as this process sees it.
        socket: PathBuf,
    },
    /// The supervisor answered with a fault.
    #[error("the supervisor refused `{method}`: {fault}")]
    SupervisorFault {
        /// The XML-RPC method.
        method: &'static str,
        /// The fault.
        fault: super::xmlrpc::Fault,
    },
    /// An XML-RPC answer is not one.
    #[error("the supervisor's answer to `{method}` cannot be understood: {why}")]
    SupervisorAnswer {
        /// The XML-RPC method.
        method: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A program did not stop or start in the time that it has.
    #[error("`{name}` is {state} after {} s instead of {wanted}", after.as_secs())]
    ProgramLate {
        /// The program.
        name: String,
        /// The state it was seen in last.
        state: String,
        /// What was asked for.
        wanted: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// A program that had been stopped runs again.
    #[error("{} run again after they were stopped", names.join(", "))]
    ProgramsCameBack {
        /// The programs.
        names: Vec<String>,
    },
    /// A program ended instead of running.
    #[error("`{name}` did not start: it is {state}{}", if why.is_empty() { String::new() } else { format!(" ({why})") })]
    ProgramFailed {
        /// The program.
        name: String,
        /// Its state.
        state: String,
        /// The supervisor's reason, if it gave one.
        why: String,
    },
    /// A tool of the server's could not be started.
    #[error("cannot start the server's own `{}`: {source}", program.display())]
    ToolStart {
        /// Path inside the server's root.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A tool of the server's failed.
    #[error("`{program}` failed with {status}: {stderr}")]
    ToolFailed {
        /// The program's name.
        program: &'static str,
        /// Its exit status in words.
        status: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A table cannot be read.
    #[error("table `{table}` of database `{database}` cannot be read: {source}")]
    Table {
        /// Its database.
        database: String,
        /// The table, with its schema where that is not `public`.
        table: String,
        /// Why.
        source: Box<ServerError>,
    },
    /// A tool wrote more than was allowed.
    #[error("`{program}` wrote more than {limit} bytes")]
    ToolOutput {
        /// The program's name.
        program: &'static str,
        /// The bound in bytes.
        limit: usize,
    },
    /// Something took longer than it may.
    #[error("{what} did not finish within {} s", after.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The caller cancelled the work.
    #[error("{what} was cancelled")]
    Cancelled {
        /// What was going on.
        what: String,
    },
    /// Something that must be there is not.
    #[error("{what} was not found: {why}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where it was looked for.
        why: String,
    },
    /// A tool would have run with rights that it must not have.
    #[error(
        "refused to start `{program}` as uid {uid}: the server's tools run as its unprivileged users only"
    )]
    Privileged {
        /// The program's name.
        program: &'static str,
        /// The uid asked for.
        uid: u32,
    },
    /// SQL that would not be taken literally.
    #[error("refused to send SQL that contains {what}")]
    UnsafeSql {
        /// What it contains.
        what: &'static str,
    },
    /// A role's password is somebody's own.
    #[error(
        "the password of role `{role}` is not the default one, and only the default one can be set again"
    )]
    CustomPassword {
        /// The role.
        role: String,
    },
    /// A local HTTP port does not answer.
    #[error("http://127.0.0.1:{port}{path} cannot be reached: {why}")]
    HttpUnreachable {
        /// The port.
        port: u16,
        /// The path without its query.
        path: String,
        /// Why not.
        why: String,
        /// True when nothing listens there at all.
        refused: bool,
    },
    /// A local HTTP port answered with an error.
    #[error("http://127.0.0.1:{port}{path} answered {status}: {body}")]
    HttpStatus {
        /// The port.
        port: u16,
        /// The path without its query.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// A local HTTP port answered something that cannot be understood.
    #[error("the answer of http://127.0.0.1:{port}{path} cannot be understood: {why}")]
    HttpAnswer {
        /// The port.
        port: u16,
        /// The path without its query.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The dump is not what was written.
    #[error("the dump in `{}` is not intact: {why}", dir.display())]
    DumpDamaged {
        /// The folder as this process sees it.
        dir: PathBuf,
        /// The first thing that is wrong.
        why: String,
    },
}

impl ServerError {
    /// The stable name of this kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "server-file",
            Self::Content { .. } => "server-file-content",
            Self::SupervisorUnreachable { .. } => "supervisor-unreachable",
            Self::SupervisorRefused { .. } => "supervisor-refused",
            Self::SupervisorFault { .. } => "supervisor-fault",
            Self::SupervisorAnswer { .. } => "supervisor-answer",
            Self::ProgramLate { .. } => "program-late",
            Self::ProgramsCameBack { .. } => "programs-came-back",
            Self::ProgramFailed { .. } => "program-failed",
            Self::ToolStart { .. } => "tool-start",
            Self::ToolFailed { .. } => "tool-failed",
            Self::Table { source, .. } => source.code(),
            Self::ToolOutput { .. } => "tool-output",
            Self::Timeout { .. } => "server-timeout",
            Self::Cancelled { .. } => "cancelled",
            Self::Missing { .. } => "server-part-missing",
            Self::Privileged { .. } => "tool-privileged",
            Self::UnsafeSql { .. } => "sql-unsafe",
            Self::CustomPassword { .. } => "role-custom-password",
            Self::HttpUnreachable { .. } => "http-unreachable",
            Self::HttpStatus { .. } => "http-status",
            Self::HttpAnswer { .. } => "http-answer",
            Self::DumpDamaged { .. } => "dump-damaged",
        }
    }

    /// What to try next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Table { source, .. } => return source.hint(),
            Self::File { path, source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied
                    && path.starts_with("/proc/1/root") =>
            {
                "the sidecar lacks SYS_PTRACE, or does not share the server's user namespace"
            }
            Self::SupervisorUnreachable { .. } => {
                "the server may be stopped or paused, or the sidecar lacks SYS_PTRACE beside a PID 1 of another user"
            }
            Self::SupervisorRefused { .. } => {
                "`[unix_http_server]` was edited after the supervisor started; restart the server or put it back"
            }
            Self::ProgramLate { .. } | Self::ProgramFailed { .. } => {
                "the program's own log is in `/srv/logs` of the server"
            }
            Self::ProgramsCameBack { .. } => {
                "something on the server starts programs; find it before trying again"
            }
            Self::ToolStart { .. } => "the sidecar needs SYS_CHROOT, SETUID and SETGID",
            Self::CustomPassword { .. } => {
                "set the password of that role to SCRAM by hand, or keep it and configure the new server with it"
            }
            Self::HttpStatus {
                status: 401 | 403, ..
            } => "give the user name and password of an administrator",
            Self::HttpUnreachable { refused: true, .. } => {
                "the service that listens there is not running"
            }
            _ => return None,
        })
    }

    /// Whether nothing listens on the port that was asked.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::HttpUnreachable { refused: true, .. })
    }

    /// The HTTP status that was answered, if this is about one.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Self::HttpStatus { status, .. } => Some(*status),
            _ => None,
        }
    }
}
