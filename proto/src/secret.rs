//! A secret on its way to an agent. A message like any other on the wire, and nowhere else: whoever prints it or writes it as
//! JSON, be it by way of the request that carries it, gets a word instead.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const HIDDEN: &str = "(hidden)";

/// What must not be told. It is `ferry.v1.Secret` of the API.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub struct Secret {
    #[prost(string, tag = "1")]
    value: String,
}

impl Secret {
    /// Takes a secret in.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
        }
    }

    /// The secret itself, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // There is nothing to read: it is never written.
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self::default())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::Secret;
    use crate::v1::{GetFactsRequest, RunStepRequest};

    const VALUE: &str = "eyJrIjoiabc";

    #[test]
    fn it_travels_and_shows_nowhere() {
        let request = RunStepRequest {
            run: "7f3a9c21".into(),
            api_key: Some(Secret::new(VALUE)),
            ..RunStepRequest::default()
        };
        let sent = RunStepRequest::decode(request.encode_to_vec().as_slice()).unwrap();
        assert_eq!(sent.api_key.as_ref().unwrap().reveal(), VALUE);
        let look = GetFactsRequest {
            api_key: sent.api_key.clone(),
            ..GetFactsRequest::default()
        };
        for shown in [
            format!("{sent:?} {look:?} {:#?}", sent.api_key),
            serde_json::to_string(&sent).unwrap(),
            serde_json::to_string(&look).unwrap(),
        ] {
            assert!(
                !shown.contains(VALUE) && shown.contains("(hidden)"),
                "{shown}"
            );
        }
    }
}
