//! The text of a unit or a quadlet: its entries and the words in them, each with its place.
//!
//! Why places and not a model that is written anew: the file is a person's, and an edit puts new words into it and keeps every other
//! byte. Quotes, line continuations and comments between continued lines mean what they mean to systemd.

use std::ops::Range;

/// `KEY=VALUE` in a section, with the lines that continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: String,
    pub(super) key: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// All of its lines, with their ends.
    pub(super) lines: Range<usize>,
    /// What stands behind the equals sign, without the last line's end.
    pub(super) value: Range<usize>,
}

impl Entry {
    pub(super) fn is(&self, section: &str, key: &str) -> bool {
        self.section == section && self.key == key
    }
}

/// A word of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// As it is written, with its quotes.
    pub(super) span: Range<usize>,
    /// Without quotes and escapes. Variables and specifiers are as they are.
    pub(super) text: String,
    /// Where that text stands in the file, if it stands there byte for byte.
    pub(super) plain: Option<Range<usize>>,
    pub(super) line: usize,
}

/// The entries of a file, in their order; the line that is none.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, usize> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut lines = Lines::of(text);
    while let Some((number, range)) = lines.next() {
        let line = &text[range.clone()];
        let trimmed = line.trim();
        if is_comment(line) || trimmed.is_empty() {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            section = name.strip_suffix(']').ok_or(number)?.to_owned();
            continue;
        }
        let equals = line.find('=').ok_or(number)?;
        let key = line[..equals].trim();
        if section.is_empty() || key.is_empty() {
            return Err(number);
        }
        let mut end = range.end;
        let mut open = continues(line);
        while open {
            let Some((_, more)) = lines.next() else { break };
            let line = &text[more.clone()];
            end = more.end;
            // A comment between continued lines is none of the value, and does not end it.
            open = is_comment(line) || continues(line);
        }
        let value = range.start + equals + 1..range.start + equals + 1 + {
            let whole = &text[range.start + equals + 1..end];
            whole.trim_end_matches(['\n', '\r']).len()
        };
        entries.push(Entry {
            section: section.clone(),
            key: key.to_owned(),
            line: number,
            lines: range.start..end,
            value,
        });
    }
    Ok(entries)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

fn continues(line: &str) -> bool {
    line.trim_end_matches(['\n', '\r']).ends_with('\\')
}

/// The lines of a text with their numbers and places, line ends included.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            number: 0,
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = (usize, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let range = self.at..self.at + length;
        self.at = range.end;
        self.number += 1;
        Some((self.number, range))
    }
}

/// The words of a value; `None` where a quote has no end.
pub(super) fn words(text: &str, entry: &Entry) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut line = entry.line;
    let mut chars = text[entry.value.clone()].char_indices().peekable();
    let base = entry.value.start;
    let rest_of = |at: usize| &text[base + at..entry.value.end];
    while let Some(&(at, c)) = chars.peek() {
        if let Some(length) = continuation(rest_of(at)) {
            line += 1;
            skip(&mut chars, at + length);
            // Comments between.
            while let Some(&(at, _)) = chars.peek() {
                let length = rest_of(at)
                    .find('\n')
                    .map_or(rest_of(at).len(), |it| it + 1);
                let next = &rest_of(at)[..length];
                if !is_comment(next) {
                    break;
                }
                line += 1;
                skip(&mut chars, at + length);
            }
            continue;
        }
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let start = at;
        let mut word = String::new();
        let mut quote = None;
        let mut quotes = 0;
        let mut escapes = false;
        let mut end = at;
        while let Some(&(at, c)) = chars.peek() {
            if quote.is_none() && (c.is_whitespace() || continuation(rest_of(at)).is_some()) {
                break;
            }
            chars.next();
            end = at + c.len_utf8();
            match (c, quote) {
                ('"' | '\'', None) => {
                    quote = Some(c);
                    quotes += 1;
                }
                (c, Some(open)) if c == open => quote = None,
                ('\\', _) => {
                    escapes = true;
                    let (at, escaped) = chars.next()?;
                    end = at + escaped.len_utf8();
                    if escaped == '\n' {
                        return None;
                    }
                    word.push(escaped);
                }
                (c, _) => word.push(c),
            }
        }
        if quote.is_some() {
            return None;
        }
        let span = base + start..base + end;
        let written = &text[span.clone()];
        let whole =
            quotes == 1 && written.starts_with(['"', '\'']) && written.ends_with(['"', '\'']);
        let plain = match (escapes, quotes) {
            (false, 0) => Some(span.clone()),
            (false, 1) if whole => Some(span.start + 1..span.end - 1),
            _ => None,
        };
        words.push(Word {
            span,
            text: word,
            plain,
            line,
        });
    }
    Some(words)
}

/// How long the end of a continued line is, if it is one.
fn continuation(rest: &str) -> Option<usize> {
    ["\\\n", "\\\r\n"]
        .into_iter()
        .find(|it| rest.starts_with(it))
        .map(str::len)
        .or((rest == "\\").then_some(1))
}

fn skip(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, to: usize) {
    while chars.peek().is_some_and(|(at, _)| *at < to) {
        chars.next();
    }
}

/// A line of a file with variables, as `--env-file` and `EnvironmentFile=` take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
    /// The line, with its end.
    pub(super) lines: Range<usize>,
    /// Where the name stands.
    pub(super) at: Range<usize>,
}

/// The variables of such a file. A line without a value takes it from elsewhere and is none.
pub(super) fn assignments(text: &str) -> Vec<Assignment> {
    let assignment = |(line, lines): (usize, Range<usize>)| {
        let whole = text[lines.clone()].trim_end_matches(['\n', '\r']);
        let indent = whole.len() - whole.trim_start().len();
        let (name, value) = whole.trim_start().split_once('=')?;
        if name.starts_with(['#', ';']) {
            return None;
        }
        let start = lines.start + indent;
        Some(Assignment {
            name: name.to_owned(),
            value: value.to_owned(),
            line,
            at: start..start + name.len(),
            lines,
        })
    };
    Lines::of(text).filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(value: &str) -> Option<Vec<(String, usize, bool)>> {
        let text = format!("[Service]\nExecStart={value}\n");
        let entries = entries(&text).unwrap();
        let words = words(&text, &entries[0])?;
        Some(
            words
                .into_iter()
                .map(|word| {
                    if let Some(plain) = &word.plain {
                        assert_eq!(&text[plain.clone()], word.text);
                    }
                    (word.text, word.line, word.plain.is_some())
                })
                .collect(),
        )
    }

    #[test]
    fn a_value_goes_on_behind_a_backslash_and_past_comments() {
        let text = "# head\n[Unit]\nDescription=a b\n\n[Service]\nExecStart=run \\\n  # why\n  -e A=1 \\\n  image\nRestart=always\n";
        let entries = entries(text).unwrap();
        let keys: Vec<_> = entries
            .iter()
            .map(|it| (it.section.as_str(), it.key.as_str(), it.line))
            .collect();
        assert_eq!(
            keys,
            [
                ("Unit", "Description", 3),
                ("Service", "ExecStart", 6),
                ("Service", "Restart", 10)
            ]
        );
        let found = words(text, &entries[1]).unwrap();
        let found: Vec<_> = found.iter().map(|it| (it.text.as_str(), it.line)).collect();
        assert_eq!(found, [("run", 6), ("-e", 8), ("A=1", 8), ("image", 9)]);
        assert_eq!(&text[entries[2].lines.clone()], "Restart=always\n");
    }

    #[test]
    fn words_lose_their_quotes_and_keep_their_place() {
        let own = |text: &str, plain| (text.to_owned(), 2, plain);
        assert_eq!(
            words_of("a \"b c\" 'd' -e\"f g\" h\\ i \"\""),
            Some(vec![
                own("a", true),
                own("b c", true),
                own("d", true),
                own("-ef g", false),
                own("h i", false),
                own("", true),
            ])
        );
        assert_eq!(words_of("a \"b"), None);
    }

    #[test]
    fn what_is_no_entry_is_told_by_its_line() {
        assert_eq!(entries("[Service]\nnothing\n"), Err(2));
        assert_eq!(entries("A=1\n"), Err(1));
        assert_eq!(entries("[Service\n"), Err(1));
        assert_eq!(entries("\n# only\n; comments\n"), Ok(vec![]));
    }

    #[test]
    fn variables_of_a_file_are_lines() {
        let text = "# A=1\nB=2 # no comment\n  C=\nD\n";
        let found = assignments(text);
        let found: Vec<_> = found
            .iter()
            .map(|it| (&text[it.at.clone()], it.value.as_str(), it.line))
            .collect();
        assert_eq!(found, [("B", "2 # no comment", 2), ("C", "", 3)]);
    }
}
