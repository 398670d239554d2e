//! `docs/findings.md`, written from the catalogue, the table of rows and the API's own comments, so that
//! it cannot drift from what the programs do.

use std::{collections::BTreeSet, path::Path};

use ferry_proto::v1::Severity;

use super::catalogue::{
    Code, GROUPS,
    rows::{Met, ROWS, Row},
};
use crate::{recipes::findings, report::json, samples};

const HEAD: &str = "# Findings

What `ferryctl check`, `plan` and `migrate` may find before anything is changed. A *blocker* stops the plan from being made (exit code 3),
a *warning* is worth a look before or after, a *note* is worth knowing. A code never changes its meaning, so scripts and policies
may name it. Where a code has two severities, the sentence of the finding says why it is the one or the other.

This page is written from the code; [how](../CONTRIBUTING.md#the-page-of-findings).
";

const ROWS_HEAD: &str = "
## What is known to go wrong, and how it is met

From upstream's issues, forum and documents. *Not yet* is said where it is so.

| row | what goes wrong | met by |
|---|---|---|
";

const JSON_HEAD: &str = "
## `ferryctl check --output json`

One object on one line of stdout, nothing else there. The exit code is the same as without: 0, or 3 when there is a blocker.

| field | type | meaning |
|---|---|---|
| `kind` | text | always `check` |
| `facts` | [Facts](#facts) | what was observed |
| `findings` | list of [Finding](#finding) | blockers first, then warnings, then notes |

What keeps: no field changes its name, type or meaning, and none is taken away; there may be more of them, and more codes, so a reader
passes over what it does not know. A field is left out when it is `false`, `0`, empty or absent. Numbers marked *as text* are strings of
digits, because JSON's own numbers lose the last ones in many readers. Enums are texts. A time is RFC 3339 in UTC. Where an agent of
a newer release says a value that this `ferryctl` has no name for, `facts` is an object with the one field `unwritable`. If nothing could
be observed at all there is no check but one object of the kind `error`, with `code`, `what`, `changes`, `details`, `state` and `hint`.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for group in GROUPS {
        page.push_str(&format!(
            "\n## {}\n\n| code | severity | cause | remedy |\n|---|---|---|---|\n",
            group.title
        ));
        for code in group.codes {
            page.push_str(&line(code));
        }
    }
    page.push_str(ROWS_HEAD);
    for row in ROWS {
        page.push_str(&row_line(row));
    }
    page.push_str(JSON_HEAD);
    let (facts, plan) = (
        include_str!("../../../../proto/ferry/v1/facts.proto"),
        include_str!("../../../../proto/ferry/v1/plan.proto"),
    );
    for entity in described(facts) {
        page.push_str(&entity.section());
    }
    let of_plan = described(plan).into_iter();
    for entity in of_plan.filter(|it| ["Finding", "Severity"].contains(&it.name.as_str())) {
        page.push_str(&entity.section());
    }
    page
}

fn line(code: &Code) -> String {
    let name = code.name();
    let severities: Vec<&str> = code.severities().iter().map(|it| it.word()).collect();
    let rows: Vec<String> = ROWS
        .iter()
        .filter(|row| row.met.contains(&Met::Finding(code_of(name))))
        .map(|row| format!("[{0}](#row-{0})", row.number))
        .collect();
    let rows = match rows.len() {
        0 => String::new(),
        1 => format!(" (row {})", rows.join(", ")),
        _ => format!(" (rows {})", rows.join(", ")),
    };
    format!(
        "| <a id=\"{name}\"></a>`{name}` | {} | {}{rows} | {} |\n",
        severities.join(", "),
        code.cause(),
        code.remedy()
    )
}

fn code_of(name: &str) -> &'static Code {
    super::catalogue::all()
        .find(|code| code.name() == name)
        .unwrap()
}

fn row_line(row: &Row) -> String {
    let met: Vec<String> = row
        .met
        .iter()
        .map(|met| match met {
            Met::Finding(code) => format!("finding [`{0}`](#{0})", code.name()),
            Met::Step(id) => format!("step `{id}`"),
            Met::Otherwise(text) => (*text).to_owned(),
            Met::NotYet(text) => format!("*not yet*: {text}"),
        })
        .collect();
    format!(
        "| <a id=\"row-{0}\"></a>{0} | {1} | {2} |\n",
        row.number,
        row.pain,
        met.join("; ")
    )
}

/// A message or an enum of the API as its source describes it.
struct Entity {
    name: String,
    comment: String,
    is_enum: bool,
    /// Name, type, meaning; of an enum's value name and meaning.
    fields: Vec<[String; 3]>,
}

impl Entity {
    fn section(&self) -> String {
        let mut text = format!("\n### {}\n\n", self.name);
        if !self.comment.is_empty() {
            text.push_str(&format!("{}\n\n", self.comment));
        }
        text.push_str(if self.is_enum {
            "| value | meaning |\n|---|---|\n"
        } else {
            "| field | type | meaning |\n|---|---|---|\n"
        });
        for [name, kind, meaning] in &self.fields {
            text.push_str(&if self.is_enum {
                format!("| `{name}` | {meaning} |\n")
            } else {
                format!("| `{name}` | {kind} | {meaning} |\n")
            });
        }
        text
    }
}

/// What a source of the API says. It is ours and simple: no nesting, no options, comments above what they are about.
fn described(source: &str) -> Vec<Entity> {
    let mut all: Vec<Entity> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment.push(text.trim());
            continue;
        }
        let said = without_sources(&std::mem::take(&mut comment).join(" ")).replace('|', "\\|");
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words.as_slice() {
            [what @ ("message" | "enum"), name, ..] => {
                inside = line.ends_with('{');
                all.push(Entity {
                    name: (*name).to_owned(),
                    comment: said,
                    is_enum: *what == "enum",
                    fields: Vec::new(),
                });
            }
            ["}"] => inside = false,
            [value, "=", _] if inside => {
                let entity = all.last_mut().unwrap();
                entity
                    .fields
                    .push([(*value).to_owned(), String::new(), said]);
            }
            ["repeated", kind, name, "=", _] if inside => {
                let kind = format!("list of {}", word_of(kind));
                all.last_mut()
                    .unwrap()
                    .fields
                    .push([(*name).to_owned(), kind, said]);
            }
            [kind, name, "=", _] if inside => {
                let kind = word_of(kind);
                all.last_mut()
                    .unwrap()
                    .fields
                    .push([(*name).to_owned(), kind, said]);
            }
            _ => {}
        }
    }
    all
}

/// Where a comment has its knowledge from is for those who work on the code.
fn without_sources(comment: &str) -> String {
    let Some((before, source)) = comment.split_once(" (facts/") else {
        return comment.to_owned();
    };
    let (_, after) = source.split_once(')').unwrap_or_default();
    format!("{before}{after}")
}

/// A type of the API in JSON.
fn word_of(kind: &str) -> String {
    match kind {
        "string" => "text".to_owned(),
        "bool" => "truth".to_owned(),
        "uint32" | "int32" | "double" => "number".to_owned(),
        "uint64" | "int64" => "number as text".to_owned(),
        "google.protobuf.Timestamp" => "time".to_owned(),
        own => format!("[{own}](#{})", own.to_ascii_lowercase()),
    }
}

/// `INSTA_UPDATE=always` writes the page, as it does for other things that are made from code.
#[test]
fn the_page_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|it| it == "always") {
        fs_err::write(&path, page()).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "`INSTA_UPDATE=always cargo test -p ferry-ctl --lib the_page` writes docs/findings.md"
    );
}

/// A server with something to find, and with every field that an ordinary server fills in.
fn example() -> serde_json::Value {
    let mut facts = samples::facts();
    let server = facts.server.as_mut().unwrap();
    server.clickhouse_dirty = true;
    server.clickhouse_dirty_version = 16;
    server.used = Some(samples::used());
    let found = findings(&facts, &samples::wishes());
    assert!(
        found
            .iter()
            .any(|finding| finding.severity() == Severity::Blocker)
    );
    serde_json::from_str(&json::check(&facts, &found)).unwrap()
}

#[test]
fn the_json_of_a_check_keeps_its_shape() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&example()).unwrap());
}

#[test]
fn every_field_of_the_json_is_described() {
    fn names(value: &serde_json::Value, into: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    into.insert(name.clone());
                    names(value, into);
                }
            }
            serde_json::Value::Array(list) => list.iter().for_each(|value| names(value, into)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    names(&example(), &mut all);
    assert!(all.len() > 50, "{}", all.len());
    let page = page();
    for name in all {
        assert!(
            page.contains(&format!("\n| `{name}` | ")),
            "{name} is not described"
        );
    }
}
