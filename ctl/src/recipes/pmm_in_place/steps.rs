//! The steps of the recipe, in their order, each with everything it needs to know.

use ferry_proto::{
    proof_bytes,
    v1::{self as v1, Action, Facts, Owner, Place, ServerFacts, Step, action::Kind},
};

use super::roles_to_heal;
use crate::{
    recipes::{Backup, Compose, Unit, Version, Wishes, estimate, policy, space::Space},
    units::{bytes, count, counted, estimate as duration},
};

/// PMM 2's supervisor gives its programs up to 300 seconds (facts/pmm.md 7.4), and needs some
/// itself.
const STOP_GRACE_SECONDS: u32 = 330;
/// A container that refuses its volume does so at once. What fails later is found by whoever waits
/// for the server to be ready, so that no second of this is downtime for nothing.
pub(in crate::recipes) const SETTLE_SECONDS: u32 = 1;
/// Upstream's own initialisation waits 150 s for PostgreSQL and 100 s for PMM (facts/pmm.md 1.5).
const READY_SECONDS: u64 = 300;
/// One more second of patience for so many bytes of databases that migrations may rewrite.
const READY_BYTES_PER_SECOND: u64 = 20_000_000;
/// No boot takes longer and still ends well.
const READY_MOST_SECONDS: u64 = 3600;
/// The databases of PMM itself and of Grafana; the rest of PostgreSQL is empty.
pub(super) const DATABASES: [&str; 2] = ["pmm-managed", "grafana"];

/// The facts that a plan cannot do without.
pub(in crate::recipes) struct Ground<'a> {
    pub(super) container: &'a v1::ContainerFacts,
    pub(in crate::recipes) target: &'a v1::ImageFacts,
    image: Option<&'a v1::ImageFacts>,
    pub(super) server: &'a ServerFacts,
    pub(in crate::recipes) data: &'a v1::DataFacts,
}

impl<'a> Ground<'a> {
    pub(in crate::recipes) fn new(facts: &'a Facts) -> Option<Self> {
        Some(Self {
            container: facts.container.as_ref()?,
            target: facts.target.as_ref()?,
            image: facts.image.as_ref(),
            server: facts.server.as_ref()?,
            data: facts.data.as_ref()?,
        })
    }

    pub(in crate::recipes) fn version_now(&self) -> &'a str {
        match self.server.version.as_str() {
            "" => self.image.map_or("", |image| &image.version),
            version => version,
        }
    }

    pub(in crate::recipes) fn version_then(&self) -> &'a str {
        &self.target.version
    }

    /// Whether it becomes another one of its own major version.
    pub(super) fn is_update(&self) -> bool {
        policy::is_update(
            Version::parse(self.version_now()),
            Version::parse(self.version_then()),
        )
    }

    /// Whom the data shall belong to; absent where each program keeps what is its own, as in PMM 2.
    pub(in crate::recipes) fn owner(&self) -> Option<Owner> {
        let target = self.target;
        (target.pmm_major != 2).then_some(Owner {
            uid: target.uid,
            gid: target.gid,
        })
    }

    /// Entries that do not have the target's owner yet.
    pub(super) fn entries_to_transfer(&self) -> u64 {
        let has =
            |owner: &&v1::OwnerCount| owner.uid == self.target.uid && owner.gid == self.target.gid;
        let right = self
            .data
            .owners
            .iter()
            .filter(has)
            .fold(0_u64, |sum, owner| sum.saturating_add(owner.entries));
        self.data.entries.saturating_sub(right)
    }

    fn database_bytes(&self) -> u64 {
        super::database_bytes(self.server)
    }

    pub(in crate::recipes) fn ready_seconds(&self, wishes: &Wishes) -> u32 {
        if let Some(seconds) = wishes.ready_seconds {
            return seconds;
        }
        let seconds = READY_SECONDS.saturating_add(self.database_bytes() / READY_BYTES_PER_SECOND);
        u32::try_from(seconds.min(READY_MOST_SECONDS)).unwrap_or(u32::MAX)
    }

    pub(in crate::recipes) fn steps(&self, wishes: &Wishes) -> Vec<Step> {
        let mut steps = self.before_the_stop(wishes);
        let mut down = self.while_it_is_down(wishes);
        for step in &mut down {
            step.downtime = true;
        }
        steps.append(&mut down);
        steps.append(&mut self.afterwards(wishes));
        steps
    }

    fn before_the_stop(&self, wishes: &Wishes) -> Vec<Step> {
        let data = self.data;
        let mut steps = vec![
            self.pull(),
            step(
                Place::Host,
                "launch agents beside the server",
                estimate::LAUNCH,
                self.launch(true, wishes),
            ),
            step(
                Place::Container,
                "capture baseline",
                estimate::BASELINE,
                Kind::CaptureBaseline(v1::CaptureBaseline {}),
            ),
        ];
        // What lies outside the server cannot be dumped by its own tools on its own socket.
        if !self.server.external_postgres {
            steps.push(self.dump(wishes));
            steps.push(self.proof(wishes));
        }
        let whither = match &wishes.backup {
            Backup::NewVolume => "copy volume → new volume".to_owned(),
            Backup::Folder(path) => format!("copy volume → folder {path}/…"),
        };
        let limit = wishes.bytes_per_second;
        let copy = Kind::CopyVolume(v1::CopyVolume {
            final_pass: false,
            bytes_per_second: limit.unwrap_or_default(),
        });
        let pace = limit.map_or_else(String::new, |limit| {
            format!(", at most {} a second", bytes(limit))
        });
        steps.push(
            step(
                Place::Volume,
                &whither,
                estimate::copy(data.bytes, data.entries, limit),
                copy,
            )
            .remark(format!(
                "needs {}, {} free{pace}",
                bytes(Space::of(self.server, data, wishes.recipe).at_backup()),
                bytes(data.backup_free_bytes)
            )),
        );
        // A copy that cannot be trusted ends the run here, before anything has changed.
        steps.push(step(
            Place::Volume,
            "prove the copy against its manifest",
            estimate::prove_copy(data.bytes, data.entries),
            Kind::ProveCopy(v1::ProveCopy {
                bytes_per_second: limit.unwrap_or_default(),
                ..v1::ProveCopy::default()
            }),
        ));
        // After the proof and the copy: it is the first step that changes anything of the server.
        let roles = roles_to_heal(self.server);
        if !roles.is_empty() && !self.is_update() {
            let title = format!("heal database roles: {}", roles.join(", "));
            let heal = Kind::HealRoles(v1::HealRoles { roles });
            steps.push(step(Place::Container, &title, estimate::HEAL, heal));
        }
        steps
    }

    fn while_it_is_down(&self, wishes: &Wishes) -> Vec<Step> {
        let (container, data) = (self.container, self.data);
        let unit = self.unit(wishes);
        let mut steps = vec![step(
            Place::Container,
            "stop services, nginx first",
            estimate::STOP_SERVICES,
            Kind::StopServices(v1::StopServices::default()),
        )];
        steps.extend(self.hold_unit(wishes));
        steps.extend([
            step(
                Place::Host,
                unit.as_ref()
                    .map_or("fence: restart policy off", |_| "fence: hold the unit"),
                estimate::ENGINE_CALL,
                Kind::FenceServer(v1::FenceServer {
                    container_id: container.id.clone(),
                    unit: unit.clone(),
                }),
            ),
            step(
                Place::Host,
                unit.as_ref().map_or(
                    "stop the container, fence it",
                    |_| "stop the container and its unit",
                ),
                estimate::STOP_SERVER,
                Kind::StopServer(v1::StopServer {
                    container_id: container.id.clone(),
                    grace_seconds: STOP_GRACE_SECONDS,
                    same_start: false,
                    unit: unit.clone(),
                }),
            ),
            step(
                Place::Volume,
                "copy volume, what changed",
                estimate::copy_changes(data.entries),
                Kind::CopyVolume(v1::CopyVolume {
                    final_pass: true,
                    bytes_per_second: 0,
                }),
            )
            .id("copy-changes"),
        ]);
        let update = self.is_update();
        if !update {
            steps.extend(self.set_aside());
        }
        steps.extend(self.transfer());
        match &unit {
            Some(unit) => steps.push(self.edit_unit_files(unit)),
            None => steps.extend(self.another_container(wishes)),
        }
        steps.extend([
            step(
                Place::Volume,
                "hand over the volume",
                estimate::walk(data.entries),
                Kind::HandOverVolume(v1::HandOverVolume {
                    owner: self.owner(),
                }),
            ),
            Step {
                point_of_no_return: true,
                ..step(
                    Place::Host,
                    "start, watch the boot",
                    u64::from(SETTLE_SECONDS) * 1000 + estimate::ENGINE_CALL,
                    Kind::StartServer(v1::StartServer {
                        name: container.name.clone(),
                        settle_seconds: SETTLE_SECONDS,
                        old_container_id: container.id.clone(),
                        unit: unit.clone(),
                    }),
                )
            },
            step(
                Place::Host,
                "launch agent beside the new one",
                estimate::LAUNCH,
                self.launch(false, wishes),
            )
            .id("launch-sidecar"),
            step(
                Place::Container,
                "wait until ready",
                estimate::FIRST_BOOT,
                Kind::WaitUntilReady(v1::WaitUntilReady {
                    version: self.target.version.clone(),
                    timeout_seconds: self.ready_seconds(wishes),
                }),
            )
            .remark(format!(
                "at most {}",
                duration(u64::from(self.ready_seconds(wishes)) * 1000)
            )),
        ]);
        steps
    }

    /// The old container out of the way, and another in its place.
    fn another_container(&self, wishes: &Wishes) -> Vec<Step> {
        let (container, target, data) = (self.container, self.target, self.data);
        let mut steps = vec![step(
            Place::Host,
            "set aside the old container",
            estimate::ENGINE_CALL,
            Kind::SetAsideContainer(v1::SetAsideContainer {
                container_id: container.id.clone(),
                name: container.name.clone(),
                version: self.version_now().to_owned(),
            }),
        )];
        let compose = self.compose_file(wishes);
        steps.extend(compose.and_then(|file| self.edit_compose_file(file)));
        steps.push(step(
            Place::Host,
            &self.replace_title(),
            estimate::REPLACE,
            Kind::ReplaceContainer(v1::ReplaceContainer {
                old_container_id: container.id.clone(),
                name: container.name.clone(),
                image_id: target.id.clone(),
                reference: target.reference.clone(),
                target_version: target.version.clone(),
                data_destination: data.destination.clone(),
                pids_limit: container.pids_limit,
                same_major: self.is_update(),
                data_volume: String::new(),
                compose_config_hash: compose
                    .map(|file| file.config_hash.clone())
                    .unwrap_or_default(),
            }),
        ));
        steps
    }

    fn afterwards(&self, wishes: &Wishes) -> Vec<Step> {
        let keys = step(
            Place::Container,
            "migrate API keys",
            estimate::API_KEYS,
            Kind::MigrateApiKeys(v1::MigrateApiKeys {
                version: self.target.version.clone(),
            }),
        );
        let update = self.is_update();
        let mut steps = Vec::from_iter((!update).then_some(keys));
        steps.push(step(
            Place::Container,
            "compare with the baseline",
            estimate::COMPARE,
            Kind::CompareBaseline(v1::CompareBaseline {
                timeout_seconds: wishes.compare_seconds,
                same_major: update,
                ..v1::CompareBaseline::default()
            }),
        ));
        // Of PMM 2 there is none.
        if self.target.pmm_major != 2 {
            steps.push(step(
                Place::Volume,
                "keep PMM 3's encryption key",
                estimate::ENGINE_CALL,
                Kind::KeepEncryptionKey(v1::KeepEncryptionKey {}),
            ));
        }
        steps.extend(self.release_unit(wishes));
        steps.push(step(
            Place::Host,
            "retire the agents",
            estimate::LAUNCH,
            Kind::RetireAgents(v1::RetireAgents {
                container: self.container.name.clone(),
                data_destination: self.data.destination.clone(),
                old_container_id: self.container.id.clone(),
                restart_policy: self.container.restart_policy.clone(),
                backup_folder: wishes.backup.folder().to_owned(),
                data_volume: String::new(),
                unit: self.unit(wishes),
                ..v1::RetireAgents::default()
            }),
        ));
        steps
    }

    pub(in crate::recipes) fn pull(&self) -> Step {
        let target = self.target;
        let pull = Kind::PullImage(v1::PullImage {
            reference: target.reference.clone(),
            expected_id: target.id.clone(),
            digest: policy::by_digest(target).unwrap_or_default(),
            ..v1::PullImage::default()
        });
        let remark = if target.present { "done" } else { "" };
        step(Place::Host, "pull image", 0, pull).remark(remark)
    }

    pub(in crate::recipes) fn dump(&self, wishes: &Wishes) -> Step {
        let databases: Vec<String> = DATABASES.map(str::to_owned).to_vec();
        let title = format!("dump databases: {}", databases.join(", "));
        let jobs = wishes.jobs.max(1);
        let dump = Kind::DumpDatabases(v1::DumpDatabases { databases, jobs });
        let estimate = estimate::dump(self.database_bytes());
        step(Place::Container, &title, estimate, dump)
    }

    /// Restoring the dumps where nobody sees it.
    pub(in crate::recipes) fn proof(&self, wishes: &Wishes) -> Step {
        let database_bytes = self.database_bytes();
        let prove = Kind::ProveDumps(v1::ProveDumps {
            databases: DATABASES.map(str::to_owned).to_vec(),
            jobs: wishes.jobs.max(1),
            keep: false,
            heal_roles: Vec::new(),
        });
        let room = bytes(proof_bytes(database_bytes));
        let free = bytes(self.data.free_bytes);
        step(
            Place::Container,
            "prove the dumps in a scratch cluster",
            estimate::prove_dumps(database_bytes),
            prove,
        )
        .remark(format!("needs {room}, {free} free"))
    }

    pub(super) fn set_aside(&self) -> Option<Step> {
        let paths = self.server.custom_rule_files.clone();
        if paths.is_empty() {
            return None;
        }
        let files = counted(paths.len() as u64, "alert rule file");
        let aside = Kind::SetAsideFiles(v1::SetAsideFiles { paths });
        let title = format!("set aside {files}");
        let estimate = estimate::SET_ASIDE_FILES;
        Some(step(Place::Volume, &title, estimate, aside))
    }

    pub(super) fn transfer(&self) -> Option<Step> {
        let (entries, owner) = (self.entries_to_transfer(), self.owner()?);
        let title = format!(
            "transfer ownership to {}:{}, {} of {} entries",
            owner.uid,
            owner.gid,
            count(entries),
            count(self.data.entries)
        );
        let transfer = Kind::TransferOwnership(v1::TransferOwnership {
            owner: Some(owner),
            expected_entries: self.data.entries,
        });
        let estimate = estimate::transfer(entries);
        Some(step(Place::Volume, &title, estimate, transfer))
    }

    /// Compose's file, where the run is to change it.
    fn compose_file(&self, wishes: &Wishes) -> Option<&v1::ComposeFacts> {
        let file = self.container.compose.as_ref()?;
        (wishes.compose == Compose::Edit && file.refusal.is_empty()).then_some(file)
    }

    /// Nothing where it describes the target already.
    fn edit_compose_file(&self, file: &v1::ComposeFacts) -> Option<Step> {
        if file.diff.is_empty() {
            return None;
        }
        let target = self.target;
        let edit = Kind::EditComposeFile(v1::EditComposeFile {
            old_container_id: self.container.id.clone(),
            image_id: target.id.clone(),
            reference: target.reference.clone(),
            target_version: target.version.clone(),
            same_major: self.is_update(),
            file: file.file.clone(),
            service: file.service.clone(),
            digest: file.digest.clone(),
            edited_digest: file.edited_digest.clone(),
            diff: file.diff.clone(),
        });
        let title = format!("edit Compose's file {}", file.file);
        Some(step(Place::Host, &title, estimate::ENGINE_CALL, edit))
    }

    /// The unit that makes the container, where the run is to change its files.
    fn unit(&self, wishes: &Wishes) -> Option<v1::ServiceUnit> {
        self.any_unit(wishes, false)
    }

    /// Keeps the unit that starts the container from starting one of the two.
    fn hold_unit(&self, wishes: &Wishes) -> Option<Step> {
        let unit = self.any_unit(wishes, true)?;
        let title = format!("hold {}", unit.name);
        let hold = Kind::HoldUnit(v1::HoldUnit { unit: Some(unit) });
        Some(step(Place::Host, &title, estimate::ENGINE_CALL, hold))
    }

    fn release_unit(&self, wishes: &Wishes) -> Option<Step> {
        let unit = self.any_unit(wishes, true)?;
        let title = format!("let {} go, and start it", unit.name);
        let release = Kind::ReleaseUnit(v1::ReleaseUnit { unit: Some(unit) });
        Some(step(Place::Host, &title, estimate::ENGINE_CALL, release))
    }

    /// The container's unit, if it starts containers or makes them, as `starts` says.
    fn any_unit(&self, wishes: &Wishes, starts: bool) -> Option<v1::ServiceUnit> {
        let unit = self.container.unit.as_ref()?;
        let chosen = wishes.unit == Unit::Edit && unit.refusal.is_empty() && unit.starts == starts;
        let mut mounts = self.container.mounts.iter();
        chosen.then(|| v1::ServiceUnit {
            name: unit.name.clone(),
            user: unit.user,
            container: self.container.name.clone(),
            old_image_id: self.image.map(|it| it.id.clone()).unwrap_or_default(),
            image_id: self.target.id.clone(),
            data: mounts
                .find(|it| it.destination == self.data.destination)
                .cloned(),
            files: unit.files.clone(),
            file: unit.file.clone(),
        })
    }

    fn edit_unit_files(&self, unit: &v1::ServiceUnit) -> Step {
        let changes = self.container.environment.iter().filter(|change| {
            use v1::EnvironmentChangeKind as Change;
            matches!(
                change.kind(),
                Change::Renamed | Change::Inverted | Change::Dropped
            )
        });
        let edit = Kind::EditUnitFiles(v1::EditUnitFiles {
            unit: Some(unit.clone()),
            reference: self.target.reference.clone(),
            changes: changes.cloned().collect(),
            ports: !self.is_update(),
        });
        let title = format!("edit the files of {}", unit.name);
        step(Place::Host, &title, estimate::ENGINE_CALL, edit)
    }

    fn launch(&self, volume_agent: bool, wishes: &Wishes) -> Kind {
        Kind::LaunchAgents(v1::LaunchAgents {
            container: self.container.name.clone(),
            sidecar: true,
            volume_agent,
            data_destination: self.data.destination.clone(),
            backup_folder: wishes.backup.folder().to_owned(),
            data_volume: String::new(),
        })
    }

    fn replace_title(&self) -> String {
        let changed = self.container.environment.iter().filter(|change| {
            use v1::EnvironmentChangeKind as Change;
            matches!(
                change.kind(),
                Change::Kept | Change::Renamed | Change::Inverted | Change::Foreign
            )
        });
        let parts = [
            (self.container.ports.len(), "port"),
            (self.container.networks.len(), "network"),
            (changed.count(), "variable"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, noun)| counted(*number as u64, noun))
            .collect();
        if parts.is_empty() {
            return "replace container".to_owned();
        }
        format!("replace container: {}", parts.join(", "))
    }
}

pub(in crate::recipes) fn step(place: Place, title: &str, estimate_ms: u64, kind: Kind) -> Step {
    let action = Action { kind: Some(kind) };
    Step {
        id: action.kind_name().to_owned(),
        place: place.into(),
        title: title.to_owned(),
        action: Some(action),
        estimate_ms,
        ..Step::default()
    }
}

/// Small refinements that read in the order of the plan.
pub(in crate::recipes) trait Refine {
    fn id(self, id: &str) -> Self;
    fn remark(self, remark: impl Into<String>) -> Self;
}

impl Refine for Step {
    fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }
}
