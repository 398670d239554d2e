//! The host agent's steps beside a cluster.

mod fetch_image;
mod launch_agents;
mod patch_stateful_set;
mod retire_agents;
mod start_server;
mod stop_server;

use ferry_agent::steps::{done, done_with};

pub(crate) use self::{
    fetch_image::FetchImage, launch_agents::LaunchAgents, patch_stateful_set::PatchStatefulSet,
    retire_agents::RetireAgents, start_server::StartServer, stop_server::StopServer,
};
