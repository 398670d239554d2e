//! Compose's own file, where Compose has made the server: found by the container's labels, held against the container, edited.
//!
//! Why edited at all: a file that goes on describing PMM 2 would bring PMM 2 up on PMM 3's data one day. Why by Ferry only where all
//! of this holds: it is a person's file. It must be on this machine, be one file, describe this very container by Compose's own
//! judgement (the hash that Compose has put on the container), and be edited to something that Compose takes, which is tried
//! before anything is stopped.
//!
//! What the values of variables are stays here: facts and plans get the changed lines without them, and digests.
//!
//! Rejected: having Compose make the new container (`up`). It removes the old one first, which is the way back.

mod edit;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ferry_proto::v1::ComposeFacts;

use self::edit::Refusal;
use crate::{
    engine::{
        ContainerInspect, Engine, EngineKind, ImageInspect,
        environment::{ChangeKind, EnvTranslation},
    },
    error::StepError,
    operator_file::{Content, FileError, OperatorFile},
    server::programs::compose::{Compose, HashOf, NoHash, config_hash},
    successor::{self, Successor},
    text_edit::{Changes, Edited, Fate, Variable},
};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const VERSION: &str = "com.docker.compose.version";
const FOLDER: &str = "com.docker.compose.project.working_dir";
const FILES: &str = "com.docker.compose.project.config_files";
const ENV_FILE: &str = "com.docker.compose.project.environment_file";
/// By what Compose tells whether a container is still what its file describes.
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// By what Compose 2 tells whether a container's image is still what the name means.
pub(crate) const IMAGE: &str = "com.docker.compose.image";

/// What a new container has otherwise than the old one by Ferry's hand, and no edit of image, variables and ports gives it.
pub(crate) const BEYOND: &[&str] = &[
    "user-unset",
    "mount-moved",
    "mount-dropped",
    "log-driver-dropped",
];

/// Why Compose's file is left alone: a sentence for the check, without the value of any variable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the container has no label `{0}`, so which file made it is not known")]
    Label(&'static str),
    #[error("the container is Podman's, whose Compose says nothing to be told by")]
    Podman,
    #[error(
        "the engine is reached by {0}; the file is edited only beside an engine on this machine's own socket"
    )]
    Remote(String),
    #[error(
        "the container was made from several files ({0}), and which of them has a setting only Compose knows"
    )]
    Several(String),
    #[error("`{service}` is no name of a service that can be asked for")]
    Name { service: String },
    #[error("`{}` is not on this machine", .0.display())]
    NotHere(PathBuf),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("whether `{file}` describes this container could not be asked: {why}", file = file.display())]
    Unasked { file: PathBuf, why: NoHash },
    #[error(
        "`{file}` does not describe this container any more: by `{words}` its hash is another; the file, a file \
         that it reads, or a variable of whoever called Compose is not as it was", file = file.display()
    )]
    Differs { file: PathBuf, words: &'static str },
    #[error("`{file}`: {why}", file = file.display())]
    Refused { file: PathBuf, why: Refusal },
    #[error("`{file}` is not taken by Compose once it is edited: {why}", file = file.display())]
    NotTaken { file: PathBuf, why: NoHash },
    #[error("PMM 3 needs more than another image, variables and ports in `{file}`: {what}", file = file.display())]
    Beyond { file: PathBuf, what: String },
}

/// What the labels of a container say of where it comes from.
#[derive(Debug)]
struct Origin {
    project: String,
    service: String,
    version: String,
    folder: PathBuf,
    /// The places where the file may be, the likelier first.
    files: Vec<PathBuf>,
    env_file: Option<String>,
    hash: String,
}

impl Origin {
    fn of(container: &ContainerInspect) -> Result<Self, Unfit> {
        let label = |name: &'static str| {
            let value = container.label(name).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(Unfit::Label(name))
        };
        let (service, files) = (label(SERVICE)?, label(FILES)?);
        let folder = PathBuf::from(label(FOLDER)?);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !service.chars().all(plain) {
            return Err(Unfit::Name { service });
        }
        if files.contains(',') {
            return Err(Unfit::Several(files));
        }
        let env_file = container.label(ENV_FILE).filter(|it| !it.is_empty());
        if let Some(several) = env_file.filter(|it| it.contains(',')) {
            return Err(Unfit::Several(several.to_owned()));
        }
        Ok(Self {
            project: label(PROJECT)?,
            version: label(VERSION)?,
            hash: label(CONFIG_HASH)?,
            files: places(&folder, &files),
            env_file: env_file.map(str::to_owned),
            folder,
            service,
        })
    }

    /// The file, and what it holds.
    fn file(&self) -> Result<(PathBuf, OperatorFile, Content), Unfit> {
        let mut missing = Unfit::Label(FILES);
        for path in &self.files {
            match OperatorFile::at(path).and_then(|file| Ok((file.read()?, file))) {
                Ok((Some(content), file)) => return Ok((path.clone(), file, content)),
                Ok((None, _)) => missing = Unfit::NotHere(path.clone()),
                Err(error) if error.is_missing() => missing = Unfit::NotHere(path.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(missing)
    }

    async fn hash_of(&self, engine: &Engine, text: &str) -> Result<String, NoHash> {
        config_hash(HashOf {
            compose: Compose::of(&self.version),
            engine: engine.endpoint(),
            project: &self.project,
            folder: &self.folder,
            env_file: self.env_file.as_deref(),
            service: &self.service,
            text,
        })
        .await
    }
}

/// Compose 1 names the file as it was named on the command line, which was called where the file is, or where the project is.
fn places(folder: &Path, file: &str) -> Vec<PathBuf> {
    let named = folder.join(file);
    let beside = named.file_name().map(|name| folder.join(name));
    let mut places = Vec::from_iter(beside.filter(|_| Path::new(file).is_relative()));
    if !places.contains(&named) {
        places.push(named);
    }
    places
}

/// Looks whether the file of this container can be edited for its successor, and what would change. Nothing is written.
///
/// # Errors
/// When the engine does not answer. That the file is left alone is a fact and no error.
pub(crate) async fn observe(
    engine: &Engine,
    old: &ContainerInspect,
    old_image: &ImageInspect,
    new: Successor<'_>,
    reference: &str,
) -> Result<ComposeFacts, StepError> {
    // What cannot be carried over at all has a finding of its own.
    let carried = successor::settings(engine, old, new).await.ok();
    let codes = carried
        .as_ref()
        .map(|it| &it.over.notes)
        .into_iter()
        .flatten();
    let mut beyond: BTreeSet<String> = codes
        .filter(|note| BEYOND.contains(&note.code))
        .map(|note| note.text.clone())
        .collect();
    let check = |body: &serde_json::Value| body["Healthcheck"].clone();
    if let Some(carried) = &carried
        && !check(&carried.over.body).is_null()
        && check(&carried.over.body) != check(&old.raw()["Config"])
    {
        beyond.insert("its health check names PMM 2's ports".to_owned());
    }
    let mut facts = ComposeFacts {
        service: old.label(SERVICE).unwrap_or_default().to_owned(),
        version: old.label(VERSION).unwrap_or_default().to_owned(),
        ..ComposeFacts::default()
    };
    let translation = successor::translate(old, old_image, new.version, new.same_major);
    let changes = changes(&translation, reference, new.same_major);
    if let Err(unfit) = look(engine, old, &changes, &beyond, &mut facts).await {
        facts.refusal = unfit.to_string();
    }
    Ok(facts)
}

async fn look(
    engine: &Engine,
    old: &ContainerInspect,
    changes: &Changes,
    beyond: &BTreeSet<String>,
    facts: &mut ComposeFacts,
) -> Result<(), Unfit> {
    if engine.kind() == EngineKind::Podman {
        return Err(Unfit::Podman);
    }
    if !engine.endpoint().starts_with("unix://") {
        return Err(Unfit::Remote(engine.endpoint().to_owned()));
    }
    let origin = Origin::of(old)?;
    let (path, file, content) = origin.file()?;
    let path = || path.clone();
    facts.file = path().display().to_string();
    facts.digest.clone_from(&content.digest);
    let hash = origin.hash_of(engine, &content.text).await;
    let hash = hash.map_err(|why| Unfit::Unasked { file: path(), why })?;
    if hash != origin.hash {
        return Err(Unfit::Differs {
            file: path(),
            words: Compose::of(&origin.version).words(),
        });
    }
    if let Some(what) = beyond.first() {
        return Err(Unfit::Beyond {
            file: path(),
            what: what.clone(),
        });
    }
    let edited = edit::edit(&content.text, &origin.service, changes)
        .map_err(|why| Unfit::Refused { file: path(), why })?;
    file.check_replaceable(&content)?;
    let hash = origin.hash_of(engine, &edited.text).await;
    facts.config_hash = hash.map_err(|why| Unfit::NotTaken { file: path(), why })?;
    facts.edited_digest = digest(&edited);
    facts.diff = edited.diff;
    Ok(())
}

/// The edit again, in the run: from the container as the engine has it and the file as it is.
///
/// # Errors
/// When the engine does not answer, or the file cannot be edited any more.
pub(crate) async fn edited(
    engine: &Engine,
    old: &ContainerInspect,
    new: Successor<'_>,
    reference: &str,
    service: &str,
    content: &Content,
) -> Result<Edited, StepError> {
    let old_image = engine.inspect_image(old.image_id()).await?;
    let translation = successor::translate(old, &old_image, new.version, new.same_major);
    let changes = changes(&translation, reference, new.same_major);
    edit::edit(&content.text, service, &changes)
        .map_err(|why| StepError::new("compose-file-refused", format!("Compose's file: {why}")))
}

/// What an edited file is told by.
pub(crate) fn digest(edited: &Edited) -> String {
    blake3::hash(edited.text.as_bytes()).to_hex().to_string()
}

fn changes(translation: &EnvTranslation, reference: &str, same_major: bool) -> Changes {
    let variables = translation.changes.iter().filter_map(|change| {
        let new_name = change.new_name.clone();
        let fate = match change.kind {
            ChangeKind::Renamed => Fate::Renamed(new_name?),
            ChangeKind::Inverted => Fate::Inverted(new_name?),
            ChangeKind::Dropped => Fate::Dropped,
            // The last is a finding of its own, and there is no run.
            ChangeKind::Kept | ChangeKind::Unknown | ChangeKind::Invalid => return None,
        };
        Some(Variable {
            name: change.name.clone(),
            fate,
        })
    });
    Changes {
        image: reference.to_owned(),
        variables: variables.collect(),
        ports: !same_major,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::environment::{TargetVersion, translate_env};

    fn labelled(labels: &[(&str, &str)]) -> Result<Origin, Unfit> {
        let mut all = json!({
            PROJECT: "monitoring", SERVICE: "pmm", VERSION: "1.29.2", CONFIG_HASH: "da78",
            FOLDER: "/home/me/pmm", FILES: "docker-compose.yml",
        });
        for (label, value) in labels {
            all[*label] = json!(value);
        }
        Origin::of(&ContainerInspect::new(
            json!({ "Config": { "Labels": all } }),
        ))
    }

    #[test]
    fn the_labels_say_where_the_file_is() {
        let files = |labels: &[(&str, &str)]| -> Vec<String> {
            let files = labelled(labels).unwrap().files;
            files.iter().map(|it| it.display().to_string()).collect()
        };
        assert_eq!(files(&[]), ["/home/me/pmm/docker-compose.yml"]);
        assert_eq!(files(&[(FILES, "/etc/pmm.yml")]), ["/etc/pmm.yml"]);
        // Called from the folder above, or with the project's folder named.
        assert_eq!(
            files(&[(FILES, "pmm/c.yml")]),
            ["/home/me/pmm/c.yml", "/home/me/pmm/pmm/c.yml"]
        );
        let origin = labelled(&[(ENV_FILE, "prod.env")]).unwrap();
        assert_eq!(origin.env_file.as_deref(), Some("prod.env"));
    }

    #[test]
    fn a_container_of_several_files_or_of_no_known_one_is_left_alone() {
        for labels in [
            [(FILES, "a.yml,b.yml")],
            [(FILES, "")],
            [(FOLDER, "")],
            [(CONFIG_HASH, "")],
            [(SERVICE, "a,b")],
            [(SERVICE, "*")],
            [(ENV_FILE, "a,b")],
        ] {
            assert!(labelled(&labels).is_err(), "{labels:?}");
        }
    }

    #[test]
    fn the_file_gets_what_the_container_gets() {
        let given = [
            ("DATA_RETENTION", "720h"),
            ("DISABLE_UPDATES", "1"),
            ("LESS_LOG_NOISE", "1"),
            ("GF_SMTP_HOST", "mail"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let target = TargetVersion { major: 3, minor: 8 };
        let made = changes(&translate_env(&given, target), "p:3", false);
        let fates: Vec<_> = made
            .variables
            .into_iter()
            .map(|it| (it.name, it.fate))
            .collect();
        assert_eq!(
            fates,
            [
                (
                    "DATA_RETENTION".to_owned(),
                    Fate::Renamed("PMM_DATA_RETENTION".into())
                ),
                (
                    "DISABLE_UPDATES".to_owned(),
                    Fate::Inverted("PMM_ENABLE_UPDATES".into())
                ),
                ("LESS_LOG_NOISE".to_owned(), Fate::Dropped),
            ]
        );
        let update = changes(&EnvTranslation::unchanged(given.to_vec()), "p:2", true);
        assert!(update.variables.is_empty() && !update.ports);
    }

    #[test]
    fn a_code_that_asks_for_more_than_an_edit_is_one_of_the_carry_over() {
        for code in BEYOND {
            assert!(ferry_proto::carry_over::CODES.contains(code), "{code}");
        }
    }
}
