//! What can be wrong with a connection, and what a refused call means: try again, or give up.

use std::error::Error;

use ferry_proto::{CODE_KEY, failure_from_status, v1::Failure};
use tonic::{Code, Status};

use super::TlsError;

/// Why an agent cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer.
    #[error("the {what} agent cannot be reached: {why}")]
    Unreachable {
        /// Which agent.
        what: String,
        /// Why not: the innermost cause.
        why: String,
    },
    /// Somebody on the way says why not: the engine does not answer, the container has exited, …
    #[error("{0}")]
    Refused(Failure),
    /// An agent on another machine does not answer, or does not want this caller.
    #[error("the agent at {address} cannot be reached: {why}")]
    Elsewhere {
        /// Where it should be.
        address: String,
        /// Why not: the innermost cause.
        why: String,
    },
    /// There is nothing to show an agent elsewhere who calls.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The plan names a place that this release does not know.
    #[error("there is no agent at the place that the plan names: it was made by another release")]
    UnknownPlace,
}

impl ConnectError {
    pub(super) fn unreachable(what: &str, error: &(dyn Error + 'static)) -> Self {
        let refused = causes(error).find_map(|cause| cause.downcast_ref::<Status>());
        match refused {
            Some(status) if has_code(status) => Self::Refused(failure_from_status(status)),
            _ => Self::Unreachable {
                what: what.to_owned(),
                why: refused.map_or_else(|| innermost(error), |status| status.message().to_owned()),
            },
        }
    }

    /// Somebody knows that trying again is of no use until something else has happened.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self.code(),
            "container-exited"
                | "server-not-running"
                | "no-agent"
                | "no-such-container"
                | "server-held-by-run"
                | "data-in-use"
                | "unknown-place"
        )
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } | Self::Elsewhere { .. } => "agent-unreachable",
            Self::Tls(_) => "bad-certificates",
            Self::Refused(failure) => &failure.code,
            Self::UnknownPlace => "unknown-place",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreachable { .. } => None,
            Self::Elsewhere { .. } => Some(
                "its log says whom it refused, and why; \
                 a certificate must be of its authority, and have a name that its policy knows",
            ),
            Self::Tls(_) => Some(
                "name the folder with `ca.pem`, `cert.pem` and `key.pem` with `--tls` or FERRY_TLS_DIR",
            ),
            Self::Refused(failure) => Some(failure.hint.as_str()).filter(|hint| !hint.is_empty()),
            Self::UnknownPlace => Some("use a ferryctl of the release that made the plan"),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(failure) => failure,
            other => Self {
                code: other.code().to_owned(),
                message: other.to_string(),
                hint: other.hint().unwrap_or_default().to_owned(),
                details: Vec::new(),
            },
        }
    }
}

/// What a call that was not answered means.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The transport failed, or the agent is going away: asking again may help.
    Lost(String),
    /// The agent does not do this: asking again will not help.
    Refused(Failure),
}

/// Tells a lost connection from a refusal. The transport gives no clean code for a loss, so
/// everything that it can mean is one; an agent's own refusal carries a code of ours.
#[must_use]
pub fn refusal(status: &Status) -> Refusal {
    let transport = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted | Code::DeadlineExceeded
    );
    if status.code() == Code::Unavailable || (transport && !has_code(status)) {
        return Refusal::Lost(innermost(status));
    }
    let mut failure = failure_from_status(status);
    if !has_code(status) {
        failure.code = "agent-refused".into();
        failure.message = format!("the agent refused the call: {}", status.message());
    }
    Refusal::Refused(failure)
}

fn has_code(status: &Status) -> bool {
    status.metadata().contains_key(CODE_KEY)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        // An I/O error made of another one says that it is that one, and skips it as its source.
        let inside = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        inside
            .map(|inside| inside as &(dyn Error + 'static))
            .or_else(|| (*error).source())
    })
}

/// The innermost cause says what happened; those around it say "transport error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last().unwrap_or(error);
    match last.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => last.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::failure_to_status;

    use super::*;

    fn coded(code: Code) -> Status {
        let failure = Failure {
            code: "step-denied".into(),
            ..Failure::default()
        };
        failure_to_status(code, &failure)
    }

    #[test]
    fn what_the_transport_says_is_a_loss_and_what_the_agent_says_is_not() {
        for code in [
            Code::Unknown,
            Code::Internal,
            Code::Cancelled,
            Code::Unavailable,
        ] {
            let lost = refusal(&Status::new(code, "h2 protocol error"));
            assert_eq!(lost, Refusal::Lost("h2 protocol error".into()));
        }
        for code in [Code::Unknown, Code::Internal, Code::PermissionDenied] {
            let Refusal::Refused(failure) = refusal(&coded(code)) else {
                panic!("{code:?}")
            };
            assert_eq!(failure.code, "step-denied");
        }
        assert!(matches!(
            refusal(&coded(Code::Unavailable)),
            Refusal::Lost(_)
        ));
    }

    #[test]
    fn a_refusal_without_our_code_gets_one() {
        let Refusal::Refused(failure) = refusal(&Status::unimplemented("unknown method")) else {
            panic!("an agent that does not know the call will not know it later");
        };
        assert_eq!(failure.code, "agent-refused");
        assert_eq!(
            failure.message,
            "the agent refused the call: unknown method"
        );
    }

    #[test]
    fn the_one_that_refused_on_the_way_is_heard() {
        let failure = Failure {
            code: "no-such-container".into(),
            message: "no container is called pmm".into(),
            hint: "see `docker ps`".into(),
            details: Vec::new(),
        };
        let status = failure_to_status(Code::NotFound, &failure);
        let wrapped = std::io::Error::other(status);
        let error = ConnectError::unreachable("container", &wrapped);
        assert_eq!(error.code(), "no-such-container");
        assert_eq!(error.hint(), Some("see `docker ps`"));
        assert_eq!(error.to_string(), "no container is called pmm");
    }
}
