//! Removes Ferry's own agents when the crossing is proven. The old container and the copy of the
//! data stay: they are the way back.
//!
//! Only now does the new container get the restart policy of the old one: until it was proven, an engine that starts it again after
//! each exit would hide that it does not stay up, and could start it in the middle of a rollback.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome, ServiceUnit};

use crate::{
    context::Context,
    engine::{ContainerInspect, RestartPolicy},
    error::StepError,
    places::{self, Wanted, moving},
    pull,
    steps::{
        Work, done, done_with,
        host::{edit_unit_files, of_unit},
    },
    surroundings::Host,
    unit::{self, Service},
};

pub(in crate::steps) struct RetireAgents(pub(in crate::steps) v1::RetireAgents);

#[async_trait]
impl Work for RetireAgents {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        // The server was proven to be whole: that clean-up fails is told, and is no reason to take
        // the crossing back.
        let mut warnings = Vec::new();
        let policy = RestartPolicy::from_words(&self.0.restart_policy);
        if let Some(unit) = &self.0.unit {
            if let Err(error) = Service::named(&host.engine, unit)?.release(&cx.run).await {
                warnings.push(format!(
                    "`{}` is still held, and does not start with the host: {}",
                    unit.name,
                    error.into_warning()?
                ));
            }
        } else if !self.0.container.is_empty()
            && let Err(error) = self.set_policy(host, &policy).await
        {
            warnings.push(format!(
                "the new container did not get the restart policy `{policy}`: {}",
                error.into_warning()?
            ));
        }
        // On a backup alone there is no server to care for.
        if !self.0.container.is_empty() {
            match self.see_it_run(host).await {
                Ok(started) => warnings.extend(started),
                Err(error) => warnings.push(format!(
                    "it is not sure that the server runs, look at it: {}",
                    error.into_warning()?
                )),
            }
        }
        for role in ["sidecar", "volume"] {
            if let Err(error) = places::retire(host, &cx.run, role).await {
                let why = error.into_warning()?;
                warnings.push(format!("the {role} agent is still there: {why}"));
            }
        }
        Ok(done_with("nothing of ours runs", warnings))
    }

    /// What is left to do is in the warnings.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    /// A run that is rolled back after its end needs the volume agent again. This is also the look
    /// before the leap: nothing has been touched yet, and without a way back nothing will be.
    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        if self.0.container.is_empty() {
            return Ok(done("the agents stay away"));
        }
        let wanted = Wanted {
            name: &self.0.container,
            data: &self.0.data_destination,
            folder: &self.0.backup_folder,
            run: &cx.run,
        };
        if let Some(unit) = &self.0.unit {
            return self.take_unit(cx, unit, &wanted).await;
        }
        if !self.0.origin.is_empty() {
            return self.take_back_to_origin(cx).await;
        }
        let (old_container, volume) = (&self.0.old_container_id, self.0.data_volume.as_str());
        // Where the data lay in the old container's own layer it still does: that is the copy.
        let old = if volume.is_empty() {
            places::check_way_back(host, old_container, &wanted).await?
        } else {
            places::check_old_container(host, old_container).await?
        };
        // It serves on until the way back is proven, and comes up again after a reboot: the undo of its start sees to both.
        if let Some(new) = host.engine.find_container(&self.0.container).await? {
            places::check_ours(&new, &cx.run)?;
        }
        if volume.is_empty() {
            places::launch_volume_agent(host, &old, &wanted).await?;
        } else {
            moving::launch_again(host, &old, wanted.name, volume, &cx.run).await?;
        }
        Ok(done("the volume agent runs again"))
    }
}

impl RetireAgents {
    /// The same look where the way back is the unit's files and not a container.
    async fn take_unit(
        &self,
        cx: &Context,
        unit: &ServiceUnit,
        wanted: &Wanted<'_>,
    ) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        // A unit that is down has no container: who takes back a server that does not come up finds none.
        let new = host.engine.find_container(&unit.container).await?;
        if let Some(new) = &new {
            unit::check_made(new, &unit.image_id, &cx.run)?;
        }
        for file in edit_unit_files::files(unit) {
            if !file.is_written(&cx.run)? {
                return Err(StepError::new(
                    "way-back-gone",
                    format!(
                        "the way back is gone: `{}` was changed since the run, or is not kept as it was",
                        file.path
                    ),
                )
                .hint(format!(
                    "give it the words that the run gave it, then `ferryctl rollback {}` again",
                    cx.run
                )));
            }
        }
        let mounts = match &new {
            Some(new) => new,
            None => &of_unit::mounts(unit),
        };
        places::check_copy(host, mounts, &unit.old_image_id, wanted).await?;
        match &new {
            Some(new) => places::launch_volume_agent(host, new, wanted).await?,
            None => places::launch_volume_agent_alone(host, mounts, wanted).await?,
        };
        Ok(done("the volume agent runs again"))
    }

    /// The same look where the way back is the machine that the server came from.
    async fn take_back_to_origin(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        pull::run::reach(&self.0.origin, &host.tls).await?;
        if let Some(new) = host.engine.find_container(&self.0.container).await? {
            places::check_ours(&new, &cx.run)?;
        }
        Ok(done("the old machine's agent answers"))
    }

    /// A server that was proven and stands still now was stopped by the engine: a daemon that is restarted ends what has no restart policy yet.
    /// Nobody else would start it.
    async fn see_it_run(&self, host: &Host) -> Result<Option<String>, StepError> {
        let name = &self.0.container;
        let found = host.engine.find_container(name).await?;
        if found.as_ref().is_some_and(ContainerInspect::running) {
            return Ok(None);
        }
        match &self.0.unit {
            Some(unit) => drop(of_unit::start(&host.engine, unit, &unit.image_id).await?),
            None => host.engine.start(name).await?,
        }
        Ok(Some(format!(
            "`{name}` had stopped after it was proven, and was started again: look at it"
        )))
    }

    async fn set_policy(&self, host: &Host, policy: &RestartPolicy) -> Result<(), StepError> {
        let server = host.engine.inspect_container(&self.0.container).await?;
        let found = server.restart_policy();
        if found == *policy || (found.is_off() && policy.is_off()) {
            return Ok(());
        }
        Ok(host
            .engine
            .update_restart_policy(server.id(), policy)
            .await?)
    }
}
