//! The lines of the live view as pure functions of what is known and of the width.

use ferry_proto::v1::{Failure, Outcome, Progress, StepStatus};

use super::meter::Meter;
use crate::{
    report::{
        runs::mark,
        text::{Look, Tone, clean, columns, fit, hang, pad, push_line},
    },
    units::{amount, bytes, count, elapsed, estimate},
};

/// Mark, number and the blanks around them.
const START: usize = 7;
/// The column of what a step took.
const TOOK: usize = 11;

/// The least columns of a bar that still shows something.
const BAR: usize = 12;

/// ` ▸  9  `, uncoloured.
fn start(sign: &str, number: usize) -> String {
    format!(" {sign} {number:>2}  ")
}

fn painted_start(sign: &str, tone: Tone, number: usize, look: Look) -> String {
    format!(" {} {number:>2}  ", look.paint(tone, sign))
}

fn title_width(look: Look) -> usize {
    if look.is_narrow() {
        look.width.saturating_sub(START)
    } else {
        (look.width / 2 - 6).min(46)
    }
}

/// A step that is over: what it took, what was done.
pub(super) fn finished(
    number: usize,
    title: &str,
    outcome: &Outcome,
    undo: bool,
    look: Look,
) -> String {
    let took = if undo {
        "undone".to_owned()
    } else {
        elapsed(outcome.elapsed_ms)
    };
    let (sign, tone) = match outcome.status() {
        _ if undo => (mark(StepStatus::Undone), Tone::Careful),
        StepStatus::Skipped => (mark(StepStatus::Skipped), Tone::Aside),
        StepStatus::Warned => (mark(StepStatus::Warned), Tone::Careful),
        _ => (mark(StepStatus::Succeeded), Tone::Good),
    };
    let mut text = clean(&outcome.summary).into_owned();
    if outcome.status() == StepStatus::Skipped && !undo {
        text = if text.is_empty() {
            "skipped".to_owned()
        } else {
            format!("skipped: {text}")
        };
    }
    let mut out = over(
        &painted_start(sign, tone, number, look),
        title,
        &took,
        &text,
        look,
    );
    for warning in &outcome.warnings {
        let first = format!(
            "{}{} ",
            " ".repeat(START),
            look.paint(Tone::Careful, "warning:")
        );
        hang(&mut out, &first, START + 9, warning, look.width);
    }
    out
}

/// A step that failed: why, the last lines, what to do.
pub(super) fn failed(
    number: usize,
    title: &str,
    failure: &Failure,
    undo: bool,
    took: u64,
    look: Look,
) -> String {
    let first = painted_start(mark(StepStatus::Failed), Tone::Bad, number, look);
    let word = if undo { "undo failed: " } else { "failed: " };
    let text = format!("{word}{}", failure.message);
    let mut out = over(&first, title, &elapsed(took), &text, look);
    for detail in &failure.details {
        hang(
            &mut out,
            &" ".repeat(START + 2),
            START + 2,
            detail,
            look.width,
        );
    }
    if !failure.hint.is_empty() {
        let first = format!("{}hint: ", " ".repeat(START));
        hang(&mut out, &first, START + 6, &failure.hint, look.width);
    }
    out
}

fn over(start: &str, title: &str, took: &str, text: &str, look: Look) -> String {
    let mut out = String::new();
    if look.is_narrow() {
        let text = if text.is_empty() {
            took.to_owned()
        } else {
            format!("{took}, {text}")
        };
        if START + columns(title) + 2 + columns(&text) <= look.width {
            push_line(&mut out, &format!("{start}{title}  {}", clean(&text)));
        } else {
            hang(&mut out, start, START, title, look.width);
            hang(&mut out, &" ".repeat(START), START, &text, look.width);
        }
        return out;
    }
    let width = title_width(look);
    let first = format!(
        "{start}{}  {}",
        pad(&fit(title, width), width),
        pad(took, TOOK)
    );
    let indent = START + width + 2 + TOOK;
    if indent + columns(text) <= look.width {
        hang(&mut out, &first, indent, text, look.width);
    } else {
        push_line(&mut out, &first);
        hang(&mut out, &" ".repeat(START), START, text, look.width);
    }
    out
}

/// A step that comes next.
pub(super) fn next(number: usize, title: &str, look: Look) -> String {
    let line = fit(&format!("{}{title}", start(" ", number)), look.width);
    look.paint(Tone::Aside, &line)
}

/// A step that runs: as much of its progress as the line has room for, the most telling first.
pub(super) fn running(
    number: usize,
    title: &str,
    undo: bool,
    meter: &Meter,
    spent: u64,
    look: Look,
) -> String {
    let sign = mark(if undo {
        StepStatus::Undoing
    } else {
        StepStatus::Running
    });
    let room = look.width.saturating_sub(START);
    let least = if look.is_narrow() { 14 } else { 24 }.min(columns(title));
    let mut used = least;
    let mut take = |columns: usize| {
        let fits = used + 2 + columns <= room;
        used += if fits { 2 + columns } else { 0 };
        fits
    };
    let progress = meter.progress();
    let mut shown: Vec<String> = Vec::new();
    let mut offer = |piece: Option<String>, take: &mut dyn FnMut(usize) -> bool| {
        shown.extend(piece.filter(|piece| take(columns(piece))));
    };
    offer(
        meter.percent().map(|percent| format!("{percent:>2} %")),
        &mut take,
    );
    offer(Some(remaining(meter, spent)), &mut take);
    let with_bar = meter.percent().is_some() && take(BAR);
    offer(progress.map(amounts), &mut take);
    offer(
        meter
            .rate()
            .and_then(|rate| Some(speed(rate, &progress?.unit))),
        &mut take,
    );
    let current = progress.map(|progress| clean(&progress.current).into_owned());
    offer(current.filter(|current| !current.is_empty()), &mut take);
    // What is left goes to the title first, then to the bar.
    let width = columns(title).min(least + room.saturating_sub(used));
    let title = pad(&fit(title, width), width);
    let bar = if with_bar {
        let left = room.saturating_sub(used + width - least);
        format!("{}  ", bar(progress, BAR + left.min(12)))
    } else {
        String::new()
    };
    let line = format!("{title}  {bar}{}", shown.join("  "));
    format!(
        "{}{}",
        painted_start(sign, Tone::Heading, number, look),
        fit(line.trim_end(), room)
    )
}

/// How long it will take, or, when that is not known, how long it took so far.
fn remaining(meter: &Meter, spent: u64) -> String {
    match meter.left() {
        Some(millis) if millis < 10_000 => format!("{} left", elapsed(millis)),
        Some(millis) => format!("{} left", estimate(millis)),
        None => elapsed(spent),
    }
}

fn amounts(progress: &Progress) -> String {
    let unit = progress.unit.as_str();
    let word = if unit == "bytes" {
        String::new()
    } else {
        format!(" {}", clean(unit))
    };
    match progress.total {
        0 => format!("{}{word}", amount(progress.done, unit)),
        total => format!("{} / {}", amount(progress.done, unit), amount(total, unit)),
    }
}

pub(super) fn speed(rate: u64, unit: &str) -> String {
    if unit == "bytes" {
        return format!("{}/s", bytes(rate));
    }
    // Three digits are all that is true of a rate.
    let scale = 10_u64.pow(rate.checked_ilog10().unwrap_or(0).saturating_sub(2));
    format!("{}/s", count(rate / scale * scale))
}

/// A bar of this many columns, in eighths.
fn bar(progress: Option<&Progress>, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let (done, total) = progress.map_or((0, 1), |p| (p.done.min(p.total), p.total.max(1)));
    let eighths = u128::from(done) * (width as u128) * 8 / u128::from(total);
    let (full, part) = (eighths / 8, eighths % 8);
    let full = usize::try_from(full).unwrap_or(width).min(width);
    let mut bar = "█".repeat(full);
    if full < width {
        bar.push(PARTS[usize::try_from(part).unwrap_or(0)]);
    }
    pad(&bar, width)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_width_has_the_most_telling_parts() {
        let mut meter = Meter::default();
        for (millis, done) in [(0, 0), (613, 402_118)] {
            let progress = Progress {
                done,
                total: 611_977,
                unit: "entries".into(),
                current: "clickhouse/store\x1b[2J".into(),
            };
            meter.push(Duration::from_millis(millis), &progress);
        }
        let mut all = String::new();
        for width in 40..160 {
            let line = running(
                9,
                "transfer ownership",
                false,
                &meter,
                613,
                Look::plain(width),
            );
            assert!(columns(&line) <= width, "{line:?} at {width}");
            assert!(
                line.contains("65 %") && line.contains("0.3 s left"),
                "{line:?} at {width}"
            );
            if width % 20 == 0 {
                all.push_str(&format!("{line}\n"));
            }
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn a_step_that_says_nothing_shows_its_time() {
        let line = running(
            3,
            "capture baseline",
            true,
            &Meter::default(),
            4_200,
            Look::plain(60),
        );
        assert_eq!(line, " ↩  3  capture baseline  4.2 s");
    }

    #[test]
    fn a_bar_is_as_full_as_the_step_is_done() {
        let full = |done, total| {
            let progress = Progress {
                done,
                total,
                ..Progress::default()
            };
            bar(Some(&progress), 8)
        };
        assert_eq!(full(0, 100), "        ");
        assert_eq!(full(50, 100), "████    ");
        assert_eq!(full(51, 64), "██████▍ ");
        assert_eq!(full(u64::MAX, 1), "████████");
    }
}
