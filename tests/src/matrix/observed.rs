//! All of a server that a run may change, as somebody sees it who asks the engine, the server and the volume.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::kill::owners;
use crate::server::{Container, TestServer};
use crate::snapshot::{Entry, differences};
use crate::witness::{self, Seen};

/// A folder of the volume that no program of a server touches, whichever its version.
const STILL: &str = "dump";
/// Where PostgreSQL has its write-ahead log.
const WAL: &str = "postgres14/pg_wal";

/// What was seen. Two of them are comparable across runs: a run's name and ids that the engine drew are taken out.
#[derive(Clone, Debug)]
pub struct Observed {
    id: String,
    containers: BTreeMap<String, Value>,
    version: String,
    /// `None` where a run has nothing to do with what the server has in it.
    seen: Option<Seen>,
    /// The rows of each table, and their hash.
    tables: BTreeMap<String, (u64, String)>,
    unclean: Vec<String>,
    beside: Vec<String>,
    owners: BTreeMap<PathBuf, (u32, u32, u32)>,
    /// What a running server leaves as it is.
    still: Vec<Entry>,
    files: BTreeMap<String, String>,
}

impl Observed {
    /// Looks at a server that is ready, and at what the engine has beside it. `run` is the one that made it what it is, when one did.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn of(server: &TestServer, run: Option<&str>) -> Result<Self> {
        let inside = Self::inside(server, &server.mountpoint()?)?;
        inside.and_around(server, run)
    }

    /// What the server has, without what is beside it and how the engine was told to make it.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn inside(server: &Container, data: &Path) -> Result<Self> {
        server.wait_ready()?;
        Ok(Self {
            seen: Some(seen(server)?),
            tables: witness::tables(server)?,
            owners: owners(data)?,
            still: witness::at_rest(data)?,
            ..Self::alone(server)?
        })
    }

    /// The server and what is beside it, without what it has.
    ///
    /// # Errors
    /// When something does not answer.
    pub fn outside(server: &TestServer, run: Option<&str>) -> Result<Self> {
        server.wait_ready()?;
        Self::alone(server)?.and_around(server, run)
    }

    /// With how the engine was told to make a server, and what is beside it.
    fn and_around(mut self, server: &TestServer, run: Option<&str>) -> Result<Self> {
        self.containers
            .insert(server.name.clone(), settings(server, run)?);
        let mut beside = witness::beside(&server.name)?;
        beside.extend(witness::networks(&server.name)?);
        self.and_beside(server, beside, run)
    }

    /// With what the engine has beside a server, and how it was told to make it.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn and_beside(
        mut self,
        server: &TestServer,
        beside: Vec<String>,
        run: Option<&str>,
    ) -> Result<Self> {
        for name in beside.iter().filter_map(|it| it.strip_prefix("container ")) {
            self.containers
                .insert(unnamed(name, run), settings(&server.named(name), run)?);
        }
        Ok(self.among(beside, run))
    }

    /// With the owners of another tree, which is called `place`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn and_owners_of(mut self, place: &str, data: &Path) -> Result<Self> {
        let named = |(path, owner): (PathBuf, _)| (Path::new(place).join(path), owner);
        self.owners.extend(owners(data)?.into_iter().map(named));
        Ok(self)
    }

    fn alone(server: &Container) -> Result<Self> {
        let id = server.inspect()?["Id"].take();
        Ok(Self {
            id: id.as_str().unwrap_or_default().to_owned(),
            containers: BTreeMap::new(),
            version: witness::version(server)?,
            seen: None,
            tables: BTreeMap::new(),
            unclean: server.unclean()?,
            beside: Vec::new(),
            owners: BTreeMap::new(),
            still: Vec::new(),
            files: BTreeMap::new(),
        })
    }

    /// With this word for what is another one each time, wherever the engine was told it.
    ///
    /// # Errors
    /// When the word does not fit into JSON.
    pub(super) fn saying(mut self, what: &str, word: &str) -> Result<Self> {
        for settings in self.containers.values_mut() {
            *settings = serde_json::from_str(&settings.to_string().replace(what, word))?;
        }
        Ok(self)
    }

    /// With this word for a server whose name is another one each time, wherever it is named.
    ///
    /// # Errors
    /// When the word does not fit into JSON.
    pub(super) fn calling(self, name: &str, word: &str) -> Result<Self> {
        let renamed = |text: &String| text.replace(name, word);
        let containers = self.containers.iter();
        let containers = containers.map(|(key, settings)| (renamed(key), settings.clone()));
        let now = Self {
            containers: containers.collect(),
            beside: self.beside.iter().map(renamed).collect(),
            ..self
        };
        now.saying(name, word)
    }

    /// With what is beside it.
    #[must_use]
    pub fn among(self, beside: Vec<String>, run: Option<&str>) -> Self {
        let beside = beside.iter().map(|name| unnamed(name, run)).collect();
        Self { beside, ..self }
    }

    /// With the texts that describe it, and their names.
    #[must_use]
    pub fn described_by(self, files: Vec<(String, String)>, run: Option<&str>) -> Self {
        let files = files.into_iter();
        let files = files.map(|(name, text)| (unnamed(&name, run), unnamed(&text, run)));
        Self {
            files: files.collect(),
            ..self
        }
    }

    /// What is not as it was: nothing may differ but what running servers write by themselves.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut differ = |what: &str, was: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
            changes.push(format!("{what} was {was:?}, is {is:?}"));
        };
        let (was, is) = (&self.containers, &now.containers);
        for name in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            for (field, was, is) in unlike(name, was.get(name), is.get(name)) {
                differ(&field, &was, &is);
            }
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
        let (was, is) = (&self.files, &now.files);
        for name in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            if was.get(name) != is.get(name) {
                differ(name, &was.get(name), &is.get(name));
            }
        }
        for (path, was) in &self.owners {
            // Programs make and remove files as they run; who owns those that stay is the run's affair.
            let Some(is) = now.owners.get(path) else {
                continue;
            };
            // PostgreSQL turns segments that are done with into new ones, with a mode of its own.
            let recycled = path.parent().is_some_and(|it| it.ends_with(WAL));
            if (is.0, is.1) != (was.0, was.1) || (is.2 != was.2 && !recycled) {
                differ(&path.display().to_string(), was, is);
            }
        }
        if let (Some(was), Some(is)) = (&self.seen, &now.seen) {
            changes.extend(was.lost(is));
        }
        for table in self
            .tables
            .keys()
            .chain(now.tables.keys())
            .collect::<BTreeSet<_>>()
        {
            let rows = |it: &Self| it.tables.get(table).map(|(rows, _)| *rows);
            if rows(self) != rows(now) {
                let (was, is) = (rows(self), rows(now));
                changes.push(format!("the rows of {table} were {was:?}, are {is:?}"));
            }
        }
        changes.extend(differences(&blurred(&self.still), &blurred(&now.still)));
        changes
    }

    /// As [`Observed::changes`], and it must be the very same container, with the same bytes.
    #[must_use]
    pub fn changes_of_the_same(&self, now: &Self) -> Vec<String> {
        let mut changes = self.changes(now);
        changes.extend(differences(&self.still, &now.still));
        for (table, was) in &self.tables {
            if now
                .tables
                .get(table)
                .is_some_and(|is| is.0 == was.0 && is.1 != was.1)
            {
                changes.push(format!("{table} has other rows"));
            }
        }
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

/// Without the times and bytes of what another server's first start writes: keys of its own, for one.
fn blurred(still: &[Entry]) -> Vec<Entry> {
    let mut entries = still.to_vec();
    for entry in &mut entries {
        if !entry.path.starts_with(STILL) {
            (entry.mtime, entry.size, entry.digest) = ((0, 0), 0, None);
        }
    }
    entries
}

/// The settings that differ, each by its path: the whole of a container is pages long.
fn unlike(path: &str, was: Option<&Value>, is: Option<&Value>) -> Vec<(String, Value, Value)> {
    if was == is {
        return Vec::new();
    }
    let (Some(Value::Object(was)), Some(Value::Object(is))) = (was, is) else {
        let value = |it: Option<&Value>| it.cloned().unwrap_or_default();
        return vec![(path.to_owned(), value(was), value(is))];
    };
    let keys: BTreeSet<_> = was.keys().chain(is.keys()).collect();
    let parts = keys
        .into_iter()
        .flat_map(|key| unlike(&format!("{path} {key}"), was.get(key), is.get(key)));
    parts.collect()
}

/// Without the name of the run, which is another each time.
fn unnamed(text: &str, run: Option<&str>) -> String {
    match run {
        Some(run) => text.replace(run, "RUN"),
        None => text.to_owned(),
    }
}

/// What targets were up yesterday comes back a while after the ready page.
fn seen(server: &Container) -> Result<Seen> {
    let mut last = None;
    server.wait_until("all answers", 60, || {
        last = Seen::of(server).ok();
        last.as_ref().is_some_and(|seen| seen.history > Some(1))
    })?;
    last.map_or_else(|| Seen::of(server), Ok)
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
    let mut value: Value = serde_json::from_str(&unnamed(&text, run))?;
    // What was never said is nothing, and an empty list after the daemon has read it again.
    if let Some(settings) = value["HostConfig"].as_object_mut() {
        settings.retain(|_, it| !it.is_null() && it.as_array().is_none_or(|list| !list.is_empty()));
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::unlike;

    #[test]
    fn only_what_differs_is_told_and_by_where_it_is() {
        let was = json!({ "Config": { "Env": ["A=1"], "User": "" }, "Running": true });
        let is = json!({ "Config": { "Env": ["A=2"], "User": "" }, "Running": true });
        let found = unlike("pmm", Some(&was), Some(&is));
        let env = ("pmm Config Env".to_owned(), json!(["A=1"]), json!(["A=2"]));
        assert_eq!(found, [env]);
        assert_eq!(unlike("pmm", Some(&was), Some(&was)), []);
        assert_eq!(unlike("pmm", Some(&was), None).len(), 1);
    }
}
