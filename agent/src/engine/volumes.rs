//! Volumes: ask, create, remove, and who uses them.
//!
//! Why "who uses it" is asked before anything is done: two containers that open one database folder destroy it.

use std::{collections::BTreeMap, path::Path};

use hyper::Method;
use serde_json::{Value, json};

use super::{
    ask::Ask,
    client::{Engine, encode},
    containers::ContainerEntry,
    error::EngineError,
    inspect::Mount,
};

/// A volume as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits when nobody named it.
    pub name: String,
    /// Its driver; `local` is a folder on the engine's host.
    pub driver: String,
    /// The folder on the engine's host.
    pub mountpoint: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, in RFC 3339; empty where the engine does not say.
    pub created: String,
    /// The driver's options: a `local` volume with options may be a network file system.
    pub options: BTreeMap<String, String>,
}

impl Volume {
    pub(super) fn read(raw: &Value) -> Self {
        let get = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
        let pairs = |key: &str| {
            let object = raw[key].as_object();
            object
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                .collect()
        };
        Self {
            name: get("Name"),
            driver: get("Driver"),
            mountpoint: get("Mountpoint"),
            labels: pairs("Labels"),
            created: get("CreatedAt"),
            options: pairs("Options"),
        }
    }

    /// Whether it has every one of these labels.
    pub(super) fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        labels
            .iter()
            .all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

pub(super) fn path(name: &str) -> String {
    format!("/volumes/{}", encode(name))
}

impl Engine {
    /// What the engine knows of a volume; `None` when there is none of that name.
    ///
    /// # Errors
    /// All but "not found".
    pub async fn find_volume(&self, name: &str) -> Result<Option<Volume>, EngineError> {
        if name.is_empty() {
            // An empty name would ask for the list.
            return Err(EngineError::BadName {
                kind: "volume",
                name: name.to_owned(),
            });
        }
        let ask = Ask::new(Method::GET, path(name), format!("inspect volume {name}"));
        match self.ask_json(ask).await {
            Ok(raw) => Ok(Some(Volume::read(&raw))),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the engine knows of a volume.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn inspect_volume(&self, name: &str) -> Result<Volume, EngineError> {
        self.find_volume(name)
            .await?
            .ok_or_else(|| EngineError::NotFound {
                kind: "volume",
                name: name.to_owned(),
                endpoint: self.endpoint().to_owned(),
                close: Vec::new(),
            })
    }

    /// Makes a local volume; one that exists stays as it is, labels included.
    ///
    /// # Errors
    /// A name that the engine does not take.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        if name.is_empty() {
            // The engine would make up a name.
            return Err(EngineError::BadName {
                kind: "volume",
                name: name.to_owned(),
            });
        }
        let body = json!({ "Name": name, "Labels": labels });
        let ask = Ask::new(
            Method::POST,
            "/volumes/create".into(),
            format!("create volume {name}"),
        )
        .body(&body);
        Ok(Volume::read(&self.ask_json(ask).await?))
    }

    /// All containers that mount the volume, running or not.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn containers_using_volume(
        &self,
        name: &str,
    ) -> Result<Vec<ContainerEntry>, EngineError> {
        let mut using = Vec::new();
        // The engine's filter also takes destinations and parts of paths; the mounts themselves decide.
        for entry in self.list_containers(&[("volume", name)]).await? {
            if let Some(container) = self.find_container(&entry.id).await?
                && container.mounts().iter().any(|mount| mount.name == name)
            {
                using.push(entry);
            }
        }
        Ok(using)
    }

    /// Containers that mount this folder of the engine's host, or something in it. One that mounts a folder above, as those that watch a
    /// whole host do, is none of them.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn containers_using_folder(
        &self,
        folder: &Path,
    ) -> Result<Vec<ContainerEntry>, EngineError> {
        let mut using = Vec::new();
        for entry in self.list_containers(&[]).await? {
            if let Some(container) = self.find_container(&entry.id).await?
                && container.mounts().iter().any(|it| is_in(it, folder))
            {
                using.push(entry);
            }
        }
        Ok(using)
    }
}

fn is_in(mount: &Mount, folder: &Path) -> bool {
    mount.kind == "bind" && Path::new(&mount.source).starts_with(folder)
}

#[cfg(test)]
mod tests {
    use super::super::labels::{ROLE_LABEL, RUN_LABEL};
    use super::*;

    #[test]
    fn a_volume_of_another_role_or_run_is_another() {
        let volume = Volume::read(&json!({
            "Name": "ferry-volume-pmm-socket",
            "Labels": { ROLE_LABEL: "volume", RUN_LABEL: "r1", "x": "y" },
        }));
        let carries = |role: &str, run: &str| {
            let labels = [(ROLE_LABEL, role), (RUN_LABEL, run)];
            volume.carries(&labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
        };
        assert!(carries("volume", "r1"));
        assert!(!carries("sidecar", "r1") && !carries("volume", "r2"));
        assert!(volume.carries(&BTreeMap::new()));
    }
}
