//! Steps beside the container engine.

mod await_client;
mod create_server;
mod edit_compose_file;
mod edit_unit_files;
mod edited_file;
mod end_rehearsal;
mod fence_server;
mod finish_run;
mod hold_unit;
mod launch_agents;
mod make_volume;
mod new_container;
mod of_unit;
mod open_backup;
mod prepare_rehearsal;
mod pull_data;
mod pull_image;
mod release_unit;
mod remove_backup;
mod replace_container;
mod retire_agents;
mod same_start;
mod set_aside_container;
mod start_rehearsal;
mod start_server;
mod stop_server;

use crate::{engine::ContainerInspect, error::StepError};

pub(super) use await_client::AwaitClient;
pub(super) use create_server::CreateServer;
pub(super) use edit_compose_file::EditComposeFile;
pub(super) use edit_unit_files::EditUnitFiles;
pub(super) use end_rehearsal::EndRehearsal;
pub(super) use fence_server::FenceServer;
pub(super) use finish_run::FinishRun;
pub(super) use hold_unit::HoldUnit;
pub(super) use launch_agents::LaunchAgents;
pub(super) use make_volume::MakeVolume;
pub(super) use open_backup::OpenBackup;
pub(super) use prepare_rehearsal::PrepareRehearsal;
pub(super) use pull_data::PullData;
pub(super) use pull_image::PullImage;
pub(super) use release_unit::ReleaseUnit;
pub(super) use remove_backup::RemoveBackup;
pub(super) use replace_container::ReplaceContainer;
pub(super) use retire_agents::RetireAgents;
pub(super) use set_aside_container::SetAsideContainer;
pub(super) use start_rehearsal::StartRehearsal;
pub(super) use start_server::StartServer;
pub(super) use stop_server::StopServer;

/// That a container that a run has made is of the image that its plan names.
///
/// # Errors
/// It is of another.
fn check_image(made: &ContainerInspect, planned: &str) -> Result<(), StepError> {
    if made.image_id() == planned {
        return Ok(());
    }
    Err(StepError::new(
        "wrong-image",
        format!("the new container has image {}", made.image_id()),
    ))
}
