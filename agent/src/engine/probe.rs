//! What an image is, by its labels and its contents.
//!
//! Why not by its name: mirrors rename, tags move, and a digest says nothing (facts/pmm.md 2.1, defect 3). A container is made from
//! the image and never started; the files are read through the archive call; the container is removed whatever happens.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use ferry_proto::Reference;
use serde_json::json;

use super::{
    client::Engine,
    error::EngineError,
    helper,
    inspect::ImageInspect,
    labels::{ROLE_LABEL, role_filter},
    tunnel::{self, Unstarted},
    users::{Owner, resolve_user},
};
use crate::server::users::Users;

/// What the container of a probe is labelled with ([`ROLE_LABEL`]).
const ROLE: &str = "probe";

/// Where PMM's images keep the version of what they ship.
pub const VERSION_FILE: &str = "/usr/share/percona-dashboards/VERSION";

/// What was found out about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageProbe {
    /// Its id.
    pub id: String,
    /// `repository@sha256:…`, or the id of an image that no registry knows.
    pub digest: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The version of PMM it ships, such as `3.8.1`.
    pub version: Option<String>,
    /// PMM's major version; `None` when nothing in the image speaks of PMM.
    pub pmm_major: Option<u32>,
    /// Who its first process runs as.
    pub user: Owner,
    /// The folders that get a volume of their own when nothing is mounted there.
    pub volumes: Vec<String>,
    /// Its users and groups.
    pub names: Users,
    /// The ports it says it listens on.
    pub exposed_ports: Vec<String>,
    /// What the answers above rest on, as sentences.
    pub evidence: Vec<String>,
}

impl Engine {
    /// Finds out what `image` is. The image must be in the engine.
    ///
    /// # Errors
    /// It is not there, it has an unknown user, or the probe's container cannot be made.
    pub async fn probe_image(&self, image: &str) -> Result<ImageProbe, EngineError> {
        let inspect = self.inspect_image(image).await?;
        let (id, unstarted) = self.unstarted_of(&inspect).await?;
        let looked = self.look(image, &inspect, &id).await;
        let removed = self.remove_container(&id).await;
        if removed.is_ok() {
            unstarted.settled();
        }
        let probe = looked?;
        removed?;
        Ok(probe)
    }

    /// A container of an image that never runs, for its files. Whoever asked for it removes it.
    pub(super) async fn unstarted_of(
        &self,
        inspect: &ImageInspect,
    ) -> Result<(String, Unstarted), EngineError> {
        let name = format!("ferry-probe-{:016x}", rand::random::<u64>());
        // Without these the engine would make a volume for each, and they would outlive the probe.
        let tmpfs: BTreeMap<String, &str> = inspect
            .volumes()
            .into_iter()
            .map(|folder| (folder, ""))
            .collect();
        let mut body = json!({
            "Image": inspect.id(),
            "Labels": { ROLE_LABEL: ROLE },
            "NetworkDisabled": true,
            "HostConfig": { "NetworkMode": "none", "Tmpfs": tmpfs },
        });
        if !inspect.has_command() {
            // The engine wants one, though it never runs.
            body["Cmd"] = json!(["/probe"]);
        }
        let created = self.create(&name, &body).await?;
        let unstarted = Unstarted::new(self, &created.id);
        Ok((created.id, unstarted))
    }

    async fn look(
        &self,
        image: &str,
        inspect: &ImageInspect,
        container: &str,
    ) -> Result<ImageProbe, EngineError> {
        let text = async |path: &str| {
            let file = self.read_file(container, path).await?;
            Ok::<_, EngineError>(file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let passwd = text("/etc/passwd").await?.unwrap_or_default();
        let group = text("/etc/group").await?.unwrap_or_default();
        let version_file = text(VERSION_FILE).await?;
        let user =
            resolve_user(inspect.user(), &passwd, &group).map_err(|reason| EngineError::Probe {
                image: image.to_owned(),
                reason,
            })?;
        let (version, pmm_major, mut evidence) = judge(&inspect.labels(), version_file.as_deref());
        evidence.push(format!(
            "its user `{}` is {}:{} by its own passwd",
            inspect.user(),
            user.uid,
            user.gid
        ));
        Ok(ImageProbe {
            id: inspect.id().to_owned(),
            digest: inspect.digest(Reference::parse(image).and_then(|it| it.repository())),
            labels: inspect.labels(),
            version,
            pmm_major,
            user,
            volumes: inspect.volumes(),
            exposed_ports: inspect.exposed_ports(),
            names: Users::parse(&passwd, &group),
            evidence,
        })
    }

    /// Removes probes and proxies that a crash left behind unstarted, when they are older than `age`.
    ///
    /// # Errors
    /// The engine's refusal.
    pub async fn remove_stale_helpers(
        &self,
        age: Duration,
        now: SystemTime,
    ) -> Result<usize, EngineError> {
        let mut removed = 0;
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        for role in [ROLE, tunnel::ROLE, helper::ROLE] {
            for entry in self
                .list_containers(&[("label", &role_filter(role)), ("status", "created")])
                .await?
            {
                let created = Duration::from_secs(u64::try_from(entry.created).unwrap_or_default());
                if now.saturating_sub(created) >= age {
                    self.remove_container(&entry.id).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

/// Version, major and what they rest on. The file counts before the label: derived images inherit or overwrite labels, the file is
/// what the server itself compares its volume with (facts/pmm.md 1.5).
#[must_use]
pub fn judge(
    labels: &BTreeMap<String, String>,
    version_file: Option<&str>,
) -> (Option<String>, Option<u32>, Vec<String>) {
    let mut evidence = Vec::new();
    let from_file = version_file.map(str::trim).and_then(clean_version);
    if let Some(version) = &from_file {
        evidence.push(format!("{VERSION_FILE} says {version}"));
    } else if version_file.is_some() {
        evidence.push(format!("{VERSION_FILE} holds no version"));
    }
    let pmm_label = labels
        .get("com.percona.pmm")
        .is_some_and(|value| value == "true");
    if pmm_label {
        evidence.push("label com.percona.pmm=true, which PMM 3 carries".to_owned());
    }
    let from_label = labels
        .get("org.opencontainers.image.version")
        .and_then(|value| clean_version(value));
    if let Some(version) = &from_label {
        evidence.push(format!("label org.opencontainers.image.version={version}"));
    }
    // A version label alone may be any program's.
    let speaks_of_pmm = from_file.is_some() || pmm_label;
    let version = from_file.or_else(|| from_label.filter(|_| speaks_of_pmm));
    let major = version
        .as_deref()
        .and_then(major_of)
        .or(pmm_label.then_some(3));
    (version, major, evidence)
}

/// The dotted number that `text` starts with, after a `v`; `None` when there is none.
fn clean_version(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| c.is_whitespace()).unwrap_or(text.len());
    let version = &text[..end];
    major_of(version)?;
    version.contains('.').then(|| version.to_owned())
}

fn major_of(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_file_says_what_it_is() {
        let (version, major, evidence) = judge(&labels(&[]), Some("2.44.1\n"));
        assert_eq!((version.as_deref(), major), (Some("2.44.1"), Some(2)));
        assert_eq!(
            evidence,
            ["/usr/share/percona-dashboards/VERSION says 2.44.1"]
        );
    }

    #[test]
    fn the_file_counts_before_an_inherited_label() {
        let labels = labels(&[
            ("org.opencontainers.image.version", "9.1"),
            ("com.percona.pmm", "true"),
        ]);
        let (version, major, evidence) = judge(&labels, Some("3.8.1"));
        assert_eq!((version.as_deref(), major), (Some("3.8.1"), Some(3)));
        assert_eq!(evidence.len(), 3);
    }

    #[test]
    fn a_foreign_image_with_a_version_label_is_not_pmm() {
        let (version, major, _) = judge(
            &labels(&[("org.opencontainers.image.version", "3.18.0")]),
            None,
        );
        assert_eq!((version, major), (None, None));
    }

    #[test]
    fn the_label_alone_means_three() {
        let (version, major, _) = judge(&labels(&[("com.percona.pmm", "true")]), None);
        assert_eq!((version, major), (None, Some(3)));
        let (version, _, evidence) = judge(&labels(&[]), Some("<html>"));
        assert_eq!(version, None);
        assert_eq!(
            evidence,
            ["/usr/share/percona-dashboards/VERSION holds no version"]
        );
    }
}
