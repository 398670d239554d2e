//! The baseline: what the server answered before the stop, and the proof that it answers it again.
//! A ready page proves nothing (facts/pmm.md 3.2); this is what success is measured by.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use tokio::time::{Instant, sleep};

use super::own_key;
use crate::{
    context::Context,
    error::StepError,
    ledger::now_ms,
    server::{
        baseline::{Access, Baseline, CompareMode, Difference, Severity, capture, compare},
        supervisor::Supervisor,
    },
    steps::{Work, count, done, done_with},
    surroundings::Container,
};

/// The baseline's file in the run's folder. It lies on the server's own volume: a server on another
/// volume does not even have it.
pub(in crate::steps) const FILE: &str = "baseline.json";
const POLL: Duration = Duration::from_secs(1);
/// What a server gets to tell what it has: the engine, or the host, may have started it again a moment ago.
const CAPTURE_PATIENCE: Duration = Duration::from_secs(120);
/// What agents and targets get to come back in a rollback; upstream's own tests wait as long
/// (facts/pmm.md 2.3).
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(300);

/// A baseline older than this is met again in a rollback after days only.
const FRESH_SECONDS: i64 = 12 * 3600;

/// What time itself takes away or changes: old samples leave with their retention, clients come and
/// go. In a rollback after days this is told and proves nothing.
fn fades(difference: &Difference) -> bool {
    let code = difference.code.as_str();
    ["history", "qan-", "up-", "connected"]
        .iter()
        .any(|faded| code.starts_with(faded))
}

/// What a copy without clients cannot show, and what a copy of running databases may lack at its newest end. It is told
/// and fails nothing.
fn out_of_reach(difference: &Difference) -> bool {
    let parts = [
        "targets that are up",
        "history of metrics",
        "Query Analytics",
        "the report of Query Analytics",
        "the table of Query Analytics",
    ];
    fades(difference) || parts.contains(&difference.what.as_str())
}

/// What clients show that still call the machine that the server came from. All else was moved, and must be here.
fn of_clients(difference: &Difference) -> bool {
    let code = difference.code.as_str();
    let faded = ["up-", "connected"].iter().any(|it| code.starts_with(it));
    faded || difference.what == "targets that are up"
}

/// What is left out of the comparison where clients have yet to learn the address.
const CLIENTS_LEFT_OUT: [&str; 1] = [
    "not compared: targets that are up and pmm-agents that are connected: clients still call the old machine",
];

/// What is told and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excused {
    /// Nothing, or after days what fades.
    Nothing,
    /// What a copy without clients cannot show.
    OutOfReach,
    /// What clients show that have not followed yet.
    OfClients,
}

impl Excused {
    fn covers(self, difference: &Difference) -> bool {
        match self {
            Self::Nothing => false,
            Self::OutOfReach => out_of_reach(difference),
            Self::OfClients => of_clients(difference),
        }
    }

    /// Whether it is one of many of which a single sentence says all: each client by itself would drown the rest.
    fn sums_up(self, difference: &Difference) -> bool {
        self == Self::OfClients && of_clients(difference)
    }

    /// The sentences for the report.
    fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::OutOfReach => &LEFT_OUT,
            Self::OfClients => &CLIENTS_LEFT_OUT,
        }
    }
}

/// What is left out of the comparison in a rehearsal, for the report.
const LEFT_OUT: [&str; 2] = [
    "not compared: targets that are up and pmm-agents that are connected: no client reaches the copy",
    "not required: the newest metrics and queries: ClickHouse and VictoriaMetrics were copied while they wrote",
];

pub(in crate::steps) struct CaptureBaseline;

pub(in crate::steps) struct CompareBaseline(pub(in crate::steps) v1::CompareBaseline);

#[async_trait]
impl Work for CaptureBaseline {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let earlier = read(cx)?;
        let baseline = match &earlier {
            // An attempt that was cut off had written it already; the first one counts.
            Some(earlier) => earlier.clone(),
            None => ask_until_whole(cx).await?,
        };
        let own_key = own_key::before(cx).await?;
        let summary = describe(&baseline) + &own_key.summary;
        if earlier.is_some() {
            return Ok(done_with(summary, own_key.warnings));
        }
        let json = serde_json::to_vec_pretty(&baseline)
            .map_err(|e| StepError::new("baseline-json", e.to_string()))?;
        cx.run_dir.replace(FILE, &json)?;
        cx.keep(&true)?;
        let warnings = baseline
            .unobserved
            .iter()
            .map(|it| format!("not observed, so not compared: {}: {}", it.what, it.why))
            .chain(own_key.warnings)
            .collect();
        Ok(done_with(summary, warnings))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        stored(cx).map(drop)
    }

    /// The last step of a rollback proves that the server is what it was.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if cx.first_kept::<bool>()?.is_none() {
            return Ok(done("nothing was captured"));
        }
        let before = stored(cx)?;
        let (patience, mode) = (ROLLBACK_PATIENCE, CompareMode::SameMajor);
        let warnings = find_again(cx, &before, patience, mode, Excused::Nothing).await?;
        Ok(done_with(
            format!("found again: {}", describe(&before)),
            warnings,
        ))
    }
}

#[async_trait]
impl Work for CompareBaseline {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let before = stored(cx)?;
        let patience = Duration::from_secs(u64::from(self.0.timeout_seconds));
        let mode = if self.0.same_major {
            CompareMode::SameMajor
        } else {
            CompareMode::AcrossMajors
        };
        let excused = match (self.0.isolated, self.0.moved) {
            (true, _) => Excused::OutOfReach,
            (false, true) => Excused::OfClients,
            (false, false) => Excused::Nothing,
        };
        let mut warnings = find_again(cx, &before, patience, mode, excused).await?;
        let own_key = own_key::after(cx).await?;
        warnings.extend(own_key.warnings);
        for &sentence in excused.left_out() {
            cx.note(sentence);
            warnings.push(sentence.to_owned());
        }
        let summary = format!("found again: {}{}", describe(&before), own_key.summary);
        Ok(done_with(summary, warnings))
    }

    /// Finding it again was the verification.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("nothing to take back"))
    }
}

async fn ask(container: &Container, before: Option<&Baseline>) -> Baseline {
    let now = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
    let postgres = super::postgres(container).await;
    let access = Access {
        metrics_since: store_start(container).await,
        ..Access::default()
    };
    let mut baseline = capture(&access, postgres.as_ref().ok(), before, now).await;
    if let Err(error) = postgres {
        // That there is none is what it looks like; why it was not found is what helps: a supervisor that hangs, say.
        for it in &mut baseline.unobserved {
            if it.what == "databases" {
                it.why = error.to_string();
            }
        }
    }
    baseline
}

/// When the store of metrics was started, in seconds since 1970; 0 where it is no program of this server's. That a supervisor does not
/// answer is told by whoever else asks it.
async fn store_start(container: &Container) -> i64 {
    let Ok(supervisor) = Supervisor::at(&container.root) else {
        return 0;
    };
    let processes = supervisor.processes().await.unwrap_or_default();
    let store = processes.iter().find(|it| it.is_named("victoriametrics"));
    store.map_or(0, |it| it.started)
}

/// Asks until the server tells what success is measured by, or the time is over.
async fn ask_until_whole(cx: &Context) -> Result<Baseline, StepError> {
    let (started, total) = (Instant::now(), CAPTURE_PATIENCE.as_secs());
    loop {
        let baseline = ask(cx.surroundings.container()?, None).await;
        let parts = [
            ("nodes", baseline.nodes.is_none()),
            ("services", baseline.services.is_none()),
        ];
        let missing = parts.iter().filter(|(_, is_missing)| *is_missing);
        let missing: Vec<&str> = missing.map(|(part, _)| *part).collect();
        let missing = missing.join(" and ");
        if missing.is_empty() {
            return Ok(baseline);
        }
        if started.elapsed() >= CAPTURE_PATIENCE {
            let why = baseline.unobserved.iter();
            return Err(StepError::new(
                "baseline-incomplete",
                format!("for {total} s the server did not tell its {missing}"),
            )
            .details(why.map(|it| format!("{}: {}", it.what, it.why)))
            .hint("success could not be measured: see that PMM 2 is healthy, then try again"));
        }
        let seconds = started.elapsed().as_secs();
        cx.progress(seconds, total, "seconds", &format!("its {missing}"));
        cx.check_cancelled()?;
        sleep(POLL).await;
    }
}

/// Asks until nothing is missing any more, or the time is over. What differs but is no loss comes
/// back as warnings.
async fn find_again(
    cx: &Context,
    before: &Baseline,
    patience: Duration,
    mode: CompareMode,
    excused: Excused,
) -> Result<Vec<String>, StepError> {
    let container = cx.surroundings.container()?;
    let (started, total) = (Instant::now(), patience.as_secs());
    loop {
        let after = ask(container, Some(before)).await;
        let old = after.taken_at.saturating_sub(before.taken_at) > FRESH_SECONDS;
        let counts = |it: &Difference| {
            let is_excused = (old && fades(it)) || excused.covers(it);
            it.severity == Severity::Failure && !is_excused
        };
        let (failures, warnings): (Vec<_>, Vec<_>) =
            compare(before, &after, mode).into_iter().partition(counts);
        let Some(first) = failures.first() else {
            let told = warnings.iter().filter(|it| !excused.sums_up(it));
            return Ok(told.map(sentence).collect());
        };
        if started.elapsed() >= patience {
            return Err(StepError::new(
                "baseline-differs",
                format!(
                    "after {total} s the server still lacks what it had: {}",
                    count(failures.len() as u64, "difference")
                ),
            )
            .details(failures.iter().map(sentence))
            .details(
                after
                    .unobserved
                    .iter()
                    .map(|it| format!("{}: {}", it.what, it.why)),
            ));
        }
        cx.progress(
            started.elapsed().as_secs(),
            total,
            "seconds",
            &sentence(first),
        );
        cx.check_cancelled()?;
        sleep(POLL).await;
    }
}

fn sentence(difference: &Difference) -> String {
    format!(
        "{}: was {}, is {}",
        difference.what, difference.before, difference.after
    )
}

fn read(cx: &Context) -> Result<Option<Baseline>, StepError> {
    let Some(json) = cx.run_dir.read(FILE)? else {
        return Ok(None);
    };
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|e| StepError::new("baseline-damaged", format!("the baseline is damaged: {e}")))
}

fn stored(cx: &Context) -> Result<Baseline, StepError> {
    read(cx)?.ok_or_else(|| {
        StepError::new(
            "baseline-missing",
            format!(
                "there is no baseline of run {} on this server's volume",
                cx.run
            ),
        )
        .hint("the server runs on another volume than before: look at its mounts")
    })
}

fn describe(baseline: &Baseline) -> String {
    let mut parts = Vec::new();
    let mut add = |number: Option<u64>, noun: &str| {
        if let Some(number) = number {
            parts.push(count(number, noun));
        }
    };
    let length = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    add(baseline.nodes.as_ref().map(|it| length(it.len())), "node");
    add(
        baseline.services.as_ref().map(|it| length(it.len())),
        "service",
    );
    add(
        baseline
            .agents
            .as_ref()
            .map(|it| it.by_kind.values().map(|kind| kind.total).sum()),
        "agent",
    );
    add(
        baseline
            .up
            .as_ref()
            .map(|it| it.iter().map(|up| up.count).sum()),
        "target up",
    );
    add(
        baseline.api_keys.as_ref().map(|it| length(it.len())),
        "API key",
    );
    let history = baseline.history.as_ref();
    let oldest = history.and_then(|points| points.iter().map(|point| point.at).min());
    if let Some(oldest) = oldest {
        let days = (baseline.taken_at - oldest).max(0) / 86_400;
        parts.push(format!(
            "history of {}",
            count(u64::try_from(days).unwrap_or(0), "day")
        ));
    }
    parts.join(", ").replace("target ups", "targets up")
}

/// Asks once more right before the stop: what people removed while the copy was made is no loss of
/// the crossing. Only an answer that is whole takes the place of the first one.
///
/// # Errors
/// When it cannot be written.
pub(super) async fn refresh(cx: &Context) -> Result<(), StepError> {
    let Some(first) = read(cx)? else {
        return Ok(());
    };
    let again = ask(cx.surroundings.container()?, None).await;
    let whole = again.nodes.is_some()
        && again.services.is_some()
        && again.unobserved.len() <= first.unobserved.len();
    if !whole {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(&again)
        .map_err(|e| StepError::new("baseline-json", e.to_string()))?;
    Ok(cx.run_dir.replace(FILE, &json)?)
}
