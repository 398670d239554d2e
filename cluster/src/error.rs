//! What can be wrong with a cluster, for the operator who reads it.

use ferry_agent::error::StepError;

/// Why a cluster did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is nothing to connect to.
    #[error("no cluster can be chosen: {0}")]
    Config(String),
    /// No answer.
    #[error("the cluster's API server does not answer: {0}")]
    Unreachable(String),
    /// It says no.
    #[error("the cluster refuses to {action}: {message}")]
    Refused {
        /// What was asked for.
        action: String,
        /// HTTP's number for it.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// What it says is not understood.
    #[error("the cluster's answer is not understood, to {action}: {reason}")]
    Answer {
        /// What was asked for.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClusterError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "cluster-unknown",
            Self::Unreachable(_) => "cluster-unreachable",
            Self::Refused { status: 403, .. } => "cluster-forbidden",
            Self::Refused { status: 409, .. } => "cluster-conflict",
            Self::Refused {
                status: 429 | 503 | 504,
                ..
            } => "cluster-busy",
            Self::Refused { .. } => "cluster-refused",
            Self::Answer { .. } => "cluster-answer",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => {
                "`kubectl config current-context` must name one; KUBECONFIG is obeyed"
            }
            Self::Unreachable(_) => "`kubectl version` must answer, then try again",
            Self::Refused { status: 401, .. } => {
                "log in to the cluster as for `kubectl`, then try again"
            }
            Self::Refused { status: 403, .. } => {
                "deploy/kubernetes/rbac.yaml has the rights that are needed; or a policy of the cluster forbids such pods in this namespace"
            }
            Self::Refused { status: 409, .. } => {
                "somebody changes the same object: find out who, then try again"
            }
            Self::Refused { status: 422, .. } => {
                "the object has fields that cannot be changed: docs/kubernetes.md says how it is made anew without its pod"
            }
            Self::Refused { status: 404, .. } => {
                "somebody removed it: `kubectl get statefulset,pod,pvc` shows what is there; then `ferryctl resume`"
            }
            Self::Refused {
                status: 429 | 500..,
                ..
            } => {
                "the API server has trouble of its own: wait until `kubectl get --raw /readyz` says ok, then `ferryctl resume`"
            }
            Self::Refused { .. } => {
                "what it refuses is named above; mend it, or ask whoever runs the cluster, then `ferryctl resume`"
            }
            Self::Answer { .. } => {
                "see that `kubectl version` names a server of 1.25 or later, and that no proxy stands in between; then `ferryctl resume`"
            }
        }
    }

    /// The thing is not there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// This user may not ask for that.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }

    /// It is there already, or was changed by somebody else.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

impl From<ClusterError> for StepError {
    fn from(error: ClusterError) -> Self {
        Self::new(error.code(), error.to_string()).hint(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::Failure;

    use super::*;

    #[test]
    fn an_api_server_that_is_away_or_busy_is_asked_again_and_a_refusal_is_not() {
        let refused = |status| ClusterError::Refused {
            action: "read it".to_owned(),
            status,
            message: String::new(),
        };
        let is_away = |error| Failure::from(StepError::from(error)).is_engine_away();
        assert!(is_away(ClusterError::Unreachable(String::new())));
        for status in [429, 503, 504] {
            assert!(is_away(refused(status)), "{status}");
        }
        for status in [401, 403, 404, 409, 422, 500] {
            assert!(!is_away(refused(status)), "{status}");
        }
    }
}
