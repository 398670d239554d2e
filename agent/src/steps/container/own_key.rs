//! The operator's own API key: tried on the old server and on the new one, as its owner would use it. That a key is found again
//! in the databases is much; that it opens the door is all (facts/pmm.md 4.4).
//!
//! The key comes beside a step and is in no plan, journal, ledger or event; what is kept is that there was one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    error::StepError,
    server::{
        baseline::Access,
        pmm::{KeyAnswer, Pmm},
    },
};

/// In the run's folder once a key has opened the old server: the new one must not be called proven without it.
pub(in crate::steps) const TRIED: &str = "api-key-tried";
/// What the summary of a step says of a key that opens.
const OPENS: &str = "your API key opens it";
const POLL: Duration = Duration::from_secs(1);
/// A server that found all else again needs no longer for its keys; each second more delays the way back.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a trial, for a step's outcome.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Goes behind the summary; empty without a key.
    pub(super) summary: String,
    /// What somebody should look at.
    pub(super) warnings: Vec<String>,
}

/// On the old server: a key that does not open it now is of no use as a proof.
///
/// # Errors
/// It does not open, or could not be tried.
pub(super) async fn before(cx: &Context) -> Result<Told, StepError> {
    if cx.api_key.is_none() {
        return Ok(Told::default());
    }
    let told = told(ask(cx).await?)?;
    if !told.summary.is_empty() {
        cx.run_dir.replace(TRIED, b"")?;
    }
    Ok(told)
}

/// On the new server, which may need a moment for its keys.
///
/// # Errors
/// A key that opened the old server does not open this one.
pub(super) async fn after(cx: &Context) -> Result<Told, StepError> {
    let missing = match (cx.run_dir.read(TRIED)?.is_some(), cx.api_key.is_some()) {
        (true, true) => None,
        (false, false) => return Ok(Told::default()),
        (true, false) => Some(
            "the API key that opened the old server was not supplied again, and so not tried on this one",
        ),
        (false, true) => Some(
            "the API key that was supplied had not opened the old server, and so was not tried on this one",
        ),
    };
    if let Some(warning) = missing {
        return Ok(Told {
            warnings: vec![warning.to_owned()],
            ..Told::default()
        });
    }
    let started = Instant::now();
    loop {
        match ask(cx).await.and_then(told) {
            Err(_) if started.elapsed() < PATIENCE => {}
            end => return end,
        }
        cx.check_cancelled()?;
        sleep(POLL).await;
    }
}

async fn ask(cx: &Context) -> Result<KeyAnswer, StepError> {
    let untried = |error| {
        StepError::new(
            "api-key-untried",
            format!("the API key that was supplied could not be tried: {error}"),
        )
    };
    let Some(key) = &cx.api_key else {
        return Err(untried("it is not there".to_owned()));
    };
    let pmm = Pmm::detect(&Access::default().ports, None).await;
    match pmm {
        Ok(pmm) => pmm.try_key(key).await.map_err(|e| untried(e.to_string())),
        Err(error) => Err(untried(error.to_string())),
    }
}

fn told(answer: KeyAnswer) -> Result<Told, StepError> {
    match answer {
        KeyAnswer::Accepted => Ok(Told {
            summary: format!(", {OPENS}"),
            warnings: Vec::new(),
        }),
        KeyAnswer::EverybodyIsLetIn => Ok(Told {
            warnings: vec![format!(
                "the API key that was supplied proves nothing: {answer}"
            )],
            ..Told::default()
        }),
        KeyAnswer::Refused(_) => Err(StepError::new(
            "api-key-refused",
            format!("the API key that was supplied does not open the server: {answer}"),
        )
        .hint("see that it is a key of this server, and not expired")),
    }
}
