//! The unit of systemd that makes the server's container, and its files: found, held against the container, edited.
//!
//! Why edited, and why the unit makes the new container too: such a unit makes its container anew at each start (`podman run --replace`,
//! `--rm`, a quadlet), so a container of Ferry's beside it would be gone with the next boot, and a file that goes on describing PMM 2
//! would bring PMM 2 up on PMM 3's data. So the unit is stopped, its files are edited, and it is started: what is proven afterwards
//! is what every later start makes. The old container goes with its stop, as with each stop before; the way back is the kept
//! files, the old image, and the copy of the data.
//!
//! Why by Ferry only where all of this holds: the files must be on this machine, describe this very container, start it from the very
//! image that it has, and be edited to something that reads as it is meant. What the values of variables are stays here: facts and
//! plans get the changed lines without them, and digests.
//!
//! A unit that starts a container which exists, by its name, makes none: its files stay, the container is carried over like any other, and the
//! run has the unit in its hands from before the stop until the new one is proven.
//!
//! Rejected: the old container kept by a namesake, or against the engine's `--rm`: it would be another container than any start of the
//! unit makes. A container of Ferry's that the unit adopts: by a start that the file does not describe, until the next one.

mod described;
mod edit;
mod find;
mod hold;
mod scope;
mod started;
mod text;
mod whose;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ferry_proto::v1::{EnvironmentChange, EnvironmentChangeKind, UnitFacts, UnitFileFacts};

use self::{
    described::{Form, describe},
    scope::Scope,
    started::started,
    text::entries,
};
pub(crate) use self::{
    edit::{Texts, edit},
    find::of_container as find,
    hold::{Hold, Service},
};
use crate::{
    compose::BEYOND,
    engine::{ContainerInspect, Engine},
    error::StepError,
    operator_file::{FileError, OperatorFile},
    places,
    successor::{self, Successor},
    text_edit::{Changes, Fate, Variable},
};

/// Where PMM keeps its data (facts/pmm.md 1.3).
const DATA: &str = "/srv";

/// Why a text is left alone: a clause, without the value of any variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is no unit that can be read, from line {line} on")]
    Unreadable { line: usize },
    #[error("it has no `ExecStart` that makes a container by `docker run` or `podman run`")]
    NoRun,
    #[error(
        "its `ExecStart` (line {line}) starts a container that exists, and not by one name alone"
    )]
    Starts { line: usize },
    #[error(
        "it starts a container that exists, and `{what}` (line {line}) is about that one and not about the next of its name"
    )]
    OfThisOne { what: String, line: usize },
    #[error("`{what}` is there twice (line {line}), and only one of them counts")]
    Twice { what: String, line: usize },
    #[error("the option `{option}` in line {line} is one that is not carried over")]
    Option { option: String, line: usize },
    #[error("it gives the container a command of its own (line {line})")]
    Command { line: usize },
    #[error("it names no image")]
    NoImage,
    #[error("{what} in line {line} comes from a variable or a specifier")]
    Elsewhere { what: String, line: usize },
    #[error("`{what}` in line {line} is written in a way that is not edited")]
    Form { what: String, line: usize },
    #[error("a range of published ports, line {line}, has one that PMM 3 does not have")]
    Range { line: usize },
    #[error("variable `{name}` must change and is in none of the unit's files")]
    NotInFile { name: String },
    #[error("variable `{name}` in line {line} has its value from elsewhere")]
    NoValue { name: String, line: usize },
    #[error("variable `{name}` in line {line} is neither true nor false")]
    NoBoolean { name: String, line: usize },
    #[error("variables `{old}` and `{new}` are both there")]
    Both { old: String, new: String },
    #[error("edited, it would not read as it is meant to")]
    Unproven,
}

/// Why the files of a unit are left alone: a clause for the check.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(
        "the engine is reached by {0}; units are edited only beside an engine on this machine's own socket"
    )]
    Remote(String),
    #[error("it is a unit of user `{0}`, whose service manager and files are for nobody else")]
    Another(String),
    #[error(
        "the machine's own service manager runs it, and what it makes is a container of an ordinary user's engine; such a pair is not known"
    )]
    Mixed,
    #[error("`{0}` is no name of a unit that can be asked for")]
    Name(String),
    #[error("the service manager cannot be asked about it: {0}")]
    Unasked(StepError),
    #[error(
        "your service manager cannot be asked about it: {0}. It is reached through `XDG_RUNTIME_DIR`, which a login as the user has, and `su` or `sudo` has not"
    )]
    OwnUnasked(StepError),
    #[error("the service manager does not know it (`{0}`)")]
    Unknown(String),
    #[error(
        "what holds it for the run would be in `{}`, which is no folder of your own", .0.display()
    )]
    Hold(PathBuf),
    #[error(
        "`{}` is root's, for other users too; a copy of it below `{}` would be yours, and be used in its place", .path.display(), .own.display()
    )]
    ForAll { path: PathBuf, own: PathBuf },
    #[error("it is {0}, and so does not run the container")]
    Inactive(String),
    #[error("its files were changed since systemd has read them; `{0} daemon-reload` first")]
    Unread(&'static str),
    #[error("a part of it is in `{0}`, and a drop-in is not edited")]
    DropIn(String),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("`{}` is not there", .0.display())]
    NotHere(PathBuf),
    #[error("`{}`: {why}", path.display())]
    Refused { path: PathBuf, why: Refusal },
    #[error("`{file}` names {what} by something that is not known here", file = file.display())]
    Unresolved { file: PathBuf, what: &'static str },
    #[error("`{file}` describes container `{described}` and not this one", file = file.display())]
    Differs { file: PathBuf, described: String },
    #[error(
        "`{file}` says `{image}`, which is another image by now than the container has: a way back would start that one",
        file = file.display()
    )]
    ImageMoved { file: PathBuf, image: String },
    #[error("`{file}` has the image looked for anew at each start (`{pull}`), so a way back may start another one", file = file.display())]
    Pulls { file: PathBuf, pull: String },
    #[error("`{file}` removes no container of the start before (`--rm`, `--replace` or an `ExecStartPre`), so it can start it only once", file = file.display())]
    Once { file: PathBuf },
    #[error("`{file}` mounts nothing that keeps its name at `{DATA}`, so the data would go with the container", file = file.display())]
    Data { file: PathBuf },
    #[error("`{file}` does not publish {port}, as the container does", file = file.display())]
    Port { file: PathBuf, port: String },
    #[error("PMM 3 needs more than another image, variables and ports in `{file}`: {what}", file = file.display())]
    Beyond { file: PathBuf, what: String },
}

/// What an edit is made from.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// What the files shall say for the image.
    pub(crate) reference: &'a str,
    pub(crate) changes: &'a [EnvironmentChange],
    /// Whether ports of PMM 2 become those of PMM 3.
    pub(crate) ports: bool,
}

impl Wanted<'_> {
    /// In the words of the editor.
    pub(crate) fn changes(&self) -> Changes {
        let variables = self.changes.iter().filter_map(|change| {
            let new = change.new_name.clone();
            let fate = match change.kind() {
                EnvironmentChangeKind::Renamed => Fate::Renamed(new),
                EnvironmentChangeKind::Inverted => Fate::Inverted(new),
                EnvironmentChangeKind::Dropped => Fate::Dropped,
                _ => return None,
            };
            Some(Variable {
                name: change.name.clone(),
                fate,
            })
        });
        Changes {
            image: self.reference.to_owned(),
            variables: variables.collect(),
            ports: self.ports,
        }
    }
}

/// Looks whether the files of this container's unit can be edited for its successor, and what would change: into `facts`, which [`find()`] has
/// given. Nothing is written.
pub(crate) async fn observe(
    engine: &Engine,
    facts: &mut UnitFacts,
    old: &ContainerInspect,
    new: Successor<'_>,
    wanted: Wanted<'_>,
) {
    let beyond = beyond(engine, old, new).await;
    if let Err(unfit) = look(engine, old, facts, wanted, &beyond).await {
        facts.refusal = unfit.to_string();
    }
}

/// What the new container would need beside image, variables and ports.
async fn beyond(engine: &Engine, old: &ContainerInspect, new: Successor<'_>) -> BTreeSet<String> {
    // What cannot be carried over at all has a finding of its own.
    let Ok(carried) = successor::settings(engine, &old.kept(), new).await else {
        return BTreeSet::new();
    };
    let notes = carried.over.notes.iter();
    let mut beyond: BTreeSet<String> = notes
        .filter(|note| BEYOND.contains(&note.code))
        .map(|note| note.text.clone())
        .collect();
    let check = |body: &serde_json::Value| body["Healthcheck"].clone();
    if !check(&carried.over.body).is_null()
        && check(&carried.over.body) != check(&old.raw()["Config"])
    {
        beyond.insert("its health check names PMM 2's ports".to_owned());
    }
    beyond
}

async fn look(
    engine: &Engine,
    old: &ContainerInspect,
    facts: &mut UnitFacts,
    wanted: Wanted<'_>,
    beyond: &BTreeSet<String>,
) -> Result<(), Unfit> {
    if !engine.endpoint().starts_with("unix://") {
        return Err(Unfit::Remote(engine.endpoint().to_owned()));
    }
    if !facts.another.is_empty() {
        return Err(Unfit::Another(facts.another.clone()));
    }
    let rootless = engine.info().await.is_ok_and(|it| it.rootless);
    if rootless && !facts.user {
        return Err(Unfit::Mixed);
    }
    let service = Service::of(&facts.name, facts.user);
    let service = service.ok_or_else(|| Unfit::Name(facts.name.clone()))?;
    let state = service.state().await.map_err(match facts.user {
        true => Unfit::OwnUnasked,
        false => Unfit::Unasked,
    })?;
    if state.load != "loaded" {
        let status = format!("{} status {}", service.systemctl(), facts.name);
        return Err(Unfit::Unknown(status));
    }
    if !matches!(state.active.as_str(), "active" | "activating" | "reloading") {
        return Err(Unfit::Inactive(state.active));
    }
    if state.unread {
        return Err(Unfit::Unread(service.systemctl()));
    }
    if let Some(folder) = service.obstacle() {
        return Err(Unfit::Hold(folder));
    }
    if let Some(drop_in) = state
        .drop_ins
        .iter()
        .find(|it| !scope::is_foreign(Path::new(it)))
    {
        return Err(Unfit::DropIn(drop_in.clone()));
    }
    let path = state.file().to_owned();
    facts.file = path.display().to_string();
    let here = || path.clone();
    let refused = |why| Unfit::Refused { path: here(), why };
    let known = |scope: &Scope, text: &str, what| {
        let resolved = scope.resolve(text);
        resolved.ok_or_else(|| Unfit::Unresolved { file: here(), what })
    };
    let main = text_of(&path)?;
    if let Some(name) = started(&main) {
        facts.starts = true;
        let name = name.map_err(refused)?;
        let mut scope = Scope::of(&facts.name, facts.user);
        let all = entries(&main).unwrap_or_default();
        scope.take_environment(&main, &all).map_err(refused)?;
        let described = known(&scope, &name.text, "the container")?;
        if described == old.name() {
            return Ok(());
        }
        return Err(Unfit::Differs {
            file: here(),
            described,
        });
    }
    let read = read(&path, &facts.name, facts.user)?;
    let (main, form) = (&read.files[0], read.form);
    let described = describe(&main.text, form).map_err(refused)?;
    let scope = &read.scope;
    if let Some(name) = &described.name {
        let described = known(scope, name, "the container")?;
        if described != old.name() {
            return Err(Unfit::Differs {
                file: here(),
                described,
            });
        }
    }
    let image = known(scope, &described.image.text, "the image")?;
    let found = engine.find_image(&image).await.ok().flatten();
    if found.is_none_or(|found| found.id() != old.image_id()) {
        return Err(Unfit::ImageMoved {
            file: here(),
            image,
        });
    }
    if let Some(pull) = described
        .pull
        .clone()
        .filter(|it| matches!(it.as_str(), "always" | "newer"))
    {
        return Err(Unfit::Pulls { file: here(), pull });
    }
    if !described.makes_anew {
        return Err(Unfit::Once { file: here() });
    }
    if !described.mounts.iter().any(|it| keeps_data(it, scope)) {
        return Err(Unfit::Data { file: here() });
    }
    if wanted.ports {
        let published = |port: &str| {
            described.ports.iter().any(|it| {
                let side = it.text.rsplit(':').next().unwrap_or_default();
                side == port || Some(side) == port.strip_suffix("/tcp")
            })
        };
        let moved = old.ports().into_iter().map(|it| it.container);
        let mut moved = moved.filter(|it| matches!(it.as_str(), "80/tcp" | "443/tcp"));
        if let Some(port) = moved.find(|it| !published(it)) {
            return Err(Unfit::Port { file: here(), port });
        }
    }
    if let Some(what) = beyond.first() {
        return Err(Unfit::Beyond {
            file: here(),
            what: what.clone(),
        });
    }
    let edited = edit(&read.texts(), &wanted.changes()).map_err(refused)?;
    for (old, edited) in read.files.iter().zip(edited) {
        if edited.text == old.text {
            continue;
        }
        let file = OperatorFile::at(&old.path)?;
        let content = file
            .read()?
            .ok_or_else(|| Unfit::NotHere(old.path.clone()))?;
        file.check_replaceable(&content)
            .map_err(|error| for_all(error, &service, form))?;
        facts.files.push(UnitFileFacts {
            path: old.path.display().to_string(),
            digest: content.digest,
            edited_digest: digest(&edited.text),
            diff: edited.diff,
        });
    }
    Ok(())
}

/// A unit or quadlet that root has put there for users is theirs once they have a copy.
fn for_all(error: FileError, service: &Service, form: Form) -> Unfit {
    let own = service.settings().map(|it| match form {
        Form::Service => it.join("systemd/user"),
        Form::Quadlet => it.join("containers/systemd"),
    });
    match (error, own) {
        (FileError::Owner { path, uid: 0 }, Some(own)) => Unfit::ForAll { path, own },
        (error, _) => error.into(),
    }
}

/// What a file is told by.
pub(crate) fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Whether a mount has the data on something that outlives the container.
fn keeps_data(mount: &str, scope: &Scope) -> bool {
    if mount.contains('=') && mount.split(',').any(|it| it.starts_with("type=")) {
        let field = |names: &[&str]| {
            let mut fields = mount.split(',').filter_map(|it| it.split_once('='));
            let found = fields.find(|(name, _)| names.contains(name));
            found.and_then(|(_, value)| scope.resolve(value))
        };
        let to = field(&["target", "dst", "destination"]);
        let from = field(&["source", "src"]);
        return to.as_deref() == Some(DATA) && from.is_some_and(|it| !it.is_empty());
    }
    let mut parts = mount.split(':');
    let (from, to) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    scope
        .resolve(to)
        .is_some_and(|it| it.trim_end_matches('/') == DATA)
        && scope.resolve(from).is_some_and(|it| !it.is_empty())
}

/// A file that was read.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The files of a unit, read.
pub(crate) struct Read {
    form: Form,
    scope: Scope,
    /// The unit or quadlet, then the files with variables that it names.
    pub(crate) files: Vec<Held>,
}

impl Read {
    /// What an edit is made of.
    pub(crate) fn texts(&self) -> Texts {
        let others = self.files.iter().skip(1);
        Texts {
            form: self.form,
            main: self
                .files
                .first()
                .map(|it| it.text.clone())
                .unwrap_or_default(),
            others: others
                .map(|it| (it.path.clone(), it.text.clone()))
                .collect(),
        }
    }
}

fn text_of(path: &Path) -> Result<String, Unfit> {
    let content = OperatorFile::at(path)?.read()?;
    Ok(content.ok_or_else(|| Unfit::NotHere(path.to_owned()))?.text)
}

fn read(path: &Path, unit: &str, user: bool) -> Result<Read, Unfit> {
    let main = text_of(path)?;
    let form = match path.extension().and_then(|it| it.to_str()) {
        Some("container") => Form::Quadlet,
        _ => Form::Service,
    };
    let refused = |why| Unfit::Refused {
        path: path.to_owned(),
        why,
    };
    let described = describe(&main, form).map_err(refused)?;
    let mut scope = Scope::of(unit, user);
    scope
        .take_environment(&main, &described.entries)
        .map_err(refused)?;
    for file in scope.environment_files(&main, &described.entries) {
        let (optional, name) = match file.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, file.as_str()),
        };
        let resolved = scope.resolve(name).ok_or_else(|| Unfit::Unresolved {
            file: path.to_owned(),
            what: "a file with variables",
        })?;
        match text_of(Path::new(&resolved)) {
            Ok(text) => scope.take_file(&text),
            Err(Unfit::NotHere(_)) if optional => {}
            Err(Unfit::File(error)) if optional && error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    let mut files = vec![Held {
        path: path.to_owned(),
        text: main,
    }];
    for name in &described.env_files {
        let resolved = scope.resolve(name).ok_or_else(|| Unfit::Unresolved {
            file: path.to_owned(),
            what: "a file with variables",
        })?;
        // A quadlet names it from where it is itself.
        let other = path.parent().unwrap_or(Path::new("/")).join(resolved);
        let text = text_of(&other)?;
        files.push(Held { path: other, text });
    }
    Ok(Read { form, scope, files })
}

/// The files again, in the run.
///
/// # Errors
/// `unit-file-changed` where one is not as it was, or cannot be read.
pub(crate) fn read_again(path: &Path, unit: &str, user: bool) -> Result<Read, StepError> {
    read(path, unit, user)
        .map_err(|why| StepError::new("unit-file-changed", format!("the files of `{unit}`: {why}")))
}

/// Refuses a container of that name that is not what the unit makes now.
///
/// # Errors
/// `name-taken`.
pub(crate) fn check_made(
    container: &ContainerInspect,
    image: &str,
    run: &str,
) -> Result<(), StepError> {
    if container.image_id() == image {
        return Ok(());
    }
    // The same words as for any other container of that name.
    places::check_ours(container, run)
}

/// Whether this engine's containers may be made by units of this machine: those of an engine elsewhere are of another one's.
pub(crate) fn is_local(engine: &Engine) -> bool {
    engine.endpoint().starts_with("unix://")
}

impl ContainerInspect {
    /// As if it were not started with `--rm`.
    pub(crate) fn kept(&self) -> Self {
        let mut raw = self.raw().clone();
        if let Some(auto_remove) = raw.pointer_mut("/HostConfig/AutoRemove") {
            *auto_remove = serde_json::Value::Bool(false);
        }
        Self::new(raw)
    }
}

#[cfg(test)]
mod tests;
