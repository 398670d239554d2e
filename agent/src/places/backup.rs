//! Where a run's copy of the data is: a volume of its own, or a folder of its own on the engine's
//! host. Either is known to be a run's by a mark, and nothing without the mark is used or removed.

use std::{collections::BTreeMap, fmt, path::Path};

use ferry_proto::v1;

use crate::{
    args::FolderAct,
    engine::{
        ContainerInspect, EngineError,
        agents::AgentMount,
        labels::{IDS_LABEL, ROLE_LABEL, RUN_LABEL, SERVER_LABEL},
        volumes::Volume,
    },
    error::StepError,
    folder::{self, Answer, DATA, TARGET},
    surroundings::Host,
};

/// What volumes that are backups are labelled with ([`ROLE_LABEL`]).
pub const ROLE: &str = "backup";

/// Where a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPlace {
    /// A volume.
    Volume(String),
    /// A folder of the engine's host.
    Folder {
        /// The folder that somebody chose.
        above: String,
        /// The run's own in it.
        name: String,
    },
}

/// What a run wants beside its server.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The server's own name, which stays the same while its containers are renamed.
    pub name: &'a str,
    /// Where the server's data is mounted in its container.
    pub data: &'a str,
    /// The folder that the backup gets one of its own in; empty for a volume.
    pub folder: &'a str,
    /// The run.
    pub run: &'a str,
}

impl Wanted<'_> {
    /// Where the copy is. `server` is the container that has the data.
    ///
    /// # Errors
    /// When the server's data is on no mount.
    pub fn place(&self, server: &ContainerInspect) -> Result<BackupPlace, StepError> {
        if !self.folder.is_empty() {
            return Ok(BackupPlace::Folder {
                above: self.folder.to_owned(),
                name: format!("{}-ferry-{}", self.name, self.run),
            });
        }
        let mount = server
            .mount_at(self.data)
            .ok_or_else(|| super::no_data(server, self.data))?;
        // Nobody knows a volume by a name that the engine made up.
        let base = if mount.name.is_empty() || ferry_proto::is_made_up(&mount.name) {
            self.name
        } else {
            &mount.name
        };
        Ok(BackupPlace::Volume(format!("{base}-ferry-{}", self.run)))
    }
}

impl BackupPlace {
    /// The place that a plan names.
    ///
    /// # Errors
    /// When it names none, or a folder that is not given from the root.
    pub fn of(place: Option<&v1::BackupPlace>) -> Result<(Self, String), StepError> {
        let bad = |why: &str| StepError::new("bad-parameter", format!("the step {why}"));
        let place = place.ok_or_else(|| bad("names no backup"))?;
        let run = place.run.clone();
        if !place.volume.is_empty() {
            return Ok((Self::Volume(place.volume.clone()), run));
        }
        let (above, name) = place.folder.rsplit_once('/').unwrap_or_default();
        if !place.folder.starts_with('/') || name.is_empty() {
            return Err(bad("names neither a volume nor a folder by its whole path"));
        }
        let above = if above.is_empty() { "/" } else { above };
        Ok((
            Self::Folder {
                above: above.to_owned(),
                name: name.to_owned(),
            },
            run,
        ))
    }

    /// What an engine mounts.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::Volume(name) => name.clone(),
            Self::Folder { above, name } => format!("{}/{name}", above.trim_end_matches('/')),
        }
    }

    /// `volume` or `folder`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Volume(_) => "volume",
            Self::Folder { .. } => "folder",
        }
    }

    /// Its own name, which ends with the run that made it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Volume(name) | Self::Folder { name, .. } => name.clone(),
        }
    }
}

impl fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind(), self.source())
    }
}

/// Makes it, or accepts the one that this run made before. `ids` is the user namespace of the server that it becomes a copy of, which
/// is put down with it: seen from another one, the owners in it are others.
///
/// # Errors
/// When something of that name is there that this run did not make.
pub async fn make(
    host: &Host,
    place: &BackupPlace,
    run: &str,
    server: &str,
    ids: &str,
) -> Result<(), StepError> {
    match place {
        BackupPlace::Volume(name) => make_volume(host, name, "backup", run, server, ids).await,
        BackupPlace::Folder { above, name } => {
            let (name, run) = (name.clone(), run.to_owned());
            let ids = Some(ids.to_owned()).filter(|ids| !ids.is_empty());
            ask(host, above, None, FolderAct::Make { name, run, ids }).await?;
            Ok(())
        }
    }
}

/// The user namespace that the owners in it are seen from; empty is the engine's default.
///
/// # Errors
/// When the engine does not answer.
pub async fn ids(host: &Host, place: &BackupPlace) -> Result<String, StepError> {
    Ok(match place {
        BackupPlace::Volume(name) => {
            let volume = host.engine.inspect_volume(name).await?;
            volume.labels.get(IDS_LABEL).cloned().unwrap_or_default()
        }
        BackupPlace::Folder { above, name } => {
            let act = FolderAct::Find { name: name.clone() };
            match ask(host, above, None, act).await? {
                Answer::Found(found) => found.ids,
                _ => return Err(no_answer(above)),
            }
        }
    })
}

/// Makes a volume that is this run's, or accepts the one that it made before.
///
/// # Errors
/// When a volume of that name is there that this run did not make.
pub async fn make_volume(
    host: &Host,
    name: &str,
    role: &str,
    run: &str,
    server: &str,
    ids: &str,
) -> Result<(), StepError> {
    if let Some(volume) = host.engine.find_volume(name).await? {
        return check_volume(&volume, run);
    }
    let labels = [(RUN_LABEL, run), (ROLE_LABEL, role), (SERVER_LABEL, server)];
    let own = (!ids.is_empty()).then_some((IDS_LABEL, ids));
    let labels: BTreeMap<String, String> = labels
        .into_iter()
        .chain(own)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    host.engine.create_volume(name, &labels).await?;
    Ok(())
}

/// Whether it is there and this run's.
///
/// # Errors
/// When something of that name is there that this run did not make.
pub async fn is_there(host: &Host, place: &BackupPlace, run: &str) -> Result<bool, StepError> {
    match place {
        BackupPlace::Volume(name) => match host.engine.find_volume(name).await? {
            Some(volume) => check_volume(&volume, run).map(|()| true),
            None => Ok(false),
        },
        BackupPlace::Folder { above, name } => {
            let act = FolderAct::Find { name: name.clone() };
            match ask(host, above, None, act).await {
                Ok(Answer::Found(found)) => Ok(found.run == run),
                Ok(_) => Ok(false),
                Err(error) if error.code() == NO_FOLDER => Ok(false),
                Err(error) => Err(error),
            }
        }
    }
}

/// Removes it; gone already is fine.
///
/// # Errors
/// When it is not this run's, or is in use.
pub async fn remove(host: &Host, place: &BackupPlace, run: &str) -> Result<(), StepError> {
    check_unused(host, place).await?;
    remove_unused(host, place, run).await
}

/// Refuses while a container has it mounted.
///
/// # Errors
/// With the containers' names.
pub async fn check_unused(host: &Host, place: &BackupPlace) -> Result<(), StepError> {
    let users = users(host, place).await?;
    if !users.is_empty() {
        return Err(StepError::new(
            "backup-in-use",
            format!("{place} is in use by `{}`", users.join("`, `")),
        )
        .hint("wait until its run is over; `ferryctl runs` lists them"));
    }
    Ok(())
}

/// As [`remove`], for who has looked that nobody uses it. What fails half way leaves a part of it.
///
/// # Errors
/// When it is not this run's, or the engine refuses.
pub async fn remove_unused(host: &Host, place: &BackupPlace, run: &str) -> Result<(), StepError> {
    match place {
        BackupPlace::Volume(name) => remove_volume(host, name, run).await,
        BackupPlace::Folder { above, name } => {
            let (name, run) = (name.clone(), run.to_owned());
            match ask(host, above, None, FolderAct::Remove { name, run }).await {
                Err(error) if error.code() != NO_FOLDER => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// Removes a volume of a run; gone already is fine.
///
/// # Errors
/// When it is not this run's, or a container uses it.
pub async fn remove_volume(host: &Host, name: &str, run: &str) -> Result<(), StepError> {
    let Some(volume) = host.engine.find_volume(name).await? else {
        return Ok(());
    };
    check_volume(&volume, run)?;
    Ok(host.engine.remove_volume(name).await?)
}

/// The containers that have it mounted, by name.
///
/// # Errors
/// When the engine does not answer.
pub async fn users(host: &Host, place: &BackupPlace) -> Result<Vec<String>, StepError> {
    match place {
        BackupPlace::Volume(name) => {
            let users = host.engine.containers_using_volume(name).await?;
            Ok(users.into_iter().map(|entry| entry.name).collect())
        }
        BackupPlace::Folder { .. } => {
            let source = place.source();
            // Somebody's own, too, who looks into the copy or has started a server on it.
            let users = host
                .engine
                .containers_using_folder(Path::new(&source))
                .await?;
            Ok(users.into_iter().map(|entry| entry.name).collect())
        }
    }
}

/// What a folder of the engine's host can do as the place of a backup. `data` is what the engine
/// mounts as the server's data: a volume's name or a path; `None` where it mounts nothing.
///
/// # Errors
/// When it cannot be used at all, with the reason; or the engine's.
pub async fn look(
    host: &Host,
    above: &str,
    data: Option<&str>,
) -> Result<folder::Looked, StepError> {
    match ask(host, above, data, FolderAct::Look).await? {
        Answer::Looked(looked) => Ok(looked),
        _ => Err(no_answer(above)),
    }
}

const NO_FOLDER: &str = "no-such-folder";
const BAD_FOLDER: &str = "backup-folder";

/// It says something of the folder, and nothing of the engine.
#[must_use]
pub fn is_about_folder(error: &StepError) -> bool {
    matches!(error.code(), NO_FOLDER | BAD_FOLDER)
}

async fn ask(
    host: &Host,
    above: &str,
    data: Option<&str>,
    act: FolderAct,
) -> Result<Answer, StepError> {
    let image = host.engine.load_agent_image(&host.agent_binary).await?;
    let looks_only = matches!(act, FolderAct::Find { .. });
    let mut mounts = vec![AgentMount {
        source: above.to_owned(),
        destination: TARGET.to_owned(),
        read_only: looks_only,
    }];
    mounts.extend(data.map(|source| AgentMount {
        source: source.to_owned(),
        destination: DATA.to_owned(),
        read_only: true,
    }));
    // Who makes or removes a run's folder is alone with it; looking is in nobody's way.
    let run = match &act {
        FolderAct::Make { run, .. } | FolderAct::Remove { run, .. } => Some(run.clone()),
        FolderAct::Look | FolderAct::Find { .. } => None,
    };
    let alone = run.as_deref().map(|run| (RUN_LABEL, run));
    let words = words(act);
    let mut said = host.engine.run_helper(&image, &mounts, &words, alone).await;
    if said.is_err() && !host.engine.has_image(&image).await? {
        // Another ferryctl has declared a crossing finished right now, and removed the image.
        let image = host.engine.load_agent_image(&host.agent_binary).await?;
        said = host.engine.run_helper(&image, &mounts, &words, alone).await;
    }
    let said = said.map_err(|error| match error {
        EngineError::Refused {
            status: 400,
            ref message,
            ..
        } if message.contains("does not exist") => StepError::new(
            NO_FOLDER,
            format!("the engine's host has no folder `{above}`"),
        )
        .hint("name a folder that is there; is the disk mounted?"),
        other => other.into(),
    })?;
    // Talk of the program's own, if any, comes before.
    let line = said.lines().last().unwrap_or_default();
    match serde_json::from_str(line) {
        Ok(Answer::Refused(why)) => Err(StepError::new(
            BAD_FOLDER,
            format!("folder `{above}` on the engine's host: {why}"),
        )),
        Ok(answer) => Ok(answer),
        Err(_) => Err(no_answer(above).details(said.lines().map(str::to_owned))),
    }
}

fn words(act: FolderAct) -> Vec<String> {
    match act {
        FolderAct::Look => vec!["look".into()],
        FolderAct::Make { name, run, ids } => {
            ["make".into(), name, run].into_iter().chain(ids).collect()
        }
        FolderAct::Find { name } => vec!["find".into(), name],
        FolderAct::Remove { name, run } => vec!["remove".into(), name, run],
    }
}

fn no_answer(above: &str) -> StepError {
    StepError::new(
        BAD_FOLDER,
        format!("nothing was heard of the folder `{above}` on the engine's host"),
    )
    .hint("use agent and controller of one release")
}

pub(super) fn check_volume(volume: &Volume, run: &str) -> Result<(), StepError> {
    if volume.labels.get(RUN_LABEL).map(String::as_str) == Some(run) {
        return Ok(());
    }
    let name = &volume.name;
    Err(StepError::new(
        "volume-taken",
        format!("volume `{name}` is there and not of run {run}"),
    )
    .hint(format!(
        "look what it holds; `docker volume rm {name}` when it is not needed"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(mount: serde_json::Value) -> ContainerInspect {
        ContainerInspect::new(json!({ "Name": "/pmm-2.44.1-r1", "Mounts": [mount] }))
    }

    const WANTED: Wanted<'_> = Wanted {
        name: "pmm",
        data: "/srv",
        folder: "",
        run: "r1",
    };

    #[test]
    fn a_copy_is_called_by_what_stays_the_same() {
        let named = server(json!({"Type": "volume", "Name": "data", "Destination": "/srv"}));
        let bound = server(json!({"Type": "bind", "Source": "/mnt/x", "Destination": "/srv"}));
        assert_eq!(WANTED.place(&named).unwrap().source(), "data-ferry-r1");
        // The container may have another name by now; the server's is the one that counts.
        assert_eq!(WANTED.place(&bound).unwrap().source(), "pmm-ferry-r1");
        let made_up = "c0ffee".repeat(11)[..64].to_owned();
        let anonymous = server(json!({"Type": "volume", "Name": made_up, "Destination": "/srv"}));
        assert_eq!(WANTED.place(&anonymous).unwrap().source(), "pmm-ferry-r1");
        let folder = Wanted {
            folder: "/mnt/b/",
            ..WANTED
        };
        let place = folder.place(&named).unwrap();
        assert_eq!(place.source(), "/mnt/b/pmm-ferry-r1");
        assert_eq!(place.to_string(), "folder `/mnt/b/pmm-ferry-r1`");
        let nowhere = ContainerInspect::new(json!({ "Name": "/pmm" }));
        assert_eq!(WANTED.place(&nowhere).unwrap_err().code(), "no-data-mount");
    }

    #[test]
    fn a_plan_names_a_volume_or_a_whole_path() {
        let place = |volume: &str, folder: &str| {
            let (volume, folder) = (volume.to_owned(), folder.to_owned());
            let run = "r1".to_owned();
            BackupPlace::of(Some(&v1::BackupPlace {
                run,
                volume,
                folder,
                ..v1::BackupPlace::default()
            }))
        };
        assert_eq!(place("v", "").unwrap().0.source(), "v");
        assert_eq!(place("", "/mnt/b/x").unwrap().0.source(), "/mnt/b/x");
        assert_eq!(place("", "/x").unwrap().0.source(), "/x");
        for folder in ["", "x", "mnt/x", "/mnt/"] {
            assert_eq!(place("", folder).unwrap_err().code(), "bad-parameter");
        }
    }
}
