//! Backups as a table, and what would become of them.

use super::text::{Look, Tone, clean, columns, fit, hang, moment, pad, push_line};
use crate::{
    backups::{Backup, Standing, policy::Verdict},
    units::bytes,
};
use pbjson_types::Timestamp;

/// A moment in milliseconds since the epoch, as people read it.
#[must_use]
pub fn when(millis: i64) -> String {
    moment(Some(&Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: 0,
    }))
}

/// What `ferryctl backup list` prints.
#[must_use]
pub fn backups(backups: &[Backup], look: Look) -> String {
    let mut out = String::new();
    if backups.is_empty() {
        push_line(&mut out, "No backups.");
        return out;
    }
    if look.is_narrow() {
        for backup in backups {
            narrow(&mut out, backup, look);
        }
        return out;
    }
    let heads = ["RUN", "SERVER", "MADE", "SIZE", "STATE", "WHERE"];
    let cells: Vec<[String; 6]> = backups.iter().map(cells).collect();
    let mut widths = heads.map(columns);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    let others: usize = widths[..5].iter().sum::<usize>() + 2 * 5;
    // Where it is must be readable whole: it goes below when there is no room beside.
    let beside = others + widths[5] <= look.width;
    let line = |cells: &[String; 6]| {
        let shown = if beside { 6 } else { 5 };
        let padded = cells.iter().zip(widths).take(shown);
        let padded = padded.map(|(cell, width)| pad(&fit(cell, width), width));
        padded.collect::<Vec<_>>().join("  ")
    };
    let head = line(&heads.map(str::to_owned));
    push_line(&mut out, &look.paint(Tone::Heading, head.trim_end()));
    for row in &cells {
        push_line(&mut out, &line(row));
        if !beside {
            hang(&mut out, "    ", 4, &row[5], look.width);
        }
    }
    out
}

fn cells(backup: &Backup) -> [String; 6] {
    [
        clean(&backup.run).into_owned(),
        clean(&backup.server).into_owned(),
        made(backup).get(..16).unwrap_or("not known").to_owned(),
        size(backup),
        state(backup),
        clean(&backup.whereabouts()).into_owned(),
    ]
}

fn made(backup: &Backup) -> String {
    if backup.created > 0 {
        when(backup.created)
    } else {
        String::new()
    }
}

fn size(backup: &Backup) -> String {
    backup.bytes.map_or_else(|| "not known".to_owned(), bytes)
}

fn state(backup: &Backup) -> String {
    match &backup.removal {
        Some(removal) if removal.open => return "being removed".to_owned(),
        Some(_) => return "half removed".to_owned(),
        None => {}
    }
    let word = backup.standing.word();
    if backup.used_by.is_empty() || matches!(backup.standing, Standing::Open | Standing::Held) {
        word.to_owned()
    } else {
        format!("{word}, in use")
    }
}

fn narrow(out: &mut String, backup: &Backup, look: Look) {
    let head = format!(
        "{}  {}  {}",
        clean(&backup.run),
        clean(&backup.server),
        state(backup)
    );
    hang(out, "", 0, &head, look.width);
    hang(out, "  ", 2, &backup.whereabouts(), look.width);
    let made = match made(backup).as_str() {
        "" => "made at an unknown time".to_owned(),
        at => format!("made {at}"),
    };
    let size = backup.bytes.map(|number| format!(", {}", bytes(number)));
    let text = made + &size.unwrap_or_default();
    hang(out, "  ", 2, &text, look.width);
}

/// A backup, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Which.
    pub backup: &'a Backup,
    /// What.
    pub verdict: Verdict,
}

/// What `ferryctl backup prune` would remove, and why the rest stays.
#[must_use]
pub fn judged(judged: &[Judged<'_>], look: Look) -> String {
    let mut out = String::new();
    let goes = |it: &&Judged<'_>| it.verdict == Verdict::Remove;
    if !judged.iter().any(|it| goes(&it)) {
        push_line(&mut out, "There is no backup to remove.");
    }
    for it in judged.iter().filter(goes) {
        let start = format!("  {}  ", look.paint(Tone::Bad, "remove"));
        hang(&mut out, &start, 10, &words(it.backup), look.width);
    }
    for it in judged.iter().filter(|it| !goes(it)) {
        let start = format!("  {}    ", look.paint(Tone::Aside, "keep"));
        let text = format!("{}: {}", words(it.backup), it.verdict.why(it.backup));
        hang(&mut out, &start, 10, &text, look.width);
    }
    out
}

fn words(backup: &Backup) -> String {
    let mut text = format!("{}, of {}", backup.whereabouts(), backup.server);
    if backup.created > 0 {
        let at = when(backup.created);
        text.push_str(&format!(", made {}", at.get(..10).unwrap_or(&at)));
    }
    if let Some(number) = backup.bytes {
        text.push_str(&format!(", {}", bytes(number)));
    }
    text
}
