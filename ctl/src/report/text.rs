//! Lines of text: cleaned, wrapped, aligned, and coloured last of all.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use pbjson_types::Timestamp;

/// How a text shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns that a line may have.
    pub width: usize,
    /// Whether to colour.
    pub color: bool,
}

impl Look {
    /// Below this, columns become lines.
    const NARROW: usize = 70;

    /// Without colour.
    #[must_use]
    pub fn plain(width: usize) -> Self {
        Self {
            width,
            color: false,
        }
    }

    /// Too narrow for columns.
    pub(super) fn is_narrow(self) -> bool {
        self.width < Self::NARROW
    }

    /// Colours a word, when there is colour. The word says the same without.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

/// What a word is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Careful,
    Aside,
    Heading,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Careful => AnsiColor::Yellow.on_default(),
            Self::Aside => Style::new().dimmed(),
            Self::Heading => Style::new().bold(),
        }
    }
}

/// The text without control characters: what a server or a log says must not move the cursor,
/// recolour the screen or fake another line. Marks that turn the direction of writing go too.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if bad(c) { ' ' } else { c }).collect())
}

/// Columns that a text takes. Letters of double width are not expected in what is shown here.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text, at least this wide.
pub(super) fn pad(text: &str, width: usize) -> String {
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n(
        ' ',
        width.saturating_sub(columns(text)),
    ));
    padded
}

/// The text, at most this wide, with `…` where it was cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else {
        return String::new();
    };
    let mut cut: String = text.chars().take(room).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// The text in lines of at most this width, broken between words; a longer word is broken itself.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in clean(text).split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let used = columns(&line);
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A paragraph: its first line after `first`, the others indented as far.
pub(super) fn hang(out: &mut String, first: &str, first_columns: usize, text: &str, width: usize) {
    let indent = " ".repeat(first_columns);
    for (index, line) in wrap(text, width.saturating_sub(first_columns))
        .iter()
        .enumerate()
    {
        let start = if index == 0 { first } else { indent.as_str() };
        push_line(out, &format!("{start}{line}"));
    }
}

/// Adds a line without trailing blanks.
pub(super) fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// A moment, as in `2026-11-20 19:02:11 UTC`.
pub(super) fn moment(time: Option<&Timestamp>) -> String {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok())
        .map_or_else(
            || "an unknown time".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{202e}d"), "a [2Jb  c d");
        assert!(matches!(clean("`pmm-server` → 3.8.1"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_keep_their_width() {
        let text = "role `grafana` has an md5 password; /a/path/that/is/longer/than/a/line";
        for width in 8..60 {
            for line in wrap(text, width) {
                assert!(columns(&line) <= width, "{line:?} at {width}");
            }
        }
        assert_eq!(wrap("", 20), [""]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(fit("transfer ownership", 10), "transfer…");
        assert_eq!(fit("short", 10), "short");
        assert_eq!(fit("x", 0), "");
    }

    #[test]
    fn a_moment_is_universal() {
        let time = Timestamp {
            seconds: 1_795_201_331,
            nanos: 5,
        };
        assert_eq!(moment(Some(&time)), "2026-11-20 19:02:11 UTC");
        assert_eq!(
            moment(Some(&Timestamp {
                seconds: i64::MAX,
                nanos: 0
            })),
            "an unknown time"
        );
    }
}
