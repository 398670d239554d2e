//! Waits until the server says that a client is connected, and as which version. A client that runs may be one that nobody hears.
//!
//! Why a step of the host agent and not of the agent beside the server: that one would have to keep a ledger on the server's data, and
//! nothing there changes for a client. It looks through an observer, as a check does, which has the volumes read-only and goes again.

use std::{io, sync::Mutex, sync::PoisonError, time::Duration};

use async_trait::async_trait;
use ferry_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        self, ClientFacts, GetFactsRequest, Outcome, Place, TunnelTarget,
        agent_service_client::AgentServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::{
    context::Context,
    error::StepError,
    places::{self, CHECK_PREFIX},
    steps::{Work, done},
    surroundings::Host,
};

pub(in crate::steps) struct AwaitClient(pub(in crate::steps) v1::AwaitClient);

const POLL: Duration = Duration::from_millis(500);

#[async_trait]
impl Work for AwaitClient {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        self.wait(cx, &self.0.version).await
    }

    /// It was seen by then, and a client may leave at any time.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        if self.0.back_version.is_empty() {
            return Ok(done("nothing to take back"));
        }
        self.wait(cx, &self.0.back_version).await
    }
}

impl AwaitClient {
    async fn wait(&self, cx: &Context, version: &str) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        let look = format!("{CHECK_PREFIX}{}", cx.run);
        let seen = self.watch(cx, host, &look, version).await;
        // Whatever came of it, nothing of ours stays beside the server.
        let retired = places::retire(host, &look, "sidecar").await;
        let outcome = seen?;
        retired?;
        Ok(outcome)
    }

    async fn watch(
        &self,
        cx: &Context,
        host: &Host,
        look: &str,
        version: &str,
    ) -> Result<Outcome, StepError> {
        let timeout = Duration::from_secs(u64::from(self.0.timeout_seconds));
        let began = Instant::now();
        let mut observer = None;
        loop {
            let said = match self.ask(host, look, &mut observer).await {
                Ok(client) => judge(client.as_ref(), version),
                Err(error) => {
                    observer = None;
                    Err(format!("the server cannot be asked: {error}"))
                }
            };
            let why = match said {
                Ok(said) => return Ok(done(said)),
                Err(why) => why,
            };
            if began.elapsed() > timeout {
                return Err(self.late(version, timeout, &why));
            }
            cx.progress(
                began.elapsed().as_secs(),
                timeout.as_secs(),
                "seconds",
                &why,
            );
            cx.check_cancelled()?;
            sleep(POLL).await;
        }
    }

    /// What the server says of the client; `None` where it does not know it.
    async fn ask(
        &self,
        host: &Host,
        look: &str,
        observer: &mut Option<AgentServiceClient<Channel>>,
    ) -> Result<Option<ClientFacts>, StepError> {
        let client = match observer {
            Some(client) => client,
            None => observer.insert(self.observe(host, look).await?),
        };
        let request = GetFactsRequest {
            clients: true,
            only_clients: true,
            ..GetFactsRequest::default()
        };
        let answer = client.get_facts(request).await;
        let facts = answer.map_err(|status| lost(&status))?.into_inner();
        let clients = facts.clients.ok_or_else(|| {
            let why = facts.server.iter().flat_map(|it| &it.unobserved);
            let why: Vec<String> = why.map(|it| format!("{}: {}", it.what, it.why)).collect();
            StepError::new("clients-unobserved", why.join("; "))
        })?;
        let mut clients = clients.clients.into_iter();
        Ok(clients.find(|it| it.agent_id == self.0.agent_id))
    }

    async fn observe(
        &self,
        host: &Host,
        look: &str,
    ) -> Result<AgentServiceClient<Channel>, StepError> {
        let target = TunnelTarget {
            run: look.to_owned(),
            place: Place::Container.into(),
            container: self.0.container.clone(),
        };
        let stream = places::dial(host, &target).await?;
        // Lost once, it is dialled anew by the next question.
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_uri| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        // The name is never resolved: the connector decides where the bytes go.
        let channel = Endpoint::from_static("http://agent.ferry.invalid")
            .connect_with_connector(connector)
            .await
            .map_err(|error| lost(&error))?;
        Ok(AgentServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn late(&self, version: &str, timeout: Duration, why: &str) -> StepError {
        let seconds = timeout.as_secs();
        StepError::new(
            "client-not-back",
            format!("the client is not back as PMM {version} after {seconds} s: {why}"),
        )
        .hint("`journalctl --unit pmm-agent` on its host says what it meets")
    }
}

/// Connected, and the version that is waited for; else what is the matter.
fn judge(client: Option<&ClientFacts>, version: &str) -> Result<String, String> {
    let Some(client) = client else {
        return Err("the server does not know it".to_owned());
    };
    if !client.connected {
        return Err("the server says that it is not connected".to_owned());
    }
    if client.version.split(['-', '+', '~']).next() != Some(version) {
        let told = match client.version.as_str() {
            "" => "does not say its version".to_owned(),
            told => format!("says that it is {told}"),
        };
        return Err(format!("the server {told}"));
    }
    Ok(format!(
        "the server says that it is connected, and PMM {version}"
    ))
}

fn lost(error: &dyn std::fmt::Display) -> StepError {
    StepError::new(
        "connection-lost",
        format!("the agent beside the server is lost: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_is_connected_as_that_version_is_back() {
        let client = |version: &str, connected| ClientFacts {
            version: version.into(),
            connected,
            ..ClientFacts::default()
        };
        assert!(judge(Some(&client("3.8.1", true)), "3.8.1").is_ok());
        assert!(judge(Some(&client("3.8.1-7.el9", true)), "3.8.1").is_ok());
        for (client, told) in [
            (Some(client("3.8.1", false)), "not connected"),
            (Some(client("2.44.1", true)), "says that it is 2.44.1"),
            (Some(client("3.8.10", true)), "3.8.10"),
            (Some(client("", true)), "does not say"),
            (None, "does not know"),
        ] {
            let why = judge(client.as_ref(), "3.8.1").unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
