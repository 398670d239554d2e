//! Runs as a table, and one run in full.

use ferry_proto::v1::{Failure, Place, StepStatus};
use pbjson_types::Timestamp;
use serde::Serialize;

use super::text::{Look, Tone, clean, columns, fit, hang, moment, pad, push_line};
use crate::{run::events::RunState, units::elapsed};

/// One run, in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// Its name.
    pub run: String,
    /// The server's own name.
    pub server: String,
    /// Where it stands.
    pub state: RunState,
    /// The step it is at, from 1; 0 when it has not begun one.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// The title of the step it is at; may be empty.
    pub title: String,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// How long the server did not serve, in milliseconds; absent when it has not stopped.
    pub downtime_ms: Option<u64>,
}

/// One step of a run, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRow {
    /// Its id in the plan.
    pub id: String,
    /// Where it is performed.
    pub place: Place,
    /// What a person reads.
    pub title: String,
    /// Where it stands.
    pub status: StepStatus,
    /// What was done; may be empty.
    pub summary: String,
    /// How long it took, in milliseconds; absent when it is not over.
    pub elapsed_ms: Option<u64>,
}

/// One run in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStatus {
    /// The line of it.
    #[serde(flatten)]
    pub row: RunRow,
    /// The version before.
    pub from_version: String,
    /// The version after.
    pub to_version: String,
    /// All steps, in the order of the plan.
    #[serde(rename = "plan_steps")]
    pub all: Vec<StepRow>,
    /// Why it is held or was rolled back.
    pub failure: Option<Failure>,
    /// The next command; may be empty.
    pub next: String,
}

/// What `ferryctl runs` prints, and `ferryctl status` without a run.
#[must_use]
pub fn runs(rows: &[RunRow], look: Look) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        push_line(&mut out, "No runs.");
        return out;
    }
    if look.is_narrow() {
        for row in rows {
            narrow(&mut out, row, look);
        }
        return out;
    }
    let heads = ["RUN", "SERVER", "STATE", "STEP", "SINCE", "DOWNTIME"];
    let cells: Vec<[String; 6]> = rows.iter().map(cells).collect();
    let mut widths = heads.map(columns);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    // The step's title is the one that can be cut without losing what it is.
    let others: usize = widths.iter().sum::<usize>() - widths[3] + 2 * (widths.len() - 1);
    widths[3] = widths[3].min(look.width.saturating_sub(others)).max(12);
    let line = |cells: &[String; 6]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| pad(&fit(cell, width), width));
        padded.collect::<Vec<_>>().join("  ")
    };
    let head = line(&heads.map(str::to_owned));
    push_line(&mut out, &look.paint(Tone::Heading, head.trim_end()));
    for row in &cells {
        push_line(&mut out, &line(row));
    }
    out
}

fn cells(row: &RunRow) -> [String; 6] {
    [
        clean(&row.run).into_owned(),
        clean(&row.server).into_owned(),
        row.state.word().to_owned(),
        step(row),
        since(row),
        downtime(row),
    ]
}

/// Month, day and minute: a table has no room for more, and the narrow form and JSON have it all.
fn since(row: &RunRow) -> String {
    let full = moment(row.since.as_ref());
    full.get(5..16)
        .filter(|_| full.ends_with(" UTC"))
        .map_or(full.clone(), str::to_owned)
}

fn step(row: &RunRow) -> String {
    format!("{}/{} {}", row.step, row.steps, clean(&row.title))
        .trim_end()
        .to_owned()
}

fn downtime(row: &RunRow) -> String {
    row.downtime_ms.map_or_else(|| "none".to_owned(), elapsed)
}

fn narrow(out: &mut String, row: &RunRow, look: Look) {
    let head = format!(
        "{}  {}  {}",
        clean(&row.run),
        clean(&row.server),
        row.state.word()
    );
    hang(out, "", 0, &head, look.width);
    hang(out, "  ", 2, &step(row), look.width);
    let since = format!(
        "since {}, downtime {}",
        moment(row.since.as_ref()),
        downtime(row)
    );
    hang(out, "  ", 2, &since, look.width);
}

/// What `ferryctl status RUN` prints.
#[must_use]
pub fn status(status: &RunStatus, look: Look) -> String {
    let mut out = runs(std::slice::from_ref(&status.row), look);
    out.push('\n');
    for (index, step) in status.all.iter().enumerate() {
        let start = format!(" {} {:>2}  ", painted_mark(step.status, look), index + 1);
        let mut text = clean(&step.title).into_owned();
        let beside = beside(step);
        if !beside.is_empty() {
            text = format!("{text}: {beside}");
        }
        hang(&mut out, &start, 7, &text, look.width);
    }
    if let Some(failure) = &status.failure {
        out.push('\n');
        hang(&mut out, "why:  ", 6, &failure.message, look.width);
        for detail in &failure.details {
            hang(&mut out, "      ", 6, detail, look.width);
        }
        if !failure.hint.is_empty() {
            hang(&mut out, "hint: ", 6, &failure.hint, look.width);
        }
    }
    if !status.next.is_empty() {
        out.push('\n');
        hang(&mut out, "next: ", 6, &status.next, look.width);
    }
    out
}

fn beside(step: &StepRow) -> String {
    let word = match step.status {
        StepStatus::Planned | StepStatus::Unknown => return String::new(),
        status => status.word(),
    };
    let mut parts = vec![word.to_owned()];
    if let Some(millis) = step.elapsed_ms {
        parts.push(elapsed(millis));
    }
    if !step.summary.is_empty() {
        parts.push(step.summary.clone());
    }
    parts.join(", ")
}

fn painted_mark(status: StepStatus, look: Look) -> String {
    let tone = match status {
        StepStatus::Succeeded => Tone::Good,
        StepStatus::Failed | StepStatus::UndoFailed => Tone::Bad,
        StepStatus::Warned => Tone::Careful,
        _ => Tone::Aside,
    };
    look.paint(tone, mark(status))
}

/// One sign for where a step stands; a word always stands beside it.
pub(super) fn mark(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Unknown | StepStatus::Planned => " ",
        StepStatus::Intended | StepStatus::Running => "▸",
        StepStatus::Succeeded | StepStatus::Warned => "✓",
        StepStatus::Skipped => "–",
        StepStatus::Failed | StepStatus::UndoFailed => "✗",
        StepStatus::Undoing | StepStatus::Undone => "↩",
    }
}
