//! The variables of a service, as a mapping or as a list.

use super::{
    Refusal, form, interpolated, merges_nothing, own,
    tree::{Kind, Node},
};
use crate::{
    engine::environment::parse_bool,
    text_edit::{Fate, Splice, Variable},
};

/// One variable as the file has it.
struct Entry<'a> {
    name: &'a str,
    /// The scalar that begins with the name.
    key: &'a Node,
    /// Of a mapping: what stands behind the colon. Of a list there is none: name and value are one scalar.
    value: Option<&'a Node>,
}

impl Entry<'_> {
    /// The value as Compose reads it; `None`: it comes from whoever calls Compose.
    fn text(&self) -> Option<&str> {
        match self.value {
            Some(value) if value.is_null() => None,
            Some(value) => value.text(),
            None => {
                let (_, value) = self.key.text()?.split_once('=')?;
                Some(value)
            }
        }
    }

    /// As it may be shown.
    fn shown(&self, name: &str) -> String {
        match (self.value, self.text()) {
            (Some(_), None) => format!("{name}:"),
            (Some(_), Some(_)) => format!("{name}: …"),
            (None, None) => format!("- {name}"),
            (None, Some(_)) => format!("- {name}=…"),
        }
    }
}

pub(super) fn splices(
    text: &str,
    service: &Node,
    variables: &[Variable],
) -> Result<Vec<Splice>, Refusal> {
    if variables.is_empty() {
        return Ok(Vec::new());
    }
    let env_file = service.entry("env_file")?.is_some();
    let mut entries = Vec::new();
    let mut flow = false;
    if let Some((key, node)) = service.entry("environment")? {
        own(key, "environment")?;
        own(node, "environment")?;
        merges_nothing(node)?;
        entries = read(node)?;
        flow = node.is_flow(text);
    }
    let mut made = Vec::new();
    let mut dropped = 0;
    for variable in variables {
        let name = variable.name.as_str();
        let new = variable.fate.new_name();
        let mut there = entries.iter().filter(|entry| entry.name == name);
        let newer = new.and_then(|new| entries.iter().find(|entry| entry.name == new));
        let Some(entry) = there.next() else {
            // Not there and nothing to do: it was edited before, or nobody has set it in the file.
            if newer.is_some() || (new.is_none() && !env_file) {
                continue;
            }
            return Err(Refusal::NotInFile {
                name: name.to_owned(),
                env_file,
            });
        };
        if let Some(second) = there.next() {
            return Err(Refusal::Twice {
                what: name.to_owned(),
                line: second.key.line,
            });
        }
        if let (Some(newer), Some(new)) = (newer, new) {
            return Err(Refusal::Both {
                old: name.to_owned(),
                new: new.to_owned(),
                line: newer.key.line,
            });
        }
        own(entry.key, name)?;
        if let Some(value) = entry.value {
            own(value, name)?;
        }
        match &variable.fate {
            Fate::Renamed(new) => made.push(renamed(text, entry, new)?),
            Fate::Inverted(new) => {
                let mut name = renamed(text, entry, new)?;
                name.after.push_str("  (the opposite value)");
                made.extend([name, inverted(text, entry)?]);
            }
            Fate::Dropped => {
                dropped += 1;
                // Between brackets a comma goes too, and of nothing nobody knows what it means to Compose.
                if flow || dropped == entries.len() {
                    return Err(form(name, entry.key));
                }
                made.push(gone(text, entry)?);
            }
        }
    }
    Ok(made)
}

fn read(node: &Node) -> Result<Vec<Entry<'_>>, Refusal> {
    match &node.kind {
        Kind::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| {
                Ok(Entry {
                    name: key.text().ok_or_else(|| form("environment", key))?,
                    key,
                    value: Some(value),
                })
            })
            .collect(),
        Kind::Sequence(items) => items
            .iter()
            .map(|key| {
                let text = key.text().ok_or_else(|| form("environment", key))?;
                Ok(Entry {
                    name: text.split_once('=').map_or(text, |(name, _)| name),
                    key,
                    value: None,
                })
            })
            .collect(),
        Kind::Scalar(..) if node.is_null() => Ok(Vec::new()),
        Kind::Scalar(..) | Kind::Alias(_) => Err(form("environment", node)),
    }
}

/// The name alone: what the value is does not matter then.
fn renamed(text: &str, entry: &Entry<'_>, new: &str) -> Result<Splice, Refusal> {
    if entry.text().is_none() {
        return Err(Refusal::NoValue {
            name: entry.name.to_owned(),
            line: entry.key.line,
        });
    }
    let words = entry.key.literal(text);
    let start = words.ok_or_else(|| form(entry.name, entry.key))?.start;
    Ok(Splice {
        range: start..start + entry.name.len(),
        with: new.to_owned(),
        line: entry.key.line,
        before: entry.shown(entry.name),
        after: entry.shown(new),
    })
}

/// The value alone. What is shown of it is that of its name.
fn inverted(text: &str, entry: &Entry<'_>) -> Result<Splice, Refusal> {
    let old = entry.text().unwrap_or_default();
    let holder = entry.value.unwrap_or(entry.key);
    if old.contains('$') {
        return Err(interpolated(entry.name, holder));
    }
    let is = parse_bool(old).ok_or_else(|| Refusal::NoBoolean {
        name: entry.name.to_owned(),
        line: holder.line,
    })?;
    let with = if is { "false" } else { "true" };
    let words = holder.literal(text);
    let words = words.ok_or_else(|| form(entry.name, holder))?;
    // Without quotes a mapping's `false` would be no text, which Compose 1 refuses.
    let bare = entry.value.is_some() && words.start == holder.span.start;
    let with = if bare {
        format!("\"{with}\"")
    } else {
        with.to_owned()
    };
    Ok(Splice {
        range: words.end - old.len()..words.end,
        with,
        line: holder.line,
        before: String::new(),
        after: String::new(),
    })
}

/// The whole line, which must have nothing else on it but a comment of its own.
fn gone(text: &str, entry: &Entry<'_>) -> Result<Splice, Refusal> {
    let refused = || form(entry.name, entry.key);
    let words = entry.key.literal(text).ok_or_else(refused)?;
    let begin = text[..words.start].rfind('\n').map_or(0, |at| at + 1);
    let before = text[begin..entry.key.span.start].trim();
    let dash = if entry.value.is_some() { "" } else { "-" };
    let key_end = entry.key.end(text).ok_or_else(refused)?;
    let end = match entry.value {
        None => key_end,
        // Nothing behind the colon.
        Some(value) if value.is_null() && value.text() == Some("") => {
            key_end + text[key_end..].find(':').ok_or_else(refused)? + 1
        }
        Some(value) => value.end(text).ok_or_else(refused)?,
    };
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    let behind = text[end..line_end].trim();
    let one_line = !text[begin..end].contains('\n');
    if before != dash || !one_line || !(behind.is_empty() || behind.starts_with('#')) {
        return Err(refused());
    }
    Ok(Splice {
        range: begin..line_end,
        with: String::new(),
        line: entry.key.line,
        before: entry.shown(entry.name),
        after: String::new(),
    })
}
