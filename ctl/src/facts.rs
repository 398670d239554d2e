//! Looks at a server as `ferryctl check` and `plan` need it, and leaves nothing behind.
//!
//! The host agent knows the container, the engine and the images; what runs inside and what the
//! data is like can only be seen from beside it. So a sidecar is launched for the look, by the same
//! step that a run uses, and taken away again whatever came of it.

mod merge;

use std::time::Duration;

use ferry_proto::Secret;
use ferry_proto::v1::{
    Action, Facts, Failure, GetFactsRequest, ImageFacts, LaunchAgents, Outcome, Place,
    RunStepRequest, Step, StepEvent, action, step_event::Kind,
};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, Streaming};

pub use self::merge::merge;
use crate::connect::{Agents as _, ConnectError, HostAgent, Refusal, refusal, settle};

/// Where PMM has its data, in every image of it; for a host agent that does not say.
const DATA_DESTINATION: &str = "/srv";
/// Taking a sidecar away takes a second; an engine that hangs must not hang us.
const CLEAN_UP_PATIENCE: Duration = Duration::from_secs(60);

/// What is to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The server's container, by name or id.
    pub container: String,
    /// The image it shall become; may be empty.
    pub target_image: String,
    /// Pull that image when it is missing.
    pub pull: bool,
    /// The folder of the engine's host that the backup shall be made in; empty for a new volume.
    pub backup_folder: String,
    /// The new volume that the data shall be copied to where it lies in the container itself; empty: none.
    pub data_volume: String,
    /// A key of the operator's, to be tried.
    pub api_key: Option<Secret>,
    /// The server's clients, and nothing of its data.
    pub clients: bool,
    /// With them: of the server nothing but its version.
    pub only_clients: bool,
    /// Compose's file too, where Compose has made the container.
    pub compose: bool,
    /// The files of the unit too, where one of systemd's makes the container.
    pub unit: bool,
}

/// Why a server could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// An agent refused, or its step failed.
    #[error("{0}")]
    Agent(Failure),
    /// An agent was not reached, or was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The host agent does not know the container, and says nothing of it.
    #[error("the host agent said nothing of a container `{0}`")]
    NoContainer(String),
    /// The sidecar could not be taken away.
    #[error(
        "the agent that was launched beside the server for run {run} is still there: {failure}"
    )]
    LeftBehind {
        /// The name of the look, as the sidecar's label has it.
        run: String,
        /// Why.
        failure: Failure,
    },
    /// Somebody asked to stop.
    #[error("stopped before all was looked at; nothing was changed")]
    Interrupted,
}

impl FactsError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Agent(failure) => &failure.code,
            Self::Connect(error) => error.code(),
            Self::NoContainer(_) => "no-such-container",
            Self::LeftBehind { .. } => "agents-left-behind",
            Self::Interrupted => "interrupted",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Agent(failure) => Some(failure.hint.clone()).filter(|hint| !hint.is_empty()),
            Self::Connect(error) => error.hint().map(str::to_owned),
            Self::NoContainer(_) => Some("`docker ps -a` lists the containers".into()),
            Self::LeftBehind { run, .. } => Some(format!(
                "remove the containers with the label `ferry.run={run}`; the server is unchanged"
            )),
            Self::Interrupted => None,
        }
    }
}

impl From<Status> for FactsError {
    fn from(status: Status) -> Self {
        Self::Agent(match refusal(&status) {
            Refusal::Refused(failure) => failure,
            Refusal::Lost(why) => lost(&why),
        })
    }
}

/// Which server it is: its engine and container, by their own names. Nothing is launched for that.
///
/// # Errors
/// [`FactsError`]; nothing was changed.
pub async fn identify(host: &HostAgent, container: &str) -> Result<Facts, FactsError> {
    let request = GetFactsRequest {
        container: container.to_owned(),
        ..GetFactsRequest::default()
    };
    Ok(host.client().get_facts(request).await?.into_inner())
}

/// One image, as the engine of this container's host has it.
///
/// # Errors
/// [`FactsError`]; nothing was changed, but the image pulled where `pull` says so.
pub async fn image(
    host: &HostAgent,
    container: &str,
    image: &str,
    pull: bool,
) -> Result<ImageFacts, FactsError> {
    let request = GetFactsRequest {
        container: container.to_owned(),
        target_image: image.to_owned(),
        pull,
        ..GetFactsRequest::default()
    };
    let facts = host.client().get_facts(request).await?.into_inner();
    Ok(facts.target.unwrap_or_default())
}

/// The backups that the engine has. `folders` are those that the journal knows of; of a cluster it is what a namespace has.
///
/// # Errors
/// [`FactsError`]; nothing was changed.
pub async fn backups(
    host: &HostAgent,
    namespace: &str,
    folders: Vec<String>,
) -> Result<Facts, FactsError> {
    let request = GetFactsRequest {
        backups: true,
        namespace: namespace.to_owned(),
        known_folders: folders,
        ..GetFactsRequest::default()
    };
    Ok(host.client().get_facts(request).await?.into_inner())
}

/// What the agents see of a server. When its container runs, a sidecar is launched for the time of
/// the look. Cancelling `shutdown` ends the look; the sidecar is taken away all the same.
///
/// # Errors
/// [`FactsError`]; nothing was changed then, unless it is [`FactsError::LeftBehind`].
pub async fn gather(
    host: &HostAgent,
    wanted: &Wanted,
    shutdown: &CancellationToken,
) -> Result<Facts, FactsError> {
    let request = GetFactsRequest {
        container: wanted.container.clone(),
        target_image: wanted.target_image.clone(),
        pull: wanted.pull,
        backup_folder: wanted.backup_folder.clone(),
        data_volume: wanted.data_volume.clone(),
        compose: wanted.compose,
        unit: wanted.unit,
        ..GetFactsRequest::default()
    };
    let mut client = host.client();
    let answer = shutdown
        .run_until_cancelled(client.get_facts(request))
        .await;
    let outside = answer.ok_or(FactsError::Interrupted)??.into_inner();
    let Some(container) = outside.container.clone() else {
        return Err(FactsError::NoContainer(wanted.container.clone()));
    };
    // Where a cluster takes no agent, that is what there is to say.
    let shut = outside
        .cluster
        .as_ref()
        .is_some_and(|cluster| !cluster.forbidden.is_empty() || !cluster.agent_refusal.is_empty());
    if !container.running || shut {
        return Ok(outside);
    }

    let run = format!("check-{:08x}", rand::random::<u32>());
    let destination = outside.data.as_ref().map(|data| data.destination.as_str());
    let destination = destination
        .filter(|path| !path.is_empty())
        .unwrap_or(DATA_DESTINATION);
    let launch = launch(&run, &container.name, destination);
    let look = async {
        follow(client.run_step(launch.clone()).await).await?;
        let agents = host.beside(&run, &container.name);
        let mut inside = agents.at(Place::Container).await?;
        let request = GetFactsRequest {
            walk: !wanted.clients,
            clients: wanted.clients,
            only_clients: wanted.only_clients,
            api_key: wanted.api_key.clone(),
            ..GetFactsRequest::default()
        };
        Ok::<_, FactsError>(inside.get_facts(request).await?.into_inner())
    };
    let inside = shutdown.run_until_cancelled(look).await;
    let inside = inside.unwrap_or(Err(FactsError::Interrupted));
    if let Err(mut failure) = take_away(host, launch).await {
        failure
            .details
            .extend(inside.err().map(|before| format!("before that: {before}")));
        return Err(FactsError::LeftBehind { run, failure });
    }
    Ok(merge(outside, inside?))
}

fn launch(run: &str, container: &str, destination: &str) -> RunStepRequest {
    let launch = LaunchAgents {
        container: container.to_owned(),
        sidecar: true,
        volume_agent: false,
        data_destination: destination.into(),
        ..LaunchAgents::default()
    };
    let step = Step {
        id: "launch-agents".into(),
        place: Place::Host.into(),
        title: "launch a sidecar to look".into(),
        action: Some(Action {
            kind: Some(action::Kind::LaunchAgents(launch)),
        }),
        ..Step::default()
    };
    RunStepRequest {
        run: run.to_owned(),
        step: Some(step),
        attempt: 1,
        ..RunStepRequest::default()
    }
}

async fn take_away(host: &HostAgent, launch: RunStepRequest) -> Result<(), Failure> {
    let mut client = host.client();
    let undone = async {
        settle(&mut client, &launch)
            .await
            .map_err(|why| FactsError::Agent(lost(&why)))?;
        follow(client.undo_step(launch).await).await
    };
    match tokio::time::timeout(CLEAN_UP_PATIENCE, undone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(FactsError::Agent(failure))) => Err(failure),
        Ok(Err(other)) => Err(lost(&other.to_string())),
        Err(_) => Err(lost("it took longer than a minute")),
    }
}

/// The outcome of a step, without its events.
async fn follow(
    asked: Result<Response<Streaming<StepEvent>>, Status>,
) -> Result<Outcome, FactsError> {
    let mut events = asked?.into_inner();
    while let Some(event) = events.message().await? {
        match event.kind {
            Some(Kind::Finished(outcome)) => return Ok(outcome),
            Some(Kind::Failed(failure)) => return Err(FactsError::Agent(failure)),
            _ => {}
        }
    }
    Err(FactsError::Agent(lost(
        "the agent hung up before the step was over",
    )))
}

fn lost(why: &str) -> Failure {
    Failure {
        code: "connection-lost".into(),
        message: format!("the connection to an agent was lost: {why}"),
        ..Failure::default()
    }
}

#[cfg(test)]
mod tests;
