//! What PMM 3 asks of a compose file, put into its text: the image of one service, the names and values of its variables, the
//! container's side of its ports.
//!
//! Why the text and not a model that is written anew: people keep comments, order and quotes in that file, and read its history.
//! So the new words are put into the old text at the places that a parser names, and all else stays byte for byte. What cannot
//! be edited so that anybody sees it is right is refused, with the line.
//!
//! The result is never taken on trust: it is parsed again and must be what the changes mean to a model of the old file,
//! which other code works out.
//!
//! Pure: no file, no Compose, no engine.

mod environment;
mod intended;
mod ports;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod tree;

use tree::{Kind, Node};

use crate::text_edit::{Changes, Edited, Splice, spliced};

/// Why a file is left alone. Never with the value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is no YAML that can be read, from line {line} on")]
    Unreadable { line: usize },
    #[error("it is no file of services with one document")]
    NoServices,
    #[error("it has no service `{service}`")]
    NoService { service: String },
    #[error("`{what}` is there twice (line {line}), and only one of them counts")]
    Twice { what: String, line: usize },
    #[error("`{what}` in line {line} takes settings from elsewhere")]
    Borrowed { what: String, line: usize },
    #[error(
        "`{what}` in line {line} has an anchor, an alias or a tag, so a change could mean something elsewhere"
    )]
    Shared { what: String, line: usize },
    #[error("the service has no `image` of its own to change")]
    NoImage,
    #[error("the service is built (`build` in line {line}), not taken from an image")]
    Built { line: usize },
    #[error("`{what}` in line {line} takes a part of its value from a variable (`$`)")]
    Interpolated { what: String, line: usize },
    #[error("`{what}` in line {line} is written in a way that is not edited")]
    Form { what: String, line: usize },
    #[error("a range in `ports`, line {line}, has a port that PMM 3 does not have")]
    Range { line: usize },
    #[error("variable `{name}` must change and is not in the service's `environment`{}",
        if *.env_file { ": it comes from `env_file`" } else { "" })]
    NotInFile { name: String, env_file: bool },
    #[error("variable `{name}` in line {line} has its value from whoever calls Compose")]
    NoValue { name: String, line: usize },
    #[error("variable `{name}` in line {line} is neither true nor false")]
    NoBoolean { name: String, line: usize },
    #[error("variables `{old}` and `{new}` are both there (line {line})")]
    Both {
        old: String,
        new: String,
        line: usize,
    },
    #[error("edited, it would not read as it is meant to")]
    Unproven,
}

/// Edits the text.
///
/// # Errors
/// [`Refusal`]: nothing of it is edited then.
pub(crate) fn edit(text: &str, service: &str, changes: &Changes) -> Result<Edited, Refusal> {
    let root = tree::read(text)?;
    let found = find(&root, service)?;
    let mut splices = Vec::from_iter(image(text, found, &changes.image)?);
    splices.extend(environment::splices(text, found, &changes.variables)?);
    if changes.ports {
        splices.extend(ports::splices(text, found)?);
    }
    let edited = spliced(text, splices).ok_or(Refusal::Unproven)?;
    let mut wanted = root.clone();
    intended::apply(&mut wanted, service, changes);
    let read = tree::read(&edited.text).map_err(|_| Refusal::Unproven)?;
    if read.same(&wanted) {
        Ok(edited)
    } else {
        Err(Refusal::Unproven)
    }
}

/// The service, when it stands in the file itself and for itself.
fn find<'a>(root: &'a Node, service: &str) -> Result<&'a Node, Refusal> {
    own(root, "the file")?;
    if let Some((key, _)) = root.entry("include")? {
        return Err(borrowed("include", key));
    }
    let (_, services) = root.entry("services")?.ok_or(Refusal::NoServices)?;
    own(services, "services")?;
    merges_nothing(services)?;
    let none = || Refusal::NoService {
        service: service.to_owned(),
    };
    let (_, found) = services.entry(service)?.ok_or_else(none)?;
    own(found, service)?;
    if !matches!(found.kind, Kind::Mapping(_)) {
        return Err(none());
    }
    merges_nothing(found)?;
    if let Some((key, _)) = found.entry("extends")? {
        return Err(borrowed("extends", key));
    }
    if let Some((key, _)) = found.entry("build")? {
        return Err(Refusal::Built { line: key.line });
    }
    Ok(found)
}

fn image(text: &str, service: &Node, wanted: &str) -> Result<Option<Splice>, Refusal> {
    let (key, value) = service.entry("image")?.ok_or(Refusal::NoImage)?;
    let what = "image";
    own(key, what)?;
    own(value, what)?;
    let old = value.text().filter(|old| !old.is_empty());
    let old = old.ok_or(Refusal::NoImage)?;
    if old == wanted {
        return Ok(None);
    }
    if old.contains('$') {
        return Err(interpolated(what, value));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !wanted.starts_with(|c: char| c.is_ascii_alphanumeric()) || !wanted.chars().all(plain) {
        return Err(form(what, value));
    }
    let range = value.literal(text).ok_or_else(|| form(what, value))?;
    Ok(Some(Splice {
        before: format!("image: {old}"),
        after: format!("image: {wanted}"),
        range,
        with: wanted.to_owned(),
        line: value.line,
    }))
}

/// Refuses what others may have a part in.
fn own(node: &Node, what: &str) -> Result<(), Refusal> {
    if node.shared() {
        return Err(Refusal::Shared {
            what: what.to_owned(),
            line: node.line,
        });
    }
    Ok(())
}

fn merges_nothing(mapping: &Node) -> Result<(), Refusal> {
    match mapping.entry("<<")? {
        Some((key, _)) => Err(borrowed("<<", key)),
        None => Ok(()),
    }
}

fn borrowed(what: &str, node: &Node) -> Refusal {
    Refusal::Borrowed {
        what: what.to_owned(),
        line: node.line,
    }
}

fn interpolated(what: &str, node: &Node) -> Refusal {
    Refusal::Interpolated {
        what: what.to_owned(),
        line: node.line,
    }
}

fn form(what: &str, node: &Node) -> Refusal {
    Refusal::Form {
        what: what.to_owned(),
        line: node.line,
    }
}
