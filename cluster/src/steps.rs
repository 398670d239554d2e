//! The host agent's steps beside a cluster.

mod fetch_image;
mod finish_run;
mod launch_agents;
mod open_backup;
mod patch_stateful_set;
mod remove_backup;
mod retire_agents;
mod start_server;
mod stop_server;

use ferry_agent::steps::{done, done_with};

pub(crate) use self::{
    fetch_image::FetchImage, finish_run::FinishRun, launch_agents::LaunchAgents,
    open_backup::OpenBackup, patch_stateful_set::PatchStatefulSet, remove_backup::RemoveBackup,
    retire_agents::RetireAgents, start_server::StartServer, stop_server::StopServer,
};
