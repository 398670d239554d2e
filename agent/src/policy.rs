//! What an agent may touch, whoever calls: its own file says so, on its own machine.
//!
//! Why beside the callers' certificates: a certificate says who somebody is. A controller that was taken over, or a plan with
//! another server's name in it, is still bounded by what the owner of this machine wrote down here. The host agent inside
//! `ferryctl` has no policy: whoever runs it could do the same by hand.

mod bounds;
mod pattern;
mod subjects;

use std::{
    collections::BTreeSet,
    fmt, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use self::pattern::{ImagePattern, Pattern};

/// The version of the file that this release reads.
pub const FORMAT: u32 = 1;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May look at what was done.
    Viewer,
    /// May run steps and take them back.
    Operator,
}

/// All that a caller may do. To read a server's data is no greater role but another: who runs steps need not see what passwords and
/// keys the data holds, and who carries the data needs to run nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// With the agent's own work.
    pub role: Option<Role>,
    /// May read the server's data.
    pub reads: bool,
}

impl From<Role> for Rights {
    fn from(role: Role) -> Self {
        Self {
            role: Some(role),
            reads: false,
        }
    }
}

/// Bounds of an agent; without rules there are none.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Option<Arc<Rules>>,
}

/// The file, as somebody writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    viewers: Vec<String>,
    #[serde(default)]
    readers: Vec<String>,
    #[serde(default)]
    containers: Vec<String>,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    folders: Vec<PathBuf>,
    #[serde(default)]
    versions: Vec<String>,
    steps: Option<BTreeSet<String>>,
}

#[derive(Debug)]
struct Rules {
    operators: Vec<String>,
    viewers: Vec<String>,
    readers: Vec<String>,
    containers: Vec<Pattern>,
    images: Vec<ImagePattern>,
    folders: Vec<PathBuf>,
    versions: Vec<Pattern>,
    steps: Option<BTreeSet<String>>,
}

/// Why a policy cannot be used. An agent does not start with such a file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("the policy `{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change what this agent may do.
    #[error(
        "the policy `{}` can be changed by others: it must belong to root or to the agent's user, and only its owner may write it",
        path.display()
    )]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// Not what a policy looks like.
    #[error("the policy `{}` is not understood: {reason}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

impl Policy {
    /// No bounds.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::default()
    }

    /// Reads a policy from its file.
    ///
    /// # Errors
    /// [`PolicyError`]; nothing that is not understood is passed over.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = fs_err::File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let own = [0, users::get_effective_uid()];
        if !own.contains(&meta.uid()) || meta.permissions().mode() & 0o022 != 0 {
            return Err(PolicyError::Open {
                path: path.to_owned(),
            });
        }
        let text = io::read_to_string(file).map_err(unreadable)?;
        Self::parse(&text).map_err(|reason| PolicyError::Form {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads a policy from its text.
    fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if written.format != FORMAT {
            return Err(format!(
                "it is of format {}, and this release reads format {FORMAT}",
                written.format
            ));
        }
        let folder = written.folders.iter().find(|folder| !is_plain(folder));
        if let Some(folder) = folder {
            return Err(format!(
                "`{}` is no folder given from the root, without `.` and `..`",
                folder.display()
            ));
        }
        let known: BTreeSet<&str> = subjects::kinds().collect();
        let steps = written.steps.iter().flatten();
        if let Some(step) = steps.into_iter().find(|it| !known.contains(it.as_str())) {
            let known: Vec<&str> = known.into_iter().collect();
            return Err(format!(
                "there is no kind of step called `{step}`; there are {}",
                known.join(", ")
            ));
        }
        Ok(Self {
            rules: Some(Arc::new(Rules {
                operators: written.operators,
                viewers: written.viewers,
                readers: written.readers,
                containers: written
                    .containers
                    .iter()
                    .map(|it| Pattern::new(it))
                    .collect(),
                images: written
                    .images
                    .iter()
                    .map(|it| ImagePattern::new(it))
                    .collect(),
                folders: written.folders,
                versions: written.versions.iter().map(|it| Pattern::new(it)).collect(),
                steps: written.steps,
            })),
        })
    }

    /// The bounds of an agent that was launched by a bounded one: kinds of steps alone, as its mounts bound the rest.
    #[must_use]
    pub fn of_steps(kinds: &[String]) -> Self {
        if kinds.is_empty() {
            return Self::unbounded();
        }
        Self {
            rules: Some(Arc::new(Rules {
                operators: Vec::new(),
                viewers: Vec::new(),
                readers: Vec::new(),
                containers: vec![Pattern::new("*")],
                images: Vec::new(),
                folders: Vec::new(),
                versions: Vec::new(),
                steps: Some(kinds.iter().cloned().collect()),
            })),
        }
    }

    /// Arguments that hand the allowed kinds of steps on to an agent that is launched.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let steps = self.rules.as_ref().and_then(|rules| rules.steps.as_ref());
        let steps = steps.into_iter().flatten();
        steps.map(|kind| format!("--allow-step={kind}")).collect()
    }

    /// What a caller may do whose certificate has these names; without rules nobody from outside may do anything.
    #[must_use]
    pub fn rights_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<Rights> {
        let rules = self.rules.as_ref()?;
        let mut rights = Rights::default();
        for name in names {
            let has = |list: &[String]| list.iter().any(|it| it.eq_ignore_ascii_case(name));
            let role = if has(&rules.operators) {
                Some(Role::Operator)
            } else {
                has(&rules.viewers).then_some(Role::Viewer)
            };
            rights.role = rights.role.max(role);
            rights.reads |= has(&rules.readers);
        }
        (rights != Rights::default()).then_some(rights)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, self.reads) {
            (Some(role), true) => write!(f, "{role} and reader"),
            (Some(role), false) => write!(f, "{role}"),
            (None, true) => f.write_str("reader"),
            (None, false) => f.write_str("stranger"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        })
    }
}

/// A whole path, as it is written.
fn is_plain(path: &Path) -> bool {
    use std::path::Component;
    let odd = |it| !matches!(it, Component::RootDir | Component::Normal(_));
    path.is_absolute() && !path.components().any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "format": 1,
        "operators": ["night.example.com"],
        "viewers": ["desk.example.com"],
        "containers": ["pmm-*"],
        "images": ["percona/pmm-server:3.*"],
        "folders": ["/mnt/backups"],
        "steps": ["pull-image", "stop-services"]
    }"#;

    fn with(from: &str, to: &str) -> Result<Policy, String> {
        assert!(FILE.contains(from));
        Policy::parse(&FILE.replace(from, to))
    }

    #[test]
    fn the_greatest_role_of_a_callers_names_counts() {
        let policy = Policy::parse(FILE).unwrap();
        let rights = |names: &[&str]| policy.rights_of(names.iter().copied());
        assert_eq!(rights(&["desk.example.com"]), Some(Role::Viewer.into()));
        assert_eq!(
            rights(&["desk.example.com", "NIGHT.example.com"]),
            Some(Role::Operator.into())
        );
        assert_eq!(rights(&["night.example.com.evil"]), None);
        assert_eq!(rights(&[]), None);
        assert_eq!(Policy::unbounded().rights_of(["night.example.com"]), None);
    }

    #[test]
    fn to_read_the_data_is_a_right_of_its_own() {
        let policy = with(
            "\"containers\"",
            "\"readers\": [\"new.example.com\"], \"containers\"",
        );
        let policy = policy.unwrap();
        let rights = |names: &[&str]| policy.rights_of(names.iter().copied());
        let reads = |role| Rights { role, reads: true };
        assert_eq!(rights(&["new.example.com"]), Some(reads(None)));
        assert_eq!(
            rights(&["new.example.com", "desk.example.com"]),
            Some(reads(Some(Role::Viewer)))
        );
        assert_eq!(rights(&["night.example.com"]), Some(Role::Operator.into()));
    }

    #[test]
    fn nothing_that_is_not_understood_is_passed_over() {
        for (from, to, told) in [
            ("viewers", "viewer", "unknown field `viewer`"),
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("/mnt/backups", "mnt/backups", "`mnt/backups`"),
            ("/mnt/backups", "/mnt/../etc", "`/mnt/../etc`"),
            ("pull-image", "pull-images", "`pull-images`"),
            ("pull-image", "pull-images", "there are await-client, "),
            ("\"format\": 1,", "", "missing field `format`"),
        ] {
            let error = with(from, to).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn the_kinds_of_steps_are_handed_on() {
        let policy = Policy::parse(FILE).unwrap();
        assert_eq!(
            policy.arguments(),
            ["--allow-step=pull-image", "--allow-step=stop-services"]
        );
        assert!(Policy::unbounded().arguments().is_empty());
        assert!(Policy::of_steps(&[]).rules.is_none());
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        fs_err::write(&path, FILE).unwrap();
        for (mode, fine) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
            let mode = std::fs::Permissions::from_mode(mode);
            fs_err::set_permissions(&path, mode).unwrap();
            assert_eq!(
                Policy::read(&path).is_ok(),
                fine,
                "{:?}",
                Policy::read(&path)
            );
        }
        let missing = Policy::read(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, PolicyError::Unreadable { .. }));
    }
}
