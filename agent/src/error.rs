//! One error for everything that a step can meet. It is made for the operator who reads it in the
//! morning: what failed, on what, why, what to do next.

use std::fmt::Display;

use ferry_proto::v1::Failure;

use crate::{
    engine::{EngineError, carry_over::CarryOverError},
    operator_file::FileError,
    server::ServerError,
    tree::{PullError, TreeError},
};

/// Why a step did not do what it should.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    code: &'static str,
    message: String,
    hint: String,
    details: Vec<String>,
}

impl StepError {
    /// An error with a stable, kebab-case code and a sentence that says what failed, on what, why.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
            details: Vec::new(),
        }
    }

    /// The step was asked to stop, and did so at a safe place.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new("cancelled", "the step was cancelled")
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds lines that help: the end of a log, the first of many entries.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.details.extend(details.into_iter().map(Into::into));
        self
    }

    /// Says what was being done, in front of what went wrong.
    #[must_use]
    pub fn during(mut self, what: impl Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether one of the lines that help has these words.
    pub(crate) fn tells(&self, words: &str) -> bool {
        self.details.iter().any(|line| line.contains(words))
    }

    /// Its sentence, for a step whose work is done and which fails at nothing but its clean-up.
    ///
    /// # Errors
    /// Itself, where it says that the engine was away: the step is asked for again then, and cleans up.
    pub fn into_warning(self) -> Result<String, Self> {
        if ferry_proto::is_engine_away(self.code) {
            Err(self)
        } else {
            Ok(self.message)
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self {
            code: error.code.to_owned(),
            message: error.message,
            hint: error.hint,
            details: error.details,
        }
    }
}

/// What a full disk is told as, wherever it is met: the one failure of a disk that an operator mends at once.
pub(crate) const NO_SPACE: &str = "no-space";
pub(crate) const NO_SPACE_HINT: &str =
    "free or add space on the disk that is written to, then `ferryctl migrate` again";

impl StepError {
    /// Something is there that a run of this name has made, and whoever asks has made nothing yet: the same plan was applied from another
    /// state folder.
    #[must_use]
    pub fn held_by_another_journal(run: &str, what: &str) -> Self {
        Self::new(
            "server-held-by-run",
            format!("{what} is of a run {run} that another journal has: this plan was applied before, from another state folder"),
        )
        .hint("go on where that journal is (`--state-dir`), or make a new plan")
    }
}

impl From<std::io::Error> for StepError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::new(NO_SPACE, error.to_string()).hint(NO_SPACE_HINT);
        }
        Self::new("io", error.to_string())
    }
}

impl From<TreeError> for StepError {
    fn from(error: TreeError) -> Self {
        let details = match &error {
            TreeError::Entries { problems, .. } | TreeError::LinksOutside { problems } => {
                problems.first.clone()
            }
            _ => Vec::new(),
        };
        if let TreeError::Io { source, .. } = &error
            && source.kind() == std::io::ErrorKind::StorageFull
        {
            return Self::new(NO_SPACE, error.to_string()).hint(NO_SPACE_HINT);
        }
        let hint = error.hint().unwrap_or_default();
        Self::new(error.code(), error.to_string())
            .hint(hint)
            .details(details)
    }
}

impl From<PullError> for StepError {
    fn from(error: PullError) -> Self {
        let hint = error.hint().unwrap_or_default().to_owned();
        let code = match error {
            PullError::Tree(error) => return error.into(),
            PullError::Source(failure) => {
                let said = format!("{} ({})", failure.message, failure.code);
                return Self::new("pull-source", said)
                    .hint(hint)
                    .details(failure.details);
            }
            PullError::Unsound { .. } => "pull-unsound",
            PullError::Corrupt { .. } => "pull-corrupt",
        };
        Self::new(code, error.to_string()).hint(hint)
    }
}

impl From<FileError> for StepError {
    fn from(error: FileError) -> Self {
        if let FileError::Io { source, .. } = &error
            && source.kind() == std::io::ErrorKind::StorageFull
        {
            return Self::new(NO_SPACE, error.to_string()).hint(NO_SPACE_HINT);
        }
        Self::new("operator-file", error.to_string()).hint(
            "see that the file can be replaced on this machine, then `ferryctl migrate` again",
        )
    }
}

impl From<EngineError> for StepError {
    fn from(error: EngineError) -> Self {
        Self::new(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

impl From<ServerError> for StepError {
    fn from(error: ServerError) -> Self {
        Self::new(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

impl From<CarryOverError> for StepError {
    fn from(error: CarryOverError) -> Self {
        Self::new(error.code(), error.to_string()).hint(error.hint().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_one_with_the_way_on() {
        let full = || std::io::Error::from_raw_os_error(28);
        let tree = TreeError::Io {
            action: "write",
            path: "clickhouse/a".into(),
            source: full(),
        };
        for error in [StepError::from(full()), StepError::from(tree)] {
            assert_eq!(error.code(), "no-space");
            let failure = Failure::from(error);
            assert!(failure.message.contains("No space left"), "{failure:?}");
            assert!(failure.hint.contains("ferryctl migrate"), "{failure:?}");
        }
        let other = StepError::from(std::io::Error::from_raw_os_error(5));
        assert_eq!(other.code(), "io");
    }

    #[test]
    fn a_clean_up_that_fails_is_a_warning_and_an_engine_that_is_away_is_none() {
        let busy = StepError::new("agent-busy", "it did not end").hint("look");
        assert_eq!(busy.into_warning().unwrap(), "it did not end");
        let away = StepError::new("engine-interrupted", "the connection broke");
        assert_eq!(
            away.into_warning().unwrap_err().code(),
            "engine-interrupted"
        );
    }
}
