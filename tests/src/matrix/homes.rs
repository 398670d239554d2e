//! In which scene each kind of step is played. The cases come from plans, so a step that no scene has in its plan would be missing and nobody
//! would see it: here a new kind does not compile until it has a scene, and the scene is held to have it.

use ferry_proto::v1::action::Kind;

use super::{Scene, Undisturbed, Victim};
use crate::{Error, Result};

/// Kinds, the name of a step of each in the plan, and the scene ([`Scene::name`]) that has it.
macro_rules! homes {
    ($($kind:ident: $step:literal in $scene:literal,)*) => {
        const HOMES: &[(&str, &str)] = &[$(($step, $scene)),*];

        const _EVERY_KIND_HAS_A_SCENE: fn(&Kind) = |kind| match kind {
            $(Kind::$kind(_) => {})*
        };
    };
}

homes! {
    PullImage: "pull-image" in "in-place",
    LaunchAgents: "launch-agents" in "in-place",
    CaptureBaseline: "capture-baseline" in "in-place",
    DumpDatabases: "dump-databases" in "in-place",
    ProveDumps: "prove-dumps" in "in-place",
    CopyVolume: "copy-volume" in "in-place",
    ProveCopy: "prove-copy" in "in-place",
    HealRoles: "heal-roles" in "in-place",
    StopServices: "stop-services" in "in-place",
    FenceServer: "fence-server" in "in-place",
    StopServer: "stop-server" in "in-place",
    SetAsideFiles: "set-aside-files" in "in-place",
    TransferOwnership: "transfer-ownership" in "in-place",
    SetAsideContainer: "set-aside-container" in "in-place",
    ReplaceContainer: "replace-container" in "in-place",
    HandOverVolume: "hand-over-volume" in "in-place",
    StartServer: "start-server" in "in-place",
    WaitUntilReady: "wait-until-ready" in "in-place",
    MigrateApiKeys: "migrate-api-keys" in "in-place",
    CompareBaseline: "compare-baseline" in "in-place",
    KeepEncryptionKey: "keep-encryption-key" in "in-place",
    RetireAgents: "retire-agents" in "in-place",
    RenewCluster: "renew-cluster" in "new-cluster",
    CopyDataOut: "copy-data-out" in "move-data",
    EditComposeFile: "edit-compose-file" in "edited-file",
    EditUnitFiles: "edit-unit-files" in "edited-unit",
    HoldUnit: "hold-unit" in "started-by-unit",
    ReleaseUnit: "release-unit" in "started-by-unit",
    PrepareRehearsal: "prepare-rehearsal" in "rehearsal",
    PlaceDatabases: "place-databases" in "rehearsal",
    StartRehearsal: "start-rehearsal" in "rehearsal",
    EndRehearsal: "end-rehearsal" in "rehearsal",
    OpenBackup: "open-backup" in "backup-restore",
    RestoreBackup: "restore-backup" in "backup-restore",
    FinishRun: "finish-run" in "finish",
    RemoveBackup: "remove-backup" in "prune",
    MakeVolume: "make-volume" in "appliance",
    PullData: "pull-data" in "appliance",
    CreateServer: "create-server" in "appliance",
    KeepClient: "keep-client" in "client",
    UpgradeClient: "upgrade-client" in "client",
    AwaitClient: "see-client" in "client",
    PatchStatefulSet: "patch-stateful-set" in "cluster",
}

/// That the plan of a scene has the steps that are played nowhere else, and that its agents were seen.
///
/// # Errors
/// With those that it has not.
pub(super) fn check(scene: &impl Scene, undisturbed: &Undisturbed) -> Result<()> {
    let name = scene.name();
    let wanted = HOMES.iter().filter(|(_, home)| *home == name);
    let missing: Vec<&str> = wanted
        .map(|(step, _)| *step)
        .filter(|step| !undisturbed.steps.iter().any(|it| it == step))
        .collect();
    if !missing.is_empty() {
        return Err(Error::of(format!(
            "no plan of `{name}` has {missing:?}, which are played nowhere else"
        )));
    }
    let seen = |victim: &Victim| {
        let mut moments = undisturbed.moments.iter();
        moments.any(|it| it.saw().any(|seen| seen == *victim))
    };
    match scene.has().iter().find(|victim| !seen(victim)) {
        Some(unseen) => Err(Error::of(format!(
            "`{name}` was never seen with {unseen:?}"
        ))),
        None => Ok(()),
    }
}
