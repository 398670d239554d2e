//! What ends a verb early: what a person reads, and what a script branches on.

use ferry_proto::v1::Failure;

use crate::{
    connect::{ConnectError, address::AddressError, binary::BinaryError},
    exit::Exit,
    facts::FactsError,
    report::Problem,
    run::{driver::DriverError, journal::JournalError},
};

/// A verb that could not do what it was asked for.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) exit: Exit,
    pub(super) problem: Box<Problem>,
}

const UNCHANGED: &str = "nothing was changed";

impl Failed {
    /// A failure after which nothing was changed.
    pub(super) fn plain(code: &str, what: impl Into<String>) -> Self {
        let problem = Problem {
            code: code.to_owned(),
            what: what.into(),
            state: UNCHANGED.to_owned(),
            ..Problem::default()
        };
        Self {
            exit: exit_of(code),
            problem: Box::new(problem),
        }
    }

    /// The next command.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = hint.into();
        self
    }

    /// With another exit code.
    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    fn of(failure: &Failure) -> Self {
        let problem = Problem {
            state: UNCHANGED.to_owned(),
            ..Problem::from(failure)
        };
        Self {
            exit: exit_of(&failure.code),
            problem: Box::new(problem),
        }
    }
}

/// Refusals have a number of their own; all else that ends a verb before a run is a plain failure.
fn exit_of(code: &str) -> Exit {
    match code {
        "bad-address" | "address-unsupported" => Exit::Usage,
        "plan-stale"
        | "plan-edited"
        | "plan-format"
        | "plan-unreadable"
        | "plan-other-server"
        | "server-locked"
        | "run-finished"
        | "nothing-to-take-back"
        | "server-held-by-run"
        | "run-driven"
        | "run-over" => Exit::Refused,
        _ => Exit::RolledBack,
    }
}

impl From<AddressError> for Failed {
    fn from(error: AddressError) -> Self {
        Self::plain(error.code(), error.to_string()).hint(error.hint())
    }
}

impl From<BinaryError> for Failed {
    fn from(error: BinaryError) -> Self {
        Self::plain(error.code(), error.to_string()).hint(error.hint())
    }
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self::plain(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

impl From<JournalError> for Failed {
    fn from(error: JournalError) -> Self {
        Self::plain(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

impl From<DriverError> for Failed {
    fn from(error: DriverError) -> Self {
        Self::plain(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

impl From<FactsError> for Failed {
    fn from(error: FactsError) -> Self {
        if let FactsError::Agent(failure) = &error {
            return Self::of(failure);
        }
        Self::plain(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}
