//! The end of a run: what the server is now, what was found again, what is kept, what to do next.

use ferry_proto::v1::Failure;
use serde::Serialize;

use super::text::{Look, Tone, hang};
use crate::{run::events::RunState, units::elapsed};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// The server's own name.
    pub server: String,
    /// How it ended.
    pub state: RunState,
    /// The version before.
    pub from_version: String,
    /// The version after.
    pub to_version: String,
    /// How long the server did not serve, in milliseconds; absent when it was never stopped.
    pub downtime_ms: Option<u64>,
    /// The step it is held at, for example `9/14 transfer ownership`; empty when it is not held.
    pub held_at: String,
    /// The new volume that the data was copied to, or was to be; empty where the run moves none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub moved_to: String,
    /// What of the baseline was found again: `9 nodes`, `3 API keys`.
    pub found_again: Vec<String>,
    /// How it is proven that a rollback left everything as before: `612,408 entries compared`.
    pub proof: Vec<String>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What the run leaves behind, and may be freed later.
    pub kept: Vec<String>,
    /// Commands that may come next.
    pub next: Vec<String>,
    /// Why it is held or was rolled back.
    pub failure: Option<Failure>,
}

/// What may be done about a crossing that is done, by its command.
const WAYS: [(&str, &str); 3] = [
    ("ferryctl backup verify", "backup"),
    ("ferryctl rollback", "go back"),
    ("ferryctl finish", "finish"),
];

/// What stands at the end of `ferryctl apply`, `migrate`, `resume` and `rollback`.
#[must_use]
pub fn summary(summary: &RunSummary, look: Look) -> String {
    let mut out = String::new();
    let (word, tone, sentence) = headline(summary);
    let down = match summary.downtime_ms {
        Some(millis) => format!("Downtime {}.", elapsed(millis)),
        None => "The server was never stopped.".to_owned(),
    };
    // The first word is coloured after the wrapping, so that it does not take part in it.
    let mut first = String::new();
    hang(
        &mut first,
        "",
        0,
        &format!("{word}: {sentence}. {down}"),
        look.width,
    );
    out.push_str(&first.replacen(word, &look.paint(tone, word), 1));
    for (label, items) in [
        ("found again", &summary.found_again),
        ("warning", &summary.warnings),
        ("kept", &summary.kept),
    ] {
        if !items.is_empty() {
            hang(
                &mut out,
                &format!("  {label:<11}  "),
                15,
                &items.join(", "),
                look.width,
            );
        }
    }
    if summary.state == RunState::Done {
        // A person decides among these days later: each says what it is for.
        for command in &summary.next {
            let what = WAYS.iter().find(|(verb, _)| command.starts_with(verb));
            let label = format!("  {:<11}  ", what.map_or("next", |(_, what)| what));
            hang(&mut out, &label, 15, command, look.width);
        }
    } else if !summary.next.is_empty() {
        let label = format!("  {:<11}  ", "next");
        hang(&mut out, &label, 15, &summary.next.join(" · "), look.width);
    }
    if let Some(failure) = &summary.failure {
        hang(&mut out, "why:  ", 6, &failure.message, look.width);
        for detail in &failure.details {
            hang(&mut out, "      ", 6, detail, look.width);
        }
        if !failure.hint.is_empty() {
            hang(&mut out, "hint: ", 6, &failure.hint, look.width);
        }
    }
    out
}

fn headline(summary: &RunSummary) -> (&'static str, Tone, String) {
    let RunSummary {
        server,
        from_version,
        to_version,
        held_at,
        moved_to,
        ..
    } = summary;
    match summary.state {
        RunState::Done | RunState::Finished => {
            let on = match moved_to.as_str() {
                "" => String::new(),
                volume => format!(", its data on volume {volume}"),
            };
            (
                "Done",
                Tone::Good,
                format!("{server} is PMM {to_version}{on}"),
            )
        }
        RunState::RolledBack => {
            let proof = match summary.proof.as_slice() {
                [] => String::new(),
                proof => format!(": {}", proof.join(", ")),
            };
            let as_before = format!("{server} is PMM {from_version} again, as before{proof}");
            ("Rolled back", Tone::Careful, as_before)
        }
        RunState::Held if held_at.is_empty() => (
            "Held",
            Tone::Bad,
            format!("{server} is between {from_version} and {to_version}"),
        ),
        RunState::Held => (
            "Held",
            Tone::Bad,
            format!("{server} stands at step {held_at}"),
        ),
        RunState::Running => (
            "Interrupted",
            Tone::Careful,
            format!("the run on {server} can be resumed"),
        ),
        RunState::RollingBack => (
            "Interrupted",
            Tone::Careful,
            format!("the rollback of {server} can be resumed"),
        ),
    }
}
