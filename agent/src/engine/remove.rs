//! Removing containers and volumes.
//!
//! Why this is more than a request: the engine goes on with what a controller asked for that was killed meanwhile. Whoever comes after it
//! meets a container that is being removed and refuses a second removal, or a volume that a removed container has not let go of yet.

use std::time::Duration;

use hyper::Method;
use tokio::time::{Instant, sleep};

use super::{ask::Ask, client::Engine, containers, error::EngineError, volumes};

/// How long the engine may take for removals that others asked it for. Podman starts a program of its own for each, which takes seconds on a
/// busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they are over.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Removes a container that does not run. Its volumes stay, anonymous ones too. Gone already is fine, and a removal that is under way
    /// is waited for.
    ///
    /// # Errors
    /// It runs, or the engine cannot remove it.
    pub async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let path = containers::path(name, "")?;
        let action = format!("remove container {name}");
        let query = [("v", "false"), ("force", "false")];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ask = Ask::new(Method::DELETE, path.clone(), action.clone()).query(&query);
            let refusal = match self.ask(ask).await {
                Ok(_) | Err(EngineError::Refused { status: 404, .. }) => return Ok(()),
                Err(error) if self.is_in_use(&error) => error,
                Err(error) => return Err(error),
            };
            match self.find_container(name).await? {
                None => return Ok(()),
                Some(it) if it.status() == "removing" && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Some(_) => return Err(refusal),
            }
        }
    }

    /// Removes a volume that no container uses; gone already is fine.
    ///
    /// # Errors
    /// A container, running or not, still uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        if name.is_empty() {
            return Err(EngineError::BadName {
                kind: "volume",
                name: name.to_owned(),
            });
        }
        let path = volumes::path(name);
        let action = format!("remove volume {name}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ask = Ask::new(Method::DELETE, path.clone(), action.clone());
            let refusal = match self.ask(ask).await {
                Ok(_) | Err(EngineError::Refused { status: 404, .. }) => return Ok(()),
                Err(error @ EngineError::Refused { status: 409, .. }) => error,
                Err(error) => return Err(error),
            };
            // The engine forgets a container before it gives its volumes up.
            let users = self.containers_using_volume(name).await?;
            if !users.is_empty() || Instant::now() >= deadline {
                return Err(refusal);
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether a refusal to remove a container means that it runs, or is being removed.
    pub(super) fn is_in_use(&self, refusal: &EngineError) -> bool {
        matches!(refusal, EngineError::Refused { status, .. } if self.kind().is_conflict(*status))
    }
}
