//! Starts Ferry's own agents beside the server. The volume agent's name is the lock on the server:
//! the engine lets no second container have it, and it survives whoever made it.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::StepError,
    places,
    steps::{Work, done},
};

pub(in crate::steps) struct LaunchAgents(pub(in crate::steps) v1::LaunchAgents);

#[derive(Serialize, Deserialize)]
struct Launched {
    /// The volume that holds the copy; made by this run.
    backup_volume: Option<String>,
}

#[async_trait]
impl Work for LaunchAgents {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let server = host.engine.inspect_container(&self.0.container).await?;
        let mut names = Vec::new();
        let mut values = std::collections::HashMap::new();
        if self.0.volume_agent {
            let backup = places::backup_volume(&server, &self.0.data_destination, &cx.run)?;
            if cx.first_kept::<Launched>()?.is_none() {
                cx.keep(&Launched {
                    backup_volume: Some(backup.clone()),
                })?;
            }
            places::make_backup_volume(host, &backup, &cx.run, server.name()).await?;
            let data = &self.0.data_destination;
            places::launch_volume_agent(host, server.name(), &server, data, &cx.run).await?;
            values.insert("backup_volume".to_owned(), backup);
            names.push("volume agent");
        }
        if self.0.sidecar {
            places::launch_sidecar(host, &server, &cx.run).await?;
            names.push("sidecar");
        }
        Ok(Outcome {
            values,
            ..done(names.join(" and "))
        })
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        for (wanted, role) in [(self.0.sidecar, "sidecar"), (self.0.volume_agent, "volume")] {
            if wanted && places::find_agent(host, &cx.run, role).await?.is_none() {
                return Err(StepError::new(
                    "agent-not-running",
                    format!("the {role} agent of run {} stopped at once", cx.run),
                )
                .hint("see its log with `docker logs`, and the engine's"));
            }
        }
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        if self.0.sidecar {
            places::retire(host, &cx.run, "sidecar").await?;
        }
        if !self.0.volume_agent {
            return Ok(done("the sidecar is gone"));
        }
        places::retire(host, &cx.run, "volume").await?;
        // The server was proven to be as before by the undo of the steps behind this one, so its
        // copy is of no use any more; it was made by this run.
        if let Some(Launched {
            backup_volume: Some(volume),
        }) = cx.first_kept()?
        {
            places::remove_backup_volume(host, &volume, &cx.run).await?;
        }
        Ok(done("the agents are gone"))
    }
}
