//! A gate in front of a container that does not run: nobody can start it while it is closed.
//!
//! Why: an engine that does not change limits of a container that exists (Podman 4.3) leaves nothing else to keep an old server off data
//! that was handed over. Closed, the file that the container's first process is made of is empty and nobody may execute it, in the
//! container's own layer: the engine refuses to start it, a person's command as much as a restart policy after a reboot. Opened, the
//! file is the image's again, byte for byte, with owner, mode and time.
//!
//! What the gate hides is kept nowhere but in the image: a container whose file is not the image's has no gate. Nor has one whose
//! file lies on a mount, because that is another's, or the host's.
//!
//! Rejected: a file that the engine itself wants to mount over (not taken back whole: the archive call removes nothing).

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::{
    archive::settled, ask::repeated, client::Engine, error::EngineError, inspect::ContainerInspect,
};

/// A first program is a script or a small binary.
const LARGEST: usize = 4 << 20;

/// The file that a container's first process is made of.
#[derive(Debug, PartialEq, Eq)]
struct Door<'a> {
    folder: &'a str,
    name: &'a str,
}

/// A file as an engine's archive tells it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    mode: u32,
    owner: (u64, u64),
    time: u64,
    content: Vec<u8>,
}

impl Told {
    fn is_closed(&self) -> bool {
        self.content.is_empty() && self.mode & 0o7777 == 0
    }

    /// Whether this is the image's file, in a container. Of one with ids of its own Podman tells the owners as they are outside of it, so they
    /// say nothing there (seen on 4.3.1).
    fn is(&self, images: &Self, container: &ContainerInspect) -> bool {
        let same =
            (self.mode, self.time, &self.content) == (images.mode, images.time, &images.content);
        same && (self.owner == images.owner || !container.own_ids().is_empty())
    }
}

impl Engine {
    /// Proves that the gate of a container could be closed.
    ///
    /// # Errors
    /// [`EngineError::Gate`] with the reason why not.
    pub async fn check_gate(&self, container: &ContainerInspect) -> Result<(), EngineError> {
        self.original(container).await.map(drop)
    }

    /// Whether the gate of a container is closed.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn is_gate_closed(&self, container: &ContainerInspect) -> Result<bool, EngineError> {
        let Ok(door) = door(container) else {
            return Ok(false);
        };
        match self.tell(container.id(), &door).await {
            Ok((_, told)) => Ok(told.is_closed()),
            Err(EngineError::Gate { .. } | EngineError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Closes the gate of a container that does not run; closed already is fine.
    ///
    /// # Errors
    /// [`EngineError::Gate`] with the reason why there is none.
    pub async fn close_gate(&self, container: &ContainerInspect) -> Result<(), EngineError> {
        if self.is_gate_closed(container).await? {
            return Ok(());
        }
        let (original, _) = self.original(container).await?;
        let door = door(container).map_err(|reason| refused(container, reason))?;
        let closed =
            closed(&original, door.name).map_err(|error| refused(container, error.to_string()))?;
        self.put_archive(container.id(), door.folder, closed)
            .await?;
        if self.is_gate_closed(container).await? {
            return Ok(());
        }
        Err(refused(container, "the engine did not change the file"))
    }

    /// Opens the gate of a container; open already is fine.
    ///
    /// # Errors
    /// The image is gone, or the engine's refusal.
    pub async fn open_gate(&self, container: &ContainerInspect) -> Result<(), EngineError> {
        if !self.is_gate_closed(container).await? {
            return Ok(());
        }
        let door = door(container).map_err(|reason| refused(container, reason))?;
        let (original, wanted) = self.of_image(container, &door).await?;
        self.put_archive(container.id(), door.folder, original)
            .await?;
        let (_, now) = self.tell(container.id(), &door).await?;
        if now.is(&wanted, container) {
            return Ok(());
        }
        Err(refused(
            container,
            "the file did not become the image's again",
        ))
    }

    /// The file, when it is the image's.
    async fn original(&self, container: &ContainerInspect) -> Result<(Bytes, Told), EngineError> {
        let door = door(container).map_err(|reason| refused(container, reason))?;
        let (_, its) = self.tell(container.id(), &door).await?;
        let (bytes, images) = self.of_image(container, &door).await?;
        if its.is(&images, container) {
            return Ok((bytes, images));
        }
        let path = format!("`{}/{}`", door.folder.trim_end_matches('/'), door.name);
        Err(refused(
            container,
            format!("{path} was changed in the container and is not the image's"),
        ))
    }

    async fn of_image(
        &self,
        container: &ContainerInspect,
        door: &Door<'_>,
    ) -> Result<(Bytes, Told), EngineError> {
        let image = self.inspect_image(container.image_id()).await?;
        let (id, unstarted) = self.unstarted_of(&image).await?;
        let told = self.tell(&id, door).await;
        let removed = self.remove_container(&id).await;
        if removed.is_ok() {
            unstarted.settled();
        }
        let told = told?;
        removed?;
        Ok(told)
    }

    async fn tell(&self, container: &str, door: &Door<'_>) -> Result<(Bytes, Told), EngineError> {
        settled(|| repeated(|| self.tell_once(container, door))).await
    }

    async fn tell_once(
        &self,
        container: &str,
        door: &Door<'_>,
    ) -> Result<(Bytes, Told), EngineError> {
        let path = format!("{}/{}", door.folder.trim_end_matches('/'), door.name);
        let bad = |reason: String| EngineError::Gate {
            container: container.to_owned(),
            reason: format!("`{path}` {reason}"),
        };
        let mut stream = self.get_archive(container, &path);
        let mut tar = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            tar.extend_from_slice(&chunk?);
            if tar.len() > LARGEST {
                return Err(bad("is larger than 4 MiB".to_owned()));
            }
        }
        let tar = tar.freeze();
        let told = read(&tar).map_err(|error| bad(error.to_string()))?;
        Ok((tar, told))
    }
}

fn refused(container: &ContainerInspect, reason: impl Into<String>) -> EngineError {
    EngineError::Gate {
        container: container.name().to_owned(),
        reason: reason.into(),
    }
}

/// Where the first process comes from, when that can be a gate.
fn door(container: &ContainerInspect) -> Result<Door<'_>, String> {
    let path = container.first_program();
    let plain = path
        .split('/')
        .skip(1)
        .all(|part| !matches!(part, "" | "." | ".."));
    let (folder, name) = match path.rsplit_once('/') {
        Some((folder, name)) if path.starts_with('/') && plain => (folder, name),
        _ => {
            return Err(format!(
                "its first program, `{path}`, is not named from the root"
            ));
        }
    };
    let below = |mount: &str| {
        let rest = path.strip_prefix(mount.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = container.mounts();
    if let Some(mount) = mounts.iter().find(|mount| below(&mount.destination)) {
        let at = &mount.destination;
        return Err(format!(
            "its first program, `{path}`, lies on the mount `{at}`"
        ));
    }
    let folder = if folder.is_empty() { "/" } else { folder };
    Ok(Door { folder, name })
}

fn read(tar: &[u8]) -> std::io::Result<Told> {
    let mut archive = tar::Archive::new(tar);
    let entry = archive.entries()?.next();
    let mut entry = entry.ok_or_else(|| std::io::Error::other("is not told"))??;
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(std::io::Error::other("is no regular file"));
    }
    let header = entry.header();
    let (mode, owner, time) = (
        header.mode()?,
        (header.uid()?, header.gid()?),
        header.mtime()?,
    );
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    Ok(Told {
        mode,
        owner,
        time,
        content,
    })
}

/// The file with nothing in it, and nobody's to execute. Owner and time stay.
fn closed(original: &[u8], name: &str) -> std::io::Result<Bytes> {
    let told = read(original)?;
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0);
    header.set_uid(told.owner.0);
    header.set_gid(told.owner.1);
    header.set_mtime(told.time);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, name, std::io::empty())?;
    tar.into_inner().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(path: &str) -> ContainerInspect {
        ContainerInspect::new(json!({
            "Name": "/pmm",
            "Path": path,
            "Mounts": [
                { "Type": "volume", "Name": "pmm-data", "Destination": "/srv" },
                { "Type": "bind", "Source": "/x", "Destination": "/opt/own" },
            ],
        }))
    }

    #[test]
    fn only_a_file_of_the_containers_own_can_be_a_gate() {
        for (path, folder, name) in [
            ("/opt/entrypoint.sh", "/opt", "entrypoint.sh"),
            ("/init", "/", "init"),
            ("/opt/owned", "/opt", "owned"),
        ] {
            assert_eq!(door(&container(path)), Ok(Door { folder, name }), "{path}");
        }
        for path in [
            "",
            "tini",
            "/srv/start",
            "/opt/own",
            "/opt/own/start",
            "/opt/../srv/start",
            "//x",
            "/opt/",
        ] {
            let why = door(&container(path)).unwrap_err();
            assert!(why.contains("first program"), "{path}: {why}");
        }
    }

    #[test]
    fn a_closed_gate_keeps_owner_and_time_and_is_known_by_what_it_is() {
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_700_000_000);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, "entrypoint.sh", &b"#!x"[..])
            .unwrap();
        let original = tar.into_inner().unwrap();
        let told = read(&original).unwrap();
        assert_eq!((told.mode, &told.content[..]), (0o755, &b"#!x"[..]));
        assert!(!told.is_closed());
        let closed = read(&closed(&original, "entrypoint.sh").unwrap()).unwrap();
        assert!(closed.is_closed());
        assert_eq!((closed.owner, closed.time), (told.owner, told.time));
        // An empty script that may be run, and one that may not but is not empty, are somebody else's doing.
        assert!(
            !Told {
                mode: 0o755,
                ..closed
            }
            .is_closed()
        );
        assert!(!Told { mode: 0, ..told }.is_closed());
        assert!(read(&[]).is_err());
    }

    #[test]
    fn an_owner_counts_where_it_means_the_same_outside() {
        let with =
            |mode: &str| ContainerInspect::new(json!({ "HostConfig": { "UsernsMode": mode } }));
        let told = |uid: u64, time: u64| Told {
            mode: 0o755,
            owner: (uid, uid),
            time,
            content: b"#!x".to_vec(),
        };
        assert!(told(0, 1).is(&told(0, 1), &with("")));
        assert!(!told(1, 1).is(&told(0, 1), &with("")));
        assert!(told(1, 1).is(&told(0, 1), &with("keep-id:uid=1000,gid=1000")));
        assert!(!told(1, 2).is(&told(0, 1), &with("keep-id:uid=1000,gid=1000")));
    }
}
