//! How to print is decided once, at the start, from the flags and the terminals; nothing asks
//! again.

use std::io::{self, IsTerminal as _};

use super::Look;
use crate::cli::{Color, Global, Output};

/// Columns of a line that goes into a pipe, which has no width of its own.
const PIPE_WIDTH: usize = 100;
/// Narrower terminals are treated as if they were this wide.
const LEAST_WIDTH: usize = 40;

/// What was found around the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The width of stdout when it is a terminal.
    pub stdout: Option<usize>,
    /// The width of stderr when it is a terminal.
    pub stderr: Option<usize>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `TERM=dumb`, or no `TERM` at all: the cursor cannot be moved.
    pub dumb: bool,
}

impl Surroundings {
    /// Looks around.
    #[must_use]
    pub fn observe() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            stdout: io::stdout()
                .is_terminal()
                .then(|| terminal_width(io::stdout())),
            stderr: io::stderr()
                .is_terminal()
                .then(|| terminal_width(io::stderr())),
            no_color: set("NO_COLOR").is_some(),
            dumb: set("TERM").is_none_or(|term| term == "dumb"),
        }
    }
}

/// The columns of a terminal now; 80 when it does not say.
pub(super) fn terminal_width(of: impl std::os::fd::AsFd) -> usize {
    match rustix::termios::tcgetwinsize(of) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Text or JSON on stdout.
    pub output: Output,
    /// Only what went wrong.
    pub quiet: bool,
    /// 0, 1 or more.
    pub verbose: u8,
    /// How stdout shall look.
    pub stdout: Look,
    /// How stderr shall look.
    pub stderr: Look,
    /// Lines on stderr may be drawn anew.
    pub live: bool,
}

impl Settings {
    /// The settings that the flags and the surroundings give.
    #[must_use]
    pub fn resolve(global: &Global, around: Surroundings) -> Self {
        let look = |terminal: Option<usize>| Look {
            width: terminal.unwrap_or(PIPE_WIDTH).max(LEAST_WIDTH),
            color: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal.is_some() && !around.no_color && !around.dumb,
            },
        };
        Self {
            output: global.output,
            quiet: global.quiet,
            verbose: global.verbose,
            stdout: look(around.stdout),
            stderr: look(around.stderr),
            live: around.stderr.is_some() && !around.dumb && !global.quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    const TERMINAL: Surroundings = Surroundings {
        stdout: Some(80),
        stderr: Some(80),
        no_color: false,
        dumb: false,
    };

    fn settings(flags: &str, around: Surroundings) -> Settings {
        let line = format!("ferryctl runs {flags}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        Settings::resolve(&cli.global, around)
    }

    #[test]
    fn colour_is_for_terminals_whose_owner_wants_it() {
        assert!(settings("", TERMINAL).stdout.color);
        assert!(
            !settings(
                "",
                Surroundings {
                    no_color: true,
                    ..TERMINAL
                }
            )
            .stdout
            .color
        );
        assert!(
            !settings(
                "",
                Surroundings {
                    dumb: true,
                    ..TERMINAL
                }
            )
            .stderr
            .color
        );
        assert!(!settings("--color never", TERMINAL).stdout.color);
        let piped = Surroundings {
            stdout: None,
            ..TERMINAL
        };
        assert!(!settings("", piped).stdout.color && settings("", piped).stderr.color);
        let forced = settings(
            "--color always",
            Surroundings {
                no_color: true,
                ..piped
            },
        );
        assert!(forced.stdout.color);
    }

    #[test]
    fn only_a_real_terminal_is_drawn_on() {
        assert!(settings("", TERMINAL).live);
        assert!(!settings("-q", TERMINAL).live);
        assert!(
            !settings(
                "",
                Surroundings {
                    dumb: true,
                    ..TERMINAL
                }
            )
            .live
        );
        assert!(
            !settings(
                "",
                Surroundings {
                    stderr: None,
                    ..TERMINAL
                }
            )
            .live
        );
        assert_eq!(
            settings(
                "",
                Surroundings {
                    stderr: Some(3),
                    ..TERMINAL
                }
            )
            .stderr
            .width,
            40
        );
    }
}
