//! All steps that an agent can perform: one file a step, and this one table of them.
//!
//! Every step is idempotent: it may be begun again after a crash at any point, and its undo may be
//! asked for whatever became of it.

mod client;
mod container;
mod host;
mod same_cluster;
mod volume;

pub(crate) use container::check_at_rest;
use container::{BASELINE, KEY_TRIED};

use async_trait::async_trait;
use ferry_proto::v1::{Outcome, Step, StepStatus, action::Kind};

use crate::{context::Context, error::StepError};

/// A typed, idempotent unit of work with its own undo and its own verification.
#[async_trait]
pub trait Work: Send + Sync {
    /// Does it.
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError>;

    /// Proves, by looking and not by remembering, that it is done.
    async fn verify(&self, cx: &Context) -> Result<(), StepError>;

    /// Takes it back, from wherever it stands.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError>;
}

/// The work of a step.
///
/// # Errors
/// When this release does not know the step.
pub fn of(step: &Step) -> Result<Box<dyn Work>, StepError> {
    let kind = step.action.as_ref().and_then(|action| action.kind.clone());
    Ok(match kind {
        Some(Kind::PullImage(it)) => Box::new(host::PullImage(it)),
        Some(Kind::LaunchAgents(it)) => Box::new(host::LaunchAgents(it)),
        Some(Kind::FenceServer(it)) => Box::new(host::FenceServer(it)),
        Some(Kind::StopServer(it)) => Box::new(host::StopServer(it)),
        Some(Kind::SetAsideContainer(it)) => Box::new(host::SetAsideContainer(it)),
        Some(Kind::EditComposeFile(it)) => Box::new(host::EditComposeFile(it)),
        Some(Kind::EditUnitFiles(it)) => Box::new(host::EditUnitFiles(it)),
        Some(Kind::HoldUnit(it)) => Box::new(host::HoldUnit(it)),
        Some(Kind::ReleaseUnit(it)) => Box::new(host::ReleaseUnit(it)),
        Some(Kind::ReplaceContainer(it)) => Box::new(host::ReplaceContainer(it)),
        Some(Kind::StartServer(it)) => Box::new(host::StartServer(it)),
        Some(Kind::RetireAgents(it)) => Box::new(host::RetireAgents(it)),
        Some(Kind::PrepareRehearsal(it)) => Box::new(host::PrepareRehearsal(it)),
        Some(Kind::StartRehearsal(it)) => Box::new(host::StartRehearsal(it)),
        Some(Kind::EndRehearsal(it)) => Box::new(host::EndRehearsal(it)),
        Some(Kind::RenewCluster(it)) => Box::new(volume::RenewCluster(it)),
        Some(Kind::PlaceDatabases(_)) => Box::new(volume::PlaceDatabases),
        Some(Kind::CopyVolume(it)) => Box::new(volume::CopyVolume(it)),
        Some(Kind::ProveCopy(it)) => Box::new(volume::ProveCopy(it)),
        Some(Kind::SetAsideFiles(it)) => Box::new(volume::SetAsideFiles(it)),
        Some(Kind::TransferOwnership(it)) => Box::new(volume::TransferOwnership(it)),
        Some(Kind::HandOverVolume(it)) => Box::new(volume::HandOverVolume(it)),
        Some(Kind::CaptureBaseline(_)) => Box::new(container::CaptureBaseline),
        Some(Kind::HealRoles(it)) => Box::new(container::HealRoles(it)),
        Some(Kind::DumpDatabases(it)) => Box::new(container::DumpDatabases(it)),
        Some(Kind::ProveDumps(it)) => Box::new(container::ProveDumps(it)),
        Some(Kind::StopServices(it)) => Box::new(container::StopServices(it)),
        Some(Kind::WaitUntilReady(it)) => Box::new(container::WaitUntilReady(it)),
        Some(Kind::MigrateApiKeys(_)) => Box::new(container::MigrateApiKeys),
        Some(Kind::CompareBaseline(it)) => Box::new(container::CompareBaseline(it)),
        Some(Kind::CopyDataOut(it)) => Box::new(container::CopyDataOut(it)),
        Some(Kind::OpenBackup(it)) => Box::new(host::OpenBackup(it)),
        Some(Kind::RestoreBackup(_)) => Box::new(volume::RestoreBackup),
        Some(Kind::RemoveBackup(it)) => Box::new(host::RemoveBackup(it)),
        Some(Kind::FinishRun(it)) => Box::new(host::FinishRun(it)),
        Some(Kind::MakeVolume(it)) => Box::new(host::MakeVolume(it)),
        Some(Kind::PullData(it)) => Box::new(host::PullData(it)),
        Some(Kind::CreateServer(it)) => Box::new(host::CreateServer(it)),
        Some(Kind::KeepEncryptionKey(_)) => Box::new(volume::KeepEncryptionKey),
        Some(Kind::KeepClient(it)) => Box::new(client::KeepClient(it)),
        Some(Kind::UpgradeClient(it)) => Box::new(client::UpgradeClient(it)),
        Some(Kind::AwaitClient(it)) => Box::new(host::AwaitClient(it)),
        // Its host agent brings the work along, see `cluster`.
        Some(Kind::PatchStatefulSet(_)) => {
            return Err(StepError::new(
                "wrong-place",
                "this step is for an agent beside a cluster, and this is none",
            )
            .hint("the plan and the agent do not fit; make the plan again with this release"));
        }
        None => {
            return Err(StepError::new(
                "unknown-step",
                format!(
                    "step `{}` is of a kind that this agent does not know",
                    step.id
                ),
            )
            .hint("the plan was made by a newer release: use the same release on both sides"));
        }
    })
}

/// What a run has put down of its server before the stop, for whoever compares with it on another machine.
pub(crate) struct Before {
    /// The baseline.
    pub(crate) baseline: Vec<u8>,
    /// A key of the operator's has opened the server.
    pub(crate) key_tried: bool,
}

impl Before {
    /// As `read` finds it in the run's folder.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) fn find(
        run: &str,
        read: impl Fn(&str) -> std::io::Result<Option<Vec<u8>>>,
    ) -> Result<Self, StepError> {
        let baseline = read(BASELINE)?.ok_or_else(|| {
            StepError::new(
                "baseline-missing",
                format!("no baseline of run {run} is here"),
            )
            .hint("only a run that has captured it here can be asked for")
        })?;
        Ok(Self {
            baseline,
            key_tried: read(KEY_TRIED)?.is_some(),
        })
    }

    /// Into the run's folder on the volume that the server is on from now on.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&self, run_dir: &crate::state_dir::StateDir) -> Result<(), StepError> {
        if self.key_tried {
            run_dir.replace(KEY_TRIED, b"")?;
        }
        Ok(run_dir.replace(BASELINE, &self.baseline)?)
    }
}

/// An outcome that is simply done.
pub fn done(summary: impl Into<String>) -> Outcome {
    Outcome {
        status: StepStatus::Succeeded.into(),
        summary: summary.into(),
        ..Outcome::default()
    }
}

/// There was nothing to do.
fn skipped(summary: impl Into<String>) -> Outcome {
    Outcome {
        status: StepStatus::Skipped.into(),
        summary: summary.into(),
        ..Outcome::default()
    }
}

/// Done, or done with warnings when there are any.
pub fn done_with(summary: impl Into<String>, warnings: Vec<String>) -> Outcome {
    let status = if warnings.is_empty() {
        StepStatus::Succeeded
    } else {
        StepStatus::Warned
    };
    Outcome {
        status: status.into(),
        summary: summary.into(),
        warnings,
        ..Outcome::default()
    }
}

/// With word for the controller that the data may not be what it was copied from.
fn in_doubt(mut outcome: Outcome) -> Outcome {
    let doubt = ferry_proto::DATA_IN_DOUBT.to_owned();
    outcome.values.insert(doubt, "true".to_owned());
    outcome
}

/// `1 file`, `2 files`.
fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number == 1 {
        return format!("{grouped} {noun}");
    }
    match noun.strip_suffix("ry") {
        Some(stem) => format!("{grouped} {stem}ries"),
        None => format!("{grouped} {noun}s"),
    }
}
