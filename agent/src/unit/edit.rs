//! What PMM 3 asks of a unit's files, put into their text: the image, the names and values of variables, the container's side of ports.
//!
//! The result is never taken on trust: each file is read again and must say what the changes mean to what the old one said, and all
//! else as before.
//!
//! Pure: no file, no engine, no systemd.

use std::{ops::Range, path::PathBuf};

use super::{
    Refusal,
    described::{Described, Form, Setting, describe},
    text::{Assignment, assignments},
};
use crate::{
    engine::environment::parse_bool,
    text_edit::{Changes, Edited, Fate, Splice, Variable, spliced},
};

/// The texts that describe a container.
#[derive(Clone)]
pub(crate) struct Texts {
    pub(super) form: Form,
    /// The unit or quadlet.
    pub(super) main: String,
    /// The files with variables that it names.
    pub(super) others: Vec<(PathBuf, String)>,
}

/// Where a variable is set.
enum Holder<'a> {
    Main(&'a Setting),
    Other(usize, &'a Assignment),
}

/// Edits them: the main text first, then the others.
///
/// # Errors
/// [`Refusal`]: nothing of it is edited then.
pub(crate) fn edit(texts: &Texts, changes: &Changes) -> Result<Vec<Edited>, Refusal> {
    let main = describe(&texts.main, texts.form)?;
    let others: Vec<Vec<Assignment>> = texts.others.iter().map(|it| assignments(&it.1)).collect();
    let mut splices: Vec<Vec<Splice>> = texts.others.iter().map(|_| Vec::new()).collect();
    let mut own = Vec::from_iter(image(&main, &changes.image)?);
    if changes.ports {
        for port in &main.ports {
            own.extend(moved(port)?);
        }
    }
    for variable in &changes.variables {
        match find(&main, &others, &variable.name)? {
            Some(Holder::Main(setting)) => {
                refuse_both(&main, &others, variable)?;
                own.extend(in_main(&texts.main, setting, variable)?);
            }
            Some(Holder::Other(index, assignment)) => {
                refuse_both(&main, &others, variable)?;
                let (_, text) = &texts.others[index];
                splices[index].extend(in_other(text, assignment, variable)?);
            }
            None => {
                return Err(Refusal::NotInFile {
                    name: variable.name.clone(),
                });
            }
        }
    }
    let mut edited = vec![spliced(&texts.main, own).ok_or(Refusal::Unproven)?];
    for ((_, text), splices) in texts.others.iter().zip(splices) {
        edited.push(spliced(text, splices).ok_or(Refusal::Unproven)?);
    }
    prove(texts, &main, &others, &edited, changes)?;
    Ok(edited)
}

/// The files read again say what is meant, and all else as before.
fn prove(
    texts: &Texts,
    main: &Described,
    others: &[Vec<Assignment>],
    edited: &[Edited],
    changes: &Changes,
) -> Result<(), Refusal> {
    let unproven = |_| Refusal::Unproven;
    let (first, rest) = edited.split_first().ok_or(Refusal::Unproven)?;
    let now = describe(&first.text, texts.form).map_err(unproven)?;
    let values = |settings: &[Setting]| -> Vec<String> {
        settings.iter().map(|it| it.text.clone()).collect()
    };
    let moved = |port: &Setting| match container_side(&port.text) {
        Some((_, moved)) if changes.ports => moved,
        _ => port.text.clone(),
    };
    let wanted: Vec<String> = main.ports.iter().map(moved).collect();
    let variables = |settings: &[String]| -> Vec<String> {
        settings
            .iter()
            .filter_map(|it| intended(it, changes))
            .collect()
    };
    let same = now.image.text == changes.image
        && values(&now.ports) == wanted
        && values(&now.variables) == variables(&values(&main.variables))
        && now.rest == main.rest;
    let lines = |all: &[Assignment]| -> Vec<String> {
        all.iter()
            .map(|it| format!("{}={}", it.name, it.value))
            .collect()
    };
    let others_same = rest.len() == others.len()
        && rest
            .iter()
            .zip(others)
            .all(|(now, was)| lines(&assignments(&now.text)) == variables(&lines(was)));
    if same && others_same {
        Ok(())
    } else {
        Err(Refusal::Unproven)
    }
}

/// What becomes of `NAME=VALUE`; `None`: it goes.
fn intended(setting: &str, changes: &Changes) -> Option<String> {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let found = changes.variables.iter().find(|it| it.name == name);
    match found.map(|it| &it.fate) {
        None => Some(setting.to_owned()),
        Some(Fate::Dropped) => None,
        Some(Fate::Renamed(new)) => Some(format!("{new}={value}")),
        Some(Fate::Inverted(new)) => {
            Some(format!("{new}={}", parse_bool(value).is_some_and(|it| !it)))
        }
    }
}

fn image(main: &Described, wanted: &str) -> Result<Option<Splice>, Refusal> {
    let image = &main.image;
    if image.text == wanted {
        return Ok(None);
    }
    let form = || Refusal::Form {
        what: "the image".to_owned(),
        line: image.line,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !wanted.starts_with(|c: char| c.is_ascii_alphanumeric()) || !wanted.chars().all(plain) {
        return Err(form());
    }
    Ok(Some(Splice {
        range: image.place.clone().ok_or_else(form)?,
        with: wanted.to_owned(),
        line: image.line,
        before: image.text.clone(),
        after: wanted.to_owned(),
    }))
}

/// The container's side of a published port and the whole of it as it is in PMM 3; `None`: it stays as it is.
fn container_side(port: &str) -> Option<(Range<usize>, String)> {
    let start = port.rfind(':').map_or(0, |at| at + 1);
    let side = &port[start..];
    let number = side.strip_suffix("/tcp").unwrap_or(side);
    let moved = match number {
        "80" => "8080",
        "443" => "8443",
        _ => return None,
    };
    let range = start..start + number.len();
    let mut whole = port.to_owned();
    whole.replace_range(range.clone(), moved);
    Some((range, whole))
}

fn moved(port: &Setting) -> Result<Option<Splice>, Refusal> {
    let side = port.text.rsplit(':').next().unwrap_or_default();
    if side.contains(['$', '%']) {
        return Err(Refusal::Elsewhere {
            what: "a published port".to_owned(),
            line: port.line,
        });
    }
    if let Some((first, last)) = side.trim_end_matches("/tcp").split_once('-') {
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        if bounds.is_none_or(|(first, last)| [80, 443].iter().any(|it| (first..=last).contains(it)))
        {
            return Err(Refusal::Range { line: port.line });
        }
    }
    let Some((range, whole)) = container_side(&port.text) else {
        return Ok(None);
    };
    let place = port.place.clone().ok_or_else(|| Refusal::Form {
        what: "a published port".to_owned(),
        line: port.line,
    })?;
    let with =
        whole[range.start..range.start + whole.len() - port.text.len() + range.len()].to_owned();
    Ok(Some(Splice {
        range: place.start + range.start..place.start + range.end,
        with,
        line: port.line,
        before: port.text.clone(),
        after: whole,
    }))
}

fn name_of(setting: &str) -> &str {
    setting.split_once('=').map_or(setting, |(name, _)| name)
}

/// The one place where a variable is set.
fn find<'a>(
    main: &'a Described,
    others: &'a [Vec<Assignment>],
    name: &str,
) -> Result<Option<Holder<'a>>, Refusal> {
    let own = main.variables.iter().filter(|it| name_of(&it.text) == name);
    let own = own.map(|it| (it.line, Holder::Main(it)));
    let elsewhere = others.iter().enumerate().flat_map(|(index, all)| {
        let all = all.iter().filter(|it| it.name == name);
        all.map(move |it| (it.line, Holder::Other(index, it)))
    });
    let mut found = own.chain(elsewhere);
    let first = found.next();
    match found.next() {
        Some((line, _)) => Err(Refusal::Twice {
            what: name.to_owned(),
            line,
        }),
        None => Ok(first.map(|(_, holder)| holder)),
    }
}

/// Refuses where the new name is there beside the old one: which of them counts is not ours to decide.
fn refuse_both(
    main: &Described,
    others: &[Vec<Assignment>],
    variable: &Variable,
) -> Result<(), Refusal> {
    let (Fate::Renamed(new) | Fate::Inverted(new)) = &variable.fate else {
        return Ok(());
    };
    match find(main, others, new)? {
        None => Ok(()),
        Some(_) => Err(Refusal::Both {
            old: variable.name.clone(),
            new: new.clone(),
        }),
    }
}

fn in_main(text: &str, setting: &Setting, variable: &Variable) -> Result<Vec<Splice>, Refusal> {
    let name = &variable.name;
    let (line, form) = (setting.line, || Refusal::Form {
        what: name.clone(),
        line: setting.line,
    });
    let Some((_, value)) = setting.text.split_once('=') else {
        return Err(Refusal::NoValue {
            name: name.clone(),
            line,
        });
    };
    if variable.fate == Fate::Dropped {
        return Ok(vec![Splice {
            range: removed(text, &setting.whole).ok_or_else(form)?,
            with: String::new(),
            line,
            before: format!("{name}=…"),
            after: String::new(),
        }]);
    }
    let place = setting.place.clone().ok_or_else(form)?;
    let name_place = place.start..place.start + name.len();
    changed(
        variable,
        value,
        line,
        name_place,
        place.start + name.len() + 1..place.end,
    )
}

fn in_other(text: &str, at: &Assignment, variable: &Variable) -> Result<Vec<Splice>, Refusal> {
    if variable.fate == Fate::Dropped {
        return Ok(vec![Splice {
            range: at.lines.clone(),
            with: String::new(),
            line: at.line,
            before: format!("{}=…", at.name),
            after: String::new(),
        }]);
    }
    let end = at.lines.start + text[at.lines.clone()].trim_end_matches(['\n', '\r']).len();
    changed(
        variable,
        &at.value,
        at.line,
        at.at.clone(),
        at.at.end + 1..end,
    )
}

/// Another name, and perhaps the opposite value.
fn changed(
    variable: &Variable,
    value: &str,
    line: usize,
    name_place: Range<usize>,
    value_place: Range<usize>,
) -> Result<Vec<Splice>, Refusal> {
    let (Fate::Renamed(new) | Fate::Inverted(new)) = &variable.fate else {
        return Ok(Vec::new());
    };
    let mut made = vec![Splice {
        range: name_place,
        with: new.clone(),
        line,
        before: format!("{}=…", variable.name),
        after: format!("{new}=…"),
    }];
    if let Fate::Inverted(_) = &variable.fate {
        let is = parse_bool(value).ok_or_else(|| Refusal::NoBoolean {
            name: variable.name.clone(),
            line,
        })?;
        made[0].after.push_str("  (the opposite value)");
        made.push(Splice {
            range: value_place,
            with: (!is).to_string(),
            line,
            before: String::new(),
            after: String::new(),
        });
    }
    Ok(made)
}

/// What goes with an option: the space before it, or its own line where something else than space stands there.
fn removed(text: &str, whole: &Range<usize>) -> Option<Range<usize>> {
    let words = &text[whole.clone()];
    if words.ends_with('\n') {
        return Some(whole.clone());
    }
    let indent = words.len()
        - words
            .trim_start_matches([' ', '\t', '\\', '\n', '\r'])
            .len();
    if !words[indent..].starts_with(['#', ';']) {
        return Some(whole.clone());
    }
    // A comment between: it stays, and the lines of the option go.
    let mut start = whole.start;
    for line in words.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if start > whole.start && !trimmed.starts_with(['#', ';']) {
            break;
        }
        start += line.len();
    }
    let behind = text[whole.end..].find('\n').map(|at| whole.end + at + 1)?;
    (text[whole.end..behind].trim() == "\\").then_some(start..behind)
}
