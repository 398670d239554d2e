//! What an agent observes of a server. It changes nothing, and it says what it could not see: the
//! checks decide what that means.

mod arrival;
mod backups;
mod container;
mod data;
mod host;

pub use host::changes as environment_changes;

use ferry_proto::v1::{Facts, GetFactsRequest};

use crate::{client, error::StepError, ledger, surroundings::Surroundings};

/// Observes what this agent can see from where it is.
///
/// # Errors
/// When the thing asked for is not there at all.
pub async fn observe(
    surroundings: &Surroundings,
    request: &GetFactsRequest,
) -> Result<Facts, StepError> {
    let mut facts = match surroundings {
        Surroundings::Host(host) => match &request.new_server {
            Some(wanted) => arrival::observe(host, wanted, request).await?,
            None => host::observe(host, request).await?,
        },
        Surroundings::Cluster(cluster) => cluster.observe(request).await?,
        Surroundings::Container(container) => container::observe(container, request).await?,
        Surroundings::Volume(volume) | Surroundings::Workshop(_, volume) => Facts {
            data: Some(data::observe(data::Tree::at(volume.data.clone()), None).await?),
            ..Facts::default()
        },
        Surroundings::Client(_) => Facts {
            client_host: Some(client::look(&request.client_file).await?),
            ..Facts::default()
        },
    };
    facts.observed = Some(ledger::timestamp(ledger::now_ms()));
    Ok(facts)
}
