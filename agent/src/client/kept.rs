//! What the way back needs, in the run's folder beside the ledger: it is complete before anything changes, and needs no network.
//!
//! ```text
//!  kept/  kept.json  config  0 1 2 …   the configuration, and the collectors that are the operator's
//!  old/   pmm2-client_….deb, ….rpm     the package that is installed
//!  new/   pmm-client_….deb, ….rpm      the one that takes its place
//! ```

use ferry_proto::v1;
use serde::{Deserialize, Serialize};

use super::{
    CONFIG, PACKAGES,
    folder::{Content, Folder},
    folder_of, is_architecture, is_version, known_package,
    package::Package,
    way::Way,
};
use crate::{context::Context, error::StepError, state_dir::StateDir};

/// The version of the list's format.
const FORMAT: u32 = 1;
const LIST: &str = "kept.json";

/// A change of a client whose words were all checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) way: Way,
    pub(crate) config_digest: String,
}

impl Change {
    /// Reads what a plan says.
    ///
    /// # Errors
    /// `bad-parameter` for whatever is no client of PMM's.
    pub(crate) fn of(change: Option<&v1::ClientChange>) -> Result<Self, StepError> {
        let change = change.ok_or_else(|| bad("change"))?;
        let way = match change.installation.as_str() {
            kind @ ("deb" | "rpm") => {
                let package =
                    |name: &str, version: &str| package(name, version, &change.architecture);
                let old = package(&change.package, &change.package_version)?;
                let new = package(&change.target_package, &change.target_package_version)?;
                if kind == "deb" {
                    Way::Deb { old, new }
                } else {
                    Way::Rpm { old, new }
                }
            }
            "tarball" => {
                let folder = PACKAGES
                    .into_iter()
                    .map(folder_of)
                    .find(|it| *it == change.folder);
                if !is_version(&change.target_package_version) {
                    return Err(bad("version"));
                }
                Way::Tarball {
                    folder: folder.ok_or_else(|| bad("folder"))?,
                    version: change.target_package_version.clone(),
                    file: change.file.clone(),
                    sha256: change.file_sha256.clone(),
                }
            }
            _ => return Err(bad("installation")),
        };
        Ok(Self {
            way,
            config_digest: change.config_digest.clone(),
        })
    }

    /// The client is not as the plan has it.
    pub(crate) fn changed(what: &str) -> StepError {
        StepError::new("client-changed", format!("{what} since the plan was made"))
            .hint("leave the client alone during a run; then `ferryctl clients upgrade` again")
    }
}

fn bad(what: &str) -> StepError {
    StepError::new(
        "bad-parameter",
        format!("the step names no {what} that a client can have"),
    )
}

fn package(name: &str, version: &str, architecture: &str) -> Result<Package, StepError> {
    let name = known_package(name).ok_or_else(|| bad("package"))?;
    if !is_version(version) || !is_architecture(architecture) {
        return Err(bad("version"));
    }
    Ok(Package {
        name,
        version: version.to_owned(),
        architecture: architecture.to_owned(),
    })
}

/// Opens a client's folder that has to be there.
///
/// # Errors
/// When it is not.
pub(crate) fn open(folder: &str) -> Result<Folder, StepError> {
    Folder::open(folder.as_ref())?.ok_or_else(|| {
        StepError::new(
            "client-folder",
            format!("the client's folder `{folder}` is gone"),
        )
    })
}

/// One file of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    /// From the client's folder on.
    path: String,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    format: u32,
    config: Listed,
    collectors: Vec<Listed>,
    /// The unit started with the host.
    enabled: bool,
    old: String,
    new: String,
}

/// What was kept, read back.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) config: Content,
    /// By their path from the client's folder on.
    pub(crate) collectors: Vec<(String, Content)>,
    /// The client started with the host.
    pub(crate) enabled: bool,
    pub(crate) old: std::path::PathBuf,
    pub(crate) new: std::path::PathBuf,
}

/// The folders of a run.
#[derive(Debug)]
pub(crate) struct Places {
    files: StateDir,
    pub(crate) old: StateDir,
    pub(crate) new: StateDir,
}

impl Places {
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn of(cx: &Context) -> Result<Self, StepError> {
        let sub = |name| cx.run_dir.sub(name);
        Ok(Self {
            files: sub("kept")?,
            old: sub("old")?,
            new: sub("new")?,
        })
    }

    /// Keeps everything; the list comes last, so that there is none of something incomplete.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub(crate) fn keep(
        &self,
        config: &Content,
        collectors: &[(String, Content)],
        enabled: bool,
        (old, new): (String, String),
    ) -> Result<(), StepError> {
        let listed = |path: &str, content: &Content| Listed {
            path: path.to_owned(),
            mode: content.mode,
            uid: content.uid,
            gid: content.gid,
        };
        self.files.replace("config", &config.bytes)?;
        for (number, (_, content)) in collectors.iter().enumerate() {
            self.files.replace(&number.to_string(), &content.bytes)?;
        }
        let list = List {
            format: FORMAT,
            config: listed(CONFIG, config),
            collectors: collectors
                .iter()
                .map(|(path, content)| listed(path, content))
                .collect(),
            enabled,
            old,
            new,
        };
        let list = serde_json::to_vec(&list).map_err(|error| {
            StepError::new(
                "client-kept",
                format!("the list cannot be written: {error}"),
            )
        })?;
        Ok(self.files.replace(LIST, &list)?)
    }

    /// Reads everything back.
    ///
    /// # Errors
    /// `client-kept` when a part of it is gone or not understood: then there is no way back by Ferry.
    pub(crate) fn read(&self) -> Result<Kept, StepError> {
        let gone = |what: &str| {
            let place = self.files.path().display();
            StepError::new(
                "client-kept",
                format!("what was kept of the client in `{place}` is not whole: {what}"),
            )
            .hint("install the old package by hand on the client's host")
        };
        let list = self
            .files
            .read(LIST)?
            .ok_or_else(|| gone("its list is gone"))?;
        let list: List = serde_json::from_slice(&list).map_err(|error| gone(&error.to_string()))?;
        if list.format != FORMAT {
            return Err(gone("its list is of another release"));
        }
        let content = |name: &str, of: &Listed| -> Result<Content, StepError> {
            let bytes = self
                .files
                .read(name)?
                .ok_or_else(|| gone(&format!("`{}` is gone", of.path)))?;
            Ok(Content {
                bytes,
                mode: of.mode,
                uid: of.uid,
                gid: of.gid,
            })
        };
        let mut collectors = Vec::new();
        for (number, of) in list.collectors.iter().enumerate() {
            collectors.push((of.path.clone(), content(&number.to_string(), of)?));
        }
        let package = |folder: &StateDir, name: &String| {
            // The old folder of a tarball's client is kept in its own place.
            if name.is_empty() {
                return Ok(folder.path().to_owned());
            }
            let there = folder.names()?.contains(name);
            there
                .then(|| folder.path().join(name))
                .ok_or_else(|| gone(&format!("the package `{name}` is gone")))
        };
        Ok(Kept {
            config: content("config", &list.config)?,
            collectors,
            enabled: list.enabled,
            old: package(&self.old, &list.old)?,
            new: package(&self.new, &list.new)?,
        })
    }

    /// Removes everything, the list first.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(crate) fn forget(&self) -> Result<(), StepError> {
        self.files.remove(LIST)?;
        for folder in [&self.files, &self.old, &self.new] {
            for name in folder.names()? {
                folder.remove(&name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> v1::ClientChange {
        v1::ClientChange {
            installation: "deb".into(),
            package: "pmm2-client".into(),
            package_version: "2.44.1-6".into(),
            architecture: "amd64".into(),
            target_package: "pmm-client".into(),
            target_package_version: "3.8.1-7".into(),
            config_digest: "ab".into(),
            ..v1::ClientChange::default()
        }
    }

    #[test]
    fn a_change_names_packages_of_pmms_and_nothing_else() {
        let sound = Change::of(Some(&change())).unwrap().way;
        assert_eq!(sound.old_words(), "pmm2-client 2.44.1-6");
        assert_eq!(
            (sound.old_folder(), sound.new_folder()),
            ("/usr/local/percona/pmm2", "/usr/local/percona/pmm")
        );
        assert!(!sound.keeps_paths());
        let tarball = |folder: &str| v1::ClientChange {
            installation: "tarball".into(),
            folder: folder.into(),
            target_package_version: "3.8.1".into(),
            ..v1::ClientChange::default()
        };
        assert!(
            Change::of(Some(&tarball("/usr/local/percona/pmm2")))
                .unwrap()
                .way
                .keeps_paths()
        );
        assert_eq!(
            Change::of(Some(&tarball("/etc"))).unwrap_err().code(),
            "bad-parameter"
        );
        let spoilt: [fn(&mut v1::ClientChange); 6] = [
            |it| it.installation = "snap".into(),
            |it| it.package = "openssh-server".into(),
            |it| it.target_package = "pmm-client/testing".into(),
            |it| it.target_package_version = "-o Dpkg::Pre-Invoke=x".into(),
            |it| it.package_version.clear(),
            |it| it.architecture = "../x".into(),
        ];
        for spoil in spoilt {
            for kind in ["deb", "rpm"] {
                let mut change = v1::ClientChange {
                    installation: kind.into(),
                    ..change()
                };
                assert!(Change::of(Some(&change)).is_ok());
                spoil(&mut change);
                assert_eq!(
                    Change::of(Some(&change)).unwrap_err().code(),
                    "bad-parameter",
                    "{change:?}"
                );
            }
        }
        assert!(Change::of(None).is_err());
    }

    #[test]
    fn what_is_kept_is_read_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let sub = |name| StateDir::open(folder.path(), name).unwrap();
        let places = Places {
            files: sub("kept"),
            old: sub("old"),
            new: sub("new"),
        };
        assert_eq!(places.read().unwrap_err().code(), "client-kept");
        let content = |bytes: &[u8]| Content {
            bytes: bytes.to_vec(),
            mode: 0o640,
            uid: 1,
            gid: 2,
        };
        let collectors = vec![("collectors/a.yml".to_owned(), content(b"q"))];
        places.old.replace("o.deb", b"o").unwrap();
        places.new.replace("n.deb", b"n").unwrap();
        let keep = |old: &str| {
            places.keep(
                &content(b"c"),
                &collectors,
                true,
                (old.into(), "n.deb".into()),
            )
        };
        keep("other.deb").unwrap();
        assert!(places.read().unwrap_err().to_string().contains("other.deb"));
        keep("o.deb").unwrap();
        let kept = places.read().unwrap();
        assert_eq!(
            (&kept.config, &kept.collectors),
            (&content(b"c"), &collectors)
        );
        assert!(kept.old.ends_with("old/o.deb") && kept.new.ends_with("new/n.deb"));
        places.forget().unwrap();
        places.forget().unwrap();
        assert!(places.read().is_err());
    }
}
