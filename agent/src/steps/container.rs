//! Steps beside the server's processes.

mod baseline;
mod copy_data_out;
mod dump_databases;
mod exports;
mod heal_roles;
mod migrate_api_keys;
mod own_key;
mod prove_dumps;
mod room;
mod stop_services;
mod wait_until_ready;

pub(super) use baseline::{CaptureBaseline, CompareBaseline, FILE as BASELINE};
pub(super) use copy_data_out::CopyDataOut;
pub(super) use dump_databases::DumpDatabases;
pub(super) use heal_roles::HealRoles;
pub(super) use migrate_api_keys::MigrateApiKeys;
pub(super) use own_key::TRIED as KEY_TRIED;
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

/// What is copied for the last time must not change behind the copy.
///
/// # Errors
/// `programs-run-again`, or when the supervisor does not answer.
pub(crate) async fn check_at_rest(container: &Container) -> Result<(), StepError> {
    check_down(
        container,
        |_| true,
        "programs of the server run while its data is copied for the last time",
        "stop them, find out who started them and keep them from it until the copy is done, then try again",
    )
    .await
}

/// That none of the programs that are meant runs.
async fn check_down(
    container: &Container,
    is_meant: impl Fn(&str) -> bool,
    message: &str,
    hint: &str,
) -> Result<(), StepError> {
    let left = stop_services::left_running(container, is_meant).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(StepError::new("programs-run-again", message)
        .details(left)
        .hint(hint))
}
