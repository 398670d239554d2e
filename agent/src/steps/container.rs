//! Steps beside the server's processes.

mod baseline;
mod copy_data_out;
mod dump_databases;
mod exports;
mod heal_roles;
mod migrate_api_keys;
mod own_key;
mod prove_dumps;
mod stop_services;
mod wait_until_ready;

pub(super) use baseline::{CaptureBaseline, CompareBaseline};
pub(super) use copy_data_out::CopyDataOut;
pub(super) use dump_databases::DumpDatabases;
pub(super) use heal_roles::HealRoles;
pub(super) use migrate_api_keys::MigrateApiKeys;
pub(super) use prove_dumps::{CLUSTER_NAME, ProveDumps, SCRATCH, cluster_name};
pub(super) use stop_services::StopServices;
pub(super) use wait_until_ready::WaitUntilReady;

use crate::{
    error::StepError,
    server::{postgres::Postgres, supervisor::Supervisor},
    surroundings::Container,
};

/// The server's PostgreSQL, as its supervisor runs it now; where no server runs, its data and its programs.
pub(in crate::steps) async fn postgres(container: &Container) -> Result<Postgres, StepError> {
    if container.at_rest {
        return Ok(Postgres::find(&container.root, &[])?);
    }
    let processes = Supervisor::at(&container.root)?.processes().await?;
    Ok(Postgres::find(&container.root, &processes)?)
}
