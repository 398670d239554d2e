//! For logs: one line an event, no control characters, and progress seldom enough that a night's
//! run can still be read.

use std::{io::Write, time::Duration};

use ferry_proto::v1::{Failure, Outcome, Plan, StepStatus};

use super::{Clock, Reporter, clock, line::speed, meter::Meter, opening, title};
use crate::{
    report::text::clean,
    run::events::RunEvent,
    units::{amount, elapsed, estimate},
};

/// How often progress is logged at most.
const SELDOM: Duration = Duration::from_secs(10);

/// Writes events as a log.
pub struct Plain<W> {
    out: W,
    quiet: bool,
    clock: Clock,
    /// When the step began.
    began: Duration,
    /// When progress was last logged, or the step began.
    logged: Duration,
    meter: Meter,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`; when quiet, only what went wrong.
    pub fn new(out: W, quiet: bool) -> Self {
        Self::with_clock(out, quiet, clock())
    }

    pub(in crate::report) fn with_clock(out: W, quiet: bool, clock: Clock) -> Self {
        let meter = Meter::default();
        Self {
            out,
            quiet,
            clock,
            began: Duration::ZERO,
            logged: Duration::ZERO,
            meter,
        }
    }

    /// One line. Nothing of a server's words can begin another.
    fn line(&mut self, text: &str) {
        // A reader who went away must not stop the run.
        let _ = writeln!(self.out, "{}", clean(text).trim_end()).and_then(|()| self.out.flush());
    }

    fn talk(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    fn progress(&mut self, plan: &Plan, step: usize, undo: bool) {
        let now = (self.clock)();
        if now.saturating_sub(self.logged) < SELDOM {
            return;
        }
        self.logged = now;
        let Some(progress) = self.meter.progress() else {
            return;
        };
        let unit = progress.unit.as_str();
        let mut parts = Vec::new();
        if let Some(percent) = self.meter.percent() {
            parts.push(format!("{percent} % of {}", amount(progress.total, unit)));
        } else {
            parts.push(amount(progress.done, unit));
        }
        if unit != "bytes" {
            parts[0].push_str(&format!(" {unit}"));
        }
        parts.extend(self.meter.rate().map(|rate| speed(rate, unit)));
        parts.extend(
            self.meter
                .left()
                .map(|left| format!("{} left", estimate(left))),
        );
        let way = if undo { "undo, " } else { "" };
        self.talk(&format!(
            "{}: {way}{}",
            prefix(plan, step),
            parts.join(", ")
        ));
    }
}

fn prefix(plan: &Plan, step: usize) -> String {
    format!(
        "{:>2}/{} {}",
        step.saturating_add(1),
        plan.steps.len(),
        title(plan, step)
    )
}

fn outcome_words(outcome: &Outcome, undo: bool) -> String {
    let word = if undo {
        StepStatus::Undone.word()
    } else {
        outcome.status().word()
    };
    let mut text = format!("{word} in {}", elapsed(outcome.elapsed_ms));
    if !outcome.summary.is_empty() {
        text.push_str(&format!(", {}", outcome.summary));
    }
    for warning in &outcome.warnings {
        text.push_str(&format!(" | warning: {warning}"));
    }
    text
}

fn failure_words(failure: &Failure) -> String {
    let mut text = format!("{} [{}]", failure.message, failure.code);
    for detail in &failure.details {
        text.push_str(&format!(" | {detail}"));
    }
    if !failure.hint.is_empty() {
        text.push_str(&format!(" | hint: {}", failure.hint));
    }
    text
}

impl<W: Write> Reporter for Plain<W> {
    fn event(&mut self, plan: &Plan, event: &RunEvent) {
        match event {
            RunEvent::Started { run, resumed, .. } => self.talk(&opening(plan, run, *resumed)),
            RunEvent::Intended {
                step,
                attempt,
                undo,
            } => {
                (self.began, self.logged) = ((self.clock)(), (self.clock)());
                self.meter = Meter::default();
                let word = if *undo { "undoing" } else { "begun" };
                let again = if *attempt > 1 {
                    format!(", attempt {attempt}")
                } else {
                    String::new()
                };
                self.talk(&format!("{}: {word}{again}", prefix(plan, *step)));
            }
            RunEvent::Progress {
                step,
                progress,
                undo,
            } => {
                self.meter.push((self.clock)(), progress);
                self.progress(plan, *step, *undo);
            }
            RunEvent::Note { step, text } => {
                self.talk(&format!("{}: {text}", prefix(plan, *step)));
            }
            RunEvent::Reconnecting { step, why } => self.talk(&format!(
                "{}: connecting again, the step goes on meanwhile ({why})",
                prefix(plan, *step)
            )),
            RunEvent::Finished {
                step,
                outcome,
                undo,
            } => {
                let words = outcome_words(outcome, *undo);
                let text = format!("{}: {words}", prefix(plan, *step));
                if outcome.warnings.is_empty() {
                    self.talk(&text)
                } else {
                    self.line(&text)
                }
            }
            RunEvent::Failed {
                step,
                failure,
                undo,
            } => {
                let spent = (self.clock)().saturating_sub(self.began);
                let spent = elapsed(u64::try_from(spent.as_millis()).unwrap_or(u64::MAX));
                let word = if *undo { "UNDO FAILED" } else { "FAILED" };
                let why = failure_words(failure);
                self.line(&format!(
                    "{}: {word} after {spent}: {why}",
                    prefix(plan, *step)
                ));
            }
            RunEvent::RollingBack { why: Some(why) } => {
                self.line(&format!("Rolling back: {}", why.message));
            }
            RunEvent::RollingBack { why: None } => self.line("Rolling back, as asked"),
            RunEvent::DowntimeStarted => self.talk("Downtime starts"),
            RunEvent::DowntimeEnded { millis } => {
                self.talk(&format!("Downtime ends: {}", elapsed(*millis)));
            }
            RunEvent::DeclaredFinished => self.talk("Declared finished"),
            RunEvent::Ended { state, failure } => {
                let why = failure.as_ref().map(|why| format!(": {}", why.message));
                self.talk(&format!(
                    "Run ended: {}{}",
                    state.word(),
                    why.unwrap_or_default()
                ));
            }
        }
    }
}
