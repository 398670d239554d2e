//! What the changes mean to the file as a model, worked out without its text. The edited text must read the same.

use saphyr_parser::ScalarStyle;

use super::tree::{Kind, Node};
use crate::{
    engine::environment::parse_bool,
    text_edit::{Changes, Fate, Variable},
};

pub(super) fn apply(root: &mut Node, service: &str, changes: &Changes) {
    let Some(service) = value_of(root, "services").and_then(|it| value_of(it, service)) else {
        return;
    };
    if let Some(image) = value_of(service, "image") {
        set(image, |_| changes.image.clone());
    }
    if let Some(environment) = value_of(service, "environment") {
        variables(environment, &changes.variables);
    }
    if changes.ports
        && let Some(Kind::Sequence(items)) = value_of(service, "ports").map(|it| &mut it.kind)
    {
        items.iter_mut().for_each(port);
    }
}

fn value_of<'a>(mapping: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Kind::Mapping(entries) = &mut mapping.kind else {
        return None;
    };
    let found = entries.iter_mut().find(|(it, _)| it.text() == Some(key));
    found.map(|(_, value)| value)
}

fn set(node: &mut Node, change: impl FnOnce(&str) -> String) {
    if let Kind::Scalar(words, _) = &mut node.kind {
        *words = change(words);
    }
}

fn opposite(value: &str) -> String {
    parse_bool(value).map_or_else(String::new, |is| (!is).to_string())
}

fn variables(environment: &mut Node, variables: &[Variable]) {
    let fate = |name: &str| {
        let found = variables.iter().find(|variable| variable.name == name);
        found.map(|variable| &variable.fate)
    };
    match &mut environment.kind {
        Kind::Mapping(entries) => {
            entries.retain(|(key, _)| !matches!(key.text().and_then(fate), Some(Fate::Dropped)));
            for (key, value) in entries {
                let Some(fate) = key.text().and_then(fate) else {
                    continue;
                };
                if matches!(fate, Fate::Inverted(_)) {
                    set(value, opposite);
                    if let Kind::Scalar(_, style @ ScalarStyle::Plain) = &mut value.kind {
                        *style = ScalarStyle::DoubleQuoted;
                    }
                }
                set(key, |old| fate.new_name().unwrap_or(old).to_owned());
            }
        }
        Kind::Sequence(items) => {
            let split = |item: &Node| {
                let text = item.text()?;
                let (name, value) = text.split_once('=').unwrap_or((text, ""));
                Some((fate(name)?, value.to_owned()))
            };
            items.retain(|item| !matches!(split(item), Some((Fate::Dropped, _))));
            for item in items {
                match split(item) {
                    Some((Fate::Renamed(new), value)) => set(item, |_| format!("{new}={value}")),
                    Some((Fate::Inverted(new), value)) => {
                        set(item, |_| format!("{new}={}", opposite(&value)));
                    }
                    Some((Fate::Dropped, _)) | None => {}
                }
            }
        }
        Kind::Scalar(..) | Kind::Alias(_) => {}
    }
}

fn port(item: &mut Node) {
    if matches!(item.kind, Kind::Scalar(..)) {
        set(item, |words| {
            for (old, new) in [("80", "8080"), ("443", "8443")] {
                for behind in ["", "/tcp"] {
                    let end = format!("{old}{behind}");
                    if words == end {
                        return format!("{new}{behind}");
                    }
                    if let Some(before) = words.strip_suffix(&format!(":{end}")) {
                        return format!("{before}:{new}{behind}");
                    }
                }
            }
            words.to_owned()
        });
        return;
    }
    if value_of(item, "protocol").is_some_and(|it| it.text() != Some("tcp")) {
        return;
    }
    if let Some(target) = value_of(item, "target") {
        set(target, |words| match words {
            "80" => "8080".to_owned(),
            "443" => "8443".to_owned(),
            other => other.to_owned(),
        });
    }
}
