//! What specifiers and variables in a unit mean: enough of it to tell a container, an image and a file by their names.
//!
//! What is not known here is not guessed; the unit is left alone then.

use std::{collections::BTreeMap, path::Path};

use super::{
    Refusal,
    hold::runtime,
    text::{Entry, assignments, entries, words},
};

/// Drop-ins are no larger.
const MOST_BYTES: u64 = 1 << 20;

/// What is known.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// `pmm-server.service`.
    unit: String,
    home: Option<String>,
    runtime: Option<String>,
    variables: BTreeMap<String, String>,
}

impl Scope {
    pub(super) fn of(unit: &str, user: bool) -> Self {
        let set = |name| std::env::var(name).ok().filter(|it| !it.is_empty());
        let (home, runtime) = if user {
            (set("HOME"), Some(runtime()))
        } else {
            (Some("/root".to_owned()), Some("/run".to_owned()))
        };
        Self {
            unit: unit.to_owned(),
            home,
            runtime,
            variables: BTreeMap::new(),
        }
    }

    /// The variables of the service itself.
    pub(super) fn take_environment(&mut self, text: &str, all: &[Entry]) -> Result<(), Refusal> {
        for entry in all.iter().filter(|it| it.is("Service", "Environment")) {
            let words = words(text, entry).ok_or(Refusal::Unreadable { line: entry.line })?;
            for word in words {
                let Some((name, value)) = word.text.split_once('=') else {
                    continue;
                };
                // Specifiers are meant here, variables are not.
                match self.specified(value) {
                    Some(value) => self.variables.insert(name.to_owned(), value),
                    None => self.variables.remove(name),
                };
            }
        }
        Ok(())
    }

    /// The files with variables of the service itself, as they are named.
    pub(super) fn environment_files(&self, text: &str, all: &[Entry]) -> Vec<String> {
        let files = all.iter().filter(|it| it.is("Service", "EnvironmentFile"));
        files
            .map(|it| text[it.value.clone()].trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect()
    }

    /// The variables of such a file go before those of the unit.
    pub(super) fn take_file(&mut self, text: &str) {
        for it in assignments(text) {
            let value = it.value.trim();
            let bare = ['"', '\'']
                .iter()
                .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            let value = bare.unwrap_or(value).to_owned();
            self.variables.insert(it.name.trim().to_owned(), value);
        }
    }

    /// What a word means; `None`: that is not known.
    pub(super) fn resolve(&self, word: &str) -> Option<String> {
        let text = self.specified(word)?;
        let mut made = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            made.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('$') {
                made.push('$');
                rest = behind;
                continue;
            }
            // Without braces it is a word of its own, which may become several.
            let (name, behind) = rest.strip_prefix('{')?.split_once('}')?;
            made.push_str(self.variables.get(name)?);
            rest = behind;
        }
        made.push_str(rest);
        Some(made)
    }

    fn specified(&self, word: &str) -> Option<String> {
        let stem = self.unit.rsplit_once('.').map_or(&*self.unit, |it| it.0);
        let mut made = String::new();
        let mut chars = word.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                made.push(c);
                continue;
            }
            match chars.next()? {
                '%' => made.push('%'),
                'n' => made.push_str(&self.unit),
                'N' => made.push_str(stem),
                'p' => made.push_str(stem.split('@').next().unwrap_or(stem)),
                'i' => made.push_str(stem.split_once('@').map_or("", |it| it.1)),
                'h' => made.push_str(self.home.as_deref()?),
                't' => made.push_str(self.runtime.as_deref()?),
                _ => return None,
            }
        }
        Some(made)
    }
}

/// Whether a drop-in has no part in what container is made.
pub(super) fn is_foreign(path: &Path) -> bool {
    const OURS: &[&str] = &[
        "Environment",
        "EnvironmentFile",
        "ExecStart",
        "PassEnvironment",
        "UnsetEnvironment",
    ];
    let small = fs_err::metadata(path).is_ok_and(|it| it.len() <= MOST_BYTES);
    let text = small.then(|| fs_err::read_to_string(path).ok()).flatten();
    let Some(entries) = text.and_then(|text| entries(&text).ok()) else {
        return false;
    };
    let part = |it: &Entry| it.section == "Container" || OURS.contains(&it.key.as_str());
    !entries.iter().any(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_words_are_known() {
        let mut scope = Scope::of("pmm-server.service", false);
        let text = "[Service]\nEnvironment=PMM_VOLUME_NAME=%N\nEnvironment=PMM_TAG=2.44.1 PMM_IMAGE=docker.io/percona/pmm-server\n\
                    EnvironmentFile=-%h/.config/pmm-server/env\n";
        let all = entries(text).unwrap();
        scope.take_environment(text, &all).unwrap();
        assert_eq!(
            scope.environment_files(text, &all),
            ["-%h/.config/pmm-server/env"]
        );
        let known = |word: &str| scope.resolve(word);
        assert_eq!(known("%N").as_deref(), Some("pmm-server"));
        assert_eq!(
            known("${PMM_IMAGE}:${PMM_TAG}").as_deref(),
            Some("docker.io/percona/pmm-server:2.44.1")
        );
        assert_eq!(
            known("${PMM_VOLUME_NAME}:/srv").as_deref(),
            Some("pmm-server:/srv")
        );
        assert_eq!(
            known("%t/%n.ctr-id 100%% $$1").as_deref(),
            Some("/run/pmm-server.service.ctr-id 100% $1")
        );
        for unknown in ["${OTHER}", "$PMM_TAG", "%H", "%"] {
            assert_eq!(known(unknown), None, "{unknown}");
        }
        let mut scope = scope.clone();
        scope.take_file("# ours\nPMM_TAG='2.43.0'\n");
        assert_eq!(scope.resolve("${PMM_TAG}").as_deref(), Some("2.43.0"));
    }

    #[test]
    fn a_drop_in_counts_where_it_has_a_part_in_the_container() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        for (text, foreign) in [
            ("[Service]\nTimeoutStopSec=5\n", true),
            ("[Service]\nExecStart=\n", false),
            ("[Container]\nLabel=a=b\n", false),
            ("no unit\n", false),
        ] {
            fs_err::write(&path, text).unwrap();
            assert_eq!(is_foreign(&path), foreign, "{text}");
        }
        assert!(!is_foreign(&folder.path().join("none")));
    }
}
