//! The words that people read for the values of the API: one place, so that a status is never
//! called two things.

use crate::v1::{Action, Place, Severity, StepStatus, action::Kind};

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
        }
    }
}

impl Action {
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
            )
        )
    }
}
