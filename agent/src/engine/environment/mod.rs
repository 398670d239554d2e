//! The environment of a PMM 2 container, put into PMM 3's words.
//!
//! Why not as upstream's script does: it computes `1 - value`, which dies on `true` after the server was stopped, and passes values
//! through a shell, which runs what is in backticks (facts/pmm.md 2.1). Here values are bytes that nobody reads, but for the four
//! that change their meaning. PMM 3 ignores old names with no more than a line in its log, so a name that is missed is a setting
//! that is lost.

mod table;
mod values;

use table::Rule;
use values::complaint;
pub(crate) use values::parse_bool;

/// The version of PMM 3 that the server goes to; some variables came or went between minors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetVersion {
    /// 3.
    pub major: u32,
    /// As in 3.8.
    pub minor: u32,
}

impl TargetVersion {
    /// The version that `text` begins with. One that is not told is taken for the newest of PMM 3: it has the most names.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().ok());
        let mut next = |otherwise| numbers.next().flatten().unwrap_or(otherwise);
        Self {
            major: next(3),
            minor: next(u32::MAX),
        }
    }
}

/// What became of one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New name, same value.
    Renamed,
    /// New name, opposite value.
    Inverted,
    /// Left out; the note says why.
    Dropped,
    /// Name and value as before.
    Kept,
    /// Its value cannot be understood: a blocker, because the setting would be guessed.
    Invalid,
    /// Not one of PMM's names as far as is known; as before.
    Unknown,
}

/// What became of one variable, without its value: values may be secrets, and this is shown and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvChange {
    /// The name in the old container.
    pub name: String,
    /// The name in the new one, when it differs.
    pub new_name: Option<String>,
    /// What was done.
    pub kind: ChangeKind,
    /// Why; empty when the kind says it all.
    pub note: String,
}

/// An environment for the new container and the account of it.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvTranslation {
    /// What the new container gets, in the order of the old one.
    pub env: Vec<(String, String)>,
    /// One entry for every variable that was given.
    pub changes: Vec<EnvChange>,
}

impl std::fmt::Debug for EnvTranslation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("EnvTranslation")
            .field("names", &names)
            .field("changes", &self.changes)
            .finish()
    }
}

impl EnvTranslation {
    /// For a target that has the same words: everything as it is.
    #[must_use]
    pub fn unchanged(env: Vec<(String, String)>) -> Self {
        let kept = |(name, _): &(String, String)| EnvChange {
            name: name.clone(),
            new_name: None,
            kind: ChangeKind::Kept,
            note: String::new(),
        };
        Self {
            changes: env.iter().map(kept).collect(),
            env,
        }
    }

    /// The variables whose values cannot be understood.
    pub fn invalid(&self) -> impl Iterator<Item = &EnvChange> {
        self.changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Invalid)
    }
}

/// What the user set: the container's environment without what its image brought along unchanged.
#[must_use]
pub fn user_env(
    container: &[(String, String)],
    image: &[(String, String)],
) -> Vec<(String, String)> {
    container
        .iter()
        .filter(|pair| !image.contains(pair))
        .cloned()
        .collect()
}

/// Puts `user_env` into the words of `target` (facts/pmm.md 1.9). Where an old and a new name are both given, the new one wins.
#[must_use]
pub fn translate_env(user_env: &[(String, String)], target: TargetVersion) -> EnvTranslation {
    let given = |name: &str| user_env.iter().any(|(given, _)| given == name);
    let mut env = Vec::new();
    let mut changes = Vec::new();
    for (name, value) in user_env {
        let mut record = |new_name: Option<&str>, kind, note: String| {
            changes.push(EnvChange {
                name: name.clone(),
                new_name: new_name.map(str::to_owned),
                kind,
                note,
            });
        };
        match table::rule(name) {
            Some(Rule::Drop(why)) => record(None, ChangeKind::Dropped, why.to_owned()),
            Some(Rule::Rename(new) | Rule::Invert(new)) if given(new) => {
                record(
                    None,
                    ChangeKind::Dropped,
                    format!("`{new}` is given too, and wins"),
                );
            }
            Some(Rule::Rename(new)) => {
                if let Some(first) = preferred(name, new, given) {
                    record(
                        None,
                        ChangeKind::Dropped,
                        format!("`{first}` becomes `{new}` too, and wins"),
                    );
                    continue;
                }
                if let Some(why) = complaint(new, value) {
                    record(Some(new), ChangeKind::Invalid, why.to_owned());
                    continue;
                }
                env.push((new.to_owned(), value.clone()));
                record(
                    Some(new),
                    ChangeKind::Renamed,
                    rename_note(name, new).to_owned(),
                );
            }
            Some(Rule::Invert(new)) => match parse_bool(value) {
                Some(disabled) => {
                    env.push((
                        new.to_owned(),
                        if disabled { "false" } else { "true" }.to_owned(),
                    ));
                    let note = "given in the environment, it cannot be changed in PMM's settings";
                    record(Some(new), ChangeKind::Inverted, note.to_owned());
                }
                None => record(
                    Some(new),
                    ChangeKind::Invalid,
                    values::NO_BOOLEAN.to_owned(),
                ),
            },
            None => {
                // PMM 2 does not look at PMM 3's names, so nobody has noticed yet.
                if let Some(why) = complaint(name, value) {
                    record(None, ChangeKind::Invalid, why.to_owned());
                    continue;
                }
                let (kind, note) = unlisted(name, target, given);
                if kind != ChangeKind::Dropped {
                    env.push((name.clone(), value.clone()));
                }
                record(None, kind, note);
            }
        }
    }
    EnvTranslation { env, changes }
}

/// Of several given old names for `new`, the one that wins, unless that is `name` itself.
fn preferred(name: &str, new: &str, given: impl Fn(&str) -> bool) -> Option<&'static str> {
    let renamed = |rule: &Rule| matches!(rule, Rule::Rename(own) if *own == new);
    let mut rows = table::RULES
        .iter()
        .filter(|(_, rule)| renamed(rule))
        .map(|(old, _)| *old);
    rows.find(|old| given(old)).filter(|first| *first != name)
}

fn rename_note(name: &str, new: &str) -> &'static str {
    if new == "PMM_PERCONA_PLATFORM_ADDRESS" && name.ends_with("_HOST") {
        "it was a host's name; PMM 3 wants an address such as https://host"
    } else {
        ""
    }
}

/// What becomes of a name that the table has no row for.
fn unlisted(
    name: &str,
    target: TargetVersion,
    given: impl Fn(&str) -> bool,
) -> (ChangeKind, String) {
    let version = format!("{}.{}", target.major, target.minor);
    if matches!(name, "PMM_WATCHTOWER_HOST" | "PMM_WATCHTOWER_TOKEN") {
        return if target.minor <= 8 {
            (ChangeKind::Kept, String::new())
        } else {
            (
                ChangeKind::Dropped,
                "updates by Watchtower ended with PMM 3.8".to_owned(),
            )
        };
    }
    if name == "GF_DATABASE_URL" && target.minor >= 2 && !given("GF_DATABASE_HOST") {
        let note = "from PMM 3.2 on this is not enough: give GF_DATABASE_HOST, _NAME, _USER and _PASSWORD as well";
        return (ChangeKind::Kept, note.to_owned());
    }
    if let Some(minor) = table::since(name)
        && target.minor < minor
    {
        return (
            ChangeKind::Kept,
            format!("PMM {version} does not know it yet; 3.{minor} does"),
        );
    }
    if table::known(name) {
        return (ChangeKind::Kept, String::new());
    }
    let note = if name.starts_with("PERCONA_") {
        "PMM 3 supports no PERCONA_ variables and will say so in its log"
    } else {
        "not known as a setting of PMM; passed on as it is"
    };
    (ChangeKind::Unknown, note.to_owned())
}

#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod tests;
