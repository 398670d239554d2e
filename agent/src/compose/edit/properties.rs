//! Whatever a file is like: it is edited at the named places alone, or refused.

use proptest::prelude::*;

use super::{Refusal, edit};
use crate::text_edit::{Changes, Fate, Variable};

/// A part of a file, and what becomes of it.
type Part = (String, String);

fn quoted(style: u8, words: &str) -> String {
    match style % 3 {
        0 => words.to_owned(),
        1 => format!("'{words}'"),
        _ => format!("\"{words}\""),
    }
}

fn same(text: String) -> Part {
    (text.clone(), text)
}

/// A value that no style has to escape.
const VALUE: &str = "[a-zA-Z0-9ä][a-zA-Z0-9ä/.$_-]{0,12}";
/// What may stand behind an entry, or on lines of its own.
const COMMENT: &str = "|  # [a-zA-Z:'\"{}ä# -]{0,20}";

fn line(indent: usize, before: &str, after: &str, comment: &str) -> Part {
    let indent = " ".repeat(indent);
    let after = if after.is_empty() {
        String::new()
    } else {
        format!("{indent}{after}{comment}\n")
    };
    (format!("{indent}{before}{comment}\n"), after)
}

/// One variable: how it is written, and which of the kinds it is.
fn variable(list: bool) -> impl Strategy<Value = (u8, Part, Option<Variable>)> {
    (
        0..4_u8,
        any::<u8>(),
        any::<u8>(),
        VALUE,
        any::<bool>(),
        COMMENT,
    )
        .prop_map(move |(kind, style, value_style, value, yes, comment)| {
            let (name, fate) = match kind {
                0 => (
                    "DATA_RETENTION",
                    Some(Fate::Renamed("PMM_DATA_RETENTION".into())),
                ),
                1 => (
                    "DISABLE_UPDATES",
                    Some(Fate::Inverted("PMM_ENABLE_UPDATES".into())),
                ),
                2 => ("LESS_LOG_NOISE", Some(Fate::Dropped)),
                _ => ("GF_SMTP_HOST", None),
            };
            let inverted = matches!(fate, Some(Fate::Inverted(_)));
            let value = if inverted { yes.to_string() } else { value };
            let new_value = if inverted {
                (!yes).to_string()
            } else {
                value.clone()
            };
            let new_name = match &fate {
                Some(Fate::Renamed(new) | Fate::Inverted(new)) => Some(new.as_str()),
                Some(Fate::Dropped) => None,
                None => Some(name),
            };
            let written = |name: &str, value: &str, bare_boolean: bool| {
                if list {
                    format!("- {}", quoted(style, &format!("{name}={value}")))
                } else if bare_boolean && value_style % 3 == 0 {
                    format!("{}: \"{value}\"", quoted(style, name))
                } else {
                    format!("{}: {}", quoted(style, name), quoted(value_style, value))
                }
            };
            let after = new_name.map(|new| written(new, &new_value, inverted));
            let part = line(
                6,
                &written(name, &value, false),
                &after.unwrap_or_default(),
                &comment,
            );
            let variable = fate.map(|fate| Variable {
                name: name.to_owned(),
                fate,
            });
            (kind, part, variable)
        })
}

fn port() -> impl Strategy<Value = Part> {
    (
        any::<u8>(),
        prop::sample::select(vec!["", "443:", "127.0.0.1:8443:", "[::1]:1:"]),
        0..4_usize,
        COMMENT,
    )
        .prop_map(|(style, before, port, comment)| {
            let (old, new) = [
                ("443", "8443"),
                ("80/tcp", "8080/tcp"),
                ("443/udp", "443/udp"),
                ("9093", "9093"),
            ][port];
            // Brackets and colons need quotes in some places; these never hurt.
            let style = style % 2 + 1;
            let written = |port: &str| format!("- {}", quoted(style, &format!("{before}{port}")));
            line(4, &written(old), &written(new), &comment)
        })
}

fn filling() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(same(String::new())),
        "[a-zA-Z:'\"{}ä -]{0,20}".prop_map(|words| same(format!("    # {words}\n\n"))),
        Just(same(
            "    logging: {driver: json-file, options: {max-size: 10m}}\n".to_owned()
        )),
        Just(same(
            "    command: |\n      DATA_RETENTION: 1\n      - 443:443\n".to_owned()
        )),
    ]
}

/// A file, what it must become, and the changes.
fn file() -> impl Strategy<Value = (String, String, Changes)> {
    let variables = any::<bool>().prop_flat_map(|list| prop::collection::vec(variable(list), 0..5));
    let ports = prop::collection::vec(port(), 0..4);
    let image = (any::<u8>(), COMMENT);
    let order = Just(vec![0, 1, 2, 3]).prop_shuffle();
    (variables, ports, image, filling(), order, any::<bool>()).prop_map(
        |(variables, ports, (style, comment), filling, order, windows)| {
            let mut seen = std::collections::BTreeSet::new();
            let variables: Vec<_> = variables
                .into_iter()
                .filter(|(kind, ..)| seen.insert(*kind))
                .collect();
            let stays = variables.iter().any(|(kind, ..)| *kind != 2);
            let image = |it: &str| format!("image: {}", quoted(style, it));
            let mut blocks = [
                vec![line(
                    4,
                    &image("percona/pmm-server:2"),
                    &image("r:5000/pmm@sha256:ab"),
                    &comment,
                )],
                vec![same("    environment:\n".to_owned())],
                vec![same("    ports:\n".to_owned())],
                vec![filling],
            ];
            let mut wanted = Vec::new();
            for (_, part, variable) in variables {
                blocks[1].push(part);
                wanted.extend(variable);
            }
            // Without one that stays there is nothing to be tried here.
            if !stays {
                blocks[1].clear();
                wanted.clear();
            }
            if ports.is_empty() {
                blocks[2].clear();
            }
            blocks[2].extend(ports);
            let mut parts = vec![same("# ä\nservices:\n  pmm:\n".to_owned())];
            for block in order {
                parts.append(&mut blocks[block]);
            }
            parts.push(same(
                "  other:\n    image: percona/pmm-server:2\n    ports: ['443:443']\n".to_owned(),
            ));
            let text = |side: fn(&Part) -> &String| {
                let text: String = parts.iter().map(side).cloned().collect();
                if windows {
                    text.replace('\n', "\r\n")
                } else {
                    text
                }
            };
            let changes = Changes {
                image: "r:5000/pmm@sha256:ab".into(),
                variables: wanted,
                ports: true,
            };
            (text(|part| &part.0), text(|part| &part.1), changes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_named_places_change_and_nothing_else((before, after, changes) in file()) {
        let made = edit(&before, "pmm", &changes);
        let made = made.map_err(|refusal| TestCaseError::fail(format!("{refusal}\n{before}")))?;
        prop_assert_eq!(&made.text, &after);
        let again = edit(&after, "pmm", &changes).unwrap();
        prop_assert_eq!(&again.text, &after, "a second time");
        prop_assert!(again.diff.is_empty(), "{:?}", again.diff);
    }

    /// A damaged file is refused, or edited to what reads as intended; the function itself sees to that, and never panics.
    #[test]
    fn a_damaged_file_is_refused_or_edited_right(
        (before, _, changes) in file(), at in any::<prop::sample::Index>(), with in "[ \\-:#&*!|>{}\\[\\],'\"\n\ta<ä]{0,3}"
    ) {
        let places: Vec<usize> = before.char_indices().map(|(at, _)| at).collect();
        let at = places[at.index(places.len())];
        let mut damaged = before.clone();
        damaged.insert_str(at, &with);
        match edit(&damaged, "pmm", &changes) {
            Ok(made) => {
                let again = edit(&made.text, "pmm", &changes);
                prop_assert!(again.is_ok_and(|again| again.text == made.text), "{damaged}\n→\n{}", made.text);
            }
            Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let changes = Changes { image: "p:3".into(), variables: Vec::new(), ports: true };
        let _: Result<_, Refusal> = edit(&text, "pmm", &changes);
    }
}
