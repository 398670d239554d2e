//! Steps on the host of one of the server's clients.

mod keep_client;
mod upgrade_client;

pub(super) use keep_client::KeepClient;
pub(super) use upgrade_client::UpgradeClient;

use crate::context::Context;

/// Where a step's programs write what they say, in the run's folder.
fn log_of(cx: &Context) -> String {
    format!("{}.log", cx.step)
}
