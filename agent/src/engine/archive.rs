//! Files in and out of containers that need not run, by the engine's archive calls.
//!
//! Why: an image's own `passwd` and version file say what it is; reading them needs neither a shell nor a started container.

use std::{
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use bollard::query_parameters::{DownloadFromContainerOptions, UploadToContainerOptions};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use super::{
    ask::repeated,
    client::{Engine, encode},
    error::EngineError,
};

/// The largest file that is read into memory: these are configuration files.
const LARGEST_FILE: u64 = 16 << 20;
/// How long a container that has just ended may be taken for one that runs, and how often that is looked at.
const JUST_ENDED: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

impl Engine {
    /// A file or folder of a container as a tar stream.
    pub fn get_archive(
        &self,
        container: &str,
        path: &str,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + use<> {
        let action = format!("read {path} of container {container}");
        let options = DownloadFromContainerOptions {
            path: path.to_owned(),
        };
        let stream = self
            .docker()
            .download_from_container(&encode(container), Some(options));
        let engine = self.clone();
        Box::pin(stream.map(move |item| item.map_err(|error| engine.explain(&action, error))))
    }

    /// Unpacks a tar into a folder of a container. Owners come from the tar.
    ///
    /// # Errors
    /// No such folder or container, or a read-only file system.
    pub async fn put_archive(
        &self,
        container: &str,
        folder: &str,
        tar: Bytes,
    ) -> Result<(), EngineError> {
        settled(|| self.put_once(container, folder, tar.clone())).await
    }

    async fn put_once(&self, container: &str, folder: &str, tar: Bytes) -> Result<(), EngineError> {
        let options = UploadToContainerOptions {
            path: folder.to_owned(),
            ..Default::default()
        };
        self.docker()
            .upload_to_container(&encode(container), Some(options), bollard::body_full(tar))
            .await
            .map_err(|error| {
                self.explain(
                    &format!("write to {folder} of container {container}"),
                    error,
                )
            })
    }

    /// The content of one regular file of a container; `None` when there is no such path. Symlinks are followed twice at most,
    /// inside the container.
    ///
    /// # Errors
    /// The engine's refusal, a file over 16 MiB, or a path that is no file.
    pub async fn read_file(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let mut path = path.to_owned();
        for _ in 0..3 {
            match settled(|| repeated(|| self.read_entry(container, &path))).await? {
                Entry::Missing => return Ok(None),
                Entry::File(content) => return Ok(Some(content)),
                Entry::Link(target) => path = resolve(&path, &target),
            }
        }
        Err(self.bad_file(&path, "too many symlinks"))
    }

    async fn read_entry(&self, container: &str, path: &str) -> Result<Entry, EngineError> {
        let mut stream = self.get_archive(container, path);
        let mut tar = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => tar.extend_from_slice(&chunk),
                Err(EngineError::Refused { status: 404, .. }) => return Ok(Entry::Missing),
                Err(error) => return Err(error),
            }
            if tar.len() as u64 > LARGEST_FILE {
                return Err(self.bad_file(path, "it is larger than 16 MiB"));
            }
        }
        first_entry(&tar).map_err(|error| self.bad_file(path, &error.to_string()))
    }

    fn bad_file(&self, path: &str, reason: &str) -> EngineError {
        EngineError::Answer {
            action: format!("read {path}"),
            reason: reason.to_owned(),
        }
    }
}

/// Asks until the engine knows what the container is. Podman looks into a running one through its first process, and believes for a moment
/// after its end that it runs (seen on Podman 4.3.1).
pub(super) async fn settled<T, F>(ask: impl Fn() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let began = Instant::now();
    loop {
        match ask().await {
            Err(error) if has_just_ended(&error) && began.elapsed() < JUST_ENDED => {
                tokio::time::sleep(POLL).await;
            }
            other => return other,
        }
    }
}

/// Whether an engine refused because a process is gone through which it meant to look.
fn has_just_ended(error: &EngineError) -> bool {
    matches!(error, EngineError::Refused { status: 500, message, .. } if message.contains("/ns/mnt: no such file"))
}

enum Entry {
    Missing,
    File(Vec<u8>),
    Link(String),
}

fn first_entry(tar: &[u8]) -> std::io::Result<Entry> {
    let mut archive = tar::Archive::new(tar);
    let mut entry = archive
        .entries()?
        .next()
        .ok_or_else(|| std::io::Error::other("the archive is empty"))??;
    match entry.header().entry_type() {
        tar::EntryType::Regular => {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            Ok(Entry::File(content))
        }
        tar::EntryType::Symlink => {
            let target = entry
                .link_name()?
                .ok_or_else(|| std::io::Error::other("a symlink without a target"))?;
            Ok(Entry::Link(target.to_string_lossy().into_owned()))
        }
        _ => Err(std::io::Error::other("it is not a regular file")),
    }
}

/// A link's target as an absolute path; the engine resolves `..` inside the container.
fn resolve(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let folder = Path::new(link).parent().unwrap_or(Path::new("/"));
    folder.join(target).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_beside_themselves() {
        assert_eq!(
            resolve("/etc/passwd", "../usr/etc/passwd"),
            "/etc/../usr/etc/passwd"
        );
        assert_eq!(resolve("/etc/passwd", "/lib/passwd"), "/lib/passwd");
    }

    #[tokio::test]
    async fn a_container_that_has_just_ended_is_asked_again_and_what_is_refused_is_not() {
        let refused = |message: &str| EngineError::Refused {
            action: "read /etc/passwd".to_owned(),
            status: 500,
            message: message.to_owned(),
        };
        for (message, tries) in [
            ("open /proc/4995/ns/mnt: no such file or directory", 2),
            ("no space left on device", 1),
        ] {
            let asked = std::sync::atomic::AtomicU32::new(0);
            let ask = || async {
                match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => Err(refused(message)),
                    _ => Ok(()),
                }
            };
            assert_eq!(settled(ask).await.is_ok(), tries == 2);
            assert_eq!(asked.into_inner(), tries, "{message}");
        }
    }

    #[test]
    fn an_empty_archive_is_an_error() {
        assert!(first_entry(&[]).is_err());
    }
}
