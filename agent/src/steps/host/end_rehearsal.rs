//! Ends a rehearsal: reads what the target complained of, and discards all that was made for it. What it complained of
//! and came up with all the same is what a person mends before the crossing.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    engine::streams::LogRange,
    error::StepError,
    places::{self, rehearsal_name},
    steps::{Work, count, done_with},
    surroundings::Host,
};

pub(in crate::steps) struct EndRehearsal(pub(in crate::steps) v1::EndRehearsal);

/// How many different complaints are told.
const MOST: usize = 20;
/// How much of one, in characters.
const LONGEST: usize = 200;

#[async_trait]
impl Work for EndRehearsal {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let (server, run) = (&self.0.container, &cx.run);
        let name = rehearsal_name(server, run);
        // A second attempt finds the container gone: what the first one read was kept before it was.
        let said = match cx.first_kept::<Vec<String>>()? {
            Some(said) => said,
            None => {
                let said = complaints(host, &name).await;
                cx.keep(&said)?;
                said
            }
        };
        let complained = count(said.len() as u64, "complaint");
        let mut outcome;
        if self.0.keep {
            places::retire_rehearsal(host, run).await?;
            outcome = done_with(format!("{complained} in its log; it is kept"), said);
            outcome.values.insert("kept".to_owned(), name);
        } else {
            places::discard(host, server, run, true).await?;
            outcome = done_with(format!("{complained} in its log; all is discarded"), said);
        }
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let engine = &cx.surroundings.host()?.engine;
        let name = rehearsal_name(&self.0.container, &cx.run);
        let left = engine.find_container(&name).await?.is_some()
            || engine.find_network(&name).await?.is_some()
            || engine.find_volume(&name).await?.is_some();
        if left == self.0.keep {
            return Ok(());
        }
        let state = if left { "still there" } else { "gone" };
        Err(StepError::new(
            "rehearsal-left",
            format!("what the rehearsal made, `{name}`, is {state}"),
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        places::discard(host, &self.0.container, &cx.run, true).await?;
        Ok(done_with("all is discarded", Vec::new()))
    }
}

/// What PMM 3 says when it ignores or refuses something.
///
/// Sources: facts/pmm.md 1.4, step 1 (`FATAL: /srv is not writable`), 7 (`nginx -t`), 8 (variables: old names are
/// ignored with a warning only); supervisord's own words for a program that it gave up on.
const COMPLAINTS: [&str; 8] = [
    "unknown environment variable",
    "env variables are not supported",
    "fatal",
    "permission denied",
    "not writable",
    "[emerg]",
    "gave up:",
    "operation not permitted",
];
/// And what it says in the same words when nothing is wrong.
const HARMLESS: [&str; 2] = ["not fatal", "non-fatal"];

/// The lines of a container's log that are complaints, each kind of them once.
pub(super) async fn complaints(host: &Host, container: &str) -> Vec<String> {
    match host.engine.logs(container, LogRange::default()).await {
        Ok(log) => search(&log),
        Err(error) => vec![format!("the log of `{container}` cannot be read: {error}")],
    }
}

fn search(log: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in log.lines() {
        let low = line.to_lowercase();
        let is_complaint = COMPLAINTS.iter().any(|word| low.contains(word))
            && !HARMLESS.iter().any(|word| low.contains(word));
        if !is_complaint {
            continue;
        }
        let told = told(line, &low);
        if !found.contains(&told) {
            found.push(told);
        }
    }
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if more > 0 {
        found.push(format!("and {} more", count(more as u64, "complaint")));
    }
    found
}

/// A line as it may be told: cut, and without the value of a variable, which may be a secret.
fn told(line: &str, low: &str) -> String {
    let line = line.trim();
    // The place is one of the lower-case text: where case changes lengths, nothing is told but the kind.
    match low.trim().find("variable") {
        None => cut(line),
        Some(at) => match line.split_at_checked(at) {
            Some((head, tail)) => match tail.split_once('=') {
                Some((name, _)) => cut(&format!("{head}{name}=…")),
                None => cut(line),
            },
            None => "a variable is not understood".to_owned(),
        },
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found_once_and_tell_no_value() {
        let log = "starting\n\
            time=\"x\" level=warning msg=\"unknown environment variable \\\"DATA_TOKEN=secret\\\"\"\n\
            WARN: unknown environment variable SMTP_PASSWORD=secret.\n\
            FATAL: /srv is not writable for pmm user.\n\
            FATAL: /srv is not writable for pmm user.\n\
            this is not fatal\n\
            2026 INFO gave up: grafana entered FATAL state\n\
            mkdir: cannot create directory: Permission denied\n";
        let found = search(log);
        assert!(
            !found.iter().any(|line| line.contains("secret")),
            "{found:?}"
        );
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("DATA_TOKEN"), "{found:?}");
        assert!(found[1].contains("SMTP_PASSWORD"), "{found:?}");
        assert_eq!(found[2], "FATAL: /srv is not writable for pmm user.");
    }

    #[test]
    fn a_flood_is_counted() {
        let log: String = (0..50).map(|n| format!("fatal {n}\n")).collect();
        let found = search(&log);
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found[MOST], "and 30 complaints more");
        assert!(search("all is well\n").is_empty());
    }
}
