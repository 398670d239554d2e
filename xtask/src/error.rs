//! What can go wrong, each as a sentence for the person at the terminal.

use std::io;
use std::path::PathBuf;

/// What the commands return.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The program is not there, or may not be run.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// As it was asked for.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The program ran and said no.
    #[error("`{command}` ended with {status}{}", said(.output))]
    Ended {
        /// The program with its arguments.
        command: String,
        /// `exit status: 1`, or the signal.
        status: String,
        /// What it printed, as far as it was kept.
        output: String,
    },
    /// A file could not be read or written. The message of `fs_err` names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A stage of the gate failed.
    #[error("stage `{stage}` failed after {elapsed}; its output is in `{}`", .log.display())]
    Stage {
        /// Its name in the table.
        stage: &'static str,
        /// Written for people.
        elapsed: String,
        /// All that it printed.
        log: PathBuf,
    },
    /// Everything else, said at the place where it is known.
    #[error("{what}")]
    Other {
        /// What failed, on what, and why.
        what: String,
        /// What to do now; empty when there is nothing better to say.
        hint: String,
    },
}

impl Error {
    /// An error of one sentence.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self::Other {
            what: what.into(),
            hint: String::new(),
        }
    }

    /// An error of one sentence, and what to do about it.
    pub(crate) fn with_hint(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Other {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// What to do next, when this error knows.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Other { hint, .. } if !hint.is_empty() => Some(hint),
            _ => None,
        }
    }
}

/// The output as a tail of the sentence: nothing when there was none.
fn said(output: &str) -> String {
    let output = output.trim_end();
    if output.is_empty() {
        String::new()
    } else {
        format!(":\n{output}")
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn a_silent_program_leaves_no_colon() {
        let silent = Error::Ended {
            command: "false".into(),
            status: "exit status: 1".into(),
            output: "\n".into(),
        };
        assert_eq!(silent.to_string(), "`false` ended with exit status: 1");
    }

    #[test]
    fn the_hint_is_apart_from_the_sentence() {
        let error = Error::with_hint("no engine answers", "run `cargo xtask setup`");
        assert_eq!(error.to_string(), "no engine answers");
        assert_eq!(error.hint(), Some("run `cargo xtask setup`"));
        assert_eq!(Error::new("x").hint(), None);
    }
}
