//! For people: one line a step. What is over scrolls away and stays; only the line of the running
//! step, and the one of the next below it, are drawn anew.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ferry_proto::v1::{Plan, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{Clock, Reporter, clock, line, meter::Meter, opening, title};
use crate::{
    report::{
        Look, Settings,
        settings::terminal_width,
        text::{Tone, hang},
    },
    run::events::RunEvent,
    units::elapsed,
};

/// A step may say nothing for minutes; its time goes on meanwhile.
const TICK: Duration = Duration::from_secs(1);
/// An agent may report a thousand times a second; nobody reads that.
const DRAW: Duration = Duration::from_millis(100);

/// Columns of the terminal now: it can be made narrower during a run.
type Width = Arc<dyn Fn() -> usize + Send + Sync>;

/// Draws events on the terminal, on stderr.
pub struct Live {
    screen: MultiProgress,
    look: Look,
    verbose: bool,
    width: Width,
    clock: Clock,
    active: Option<Active>,
}

/// The line of the step that runs.
struct Active {
    bar: ProgressBar,
    view: Arc<Mutex<View>>,
    step: usize,
    began: Duration,
    drawn: Duration,
}

/// What the line is drawn from, at each tick too.
struct View {
    number: usize,
    title: String,
    undo: bool,
    meter: Meter,
}

/// A view that another thread left in the middle of a change is still good enough to draw.
fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Live {
    /// Draws on stderr, which must be a terminal.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let width = Arc::new(|| terminal_width(io::stderr()));
        let target = ProgressDrawTarget::stderr();
        Self::on(
            target,
            settings.stderr,
            settings.verbose > 0,
            width,
            clock(),
        )
    }

    pub(in crate::report) fn on(
        target: ProgressDrawTarget,
        look: Look,
        verbose: bool,
        width: Width,
        clock: Clock,
    ) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        Self {
            screen,
            look,
            verbose,
            width,
            clock,
            active: None,
        }
    }

    /// A text that stays.
    fn print(&self, text: &str) {
        // A terminal that went away must not stop the run.
        let _ = self.screen.println(text.trim_end_matches('\n'));
    }

    fn paragraph(&self, first: &str, columns: usize, text: &str) {
        let mut out = String::new();
        hang(&mut out, first, columns, text, self.look.width);
        self.print(&out);
    }

    fn begin(&mut self, plan: &Plan, step: usize, undo: bool) {
        self.end();
        let began = (self.clock)();
        let number = step.saturating_add(1);
        let view = View {
            number,
            title: title(plan, step),
            undo,
            meter: Meter::default(),
        };
        let view = Arc::new(Mutex::new(view));
        let next = if undo {
            step.checked_sub(1)
        } else {
            step.checked_add(1)
        };
        let next = next
            .filter(|next| *next < plan.steps.len())
            .map(|next| (next.saturating_add(1), title(plan, next)));
        let bar = self.screen.add(ProgressBar::new_spinner());
        if let Some(style) = self.style(&view, next, began) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        bar.force_draw();
        self.active = Some(Active {
            bar,
            view,
            step,
            began,
            drawn: began,
        });
    }

    /// Lines that are made when they are drawn, for the width and the time of that moment.
    fn style(
        &self,
        view: &Arc<Mutex<View>>,
        next: Option<(usize, String)>,
        began: Duration,
    ) -> Option<ProgressStyle> {
        let (view, clock, look) = (view.clone(), self.clock.clone(), self.look);
        let width = self.width.clone();
        let now = move || Look {
            width: width().max(40),
            ..look
        };
        let running = {
            let now = now.clone();
            move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let spent = millis(clock().saturating_sub(began));
                let view = lock(&view);
                let View {
                    number,
                    title,
                    undo,
                    meter,
                } = &*view;
                let _ = out.write_str(&line::running(*number, title, *undo, meter, spent, now()));
            }
        };
        let template = if next.is_some() {
            "{running}\n{next}"
        } else {
            "{running}"
        };
        let style = ProgressStyle::with_template(template)
            .ok()?
            .with_key("running", running);
        let Some((number, title)) = next else {
            return Some(style);
        };
        Some(style.with_key(
            "next",
            move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = out.write_str(&line::next(number, &title, now()));
            },
        ))
    }

    fn progress(&mut self, plan: &Plan, step: usize, undo: bool, progress: &Progress) {
        // A view that joins in the middle has not seen the step begin.
        if self
            .active
            .as_ref()
            .is_none_or(|active| active.step != step)
        {
            self.begin(plan, step, undo);
        }
        let now = (self.clock)();
        let Some(active) = &mut self.active else {
            return;
        };
        lock(&active.view).meter.push(now, progress);
        if now.saturating_sub(active.drawn) >= DRAW {
            active.drawn = now;
            active.bar.force_draw();
        }
    }

    /// Milliseconds since the running step began, as this view saw it.
    fn spent(&self) -> u64 {
        let active = self.active.as_ref();
        active.map_or(0, |active| {
            millis((self.clock)().saturating_sub(active.began))
        })
    }

    fn end(&mut self) {
        if let Some(active) = self.active.take() {
            active.bar.finish_and_clear();
            self.screen.remove(&active.bar);
        }
    }
}

impl Reporter for Live {
    fn event(&mut self, plan: &Plan, event: &RunEvent) {
        self.look.width = (self.width)().max(40);
        match event {
            RunEvent::Started { run, resumed, .. } => {
                self.paragraph("", 0, &opening(plan, run, *resumed));
            }
            RunEvent::Intended { step, undo, .. } => self.begin(plan, *step, *undo),
            RunEvent::Progress {
                step,
                progress,
                undo,
            } => {
                self.progress(plan, *step, *undo, progress);
            }
            RunEvent::Note { text, .. } => {
                if self.verbose {
                    self.paragraph("       ", 7, text);
                }
            }
            RunEvent::Reconnecting { why, .. } => self.paragraph(
                "       ",
                7,
                &format!("connecting again, the step goes on meanwhile ({why})"),
            ),
            RunEvent::Finished {
                step,
                outcome,
                undo,
            } => {
                self.end();
                let name = title(plan, *step);
                self.print(&line::finished(
                    step.saturating_add(1),
                    &name,
                    outcome,
                    *undo,
                    self.look,
                ));
            }
            RunEvent::Failed {
                step,
                failure,
                undo,
            } => {
                let spent = self.spent();
                self.end();
                let name = title(plan, *step);
                self.print(&line::failed(
                    step + 1,
                    &name,
                    failure,
                    *undo,
                    spent,
                    self.look,
                ));
            }
            RunEvent::RollingBack { why } => {
                self.end();
                let words = "Rolling back";
                let text = match why {
                    Some(why) => format!("{words}: {}", why.message),
                    None => format!("{words}, as asked"),
                };
                let mut out = String::new();
                hang(&mut out, "", 0, &text, self.look.width);
                self.print(&out.replacen(words, &self.look.paint(Tone::Careful, words), 1));
            }
            RunEvent::DowntimeStarted => {
                self.print(&format!(
                    "       {}",
                    self.look.paint(Tone::Aside, "downtime starts")
                ));
            }
            RunEvent::DowntimeEnded { millis } => {
                let words = self.look.paint(Tone::Aside, "downtime ends");
                self.print(&format!("       {words}: {}", elapsed(*millis)));
            }
            // The summary says the rest.
            RunEvent::Ended { .. } | RunEvent::DeclaredFinished => self.end(),
        }
    }
}
