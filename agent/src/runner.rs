//! Runs one step: looks in the ledger, writes the intent, acts, verifies, writes the outcome.
//!
//! A step belongs to the agent, not to the call that asked for it: a lost connection never stops
//! it, and whoever asks again attaches to it or gets the outcome that was written down.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use ferry_proto::{
    Secret,
    v1::{Failure, LedgerEntry, Outcome, Started, Step, StepEvent, StepStatus, step_event::Kind},
};
use futures_util::FutureExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use crate::{
    context::{Cancel, Context, EventLog},
    error::StepError,
    ledger::Ledger,
    policy::Policy,
    steps,
    surroundings::Surroundings,
};

/// A step is to be taken back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undo {
    /// The controller's journal has an outcome of the step, so the ledger must know it too.
    pub has_outcome: bool,
    /// The copy is restored as it is, also where it is not what its manifest says.
    pub accept_damaged_copy: bool,
    /// The copy of the data is not given up.
    pub keep_copy: bool,
    /// Somebody may have written to the data meanwhile.
    pub data_in_doubt: bool,
}

/// The events of a step, as a reader gets them.
pub type EventStream = ReceiverStream<StepEvent>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    run: String,
    step: String,
}

#[derive(Debug, Clone)]
struct Active {
    undo: bool,
    events: Arc<EventLog>,
    cancel: Cancel,
}

/// What a step is: [`steps::of`], or a double of it where the way to the agent is tried, not the work.
#[derive(Clone)]
pub struct Works(Arc<WorkOf>);

type WorkOf = dyn Fn(&Step) -> Result<Box<dyn steps::Work>, StepError> + Send + Sync;

impl Default for Works {
    fn default() -> Self {
        Self::new(steps::of)
    }
}

impl Works {
    /// The work that `of` says.
    pub fn new(
        of: impl Fn(&Step) -> Result<Box<dyn steps::Work>, StepError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(of))
    }
}

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Works")
    }
}

/// Performs steps in these surroundings, one task a step.
#[derive(Debug)]
pub struct Runner {
    surroundings: Arc<Surroundings>,
    ledger: Ledger,
    works: Works,
    policy: Policy,
    active: Mutex<HashMap<Key, Active>>,
    /// Held from the look whether a step runs until it is among those that do. Two connections may
    /// ask for one step at once, the first of them lost already: the second must find it running,
    /// and not its ledger locked.
    starting: Mutex<()>,
}

impl Runner {
    /// A runner with its ledger.
    #[must_use]
    pub fn new(surroundings: Arc<Surroundings>, ledger: Ledger) -> Arc<Self> {
        Self::performing(surroundings, ledger, Works::default())
    }

    /// A runner of other work than this release's steps.
    #[must_use]
    pub fn performing(surroundings: Arc<Surroundings>, ledger: Ledger, works: Works) -> Arc<Self> {
        Self::bounded(surroundings, ledger, works, Policy::unbounded())
    }

    /// A runner that performs only what a policy allows.
    #[must_use]
    pub fn bounded(
        surroundings: Arc<Surroundings>,
        ledger: Ledger,
        works: Works,
        policy: Policy,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings,
            ledger,
            works,
            policy,
            active: Mutex::default(),
            starting: Mutex::default(),
        })
    }

    /// Where it runs.
    #[must_use]
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// What it may touch.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Performs a step, or takes it back; attaches when that is under way already.
    ///
    /// # Errors
    /// When the step is none of this agent's, or its ledger cannot be used.
    pub async fn start(
        self: &Arc<Self>,
        run: &str,
        step: &Step,
        attempt: u32,
        undo: Option<Undo>,
    ) -> Result<EventStream, StepError> {
        self.start_with(run, step, attempt, undo, None).await
    }

    /// As [`Runner::start`], with a key to try. Neither events nor ledger ever have it.
    ///
    /// # Errors
    /// As [`Runner::start`].
    pub async fn start_with(
        self: &Arc<Self>,
        run: &str,
        step: &Step,
        attempt: u32,
        undo: Option<Undo>,
        api_key: Option<Secret>,
    ) -> Result<EventStream, StepError> {
        check_names(run, &step.id)?;
        self.policy.check_step(&self.surroundings, step).await?;
        loop {
            let key = api_key.clone();
            let active = match self.start_now(run, step, attempt, undo, key)? {
                Begun::Events(events) => return Ok(events),
                Begun::Otherwise(active) => active,
            };
            // Undo while the step runs: it is asked to stop, and undone when it has.
            active.cancel.cancel();
            wait_closed(&active.events).await;
        }
    }

    fn start_now(
        self: &Arc<Self>,
        run: &str,
        step: &Step,
        attempt: u32,
        undo: Option<Undo>,
        api_key: Option<Secret>,
    ) -> Result<Begun, StepError> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let Undo {
            has_outcome,
            accept_damaged_copy,
            keep_copy,
            data_in_doubt,
        } = undo.unwrap_or_default();
        let undo = undo.is_some();
        let key = Key {
            run: run.to_owned(),
            step: step.id.clone(),
        };
        if let Some(active) = self.find(&key) {
            return Ok(if active.undo == undo {
                Begun::Events(follow(active.events, 1))
            } else {
                Begun::Otherwise(active)
            });
        }

        let work = (self.works.0)(step)?;
        let ledger = self.ledger.step(run, &step.id)?;
        let status = ledger.status();
        let settled = match status {
            StepStatus::Undone => undo,
            StepStatus::Planned => false,
            other => !undo && other.is_done(),
        };
        if settled {
            let outcome = ledger.outcome().cloned().unwrap_or_default();
            let end = Kind::Finished(outcome);
            return Ok(Begun::Events(settled_stream(attempt, undo, end)));
        }
        // The same try, asked for again because its answer was lost: only a new one is made anew. Where the engine was away it is asked for
        // again because the engine may be back.
        let failed = match status {
            StepStatus::Failed => !undo,
            StepStatus::UndoFailed => undo,
            _ => false,
        };
        if failed
            && let Some(failure) = ledger.failure_of(attempt)
            && !failure.is_engine_away()
        {
            let end = Kind::Failed(failure.clone());
            return Ok(Begun::Events(settled_stream(attempt, undo, end)));
        }
        if undo && has_outcome && status == StepStatus::Planned {
            return Err(StepError::new(
                "ledger-missing",
                format!(
                    "step `{}` of run {run} was performed, and this agent's ledger does not know it",
                    step.id
                ),
            )
            .hint(format!(
                "look for the folder `.ferry` on the server's volume and put it back, then `ferryctl resume {run}`; \
                 nothing was guessed, and the copy of the data is kept"
            )));
        }
        if undo && status == StepStatus::Planned {
            let outcome = Outcome {
                status: StepStatus::Undone.into(),
                summary: "was not begun".to_owned(),
                ..Outcome::default()
            };
            let end = Kind::Finished(outcome);
            return Ok(Begun::Events(settled_stream(attempt, undo, end)));
        }
        if !undo && status == StepStatus::Undone {
            // No run goes forward again where it was taken back.
            let what = format!("what step `{}` has left here", step.id);
            return Err(StepError::held_by_another_journal(run, &what));
        }
        if !undo && matches!(status, StepStatus::Undoing | StepStatus::UndoFailed) {
            return Err(StepError::new(
                "step-being-undone",
                format!(
                    "step `{}` of run {run} is being undone and cannot go on",
                    step.id
                ),
            )
            .hint(format!("`ferryctl rollback {run}`")));
        }

        let events = Arc::new(EventLog::default());
        let cancel = Cancel::default();
        let context = Context {
            run: run.to_owned(),
            step: step.id.clone(),
            surroundings: Arc::clone(&self.surroundings),
            run_dir: self.ledger.run_dir(run)?,
            cancel: cancel.clone(),
            api_key,
            accept_damaged_copy,
            keep_copy,
            data_in_doubt,
            events: Arc::clone(&events),
            ledger: Mutex::new(ledger),
        };
        let active = Active {
            undo,
            events: Arc::clone(&events),
            cancel,
        };
        self.table().insert(key.clone(), active);

        let runner = Arc::clone(self);
        let span = tracing::info_span!("step", run, step = %step.id, undo);
        tokio::spawn(
            async move {
                let end = perform(work, &context, attempt, undo).await;
                let log = Arc::clone(&context.events);
                // The step's lock goes before its readers hear of the end, so that undo can begin.
                drop(context);
                runner.table().remove(&key);
                log.keep(end);
                log.close();
            }
            .instrument(span),
        );
        Ok(Begun::Events(follow(events, 1)))
    }

    /// The kept events of a running step from an index on, and those to come.
    ///
    /// # Errors
    /// When it does not run.
    pub fn attach(&self, run: &str, step: &str, from: u64) -> Result<EventStream, StepError> {
        let key = Key {
            run: run.to_owned(),
            step: step.to_owned(),
        };
        match self.find(&key) {
            Some(active) => Ok(follow(active.events, from)),
            None => Err(StepError::new(
                "step-not-running",
                format!("step `{step}` of run {run} does not run at this agent"),
            )
            .hint("ask for the step again: what is done is answered from the ledger")),
        }
    }

    /// Asks a step to stop at the next safe place. True when it ran.
    pub fn cancel(&self, run: &str, step: &str) -> bool {
        let key = Key {
            run: run.to_owned(),
            step: step.to_owned(),
        };
        let active = self.find(&key);
        if let Some(active) = &active {
            active.cancel.cancel();
        }
        active.is_some()
    }

    /// What the ledger says.
    ///
    /// # Errors
    /// When a ledger cannot be read.
    pub fn list(&self, run: &str) -> Result<Vec<LedgerEntry>, StepError> {
        self.ledger.entries(run)
    }

    /// What a run has put down of the server before it was stopped.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(crate) fn before(&self, run: &str) -> Result<steps::Before, StepError> {
        steps::Before::find(run, |name| self.ledger.kept_file(run, name))
    }

    /// Waits until no step runs: for a shutdown that is asked for. Steps are told to stop.
    pub async fn drain(&self) {
        loop {
            let running: Vec<Active> = self.table().values().cloned().collect();
            if running.is_empty() {
                return;
            }
            for active in running {
                active.cancel.cancel();
                wait_closed(&active.events).await;
            }
        }
    }

    fn find(&self, key: &Key) -> Option<Active> {
        self.table().get(key).cloned()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the wish to start a step.
enum Begun {
    /// It runs, or is over: these are its events.
    Events(EventStream),
    /// The opposite of it runs.
    Otherwise(Active),
}

async fn perform(work: Box<dyn steps::Work>, cx: &Context, attempt: u32, undo: bool) -> Kind {
    let began = Instant::now();
    cx.events.keep(Kind::Started(Started { attempt, undo }));
    let result = AssertUnwindSafe(act(work.as_ref(), cx, attempt, undo))
        .catch_unwind()
        .await;
    let result = result.unwrap_or_else(|_| {
        Err(
            StepError::new("agent-bug", "the agent panicked in this step")
                .hint("`ferryctl rollback` the run, and report it with the agent's log"),
        )
    });
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let written = {
        let mut ledger = cx.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(outcome) => {
                let outcome = Outcome {
                    elapsed_ms,
                    ..outcome
                };
                ledger
                    .done(outcome.clone(), undo)
                    .map(|()| Kind::Finished(outcome))
            }
            Err(error) => {
                tracing::warn!(code = error.code(), "{error}");
                let failure = Failure::from(error);
                // A failure that cannot be written is still told; the step is run again later.
                if let Err(e) = ledger.failed(failure.clone(), undo) {
                    tracing::error!("the failure could not be written to the ledger: {e}");
                }
                Ok(Kind::Failed(failure))
            }
        }
    };
    written.unwrap_or_else(|error| Kind::Failed(error.into()))
}

async fn act(
    work: &dyn steps::Work,
    cx: &Context,
    attempt: u32,
    undo: bool,
) -> Result<Outcome, StepError> {
    cx.ledger
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .begin(attempt, undo)?;
    if undo {
        let outcome = work.undo(cx).await?;
        return Ok(Outcome {
            status: StepStatus::Undone.into(),
            ..outcome
        });
    }
    let outcome = work.apply(cx).await?;
    if outcome.status() != StepStatus::Skipped {
        work.verify(cx).await?;
    }
    Ok(outcome)
}

/// Names become file names: only what a plan can hold is let through.
fn check_names(run: &str, step: &str) -> Result<(), StepError> {
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if plain(run) && plain(step) {
        return Ok(());
    }
    Err(StepError::new(
        "bad-name",
        "the names of runs and steps have 1 to 64 of the characters a-z, 0-9 and -",
    ))
}

/// Sends the events of a log to a reader until the log is closed or the reader is gone.
fn follow(log: Arc<EventLog>, from: u64) -> EventStream {
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        let mut changed = log.subscribe();
        let (mut next, mut seen) = (from, 0);
        loop {
            changed.borrow_and_update();
            let batch = log.read(next, seen);
            seen = batch.version;
            for event in batch.kept.into_iter().chain(batch.progress) {
                next = next.max(event.index + 1);
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            if batch.closed || changed.changed().await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn wait_closed(log: &EventLog) {
    let mut changed = log.subscribe();
    while !log.read(u64::MAX, u64::MAX).closed {
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn settled_stream(attempt: u32, undo: bool, end: Kind) -> EventStream {
    let log = Arc::new(EventLog::default());
    log.keep(Kind::Started(Started { attempt, undo }));
    log.keep(end);
    log.close();
    follow(log, 1)
}

#[cfg(test)]
mod tests;
