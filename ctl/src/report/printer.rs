//! The only place that writes to stdout and stderr: data goes to stdout, talk to stderr, so that a
//! pipe gets the one without the other.

use std::io;

use super::{Look, Settings};
use crate::cli::Output;

/// Writes texts where they belong.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    settings: Settings,
}

impl Printer {
    /// A printer for these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was asked for: the text for people, or the JSON for programs, on stdout. Only the one
    /// that is wanted is made.
    pub fn data(&self, text: impl FnOnce(Look) -> String, json: impl FnOnce() -> String) {
        let text = match self.settings.output {
            Output::Text => text(self.settings.stdout),
            Output::Json => json(),
        };
        write(io::stdout().lock(), &text);
    }

    /// A word on the way, on stderr; not when quiet.
    pub fn say(&self, text: &str) {
        if !self.settings.quiet {
            write(io::stderr().lock(), text);
        }
    }

    /// A word for those who asked for more, on stderr.
    pub fn detail(&self, text: &str) {
        if self.settings.verbose > 0 {
            write(io::stderr().lock(), text);
        }
    }

    /// What went wrong: for people on stderr, always; for programs on stdout too.
    pub fn problem(&self, problem: &super::Problem) {
        write(
            io::stderr().lock(),
            &super::error(problem, self.settings.stderr),
        );
        if self.settings.output == Output::Json {
            write(io::stdout().lock(), &super::json::error(problem));
        }
    }
}

/// Writes a text that ends with one newline. A reader who went away must not stop a run, so a
/// failure to write is no failure of the program.
fn write(mut out: impl io::Write, text: &str) {
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = write!(out, "{text}{newline}").and_then(|()| out.flush());
}
