//! What a step names on the engine's host: the containers, images and folders that it would touch.

use ferry_proto::v1::{self, Action, action::Kind};

/// Everything that a step names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subjects<'a> {
    /// By name or id.
    pub(super) containers: Vec<&'a str>,
    /// Names that a container is given.
    pub(super) names: Vec<&'a str>,
    /// As they are asked for.
    pub(super) images: Vec<&'a str>,
    /// By id: the image itself has to be asked what it is called.
    pub(super) image_ids: Vec<&'a str>,
    /// In which the backup gets a folder of its own, or a file is changed.
    pub(super) folders: Vec<&'a str>,
    /// That a server gets its data on, or had.
    pub(super) volumes: Vec<&'a str>,
    /// That a client's package shall have, as the package manager writes them.
    pub(super) versions: Vec<&'a str>,
    pub(super) backup: Option<&'a v1::BackupPlace>,
}

impl<'a> Subjects<'a> {
    /// What the step names. The match has no rest: whoever adds a step has to say here what it touches.
    pub(super) fn of(kind: &'a Kind) -> Self {
        let mut it = Self::default();
        match kind {
            Kind::PullImage(step) => it.images = vec![&step.reference, &step.digest],
            Kind::LaunchAgents(step) => {
                it.containers = vec![&step.container];
                it.folders = vec![&step.backup_folder];
                it.volumes = vec![&step.data_volume];
            }
            Kind::PrepareRehearsal(step) => it.containers = vec![&step.container],
            Kind::StartRehearsal(step) => {
                it.containers = vec![&step.container];
                it.images = vec![&step.reference];
                it.image_ids = vec![&step.image_id];
            }
            Kind::EndRehearsal(step) => it.containers = vec![&step.container],
            Kind::FenceServer(step) => {
                it.containers = vec![&step.container_id];
                it.take_unit(step.unit.as_ref());
            }
            Kind::StopServer(step) => {
                it.containers = vec![&step.container_id];
                it.take_unit(step.unit.as_ref());
            }
            Kind::SetAsideContainer(step) => {
                it.containers = vec![&step.container_id];
                it.names = vec![&step.name];
            }
            Kind::ReplaceContainer(step) => {
                it.containers = vec![&step.old_container_id];
                it.names = vec![&step.name];
                it.images = vec![&step.reference];
                it.image_ids = vec![&step.image_id];
                it.volumes = vec![&step.data_volume];
            }
            Kind::StartServer(step) => {
                it.containers = vec![&step.name, &step.old_container_id];
                it.take_unit(step.unit.as_ref());
            }
            Kind::EditUnitFiles(step) => {
                it.images = vec![&step.reference];
                it.take_unit(step.unit.as_ref());
            }
            Kind::HoldUnit(v1::HoldUnit { unit }) | Kind::ReleaseUnit(v1::ReleaseUnit { unit }) => {
                it.take_unit(unit.as_ref());
            }
            Kind::RetireAgents(step) => {
                it.containers = vec![&step.container, &step.old_container_id];
                it.folders = vec![&step.backup_folder];
                it.volumes = vec![&step.data_volume];
                it.take_unit(step.unit.as_ref());
            }
            Kind::EditComposeFile(step) => {
                it.containers = vec![&step.old_container_id];
                it.images = vec![&step.reference];
                it.image_ids = vec![&step.image_id];
                it.folders = vec![&step.file];
            }
            Kind::OpenBackup(step) => it.backup = step.backup.as_ref(),
            Kind::RemoveBackup(step) => it.backup = step.backup.as_ref(),
            Kind::FinishRun(step) => {
                it.containers = vec![&step.container, &step.old_container_id];
                it.take_unit(step.unit.as_ref());
            }
            Kind::AwaitClient(step) => it.containers = vec![&step.container],
            Kind::KeepClient(v1::KeepClient { change })
            | Kind::UpgradeClient(v1::UpgradeClient { change }) => {
                let change = change.as_ref();
                it.versions = change
                    .map(|it| &*it.target_package_version)
                    .into_iter()
                    .collect();
                it.folders = change.map(|it| &*it.file).into_iter().collect();
            }
            // A host agent beside a cluster lives in its controller, and has no policy.
            Kind::PatchStatefulSet(step) => it.images = vec![&step.reference],
            Kind::MakeVolume(step) => {
                it.names = vec![&step.container];
                it.volumes = vec![&step.volume];
            }
            Kind::PullData(step) => {
                it.names = vec![&step.container];
                it.volumes = vec![&step.volume];
            }
            Kind::CreateServer(step) => {
                it.names = vec![&step.name];
                it.images = vec![&step.reference];
                it.image_ids = vec![&step.image_id];
                it.volumes = vec![&step.volume];
            }
            // Work inside an agent's own mounts and namespaces.
            Kind::CaptureBaseline(_)
            | Kind::HealRoles(_)
            | Kind::DumpDatabases(_)
            | Kind::ProveDumps(_)
            | Kind::PlaceDatabases(_)
            | Kind::CopyVolume(_)
            | Kind::ProveCopy(_)
            | Kind::StopServices(_)
            | Kind::SetAsideFiles(_)
            | Kind::TransferOwnership(_)
            | Kind::HandOverVolume(_)
            | Kind::WaitUntilReady(_)
            | Kind::MigrateApiKeys(_)
            | Kind::CompareBaseline(_)
            | Kind::RestoreBackup(_)
            | Kind::KeepEncryptionKey(_)
            | Kind::RenewCluster(_)
            | Kind::CopyDataOut(_) => {}
        }
        for list in [
            &mut it.containers,
            &mut it.names,
            &mut it.images,
            &mut it.image_ids,
            &mut it.folders,
            &mut it.volumes,
        ] {
            list.retain(|name| !name.is_empty());
        }
        it
    }

    /// A unit makes or starts a container of this name, of these images, and has these files.
    fn take_unit(&mut self, unit: Option<&'a v1::ServiceUnit>) {
        let Some(unit) = unit else {
            return;
        };
        self.names.push(&unit.container);
        self.image_ids.push(&unit.image_id);
        self.folders.push(&unit.file);
        self.folders
            .extend(unit.files.iter().map(|file| &*file.path));
    }
}

/// The words for all kinds of steps.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    all()
        .into_iter()
        .map(|kind| Action { kind: Some(kind) }.kind_name())
}

/// One step of each kind.
fn all() -> Vec<Kind> {
    vec![
        Kind::PullImage(v1::PullImage::default()),
        Kind::LaunchAgents(v1::LaunchAgents::default()),
        Kind::CaptureBaseline(v1::CaptureBaseline::default()),
        Kind::HealRoles(v1::HealRoles::default()),
        Kind::DumpDatabases(v1::DumpDatabases::default()),
        Kind::CopyVolume(v1::CopyVolume::default()),
        Kind::StopServices(v1::StopServices::default()),
        Kind::FenceServer(v1::FenceServer::default()),
        Kind::StopServer(v1::StopServer::default()),
        Kind::SetAsideFiles(v1::SetAsideFiles::default()),
        Kind::TransferOwnership(v1::TransferOwnership::default()),
        Kind::SetAsideContainer(v1::SetAsideContainer::default()),
        Kind::ReplaceContainer(v1::ReplaceContainer::default()),
        Kind::HandOverVolume(v1::HandOverVolume::default()),
        Kind::StartServer(v1::StartServer::default()),
        Kind::WaitUntilReady(v1::WaitUntilReady::default()),
        Kind::MigrateApiKeys(v1::MigrateApiKeys::default()),
        Kind::CompareBaseline(v1::CompareBaseline::default()),
        Kind::RetireAgents(v1::RetireAgents::default()),
        Kind::ProveCopy(v1::ProveCopy::default()),
        Kind::ProveDumps(v1::ProveDumps::default()),
        Kind::PrepareRehearsal(v1::PrepareRehearsal::default()),
        Kind::PlaceDatabases(v1::PlaceDatabases::default()),
        Kind::StartRehearsal(v1::StartRehearsal::default()),
        Kind::EndRehearsal(v1::EndRehearsal::default()),
        Kind::OpenBackup(v1::OpenBackup::default()),
        Kind::RestoreBackup(v1::RestoreBackup::default()),
        Kind::RemoveBackup(v1::RemoveBackup::default()),
        Kind::FinishRun(v1::FinishRun::default()),
        Kind::RenewCluster(v1::RenewCluster::default()),
        Kind::KeepEncryptionKey(v1::KeepEncryptionKey::default()),
        Kind::CopyDataOut(v1::CopyDataOut::default()),
        Kind::EditComposeFile(v1::EditComposeFile::default()),
        Kind::EditUnitFiles(v1::EditUnitFiles::default()),
        Kind::HoldUnit(v1::HoldUnit::default()),
        Kind::ReleaseUnit(v1::ReleaseUnit::default()),
        Kind::KeepClient(v1::KeepClient::default()),
        Kind::UpgradeClient(v1::UpgradeClient::default()),
        Kind::AwaitClient(v1::AwaitClient::default()),
        Kind::PatchStatefulSet(v1::PatchStatefulSet::default()),
        Kind::MakeVolume(v1::MakeVolume::default()),
        Kind::PullData(v1::PullData::default()),
        Kind::CreateServer(v1::CreateServer::default()),
    ]
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// The list above is written by hand; the API is what it has to agree with.
    #[test]
    fn every_kind_of_step_can_be_allowed() {
        let set = prost_types::FileDescriptorSet::decode(ferry_proto::DESCRIPTORS).unwrap();
        let messages = set.file.iter().flat_map(|file| &file.message_type);
        let action = messages
            .into_iter()
            .find(|it| it.name() == "Action")
            .unwrap();
        let mut fields: Vec<String> = action
            .field
            .iter()
            .map(|it| it.name().replace('_', "-"))
            .collect();
        let mut known: Vec<String> = kinds().map(str::to_owned).collect();
        fields.sort();
        known.sort();
        assert_eq!(known, fields);
    }

    #[test]
    fn what_is_left_empty_is_not_asked_for() {
        let pull = v1::PullImage {
            reference: "percona/pmm-server:3.8.1".into(),
            ..v1::PullImage::default()
        };
        let kind = Kind::PullImage(pull);
        assert_eq!(Subjects::of(&kind).images, ["percona/pmm-server:3.8.1"]);
    }
}
