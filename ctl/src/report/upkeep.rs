//! The end of a run about a backup or a crossing: what was done, what it means, what comes next.

use ferry_proto::v1::Failure;
use serde::Serialize;

use super::text::{Look, Tone, hang};
use crate::{recipes::upkeep as recipe, run::events::RunState};

/// How such a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upkeep {
    /// Its name.
    pub run: String,
    /// The crossing that it was about.
    pub subject: String,
    /// `verify-backup`, `restore-backup`, `prune-backup` or `finish-crossing`.
    pub recipe: String,
    /// The server's own name.
    pub server: String,
    /// Where the backup is, for example `volume pmm-data-ferry-7f3a9c21`; empty when it is gone.
    pub backup: String,
    /// How it ended.
    pub state: RunState,
    /// What the comparison with the manifest said; empty when there was none.
    pub proof: String,
    /// The new volume, or claim as `NAMESPACE/CLAIM`; empty when none was made.
    pub restored_to: String,
    /// What was done, a sentence each.
    pub said: Vec<String>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What is not there any more; empty when nothing is lost.
    pub lost: String,
    /// Commands that may come next.
    pub next: Vec<String>,
    /// Why it is not done.
    pub failure: Option<Failure>,
}

/// What stands at the end of `ferryctl backup verify`, `restore`, `prune` and of `ferryctl finish`.
#[must_use]
pub fn upkeep(upkeep: &Upkeep, look: Look) -> String {
    let (word, tone, sentence) = headline(upkeep);
    let mut first = String::new();
    hang(
        &mut first,
        "",
        0,
        &format!("{word}: {sentence}"),
        look.width,
    );
    let mut out = first.replacen(word, &look.paint(tone, word), 1);
    let kept = upkeep.recipe == recipe::FINISH && upkeep.state == RunState::Done;
    let kept = if kept { upkeep.backup.as_str() } else { "" };
    for (label, text) in [
        ("proof", upkeep.proof.as_str()),
        ("done", &upkeep.said.join("; ")),
        ("kept", kept),
        ("lost", &upkeep.lost),
        ("warning", &upkeep.warnings.join(", ")),
    ] {
        if !text.is_empty() {
            hang(&mut out, &format!("  {label:<7}  "), 11, text, look.width);
        }
    }
    for command in &upkeep.next {
        hang(
            &mut out,
            &format!("  {:<7}  ", "next"),
            11,
            command,
            look.width,
        );
    }
    if let Some(failure) = &upkeep.failure {
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

/// What a backup is restored into: in a cluster it is a claim, as the backup is.
fn kind(backup: &str) -> &'static str {
    if backup.starts_with("claim ") {
        "claim"
    } else {
        "volume"
    }
}

fn headline(upkeep: &Upkeep) -> (&'static str, Tone, String) {
    let Upkeep {
        subject,
        server,
        backup,
        restored_to,
        ..
    } = upkeep;
    let done = match upkeep.recipe.as_str() {
        recipe::VERIFY => (
            "Verified",
            format!("the backup of run {subject} is whole, {backup}"),
        ),
        recipe::RESTORE => (
            "Restored",
            format!(
                "{} {restored_to} is {server} as it was when run {subject} stopped it",
                kind(backup)
            ),
        ),
        recipe::PRUNE => ("Removed", format!("the backup of run {subject}")),
        _ => (
            "Finished",
            format!("run {subject}; {server} stays what it is now"),
        ),
    };
    let undone = match upkeep.recipe.as_str() {
        recipe::VERIFY => (
            "Not verified",
            format!("the backup of run {subject} could not be shown to be whole, {backup}"),
        ),
        recipe::RESTORE => (
            "Not restored",
            format!(
                "no {} was made of the backup of run {subject}",
                kind(backup)
            ),
        ),
        recipe::PRUNE => (
            "Not removed",
            format!("the backup of run {subject}, {backup}"),
        ),
        _ => (
            "Not finished",
            format!("run {subject} stays as it is: not declared finished"),
        ),
    };
    match upkeep.state {
        RunState::Done | RunState::Finished => (done.0, Tone::Good, done.1),
        RunState::RolledBack => (undone.0, Tone::Bad, undone.1),
        RunState::Held => (
            "Held",
            Tone::Bad,
            format!("run {} stopped where it is", upkeep.run),
        ),
        RunState::Running | RunState::RollingBack => (
            "Interrupted",
            Tone::Careful,
            format!("run {} can be resumed", upkeep.run),
        ),
    }
}
