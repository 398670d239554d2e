//! Starts Ferry's own agents beside the server. The volume agent's name is the lock on the server:
//! the engine lets no second container have it, and it survives whoever made it.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    engine::labels::RUN_LABEL,
    error::StepError,
    places::{
        self, BackupPlace, Wanted, backup,
        moving::{self, GivenUp},
    },
    steps::{Work, done, done_with, host::new_container},
    surroundings::Host,
};

pub(in crate::steps) struct LaunchAgents(pub(in crate::steps) v1::LaunchAgents);

#[derive(Serialize, Deserialize)]
struct Launched {
    /// The volume that holds the copy; made by this run.
    backup_volume: Option<String>,
    /// The folder that holds it, by its whole path, where it is no volume.
    #[serde(default)]
    backup_folder: Option<String>,
    /// The new volume that the server's data is copied to; there is no backup then.
    #[serde(default)]
    data_volume: Option<String>,
    /// The copy's place was there before: this run has not made it, and does not remove it.
    #[serde(default)]
    existed: bool,
}

impl Launched {
    fn place(self, run: &str) -> Result<BackupPlace, StepError> {
        let place = v1::BackupPlace {
            run: run.to_owned(),
            volume: self.backup_volume.unwrap_or_default(),
            folder: self.backup_folder.unwrap_or_default(),
            ..v1::BackupPlace::default()
        };
        Ok(BackupPlace::of(Some(&place))?.0)
    }
}

#[async_trait]
impl Work for LaunchAgents {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let server = host.engine.inspect_container(&self.0.container).await?;
        if self.0.volume_agent && cx.first_kept::<Launched>()?.is_none() {
            // A run's name is its plan's: who has never launched anything for it finds what another journal's run of the same plan made.
            let of_run = format!("{RUN_LABEL}={}", cx.run);
            let made = host.engine.list_containers(&[("label", &of_run)]).await?;
            if let Some(container) = made.first() {
                let what = format!("container `{}`", container.name);
                return Err(StepError::held_by_another_journal(&cx.run, &what));
            }
        }
        let mut names = Vec::new();
        let mut values = std::collections::HashMap::new();
        let volume = self.0.data_volume.as_str();
        if self.0.volume_agent && !volume.is_empty() {
            if cx.first_kept::<Launched>()?.is_none() {
                cx.keep(&Launched {
                    backup_volume: None,
                    backup_folder: None,
                    data_volume: Some(volume.to_owned()),
                    existed: false,
                })?;
            }
            let name = server.name();
            moving::launch_with_volume(host, &server, name, volume, &cx.run).await?;
            values.insert("data_volume".to_owned(), volume.to_owned());
            names.push("volume agent");
        } else if self.0.volume_agent {
            let wanted = Wanted {
                name: server.name(),
                data: &self.0.data_destination,
                folder: &self.0.backup_folder,
                run: &cx.run,
            };
            let place = wanted.place(&server)?;
            let (kind, source) = (place.kind(), place.source());
            if cx.first_kept::<Launched>()?.is_none() {
                let is = |wanted| (kind == wanted).then(|| source.clone());
                cx.keep(&Launched {
                    backup_volume: is("volume"),
                    backup_folder: is("folder"),
                    data_volume: None,
                    existed: backup::is_there(host, &place, &cx.run).await?,
                })?;
            }
            backup::make(host, &place, &cx.run, server.name(), server.own_ids()).await?;
            places::launch_volume_agent(host, &server, &wanted).await?;
            values.insert(format!("backup_{kind}"), source);
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
        if self.0.volume_agent && cx.first_kept::<Launched>()?.is_none() {
            return Ok(done("no agent was launched"));
        }
        if self.0.sidecar {
            places::retire(host, &cx.run, "sidecar").await?;
        }
        if !self.0.volume_agent {
            return Ok(done("the sidecar is gone"));
        }
        places::retire(host, &cx.run, "volume").await?;
        // The data was proven to be as before by the undo of the steps behind this one, so its copy is of no use any more; it was made by
        // this run. Where it could not be proven, the copy stays.
        match cx.first_kept::<Launched>()? {
            Some(Launched {
                data_volume: Some(volume),
                ..
            }) => give_up_volume(host, cx, &volume).await,
            Some(launched) if cx.keep_copy => Ok(done(format!(
                "the agents are gone; the copy is kept: {}",
                launched.place(&cx.run)?
            ))),
            Some(launched) if launched.existed => Ok(done(format!(
                "the agents are gone; what was there before the run stays: {}",
                launched.place(&cx.run)?
            ))),
            Some(launched) => {
                backup::remove(host, &launched.place(&cx.run)?, &cx.run).await?;
                Ok(done("the agents are gone"))
            }
            None => Ok(done("the agents are gone")),
        }
    }
}

async fn give_up_volume(host: &Host, cx: &Context, volume: &str) -> Result<Outcome, StepError> {
    let said = match moving::give_up(host, &cx.run, volume, new_container::has_run(cx)?).await? {
        GivenUp::Absent => "the agents are gone",
        GivenUp::Kept(warning) => return Ok(done_with("the agents are gone", vec![warning])),
        GivenUp::Removed => "the agents and the new volume are gone",
    };
    Ok(done(said))
}
