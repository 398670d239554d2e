//! The words that people read for the values of the API: one place, so that a status is never
//! called two things.

use crate::v1::{Action, Place, Plan, Severity, Step, StepStatus, action::Kind};

impl StepStatus {
    /// The word for it, as in `ferryctl status`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Planned => "planned",
            Self::Intended => "intended",
            Self::Running => "running",
            Self::Succeeded => "done",
            Self::Warned => "done with warnings",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "undo failed",
        }
    }
}

impl Place {
    /// The word for it, as in a plan.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Host => "host",
            Self::Container => "container",
            Self::Volume => "volume",
            Self::Copy => "copy",
            Self::Client => "client",
            Self::Origin => "origin",
        }
    }
}

impl Severity {
    /// The word for it, as in `ferryctl check`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Blocker => "blocker",
        }
    }
}

impl Action {
    /// The kind of step, kebab-case; what policies and ledgers call it. Empty when it is none
    /// that this release knows.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            None => "",
            Some(Kind::PullImage(_)) => "pull-image",
            Some(Kind::LaunchAgents(_)) => "launch-agents",
            Some(Kind::CaptureBaseline(_)) => "capture-baseline",
            Some(Kind::HealRoles(_)) => "heal-roles",
            Some(Kind::DumpDatabases(_)) => "dump-databases",
            Some(Kind::ProveDumps(_)) => "prove-dumps",
            Some(Kind::PrepareRehearsal(_)) => "prepare-rehearsal",
            Some(Kind::PlaceDatabases(_)) => "place-databases",
            Some(Kind::StartRehearsal(_)) => "start-rehearsal",
            Some(Kind::EndRehearsal(_)) => "end-rehearsal",
            Some(Kind::CopyVolume(_)) => "copy-volume",
            Some(Kind::StopServices(_)) => "stop-services",
            Some(Kind::FenceServer(_)) => "fence-server",
            Some(Kind::StopServer(_)) => "stop-server",
            Some(Kind::SetAsideFiles(_)) => "set-aside-files",
            Some(Kind::TransferOwnership(_)) => "transfer-ownership",
            Some(Kind::SetAsideContainer(_)) => "set-aside-container",
            Some(Kind::ReplaceContainer(_)) => "replace-container",
            Some(Kind::HandOverVolume(_)) => "hand-over-volume",
            Some(Kind::StartServer(_)) => "start-server",
            Some(Kind::WaitUntilReady(_)) => "wait-until-ready",
            Some(Kind::MigrateApiKeys(_)) => "migrate-api-keys",
            Some(Kind::CompareBaseline(_)) => "compare-baseline",
            Some(Kind::RetireAgents(_)) => "retire-agents",
            Some(Kind::ProveCopy(_)) => "prove-copy",
            Some(Kind::OpenBackup(_)) => "open-backup",
            Some(Kind::RestoreBackup(_)) => "restore-backup",
            Some(Kind::RemoveBackup(_)) => "remove-backup",
            Some(Kind::FinishRun(_)) => "finish-run",
            Some(Kind::KeepEncryptionKey(_)) => "keep-encryption-key",
            Some(Kind::RenewCluster(_)) => "renew-cluster",
            Some(Kind::CopyDataOut(_)) => "copy-data-out",
            Some(Kind::EditComposeFile(_)) => "edit-compose-file",
            Some(Kind::EditUnitFiles(_)) => "edit-unit-files",
            Some(Kind::HoldUnit(_)) => "hold-unit",
            Some(Kind::ReleaseUnit(_)) => "release-unit",
            Some(Kind::KeepClient(_)) => "keep-client",
            Some(Kind::UpgradeClient(_)) => "upgrade-client",
            Some(Kind::AwaitClient(_)) => "await-client",
            Some(Kind::PatchStatefulSet(_)) => "patch-stateful-set",
            Some(Kind::MakeVolume(_)) => "make-volume",
            Some(Kind::PullData(_)) => "pull-data",
            Some(Kind::CreateServer(_)) => "create-server",
        }
    }
}

impl Action {
    /// Whether the step tries the operator's own API key, if there is one: the first time on the old server, the second time
    /// on the new one. No other step is ever sent it.
    #[must_use]
    pub fn tries_api_key(&self) -> bool {
        matches!(
            &self.kind,
            Some(Kind::CaptureBaseline(_) | Kind::CompareBaseline(_))
        )
    }

    /// Whether the step can leave anything that would have to be taken back. The others only wait,
    /// look, or change what an earlier step's undo restores as a whole; their undo asks no agent,
    /// because the agent that performed them may be gone with the server that it stood beside.
    #[must_use]
    pub fn leaves_something(&self) -> bool {
        !matches!(
            &self.kind,
            Some(
                Kind::ProveCopy(_)
                    | Kind::WaitUntilReady(_)
                    | Kind::MigrateApiKeys(_)
                    | Kind::CompareBaseline(_)
                    | Kind::RestoreBackup(_)
                    | Kind::KeepEncryptionKey(_)
                    | Kind::CopyDataOut(_)
            )
        )
    }
}

/// The recipe of a rehearsal: the whole crossing on a copy that is discarded.
pub const REHEARSAL: &str = "pmm-rehearse";

impl Plan {
    /// Whether nothing of the server is changed by it: all that is, is a copy of the run's own.
    #[must_use]
    pub fn is_rehearsal(&self) -> bool {
        self.recipe == REHEARSAL
    }

    /// Whether this step's undo has to ask an agent. What a rehearsal does to its copy goes with the copy, which the
    /// host agent discards as a whole.
    #[must_use]
    pub fn needs_undo_of(&self, step: &Step) -> bool {
        let leaves = step.action.as_ref().is_none_or(Action::leaves_something);
        leaves && (!self.is_rehearsal() || step.place() == Place::Host)
    }
}
