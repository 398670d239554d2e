//! Walks of a tree are threads' work; the async side waits for them here.

use std::panic::resume_unwind;

/// Runs blocking work without holding up the calls that are served.
pub(crate) async fn run<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Blocking work is never aborted, so it can only have panicked: the step's own guard
        // reports that.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
