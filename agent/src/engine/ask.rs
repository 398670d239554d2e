//! What an engine is asked, and what of it may be asked again.

use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::error::EngineError;

/// How often an engine is asked that answers with an error of its own, where it makes no difference that it is asked again. One that is busy says
/// 500 and is well a moment later; a run that only wanted to look need not be taken back for that, and a removal need not be left to a person.
const TRIES: usize = 3;
/// The time between two of them.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What a question is about: where it goes and how it reads in an error.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Path below the version, each part already encoded.
    pub(crate) path: String,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a Value>,
    /// A verb phrase: `stop container pmm-server`.
    pub(crate) action: String,
    /// It is asked in Podman's own interface.
    pub(crate) podmans: bool,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, path: String, action: String) -> Self {
        Self {
            method,
            path,
            query: &[],
            body: None,
            action,
            podmans: false,
        }
    }

    pub(crate) fn query(mut self, query: &'a [(&'a str, &'a str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn body(mut self, body: &'a Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Whether it comes to the same when it is asked twice: it only looks, removes what may be gone already, or sets what may be set already.
    pub(super) fn may_be_repeated(&self) -> bool {
        [Method::GET, Method::HEAD, Method::DELETE].contains(&self.method)
            || self.path.ends_with("/update")
    }
}

/// Asks for what comes to the same when it is asked twice, until the engine does not answer with an error of its own.
pub(super) async fn repeated<T, F>(ask: impl Fn() -> F) -> Result<T, EngineError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    for _ in 1..TRIES {
        match ask().await {
            // 501 says that it never will.
            Err(EngineError::Refused {
                status: 500 | 502..,
                ..
            }) => tokio::time::sleep(BETWEEN_TRIES).await,
            other => return other,
        }
    }
    ask().await
}
