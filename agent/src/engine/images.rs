//! Images: look, pull.
//!
//! Why an image that is present is used as it is: a site without a registry loads its images by hand, and a pull would replace what
//! the operator chose. Which image ran is recorded by digest, never by tag.

use std::time::Duration;

use bollard::{auth::DockerCredentials, query_parameters::CreateImageOptions};
use ferry_proto::Reference;
use futures_util::StreamExt as _;
use hyper::Method;
use serde_json::Value;

use super::{
    ask::Ask,
    client::{Engine, encode},
    error::{EngineError, close_names},
    inspect::ImageInspect,
    kind::EngineKind,
};

/// A registry that says nothing for so long has stalled.
const PULL_SILENCE: Duration = Duration::from_secs(300);

/// Name and password for a registry; its `Debug` shows no password.
#[derive(Clone)]
pub struct RegistryAuth {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
    /// The registry's address.
    pub server: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// How far a pull is. The sums cover the layers seen so far, so `total` grows while layers are announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// What happens now: `Downloading`, `Extracting`, `Pull complete`, …
    pub status: String,
    /// The layer, when one is meant.
    pub layer: Option<String>,
    /// Bytes done of what `status` names.
    pub current: Option<u64>,
    /// Bytes to do of what `status` names.
    pub total: Option<u64>,
}

/// An image's name in a path: the engine takes slashes, colons and `@` there.
fn image_path(image: &str, rest: &str) -> String {
    let encoded = encode(image)
        .replace("%2F", "/")
        .replace("%3A", ":")
        .replace("%40", "@");
    format!("/images/{encoded}{rest}")
}

/// What the engine wants as image and tag; `latest` only when nothing is named. `None` for an id: no registry knows one.
fn name_and_tag(image: &str) -> Option<(&str, &str)> {
    match Reference::parse(image)? {
        Reference::Id(_) => None,
        Reference::Digest { repository, digest } => Some((repository, digest)),
        Reference::Tag { repository, tag } => Some((repository, tag)),
        Reference::Bare(repository) => Some((repository, "latest")),
    }
}

fn check(image: &str) -> Result<(), EngineError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if image.is_empty() || !image.chars().all(plain) || image.split('/').any(|part| part == "..") {
        return Err(EngineError::BadName {
            kind: "image",
            name: image.to_owned(),
        });
    }
    Ok(())
}

impl Engine {
    /// What the engine knows of an image, by name, digest or id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the names that look alike.
    pub async fn inspect_image(&self, image: &str) -> Result<ImageInspect, EngineError> {
        if let Some(found) = self.find_image(image).await? {
            return Ok(found);
        }
        let ask = Ask::new(Method::GET, "/images/json".into(), "list images".into());
        let list = self.ask_json(ask).await.unwrap_or_default();
        let tags: Vec<&str> = list
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|entry| entry["RepoTags"].as_array().into_iter().flatten())
            .filter_map(|tag| tag.as_str())
            .collect();
        Err(EngineError::NotFound {
            kind: "image",
            name: image.to_owned(),
            endpoint: self.endpoint().to_owned(),
            close: close_names(image, tags),
        })
    }

    /// Like [`Engine::inspect_image`], with `None` for an image that is not there.
    ///
    /// # Errors
    /// All but "not found".
    pub async fn find_image(&self, image: &str) -> Result<Option<ImageInspect>, EngineError> {
        check(image)?;
        let ask = Ask::new(
            Method::GET,
            image_path(image, "/json"),
            format!("inspect image {image}"),
        );
        match self.ask_json(ask).await {
            Ok(raw) => Ok(Some(self.understand_image(image, raw).await?)),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An answer in Docker's words, with what Podman tells in its own interface alone: the image's health check. Without that each container
    /// would seem to have one of its own (seen on Podman 4.3.1).
    async fn understand_image(
        &self,
        image: &str,
        mut raw: Value,
    ) -> Result<ImageInspect, EngineError> {
        if self.kind() == EngineKind::Podman && raw["Config"]["Healthcheck"].is_null() {
            let action = format!("tell the health check of image {image}");
            let mut own = self.ask_podman(image_path(image, "/json"), action).await?;
            if let (Some(config), check @ Value::Object(_)) =
                (raw["Config"].as_object_mut(), own["Healthcheck"].take())
            {
                config.insert("Healthcheck".to_owned(), check);
            }
        }
        Ok(ImageInspect::new(raw))
    }

    /// Whether the image is in the engine.
    ///
    /// # Errors
    /// As [`Engine::find_image`].
    pub async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        Ok(self.find_image(image).await?.is_some())
    }

    /// Pulls `image` unless it is there already, and returns what is there afterwards.
    ///
    /// # Errors
    /// The registry's refusal in the engine's words, or 300 s without a sign of life.
    pub async fn pull(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<ImageInspect, EngineError> {
        if let Some(present) = self.find_image(image).await? {
            return Ok(present);
        }
        let action = format!("pull image {image}");
        let Some((name, tag)) = name_and_tag(image) else {
            return self.inspect_image(image).await;
        };
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let credentials = auth.map(|auth| DockerCredentials {
            username: Some(auth.username.clone()),
            password: Some(auth.password.clone()),
            serveraddress: Some(auth.server.clone()),
            ..Default::default()
        });
        let mut stream = self.docker().create_image(Some(options), None, credentials);
        loop {
            match tokio::time::timeout(PULL_SILENCE, stream.next()).await {
                Err(_) => {
                    return Err(EngineError::Timeout {
                        endpoint: self.endpoint().to_owned(),
                        action,
                        after: PULL_SILENCE,
                    });
                }
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(self.explain(&action, error)),
                Ok(Some(Ok(info))) => {
                    let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
                    let detail = info.progress_detail.unwrap_or_default();
                    progress(PullProgress {
                        status: info.status.unwrap_or_default(),
                        layer: info.id,
                        current: bytes(detail.current),
                        total: bytes(detail.total),
                    });
                }
            }
        }
        self.inspect_image(image).await
    }

    /// Removes an image that no container uses; gone already is fine. For images that Ferry itself loaded.
    ///
    /// # Errors
    /// It is in use.
    pub async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        check(image)?;
        let ask = Ask::new(
            Method::DELETE,
            image_path(image, ""),
            format!("remove image {image}"),
        );
        match self.ask(ask).await {
            Ok(_) | Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_ports_and_digests_are_told_apart() {
        for (image, expected) in [
            (
                "percona/pmm-server:2.44.1",
                ("percona/pmm-server", "2.44.1"),
            ),
            ("percona/pmm-server", ("percona/pmm-server", "latest")),
            ("registry:5000/pmm", ("registry:5000/pmm", "latest")),
            ("registry:5000/pmm:3", ("registry:5000/pmm", "3")),
            ("pmm@sha256:ab", ("pmm", "sha256:ab")),
            // The digest decides; the tag beside it would be taken for a part of the name.
            (
                "registry:5000/pmm:3@sha256:ab",
                ("registry:5000/pmm", "sha256:ab"),
            ),
        ] {
            assert_eq!(name_and_tag(image), Some(expected));
        }
        for id in ["abcdef123456", "sha256:abcdef"] {
            assert_eq!(name_and_tag(id), None, "{id}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_path() {
        for bad in ["", "a/../b", "a?x=1", "a b", "a#b", "a%2Fb"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("registry:5000/a/b.c_d-e@sha256:00").is_ok());
    }
}
