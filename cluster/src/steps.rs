//! The host agent's steps beside a cluster.

mod fetch_image;
mod launch_agents;
mod patch_stateful_set;
mod retire_agents;
mod start_server;
mod stop_server;

use ferry_proto::v1::{Outcome, StepStatus};

pub(crate) use self::{
    fetch_image::FetchImage, launch_agents::LaunchAgents, patch_stateful_set::PatchStatefulSet,
    retire_agents::RetireAgents, start_server::StartServer, stop_server::StopServer,
};

/// An outcome that is simply done.
fn done(summary: impl Into<String>) -> Outcome {
    done_with(summary, Vec::new())
}

/// Done, or done with warnings when there are any.
fn done_with(summary: impl Into<String>, warnings: Vec<String>) -> Outcome {
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
