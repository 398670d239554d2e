//! The check of a server: what it is, then what was found, worst first.

use ferry_proto::v1::{
    ApiKeyFact, ClientHostFacts, EnvironmentChange, EnvironmentChangeKind, Facts, Finding, Severity,
};
use pbjson_types::Timestamp;

use super::text::{Look, Tone, clean, columns, hang, moment, pad, push_line};
use crate::{
    recipes::{count_of, data_mount},
    units::{age, bytes, counted},
};

/// How to show a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// How it shall look.
    pub look: Look,
    /// Show what becomes of each environment variable.
    pub show_env: bool,
    /// Show each API key.
    pub show_keys: bool,
}

/// What `ferryctl check` prints.
#[must_use]
pub fn check(facts: &Facts, findings: &[Finding], options: CheckOptions) -> String {
    let look = options.look;
    let mut out = String::new();
    header(&mut out, facts, look);
    if !findings.is_empty() {
        out.push('\n');
        list(&mut out, findings, look);
    }
    if options.show_env {
        environment(&mut out, facts, look);
    }
    if options.show_keys {
        keys(&mut out, facts, look);
    }
    out.push('\n');
    hang(
        &mut out,
        "",
        0,
        &format!("{}. Nothing was changed.", tally(findings)),
        look.width,
    );
    out
}

/// How many blockers and warnings there are, as in `1 blocker, 2 warnings`.
pub(super) fn tally(findings: &[Finding]) -> String {
    let parts: Vec<String> = [Severity::Blocker, Severity::Warning]
        .into_iter()
        .map(|severity| (count_of(findings, severity), severity.word()))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| counted(number, word))
        .collect();
    if parts.is_empty() {
        "No blockers, no warnings".to_owned()
    } else {
        parts.join(", ")
    }
}

fn header(out: &mut String, facts: &Facts, look: Look) {
    if let Some(client) = &facts.client_host {
        return client_header(out, client, facts, look);
    }
    let name = facts
        .container
        .as_ref()
        .map_or("", |container| &container.name);
    let name = if name.is_empty() {
        "(no container)".into()
    } else {
        clean(name)
    };
    let first = format!("{}  ", look.paint(Tone::Heading, &name));
    let indent = columns(&name) + 2;
    if look.is_narrow() {
        push_line(out, &first);
        hang(out, "  ", 2, &identity(facts), look.width);
        hang(out, "  ", 2, &inventory(facts), look.width);
    } else {
        hang(out, &first, indent, &identity(facts), look.width);
        hang(
            out,
            &" ".repeat(indent),
            indent,
            &inventory(facts),
            look.width,
        );
    }
}

/// A client, and the server that it belongs to.
fn client_header(out: &mut String, client: &ClientHostFacts, facts: &Facts, look: Look) {
    let name = clean(&client.host);
    let first = format!("{}  ", look.paint(Tone::Heading, &name));
    let what = match client.package.as_str() {
        "" if client.folder.is_empty() => "no client of PMM's that could be recognised".to_owned(),
        "" => format!("a client of PMM's in {}", clean(&client.folder)),
        package => format!(
            "PMM {} by {package} {}",
            clean(&client.version),
            clean(&client.package_version)
        ),
    };
    let server = facts.container.as_ref().map_or("", |it| &it.name);
    let version = facts.server.as_ref().map_or("", |it| &it.version);
    let text = format!(
        "{what}; its server {} is PMM {}",
        clean(server),
        clean(version)
    );
    hang(out, &first, columns(&name) + 2, &text, look.width);
}

fn identity(facts: &Facts) -> String {
    let said = facts.server.as_ref().map_or("", |server| &server.version);
    let baked = facts.image.as_ref().map_or("", |image| &image.version);
    let version = if said.is_empty() { baked } else { said };
    let mut text = match version {
        "" => "no PMM that could be recognised".to_owned(),
        version => format!("PMM {version}"),
    };
    if let Some(engine) = &facts.engine {
        let from = match facts.arrival {
            Some(_) => " on another machine, to move to",
            None => " on",
        };
        text.push_str(&format!("{from} {} {}", engine.kind, engine.version));
    }
    if let Some(data) = &facts.data {
        let place = match data_mount(facts) {
            None if facts.arrival.is_some() => {
                let volume = facts.arrival.as_ref().map_or("", |it| &it.volume);
                format!("volume {volume}")
            }
            Some(mount) if mount.name.is_empty() => format!("folder {}", mount.source),
            Some(mount) => format!("volume {}", mount.name),
            None => "no volume".to_owned(),
        };
        text.push_str(&format!(
            ", {place} ({}, {})",
            bytes(data.bytes),
            counted(data.entries, "file")
        ));
    }
    let running = facts
        .container
        .as_ref()
        .filter(|container| container.running);
    let started = running.and_then(|container| container.started.as_ref());
    if let (Some(started), Some(observed)) = (started, &facts.observed) {
        let seconds = observed.seconds.saturating_sub(started.seconds);
        if let Ok(seconds) = u64::try_from(seconds) {
            text.push_str(&format!(", up {}", age(seconds)));
        }
    }
    text
}

fn inventory(facts: &Facts) -> String {
    let Some(server) = &facts.server else {
        return "the server answers nothing".to_owned();
    };
    let mut text = format!(
        "{}, {}, {}",
        counted(u64::from(server.nodes), "node"),
        counted(u64::from(server.services), "service"),
        counted(u64::from(server.api_keys), "API key"),
    );
    if server.last_metric_age_seconds >= 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and the cast saturates"
        )]
        let seconds = server.last_metric_age_seconds as u64;
        text.push_str(&format!(", last metric {} ago", age(seconds)));
    }
    text
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Blocker => Tone::Bad,
        Severity::Warning => Tone::Careful,
        Severity::Note | Severity::Unknown => Tone::Aside,
    }
}

/// Findings as a list; also below a plan.
pub(super) fn list(out: &mut String, findings: &[Finding], look: Look) {
    let longest = findings
        .iter()
        .map(|finding| columns(&finding.code))
        .max()
        .unwrap_or(0);
    for finding in findings {
        let severity = finding.severity();
        let word = pad(severity.word(), 7);
        let code = clean(&finding.code);
        let (first, indent) = if look.is_narrow() {
            push_line(
                out,
                &format!("  {}  {code}", look.paint(tone(severity), &word)),
            );
            ("    ".to_owned(), 4)
        } else {
            let first = format!(
                "  {}  {}  ",
                look.paint(tone(severity), &word),
                pad(&code, longest)
            );
            (first, 2 + 7 + 2 + longest.max(columns(&code)) + 2)
        };
        hang(out, &first, indent, &finding.text, look.width);
        if !finding.hint.is_empty() {
            // Below the code, where there is more room for commands than below the sentence.
            let indent = indent.min(11);
            let hint = format!("{}hint: ", " ".repeat(indent));
            hang(out, &hint, indent + 6, &finding.hint, look.width);
        }
    }
}

fn environment(out: &mut String, facts: &Facts, look: Look) {
    let changes: &[EnvironmentChange] = facts
        .container
        .as_ref()
        .map_or(&[], |container| &container.environment);
    out.push('\n');
    push_line(
        out,
        &look.paint(Tone::Heading, "Environment variables (names only)"),
    );
    if changes.is_empty() {
        push_line(out, "  none were set");
    }
    let longest = changes
        .iter()
        .map(|change| columns(&change.name))
        .max()
        .unwrap_or(0);
    for change in changes {
        let mut text = what_becomes(change);
        if !change.note.is_empty() {
            text.push_str(&format!("; {}", change.note));
        }
        let name = clean(&change.name);
        if look.is_narrow() {
            push_line(out, &format!("  {name}"));
            hang(out, "    ", 4, &text, look.width);
        } else {
            hang(
                out,
                &format!("  {}  ", pad(&name, longest)),
                longest + 4,
                &text,
                look.width,
            );
        }
    }
}

fn keys(out: &mut String, facts: &Facts, look: Look) {
    let all = facts.server.as_ref().map_or(&[][..], |server| &server.keys);
    out.push('\n');
    push_line(
        out,
        &look.paint(Tone::Heading, "API keys of every organisation"),
    );
    if all.is_empty() {
        push_line(out, "  none");
    }
    let longest = all.iter().map(|key| columns(&key.name)).max().unwrap_or(0);
    for key in all {
        let name = clean(&key.name);
        let text = what_is_known(key, facts.observed.as_ref());
        if look.is_narrow() {
            push_line(out, &format!("  {name}"));
            hang(out, "    ", 4, &text, look.width);
        } else {
            let first = format!("  {}  ", pad(&name, longest));
            hang(out, &first, longest + 4, &text, look.width);
        }
    }
}

fn what_is_known(key: &ApiKeyFact, now: Option<&Timestamp>) -> String {
    let organisation = match key.organisation_name.as_str() {
        "" => format!("organisation {}, which is no more", key.organisation),
        name => format!("organisation {} ({name})", key.organisation),
    };
    let over = now.is_some_and(|now| key.expires <= now.seconds);
    let end = match key.expires {
        0 => "never expires".to_owned(),
        seconds => {
            let word = if over { "expired" } else { "expires" };
            let end = Timestamp { seconds, nanos: 0 };
            format!("{word} {}", moment(Some(&end)))
        }
    };
    let mut text = format!("{organisation}, {}, {end}", key.role);
    if key.service_account {
        text.push_str(", of a service account");
    }
    text
}

fn what_becomes(change: &EnvironmentChange) -> String {
    match change.kind() {
        EnvironmentChangeKind::Kept => "kept".to_owned(),
        EnvironmentChangeKind::Renamed => format!("→ {}", change.new_name),
        EnvironmentChangeKind::Inverted => format!("→ {}, value inverted", change.new_name),
        EnvironmentChangeKind::Dropped => "dropped".to_owned(),
        EnvironmentChangeKind::Invalid => "invalid: PMM 3 does not accept its value".to_owned(),
        EnvironmentChangeKind::Foreign => "kept, no variable of PMM's".to_owned(),
        EnvironmentChangeKind::Unknown => "not understood by this release".to_owned(),
    }
}
