//! Holds a call against the policy. What is named by id is looked up first: an id says nothing about whose it is.

use std::path::Path;

use ferry_proto::v1::{BackupFacts, BackupPlace, GetFactsRequest, Place, Step, TunnelTarget};

use super::{Policy, Rules, subjects::Subjects};
use crate::{
    engine::{Engine, labels::SERVER_LABEL},
    error::StepError,
    places,
    surroundings::{Host, Surroundings},
};

impl Policy {
    /// Whether this agent may perform a step, or take it back.
    ///
    /// # Errors
    /// `policy-denied`, or when what the step names cannot be looked up.
    pub async fn check_step(&self, around: &Surroundings, step: &Step) -> Result<(), StepError> {
        let Some(rules) = self.rules.as_deref() else {
            return Ok(());
        };
        let Some(action) = &step.action else {
            return Ok(());
        };
        let kind = action.kind_name();
        if rules.steps.as_ref().is_some_and(|it| !it.contains(kind)) {
            return Err(denied(format!("steps of the kind `{kind}`")));
        }
        let Some(kind) = &action.kind else {
            return Ok(());
        };
        let named = Subjects::of(kind);
        if let Surroundings::Client(_) = around {
            for version in &named.versions {
                rules.version(version)?;
            }
            return named.folders.iter().try_for_each(|it| rules.folder(it));
        }
        let Surroundings::Host(host) = around else {
            return Ok(());
        };
        for name in &named.names {
            rules.container(name)?;
        }
        for container in &named.containers {
            rules.known_container(&host.engine, container).await?;
        }
        for image in &named.images {
            rules.image(image)?;
        }
        for id in &named.image_ids {
            rules.known_image(&host.engine, id).await?;
        }
        for folder in &named.folders {
            rules.folder(folder)?;
        }
        for volume in &named.volumes {
            rules.volume(&host.engine, volume).await?;
        }
        match named.backup {
            Some(backup) => rules.backup(&host.engine, backup).await,
            None => Ok(()),
        }
    }

    /// Whether facts may be gathered of what a request names. Folders that journals remember are only looked into where that
    /// is allowed: nobody asked for any one of them.
    ///
    /// # Errors
    /// As [`Policy::check_step`].
    pub async fn bound_facts(
        &self,
        around: &Surroundings,
        request: &mut GetFactsRequest,
    ) -> Result<(), StepError> {
        let Some(rules) = self.rules.as_deref() else {
            return Ok(());
        };
        if let Surroundings::Client(_) = around
            && !request.client_file.is_empty()
        {
            return rules.folder(&request.client_file);
        }
        let Surroundings::Host(host) = around else {
            return Ok(());
        };
        if !request.container.is_empty() {
            rules
                .known_container(&host.engine, &request.container)
                .await?;
        }
        if let Some(new) = &request.new_server {
            rules.container(&new.container)?;
            rules.volume(&host.engine, &new.volume).await?;
        }
        if !request.target_image.is_empty() {
            rules.image(&request.target_image)?;
        }
        if !request.backup_folder.is_empty() {
            rules.folder(&request.backup_folder)?;
        }
        request.known_folders.retain(|it| rules.folder(it).is_ok());
        Ok(())
    }

    /// Leaves out backups of servers that are not this agent's to touch.
    pub fn retain_backups(&self, backups: &mut Vec<BackupFacts>) {
        if let Some(rules) = self.rules.as_deref() {
            backups.retain(|backup| rules.allows_container(&backup.server));
        }
    }

    /// Whether a tunnel may be opened to an agent.
    ///
    /// # Errors
    /// As [`Policy::check_step`].
    pub async fn check_tunnel(&self, host: &Host, target: &TunnelTarget) -> Result<(), StepError> {
        let Some(rules) = self.rules.as_deref() else {
            return Ok(());
        };
        if target.place() != Place::Volume {
            return rules.known_container(&host.engine, &target.container).await;
        }
        // The volume agent is found by its run alone, so that it has to say itself whose data it has.
        let Some(agent) = places::find_agent(host, &target.run, "volume").await? else {
            return Ok(());
        };
        let agent = host.engine.inspect_container(&agent.id).await?;
        let server = agent.label(SERVER_LABEL).unwrap_or_default();
        rules.server_or_its_backup(&host.engine, server).await
    }
}

impl Rules {
    fn container(&self, name: &str) -> Result<(), StepError> {
        if self.allows_container(name) {
            return Ok(());
        }
        Err(denied(format!("the container `{name}`")))
    }

    /// A container that Ferry has set aside, and a backup, are called by their server's name and more behind it.
    fn allows_container(&self, name: &str) -> bool {
        let fits = |name: &str| self.containers.iter().any(|it| it.matches(name));
        fits(name) || server_of(name).is_some_and(fits)
    }

    /// By the name that it has now. One that is not there can be neither touched nor told about: the work itself says so.
    async fn known_container(&self, engine: &Engine, reference: &str) -> Result<(), StepError> {
        match engine.find_container(reference).await? {
            Some(container) => self.container(container.name()),
            None => Ok(()),
        }
    }

    fn image(&self, reference: &str) -> Result<(), StepError> {
        if self.images.iter().any(|it| it.matches(reference)) {
            return Ok(());
        }
        Err(denied(format!("the image `{reference}`")))
    }

    /// By any of the names that the image has here.
    async fn known_image(&self, engine: &Engine, id: &str) -> Result<(), StepError> {
        let Some(image) = engine.find_image(id).await? else {
            return Ok(());
        };
        let names = image.tags().into_iter().chain([image.digest(None)]);
        for name in names {
            if self.image(&name).is_ok() {
                return Ok(());
            }
        }
        Err(denied(format!("the image `{id}`")))
    }

    /// A version that a client's package may get. An epoch is the package manager's own, and takes no part.
    fn version(&self, version: &str) -> Result<(), StepError> {
        let bare = version.split_once(':').map_or(version, |(_, rest)| rest);
        if self.versions.iter().any(|it| it.matches(bare)) {
            return Ok(());
        }
        Err(denied(format!("version `{version}` of a client")))
    }

    fn folder(&self, folder: &str) -> Result<(), StepError> {
        let path = Path::new(folder);
        let inside = self.folders.iter().any(|it| path.starts_with(it));
        if inside && super::is_plain(path) {
            return Ok(());
        }
        Err(denied(format!("the folder `{folder}`")))
    }

    /// A new one, or one that a run made for a server of this agent's: whose any other is, nobody says.
    async fn volume(&self, engine: &Engine, name: &str) -> Result<(), StepError> {
        let Some(volume) = engine.find_volume(name).await? else {
            return Ok(());
        };
        let server = volume.labels.get(SERVER_LABEL).map(String::as_str);
        if self.allows_container(server.unwrap_or_default()) {
            return Ok(());
        }
        Err(denied(format!("the volume `{name}`")))
    }

    async fn backup(&self, engine: &Engine, backup: &BackupPlace) -> Result<(), StepError> {
        if !backup.volume.is_empty() {
            return self.server_or_its_backup(engine, &backup.volume).await;
        }
        self.folder(&backup.folder)?;
        let name = backup.folder.rsplit('/').next().unwrap_or_default();
        self.container(name)
    }

    /// A server by its name, or the volume of its backup, which may be called by the data's volume and says itself whose it is.
    async fn server_or_its_backup(&self, engine: &Engine, name: &str) -> Result<(), StepError> {
        if self.allows_container(name) {
            return Ok(());
        }
        let volume = match name {
            "" => None,
            name => engine.find_volume(name).await?,
        };
        let server = volume.as_ref().and_then(|it| it.labels.get(SERVER_LABEL));
        self.container(server.map_or(name, String::as_str))
    }
}

/// The server in the name of what is kept of it: `NAME-VERSION-RUN` of an old container, `NAME-ferry-RUN` of a backup.
fn server_of(name: &str) -> Option<&str> {
    let (rest, run) = name.rsplit_once('-')?;
    let (server, kind) = rest.rsplit_once('-')?;
    let is_run = run.len() == 8 && run.chars().all(|c| c.is_ascii_hexdigit());
    let is_kept = kind == "ferry" || kind.starts_with(|c: char| c.is_ascii_digit());
    (is_run && is_kept).then_some(server)
}

fn denied(what: String) -> StepError {
    StepError::new(
        "policy-denied",
        format!("the agent's policy does not allow {what}"),
    )
    .hint(
        "who runs the agent's machine decides: see the policy file that `ferryd` was started with",
    )
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::{Action, CaptureBaseline, ClientChange, UpgradeClient, action::Kind};

    use super::*;

    fn rules(policy: &Policy) -> &Rules {
        policy.rules.as_deref().unwrap()
    }

    fn policy() -> Policy {
        Policy::parse(
            r#"{"format": 1, "containers": ["pmm-server"], "images": ["percona/pmm-server:3.8.1"], "folders": ["/mnt/backups"]}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_kept_of_a_server_is_the_servers() {
        let policy = policy();
        for (name, allowed) in [
            ("pmm-server", true),
            ("pmm-server-2.44.1-7f3a9c21", true),
            ("pmm-server-ferry-7f3a9c21", true),
            ("pmm-server-2", false),
            ("pmm-server-two-7f3a9c21", false),
            ("pmm-server-2.44.1-7f3a9c2", false),
            ("other-2.44.1-7f3a9c21", false),
            ("", false),
        ] {
            assert_eq!(rules(&policy).allows_container(name), allowed, "{name}");
        }
    }

    #[test]
    fn folders_are_held_against_whole_names() {
        let policy = policy();
        for (folder, allowed) in [
            ("/mnt/backups", true),
            ("/mnt/backups/a/b", true),
            ("/mnt/backups2", false),
            ("/mnt/backups/../../etc", false),
            ("mnt/backups", false),
            ("/", false),
        ] {
            assert_eq!(rules(&policy).folder(folder).is_ok(), allowed, "{folder}");
        }
    }

    #[test]
    fn backups_of_others_are_not_told() {
        let of = |server: &str| BackupFacts {
            server: server.into(),
            ..BackupFacts::default()
        };
        let mut backups = vec![of("pmm-server"), of("other")];
        policy().retain_backups(&mut backups);
        assert_eq!(backups, [of("pmm-server")]);
        Policy::unbounded().retain_backups(&mut backups);
        assert_eq!(backups.len(), 1);
    }

    #[tokio::test]
    async fn a_client_gets_only_versions_and_files_that_are_allowed() {
        let text = r#"{"format": 1, "versions": ["3.*"], "folders": ["/opt/pmm"]}"#;
        let policy = Policy::parse(text).unwrap();
        let client = Surroundings::Client(crate::surroundings::Client);
        for (version, file, allowed) in [
            ("3.8.1-7.bookworm", "", true),
            ("1:3.8.1-7.bookworm", "", true),
            ("3.8.1", "/opt/pmm/pmm-client-3.8.1.tar.gz", true),
            ("2.44.1-6.bookworm", "", false),
            ("13.0", "", false),
            ("3.8.1", "/tmp/pmm-client-3.8.1.tar.gz", false),
            ("3.8.1", "/opt/pmm/../../tmp/x", false),
        ] {
            let change = ClientChange {
                target_package_version: version.into(),
                file: file.into(),
                ..ClientChange::default()
            };
            let kind = Kind::UpgradeClient(UpgradeClient {
                change: Some(change),
            });
            let step = Step {
                action: Some(Action { kind: Some(kind) }),
                ..Step::default()
            };
            let checked = policy.check_step(&client, &step).await;
            assert_eq!(checked.is_ok(), allowed, "{version} {file}: {checked:?}");
            let mut request = GetFactsRequest {
                client_file: file.into(),
                ..GetFactsRequest::default()
            };
            let looked = policy.bound_facts(&client, &mut request).await;
            assert_eq!(looked.is_ok(), file.is_empty() || allowed, "{file}");
        }
    }

    #[tokio::test]
    async fn kinds_of_steps_are_bounded_everywhere() {
        let step = Step {
            action: Some(Action {
                kind: Some(Kind::CaptureBaseline(CaptureBaseline {})),
            }),
            ..Step::default()
        };
        let volume = Surroundings::Volume(crate::surroundings::Volume {
            data: "/srv".into(),
            backup: "/backup".into(),
            live: None,
        });
        let of = |kinds: &[&str]| {
            let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
            Policy::of_steps(&kinds)
        };
        let fine = of(&["capture-baseline"]).check_step(&volume, &step).await;
        assert!(fine.is_ok(), "{fine:?}");
        let error = of(&["heal-roles"])
            .check_step(&volume, &step)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "policy-denied");
        assert!(error.to_string().contains("`capture-baseline`"), "{error}");
    }
}
