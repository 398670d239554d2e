//! What went wrong: what failed, where and why, what state things are in now, and the next command.

use ferry_proto::v1::Failure;
use serde::Serialize;

use super::text::{Look, Tone, clean, columns, hang, pad, push_line};
use crate::recipes::FactChange;

/// An error as an operator reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable, kebab-case.
    pub code: String,
    /// What failed, on what, why; no full stop.
    pub what: String,
    /// What is not as it was planned; empty unless that is the problem.
    pub changes: Vec<FactChange>,
    /// More lines.
    pub details: Vec<String>,
    /// What state things are in now, for example `nothing was changed`.
    pub state: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Problem {
    /// A plan that is refused because the server is no longer what it was planned for.
    #[must_use]
    pub fn stale_plan(name: &str, changes: &[FactChange], hint: impl Into<String>) -> Self {
        Self {
            code: "plan-stale".to_owned(),
            what: format!("this plan no longer fits {name}"),
            changes: changes.to_vec(),
            details: Vec::new(),
            state: "nothing was changed".to_owned(),
            hint: hint.into(),
        }
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.clone(),
            what: failure.message.clone(),
            changes: Vec::new(),
            details: failure.details.clone(),
            state: String::new(),
            hint: failure.hint.clone(),
        }
    }
}

/// An error, as it stands on stderr.
#[must_use]
pub fn error(problem: &Problem, look: Look) -> String {
    let mut out = String::new();
    hang(
        &mut out,
        &look.paint(Tone::Bad, "error: "),
        7,
        &problem.what,
        look.width,
    );
    differences(&mut out, &problem.changes, look);
    for detail in &problem.details {
        hang(&mut out, "  ", 4, detail, look.width);
    }
    if !problem.state.is_empty() {
        hang(&mut out, "", 0, &problem.state, look.width);
    }
    if !problem.hint.is_empty() {
        hang(&mut out, "hint: ", 6, &problem.hint, look.width);
    }
    out
}

/// A failure of a step or of an agent, with what is known of the state now.
#[must_use]
pub fn failure(failure: &Failure, state: &str, look: Look) -> String {
    error(
        &Problem {
            state: state.to_owned(),
            ..Problem::from(failure)
        },
        look,
    )
}

/// Each difference in one line where all of them fit, else in three.
fn differences(out: &mut String, changes: &[FactChange], look: Look) {
    let widest = |text: fn(&FactChange) -> &str| {
        changes
            .iter()
            .map(|change| columns(text(change)))
            .max()
            .unwrap_or(0)
    };
    let (what, planned) = (
        widest(|change| &change.what),
        widest(|change| &change.planned),
    );
    let now = widest(|change| &change.now);
    let beside = 2 + what + 3 + columns("planned: ") + planned + 3 + columns("now: ") + now;
    for change in changes {
        if beside <= look.width {
            let start = format!(
                "  {}   planned: {}",
                pad(&change.what, what),
                pad(&change.planned, planned)
            );
            push_line(out, &clean(&format!("{start}   now: {}", change.now)));
        } else {
            hang(out, "  ", 2, &change.what, look.width);
            hang(out, "    planned: ", 13, &change.planned, look.width);
            hang(out, "    now:     ", 13, &change.now, look.width);
        }
    }
}
