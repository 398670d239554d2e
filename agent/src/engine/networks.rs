//! Networks of our own: one a rehearsal, without a way out.
//!
//! Why internal: a second server with the same clients, keys and alert channels must reach nobody and be reached by nobody.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::json;

use super::{
    ask::Ask,
    client::{Engine, encode},
    error::EngineError,
};

impl Engine {
    /// The labels of a network; `None` when there is none of that name.
    ///
    /// # Errors
    /// All but "not found".
    pub async fn find_network(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        let ask = Ask::new(Method::GET, path(name), format!("inspect network {name}"));
        match self.ask_json(ask).await {
            Ok(raw) => {
                let labels = raw["Labels"].as_object();
                Ok(Some(
                    labels
                        .into_iter()
                        .flatten()
                        .map(|(key, value)| {
                            (key.clone(), value.as_str().unwrap_or_default().to_owned())
                        })
                        .collect(),
                ))
            }
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a network that leads nowhere.
    ///
    /// # Errors
    /// A name that is taken, or no addresses left for it.
    pub async fn create_internal_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let body = json!({
            "Name": name,
            "Internal": true,
            "CheckDuplicate": true,
            "Labels": labels,
        });
        let ask = Ask::new(
            Method::POST,
            "/networks/create".into(),
            format!("create network {name}"),
        )
        .body(&body);
        self.ask(ask).await.map(drop)
    }

    /// Removes a network that no container is on; gone already is fine.
    ///
    /// # Errors
    /// A container is still on it.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let ask = Ask::new(Method::DELETE, path(name), format!("remove network {name}"));
        match self.ask(ask).await {
            Ok(_) | Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn path(name: &str) -> String {
    format!("/networks/{}", encode(name))
}
