//! The end of a rehearsal: what would have happened, how long the downtime would be, and what to mend first.

use ferry_proto::v1::Failure;
use serde::Serialize;

use super::text::{Look, Tone, hang};
use crate::{
    recipes::{Recipe, downtime::Downtime},
    run::events::RunState,
    units::{elapsed, estimate},
};

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RehearsalReport {
    /// The name of its run.
    pub run: String,
    /// The server's own name.
    pub server: String,
    /// The server's address.
    pub address: String,
    /// How it ended: done is a crossing that would succeed, rolled back one that would fail.
    pub state: RunState,
    /// The version of the server.
    pub from_version: String,
    /// The version that it would become.
    pub to_version: String,
    /// The image of that version, as it was typed.
    pub to_image: String,
    /// The recipe of the crossing that was tried.
    pub recipe: Recipe,
    /// How long the server would not serve; absent when the rehearsal did not come to its end.
    pub downtime: Option<Downtime>,
    /// The step that failed, or that it stands at; empty when it came to its end.
    pub stopped_at: String,
    /// What of the baseline was found again on the copy.
    pub found_again: Vec<String>,
    /// What a copy without clients cannot show, and was not compared.
    pub left_out: Vec<String>,
    /// What to look at before the crossing.
    pub mend: Vec<String>,
    /// The name of container, network and volume, when they were kept.
    pub kept: String,
    /// Why the crossing would fail.
    pub failure: Option<Failure>,
    /// Commands that may come next.
    pub next: Vec<String>,
}

impl RehearsalReport {
    /// With the commands that may come next.
    #[must_use]
    pub fn with_ways_on(mut self) -> Self {
        let Self {
            run,
            address,
            to_image,
            ..
        } = &self;
        let way = match self.recipe {
            Recipe::PmmInPlace => String::new(),
            recipe => format!(" --recipe {}", recipe.name()),
        };
        self.next = match self.state {
            RunState::Done | RunState::Finished => {
                vec![format!("ferryctl migrate {address} --to {to_image}{way}")]
            }
            RunState::RolledBack if self.failure.is_some() => {
                vec![format!("ferryctl rehearse {address} --to {to_image}{way}")]
            }
            RunState::RolledBack => Vec::new(),
            RunState::Running | RunState::RollingBack | RunState::Held => vec![
                format!("ferryctl resume {run}"),
                format!("ferryctl rollback {run}"),
            ],
        };
        self
    }
}

/// What stands at the end of `ferryctl rehearse`.
#[must_use]
pub fn rehearsal(report: &RehearsalReport, look: Look) -> String {
    let mut out = String::new();
    let (word, tone, sentence) = headline(report);
    let mut first = String::new();
    hang(
        &mut first,
        "",
        0,
        &format!("{word}: {sentence}"),
        look.width,
    );
    out.push_str(&first.replacen(word, &look.paint(tone, word), 1));
    let downtime: Vec<String> = report.downtime.as_ref().map(told).into_iter().collect();
    let join = |list: &[String], with: &str| list.join(with);
    for (label, text) in [
        ("downtime", join(&downtime, "")),
        ("found again", join(&report.found_again, ", ")),
        ("left out", join(&report.left_out, "; ")),
    ] {
        entry(&mut out, label, &text, look);
    }
    for (index, text) in report.mend.iter().enumerate() {
        let label = if index == 0 { "mend first" } else { "" };
        entry(&mut out, label, text, look);
    }
    for (label, text) in kept(report) {
        entry(&mut out, label, &text, look);
    }
    entry(&mut out, "next", &next(report), look);
    if let Some(failure) = &report.failure {
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

fn entry(out: &mut String, label: &str, text: &str, look: Look) {
    if !text.is_empty() {
        hang(out, &format!("  {label:<11}  "), 15, text, look.width);
    }
}

fn headline(report: &RehearsalReport) -> (&'static str, Tone, String) {
    let RehearsalReport {
        server,
        to_version,
        stopped_at,
        ..
    } = report;
    let untouched = "The server served all the time and is unchanged";
    match report.state {
        RunState::Done | RunState::Finished => (
            "Would succeed",
            Tone::Good,
            format!("{server} becomes PMM {to_version}, as its copy did. {untouched}."),
        ),
        RunState::RolledBack if report.failure.is_some() => (
            "Would fail",
            Tone::Bad,
            format!(
                "{server} does not become PMM {to_version}: it fails at “{stopped_at}”. {untouched}; the copy is discarded."
            ),
        ),
        RunState::RolledBack => (
            "Discarded",
            Tone::Careful,
            format!("nothing is left of the rehearsal of {server}. {untouched}."),
        ),
        RunState::Held => (
            "Held",
            Tone::Bad,
            format!("the rehearsal of {server} stands at {stopped_at}. {untouched}."),
        ),
        RunState::Running | RunState::RollingBack => (
            "Interrupted",
            Tone::Careful,
            format!("the rehearsal of {server} can be resumed. {untouched}."),
        ),
    }
}

fn told(downtime: &Downtime) -> String {
    format!(
        "about {}: {} of it measured here (ownership, start, first boot); the server's own stop and the second copy pass \
         as estimated in the plan",
        estimate(downtime.total_ms),
        elapsed(downtime.measured_ms)
    )
}

fn kept(report: &RehearsalReport) -> Vec<(&'static str, String)> {
    let RehearsalReport {
        kept: name, run, ..
    } = report;
    if name.is_empty() {
        return Vec::new();
    }
    vec![
        (
            "kept",
            format!(
                "container, network and volume {name}; it runs, and nobody reaches it from outside"
            ),
        ),
        (
            "look",
            format!("docker logs {name} · docker inspect {name}"),
        ),
        ("remove", format!("ferryctl rollback {run}")),
    ]
}

fn next(report: &RehearsalReport) -> String {
    let commands = report.next.join(" · ");
    match report.state {
        RunState::RolledBack if report.failure.is_some() => format!("mend it, then {commands}"),
        _ => commands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> RehearsalReport {
        RehearsalReport {
            run: "7f3a9c21".into(),
            server: "pmm-server".into(),
            address: "docker:pmm-server".into(),
            state: RunState::Done,
            from_version: "2.44.1".into(),
            to_version: "3.8.1".into(),
            to_image: "percona/pmm-server:3.8.1".into(),
            recipe: Recipe::PmmInPlace,
            downtime: Some(Downtime {
                total_ms: 41_000,
                measured_ms: 23_400,
            }),
            stopped_at: String::new(),
            found_again: vec!["9 nodes".into(), "3 API keys".into()],
            left_out: vec![
                "not compared: targets that are up and pmm-agents that are connected: no client reaches the copy".into(),
            ],
            mend: vec![
                "WARN: unknown environment variable DATA_TOKEN=…".into(),
                "the label `a` is not carried over".into(),
            ],
            kept: String::new(),
            failure: None,
            next: Vec::new(),
        }
    }

    #[test]
    fn the_command_that_comes_next_is_of_the_recipe_that_was_tried() {
        let mut tried = report();
        tried.recipe = Recipe::PmmDumpRestore;
        let next = tried.with_ways_on().next;
        let command = "ferryctl migrate docker:pmm-server --to percona/pmm-server:3.8.1";
        assert_eq!(next, [format!("{command} --recipe pmm-dump-restore")]);
        assert_eq!(report().with_ways_on().next, [command]);
    }

    #[test]
    fn every_end_of_a_rehearsal() {
        let kept = RehearsalReport {
            kept: "pmm-server-rehearsal-7f3a9c21".into(),
            ..report()
        };
        let failed = RehearsalReport {
            state: RunState::RolledBack,
            downtime: None,
            stopped_at: "wait until ready".into(),
            found_again: Vec::new(),
            left_out: Vec::new(),
            mend: vec!["FATAL: /srv is not writable for pmm user.".into()],
            failure: Some(Failure {
                code: "container-exited".into(),
                message: "the new container exited with code 1".into(),
                hint: String::new(),
                details: vec!["FATAL: /srv is not writable for pmm user.".into()],
            }),
            ..report()
        };
        let interrupted = RehearsalReport {
            state: RunState::Running,
            downtime: None,
            mend: Vec::new(),
            left_out: Vec::new(),
            found_again: Vec::new(),
            ..report()
        };
        let look = Look::plain(90);
        let all =
            [report(), kept, failed, interrupted].map(|it| rehearsal(&it.with_ways_on(), look));
        insta::assert_snapshot!(all.join("\n---\n"));
    }
}
