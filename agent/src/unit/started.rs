//! A unit that starts a container which exists (`docker start -a NAME`): whether it starts the next one that has the name, as it is.
//!
//! Why its files then stay: they say nothing of the container but its name, and after the crossing the new one has it. Where they say more,
//! an id for one, they would have to follow a container that is made in the middle of the run, and a person writes them anew.

use super::{
    Refusal,
    described::{removes, run_words},
    text::{Entry, Word, entries},
};

/// Options of `start` that say nothing of which container.
const PLAIN: &[&str] = &[
    "-a",
    "-i",
    "-ai",
    "-ia",
    "--attach",
    "--attach=true",
    "--interactive",
    "--interactive=true",
    "--sig-proxy",
    "--sig-proxy=true",
];
/// What is done to a container before each start, or is told of the one that there is.
const OF_THIS_ONE: &[&str] = &["ExecStartPre", "ExecCondition", "PIDFile"];

/// The one name by which it starts its container, as it is written; `None` where it starts none.
pub(super) fn started(text: &str) -> Option<Result<Word, Refusal>> {
    // What cannot be read is told where it is read for an edit.
    let entries = entries(text).ok()?;
    let words = run_words(text, &entries).ok().flatten()?;
    let mut rest = words.iter().skip(1).peekable();
    rest.next_if(|it| it.text == "container");
    let start = rest.next().filter(|it| it.text == "start")?;
    Some(named(text, &entries, rest, start.line))
}

fn named<'a>(
    text: &str,
    entries: &[Entry],
    words: impl Iterator<Item = &'a Word>,
    line: usize,
) -> Result<Word, Refusal> {
    let of_this_one = entries.iter().find(|it| {
        it.section == "Service" && OF_THIS_ONE.contains(&it.key.as_str()) || removes(text, it)
    });
    if let Some(entry) = of_this_one {
        return Err(Refusal::OfThisOne {
            what: entry.key.clone(),
            line: entry.line,
        });
    }
    let mut words = words.filter(|it| !PLAIN.contains(&it.text.as_str()));
    match (words.next(), words.next()) {
        (Some(name), None) if !name.text.starts_with('-') => Ok(name.clone()),
        _ => Err(Refusal::Starts { line }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Option<Result<String, Refusal>> {
        let text = format!("[Unit]\nAfter=docker.service\n[Service]\n{lines}\nRestart=always\n");
        started(&text).map(|it| it.map(|word| word.text))
    }

    #[test]
    fn a_start_by_name_is_told_from_all_else() {
        for words in [
            "/usr/bin/docker start -a pmm",
            "-/usr/bin/docker container start --attach pmm",
            "/usr/bin/podman start pmm",
            "/usr/bin/podman start \\\n  pmm",
        ] {
            let name = of(&format!("ExecStart={words}"));
            assert_eq!(name, Some(Ok("pmm".to_owned())), "{words}");
        }
        for words in ["docker run --rm start", "/bin/sh -c 'docker start pmm'", ""] {
            assert_eq!(of(&format!("ExecStart={words}")), None, "{words}");
        }
    }

    #[test]
    fn what_is_about_one_container_and_not_its_name_is_refused() {
        for words in ["", "-a", "pmm other", "--checkpoint old pmm", "-a --all"] {
            let refused = of(&format!("ExecStart=/usr/bin/docker start {words}"));
            assert_eq!(refused, Some(Err(Refusal::Starts { line: 4 })), "{words}");
        }
        for line in [
            "PIDFile=/run/containers/0123/conmon.pid",
            "ExecStartPre=-/usr/bin/docker stop pmm",
            "ExecStopPost=/usr/bin/docker rm pmm",
        ] {
            let text = format!("{line}\nExecStart=/usr/bin/docker start -a pmm\n");
            let refused = of(&text).unwrap().unwrap_err();
            assert!(matches!(refused, Refusal::OfThisOne { .. }), "{refused}");
        }
    }
}
