//! Makes what a rehearsal needs beside a server that goes on serving: the volume of the copy, an agent that can only
//! read the server's data, and a workshop with the server's own programs.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    places,
    steps::{Work, done},
};

pub(in crate::steps) struct PrepareRehearsal(pub(in crate::steps) v1::PrepareRehearsal);

#[async_trait]
impl Work for PrepareRehearsal {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let server = host.engine.inspect_container(&self.0.container).await?;
        cx.keep(&true)?;
        let data = &self.0.data_destination;
        let copy = places::launch_rehearsal(host, &server, data, &cx.run).await?;
        let mut outcome = done("observer and workshop");
        outcome.values.insert("copy".to_owned(), copy);
        Ok(outcome)
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let host = cx.surroundings.host()?;
        for role in ["sidecar", "volume"] {
            // One that has ended since is started again by whoever asks it next.
            if places::find_agent(host, &cx.run, role).await?.is_none() {
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
        places::discard(host, &self.0.container, &cx.run, true).await?;
        Ok(done("agents and copy are gone"))
    }
}
