//! What a step is given beside its own parameters: its ledger, a way to report, and the flag that
//! asks it to stop. A step has no other way to reach the world than this and its surroundings.

use std::sync::{Arc, Mutex, PoisonError};

use ferry_proto::{
    Secret,
    v1::{Progress, StepEvent, step_event},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    error::StepError,
    ledger::{StepLedger, now_ms, timestamp},
    state_dir::StateDir,
    surroundings::Surroundings,
    tree::CancelFlag,
};

/// The events of one running step: the kept ones, and the newest progress.
#[derive(Debug)]
pub struct EventLog {
    inner: Mutex<Events>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Events {
    kept: Vec<StepEvent>,
    progress: Option<StepEvent>,
    version: u64,
    closed: bool,
}

/// What a reader of an [`EventLog`] finds.
#[derive(Debug, Default)]
pub struct Batch {
    /// Kept events from the wanted index on.
    pub kept: Vec<StepEvent>,
    /// The newest progress, when it is newer than what was seen.
    pub progress: Option<StepEvent>,
    /// No event will follow.
    pub closed: bool,
    /// Pass this to the next read.
    pub version: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl EventLog {
    /// Adds an event that readers must see.
    pub fn keep(&self, kind: step_event::Kind) {
        self.update(|events| {
            let index = events.kept.len() as u64 + 1;
            let time = Some(timestamp(now_ms()));
            events.kept.push(StepEvent {
                index,
                time,
                kind: Some(kind),
            });
            events.progress = None;
        });
    }

    /// Puts newer progress in the place of older.
    pub fn progress(&self, progress: Progress) {
        self.update(|events| {
            let time = Some(timestamp(now_ms()));
            let kind = Some(step_event::Kind::Progress(progress));
            events.progress = Some(StepEvent {
                index: 0,
                time,
                kind,
            });
        });
    }

    /// Says that no event will follow.
    pub fn close(&self) {
        self.update(|events| events.closed = true);
    }

    /// What came since index `from` (1 is the first) and version `seen`.
    pub fn read(&self, from: u64, seen: u64) -> Batch {
        let events = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        Batch {
            kept: events.kept.iter().skip(skip).cloned().collect(),
            progress: if events.version > seen {
                events.progress.clone()
            } else {
                None
            },
            closed: events.closed,
            version: events.version,
        }
    }

    /// Wakes when something came.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn update(&self, change: impl FnOnce(&mut Events)) {
        let version = {
            let mut events = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut events);
            events.version += 1;
            events.version
        };
        self.changed.send_replace(version);
    }
}

/// Asks a step to stop, from async code and from threads.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    /// For async code.
    pub token: CancellationToken,
    /// For threads that walk a tree.
    pub flag: CancelFlag,
}

impl Cancel {
    /// Asks.
    pub fn cancel(&self) {
        self.flag.cancel();
        self.token.cancel();
    }
}

/// What a step is given.
#[derive(Debug)]
pub struct Context {
    /// The run it belongs to.
    pub run: String,
    /// Its id in the plan.
    pub step: String,
    /// What the agent has around it.
    pub surroundings: Arc<Surroundings>,
    /// The folder of the run in the state folder.
    pub run_dir: StateDir,
    /// Asks it to stop.
    pub cancel: Cancel,
    /// A key to try, for the steps that do. It is held here for the length of the step, and written down nowhere.
    pub api_key: Option<Secret>,
    /// For the undo that restores the data: the operator takes the copy as it is.
    pub accept_damaged_copy: bool,
    /// For the undo that gives up the copy of the data: it stays.
    pub keep_copy: bool,
    /// For the undo that compares the data with its copy: somebody may have written to it, or has removed a part.
    pub data_in_doubt: bool,
    pub(crate) events: Arc<EventLog>,
    pub(crate) ledger: Mutex<StepLedger>,
}

impl Context {
    /// Reports how far the step is. Cheap; the newest wins.
    pub fn progress(&self, done: u64, total: u64, unit: &str, current: &str) {
        let (unit, current) = (unit.to_owned(), current.to_owned());
        self.events.progress(Progress {
            done,
            total,
            unit,
            current,
        });
    }

    /// Says a sentence that is kept.
    pub fn note(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(run = %self.run, step = %self.step, "{text}");
        self.events.keep(step_event::Kind::Note(text));
    }

    /// Writes what undo will need, before the act it describes. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; the act must not follow then.
    pub fn keep<T: Serialize>(&self, value: &T) -> Result<(), StepError> {
        let value = serde_json::to_value(value)
            .map_err(|e| StepError::new("ledger", format!("a record cannot be written: {e}")))?;
        self.ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keep(value)
    }

    /// What was kept first, by whichever attempt: the state before the step.
    ///
    /// # Errors
    /// When it is there and is not of this type.
    pub fn first_kept<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = ledger.kept().first() else {
            return Ok(None);
        };
        serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|e| {
                StepError::new(
                    "ledger-damaged",
                    format!(
                        "the ledger of step `{}` keeps something else: {e}",
                        self.step
                    ),
                )
            })
    }

    /// Stops here when the step was asked to.
    ///
    /// # Errors
    /// With the code `cancelled`.
    pub fn check_cancelled(&self) -> Result<(), StepError> {
        if self.cancel.token.is_cancelled() {
            Err(StepError::cancelled())
        } else {
            Ok(())
        }
    }
}
