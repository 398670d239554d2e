//! Who uses a server's data while it is taken back. A container is stopped by the name that a run gave it, and somebody may have given it another.

use std::path::Path;

use crate::{
    engine::{
        ContainerInspect, Engine,
        carry_over::DATA_FOLDER,
        containers::ContainerEntry,
        labels::{ROLE_LABEL, RUN_LABEL},
    },
    error::StepError,
    fence,
};

/// All containers that mount the data of this server, itself among them; none where its data is in the container.
///
/// # Errors
/// When the engine does not answer.
pub async fn users_of_data(
    engine: &Engine,
    server: &ContainerInspect,
) -> Result<Vec<ContainerEntry>, StepError> {
    Ok(match server.mount_at(DATA_FOLDER) {
        Some(data) if data.kind == "volume" => engine.containers_using_volume(&data.name).await?,
        Some(data) if data.kind == "bind" => {
            let folder = Path::new(&data.source);
            engine.containers_using_folder(folder).await?
        }
        _ => Vec::new(),
    })
}

/// Nobody but Ferry's agents uses the data of the server with this container: what is restored under a program that writes is not restored.
/// Where there is no such container, as of a server that came from another machine, nobody is looked for. The container itself is stopped when
/// somebody has started it, fenced as it is, which the answer tells.
///
/// # Errors
/// Somebody does.
pub async fn check_unused(
    engine: &Engine,
    server: &str,
    run: &str,
) -> Result<Option<String>, StepError> {
    let server = match server {
        "" => return Ok(None),
        id => engine.find_container(id).await?,
    };
    let Some(server) = server else {
        return Ok(None);
    };
    let started = fence::keep_down(engine, server.id()).await?;
    for user in users_of_data(engine, &server).await? {
        let Some(user) = engine.find_container(&user.id).await? else {
            continue;
        };
        if user.label(ROLE_LABEL).is_some() {
            continue;
        }
        if user.label(RUN_LABEL) == Some(run) {
            // The new one, by whatever name: it must not come up by its policy, after a reboot, on what is the old version's again.
            fence::policy_off(engine, user.id()).await?;
            if !user.running() {
                fence::close(engine, user.id()).await?;
            }
        }
        if !user.running() {
            continue;
        }
        let name = user.name();
        return Err(StepError::new(
            "data-in-use",
            format!(
                "container `{name}` runs on the server's data, which is about to be taken back"
            ),
        )
        .hint(format!(
            "stop `{name}`, and see who started it; then `ferryctl resume {run}`"
        )));
    }
    Ok(started)
}
