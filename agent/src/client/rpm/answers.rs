//! What rpm and dnf answer, read.

use std::cmp::Ordering;

use super::{Known, Package};
use crate::client::{is_architecture, is_version, known_package};

/// Lines of `package NAME VERSION ARCHITECTURE DIGEST`; every other line says that something is not installed.
pub(super) fn packages(text: &str) -> Vec<Known> {
    let read = |line: &str| {
        let mut words = line.strip_prefix("package ")?.split(' ');
        let name = known_package(words.next()?)?;
        let (version, architecture, digest) = (words.next()?, words.next()?, words.next()?);
        let sound = words.next().is_none() && is_version(version) && is_architecture(architecture);
        sound.then(|| Known {
            package: Package {
                name,
                version: version.to_owned(),
                architecture: architecture.to_owned(),
            },
            digest: digest.to_owned(),
        })
    };
    text.lines().filter_map(read).collect()
}

/// The name of a package that is none of PMM's, in the same lines.
pub(super) fn stranger(text: &str) -> Option<String> {
    let name = text.lines().next()?.strip_prefix("package ")?;
    let name = name.split(' ').next()?;
    known_package(name).is_none().then(|| name.to_owned())
}

/// Lines of `available NAME VERSION ARCHITECTURE`: the versions for this architecture, the newest first, each once.
pub(super) fn versions(text: &str, name: &str, architecture: &str) -> Vec<String> {
    let read = |line: &str| {
        let mut words = line.strip_prefix("available ")?.split(' ');
        let (package, version, its) = (words.next()?, words.next()?, words.next()?);
        let fits = package == name && (its == architecture || its == "noarch");
        (fits && is_version(version)).then(|| version.to_owned())
    };
    let mut versions: Vec<String> = text.lines().filter_map(read).collect();
    versions.sort_by(|a, b| compare(b, a));
    versions.dedup();
    versions
}

/// Lines of `NAME` or `NAME < VERSION`: the names that are none of PMM's.
pub(super) fn obsoleted(text: &str) -> impl Iterator<Item = &str> {
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    // `(none)` is what an older rpm says.
    names.filter(|name| known_package(name).is_none() && !name.starts_with(['(', '-']))
}

/// What is asked for by the package itself, in lines of `THING is needed by PACKAGE`.
pub(super) fn needed(complaint: &str) -> Vec<String> {
    needs(complaint)
        .filter(|(_, by)| !by.starts_with("(installed) "))
        .map(|(thing, _)| thing.to_owned())
        .collect()
}

/// The installed packages that need the old one, in lines of `THING is needed by (installed) PACKAGE`.
pub(super) fn needing_the_old(complaint: &str) -> Vec<String> {
    let mut names: Vec<String> = needs(complaint)
        .filter_map(|(_, by)| Some(by.strip_prefix("(installed) ")?.to_owned()))
        .collect();
    names.dedup();
    names
}

fn needs(complaint: &str) -> impl Iterator<Item = (&str, &str)> {
    let line = |line: &'_ str| -> Option<(usize, usize)> {
        let at = line.find(" is needed by ")?;
        Some((at, at + " is needed by ".len()))
    };
    complaint.lines().filter_map(move |text| {
        let (end, begin) = line(text)?;
        Some((text[..end].trim(), text[begin..].trim()))
    })
}

/// Versions by rpm's rules: epoch first, then runs of digits by number and runs of letters by spelling; digits are newer than letters, `~`
/// is older than the end, `^` newer than it.
fn compare(one: &str, other: &str) -> Ordering {
    let apart = |text: &str| match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse::<u64>().unwrap_or(0), rest.to_owned()),
        None => (0, text.to_owned()),
    };
    let ((epoch, one), (other_epoch, other)) = (apart(one), apart(other));
    epoch.cmp(&other_epoch).then_with(|| {
        let halves = |text: &str| match text.rsplit_once('-') {
            Some((version, release)) => (version.to_owned(), release.to_owned()),
            None => (text.to_owned(), String::new()),
        };
        let ((version, release), (other_version, other_release)) = (halves(&one), halves(&other));
        compare_part(&version, &other_version).then_with(|| compare_part(&release, &other_release))
    })
}

/// A run of a version.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'t> {
    // In the order of their age.
    Tilde,
    End,
    Caret,
    Letters(&'t str),
    /// By length and then by spelling, without zeros in front, so that no number is too long.
    Digits(usize, &'t str),
}

fn compare_part(mut one: &str, mut other: &str) -> Ordering {
    loop {
        let (run, rest) = next_run(one);
        let (other_run, other_rest) = next_run(other);
        let ended = matches!(run, Run::End);
        match run.cmp(&other_run) {
            Ordering::Equal if ended => return Ordering::Equal,
            Ordering::Equal => (one, other) = (rest, other_rest),
            differ => return differ,
        }
    }
}

fn next_run(text: &str) -> (Run<'_>, &str) {
    let text =
        text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^');
    let till = |fits: fn(&char) -> bool| {
        let end = text.find(|c: char| !fits(&c)).unwrap_or(text.len());
        text.split_at(end)
    };
    match text.chars().next() {
        None => (Run::End, ""),
        Some('~') => (Run::Tilde, &text[1..]),
        Some('^') => (Run::Caret, &text[1..]),
        Some(c) if c.is_ascii_digit() => {
            let (run, rest) = till(char::is_ascii_digit);
            let run = run.trim_start_matches('0');
            (Run::Digits(run.len(), run), rest)
        }
        Some(_) => {
            let (run, rest) = till(char::is_ascii_alphabetic);
            (Run::Letters(run), rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pmms_own_packages_are_read() {
        let text = "package pmm2-client is not installed\npackage pmm-client 3.8.1-7.el9 x86_64 ab12\npackage openssh 9-1 x86_64 cd\n\
                    package pmm-client -o x86_64 ab\n";
        let all = packages(text);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].package.to_string(), "pmm-client 3.8.1-7.el9");
        assert_eq!(
            (&*all[0].package.architecture, &*all[0].digest),
            ("x86_64", "ab12")
        );
        assert_eq!(
            stranger("package openssh 9-1 x86_64 cd\n").as_deref(),
            Some("openssh")
        );
        assert_eq!(stranger(text), None);
        assert_eq!(stranger("error: not an rpm package\n"), None);
    }

    #[test]
    fn versions_come_the_newest_first_and_for_this_machine() {
        let text = "available pmm-client 3.10.0-1.el9 x86_64\n\navailable pmm-client 3.8.1-7.el9 x86_64\navailable pmm-client 3.8.1-7.el9 x86_64\n\
                    available pmm-client 3.9.0-7.el9 aarch64\navailable pmm-client 3.8.1-10.el9 noarch\navailable other 4-1 x86_64\n\
                    available pmm-client --x x86_64\n";
        assert_eq!(
            versions(text, "pmm-client", "x86_64"),
            ["3.10.0-1.el9", "3.8.1-10.el9", "3.8.1-7.el9"]
        );
    }

    #[test]
    fn versions_are_compared_as_rpm_does() {
        for (older, newer) in [
            ("3.8.1-7", "3.8.1-10"),
            ("3.9.0-1", "3.10.0-1"),
            ("3.8.1-7", "1:2.0-1"),
            ("3.9.0~rc1-1", "3.9.0-1"),
            ("3.9.0-1", "3.9.0^git1-1"),
            ("3.9.0^git1-1", "3.9.0.1-1"),
            ("1.a-1", "1.1-1"),
            ("1.0a-1", "1.0b-1"),
            ("3.9-1", "3.9.0-1"),
        ] {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{older} {newer}");
        }
        for (one, other) in [("3.08-1", "3.8-1"), ("0:3-1", "3-1"), ("3_1-1", "3.1-1")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_told_apart() {
        let complaint = "error: Failed dependencies:\n\tperl-interpreter is needed by pmm-client-3.8.1-7.el9.x86_64\n\
                         \tpmm2-client is needed by (installed) monitoring-1-1.noarch\n";
        assert_eq!(needed(complaint), ["perl-interpreter"]);
        assert_eq!(needing_the_old(complaint), ["monitoring-1-1.noarch"]);
        let obsoletes = "pmm2-client < 3.0.0\nmonitoring\n(none)\n";
        assert_eq!(obsoleted(obsoletes).collect::<Vec<_>>(), ["monitoring"]);
    }
}
