//! All of a server that a run may change, as somebody sees it who asks the engine, the server and the volume.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::kill::owners;
use crate::server::{Container, TestServer};
use crate::snapshot::{self, Entry, differences};
use crate::witness::{self, Seen};

/// A folder of the volume that no program touches, so that it is comparable to the byte while a server runs.
const STILL: &str = "dump";

/// What was seen. Two of them are comparable across runs: a run's name and ids that the engine drew are taken out.
#[derive(Clone, Debug)]
pub struct Observed {
    id: String,
    containers: BTreeMap<String, Value>,
    version: String,
    seen: Seen,
    unclean: Vec<String>,
    beside: Vec<String>,
    owners: BTreeMap<PathBuf, (u32, u32, u32)>,
    still: Vec<Entry>,
    files: Vec<(String, String)>,
}

impl Observed {
    /// Looks at a server that is ready. `run` is the one that made it what it is, when one did.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn of(server: &TestServer, run: Option<&str>) -> Result<Self> {
        server.wait_ready()?;
        let data = server.mountpoint()?;
        let inspected = server.inspect()?;
        let id = inspected["Id"].as_str().unwrap_or_default().to_owned();
        let unnamed = |text: &str| match run {
            Some(run) => text.replace(run, "RUN"),
            None => text.to_owned(),
        };
        let beside: Vec<String> = witness::beside(&server.name)?;
        let mut containers = BTreeMap::new();
        containers.insert(server.name.clone(), settings(server, run)?);
        for name in beside.iter().filter_map(|it| it.strip_prefix("container ")) {
            containers.insert(unnamed(name), settings(&server.named(name), run)?);
        }
        Ok(Self {
            id,
            containers,
            version: witness::version(server)?,
            seen: seen(server)?,
            unclean: server.unclean()?,
            beside: beside.iter().map(|name| unnamed(name)).collect(),
            owners: owners(&data)?,
            still: snapshot::take(&data.join(STILL))?,
            files: Vec::new(),
        })
    }

    /// With the files that describe it.
    #[must_use]
    pub fn described_by(self, files: Vec<(String, String)>) -> Self {
        Self { files, ..self }
    }

    /// What is not as it was: nothing may differ but what running servers write by themselves.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut differ = |what: &str, was: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
            changes.push(format!("{what} was {was:?}, is {is:?}"));
        };
        if self.containers != now.containers {
            differ("the containers", &self.containers, &now.containers);
        }
        if self.version != now.version {
            differ("the version", &self.version, &now.version);
        }
        if self.beside != now.beside {
            differ("beside it", &self.beside, &now.beside);
        }
        if self.unclean != now.unclean {
            differ("killed programs", &self.unclean, &now.unclean);
        }
        if self.files != now.files {
            differ("its files", &self.files, &now.files);
        }
        for (path, was) in &self.owners {
            // Programs make and remove files as they run; who owns those that stay is the run's affair.
            let Some(is) = now.owners.get(path) else {
                continue;
            };
            // PostgreSQL turns segments that are done with into new ones, with a mode of its own.
            let recycled = path.starts_with("postgres14/pg_wal");
            if (is.0, is.1) != (was.0, was.1) || (is.2 != was.2 && !recycled) {
                differ(&path.display().to_string(), was, is);
            }
        }
        changes.extend(self.seen.lost(&now.seen));
        changes.extend(differences(&self.still, &now.still));
        changes
    }

    /// As [`Observed::changes`], and it must be the very same container.
    #[must_use]
    pub fn changes_of_the_same(&self, now: &Self) -> Vec<String> {
        let mut changes = self.changes(now);
        if self.id != now.id {
            changes.push(format!(
                "container {} took the place of {}",
                now.id, self.id
            ));
        }
        changes
    }

    /// The same without marks of programs that were killed: a daemon that lets its containers die kills them itself.
    #[must_use]
    pub fn forgiving_kills(mut self) -> Self {
        self.unclean.clear();
        self
    }
}

/// What targets were up yesterday comes back a while after the ready page.
fn seen(server: &TestServer) -> Result<Seen> {
    server.wait_until("all answers", 60, || {
        Seen::of(server).is_ok_and(|seen| seen.history > Some(1))
    })?;
    Seen::of(server)
}

/// How a container is set, and whether it runs.
fn settings(container: &Container, run: Option<&str>) -> Result<Value> {
    let mut inspected = container.inspect()?;
    let id = inspected["Id"].as_str().unwrap_or_default().to_owned();
    let mut kept = serde_json::Map::new();
    for field in ["Name", "Image", "Config", "HostConfig", "Mounts"] {
        kept.insert(field.to_owned(), inspected[field].take());
    }
    kept.insert("Running".to_owned(), inspected["State"]["Running"].take());
    let mut text = Value::Object(kept).to_string().replace(&id, "ID");
    // The engine names a host after the container's id.
    if let Some(short) = id.get(..12) {
        text = text.replace(short, "ID");
    }
    if let Some(run) = run {
        text = text.replace(run, "RUN");
    }
    let mut value: Value = serde_json::from_str(&text)?;
    // The order of mounts is the engine's whim.
    if let Some(mounts) = value["Mounts"].as_array_mut() {
        mounts.sort_by_key(|mount| mount["Destination"].to_string());
    }
    Ok(value)
}

/// Removes what programs noted of having been killed.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn forget_kills(data: &Path) -> Result<()> {
    for folder in ["logs", "grafana"] {
        for entry in fs_err::read_dir(data.join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("unclean-") {
                fs_err::remove_file(&path)?;
            }
        }
    }
    Ok(())
}
