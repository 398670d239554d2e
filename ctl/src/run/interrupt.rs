//! Ctrl-C: once means "stop waiting, leave the step to its agent", twice means "now".

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGINT or SIGTERM cancels; the second ends the process with `exit_code`.
/// The journal is whole at every moment, so that ending at once loses nothing.
///
/// # Errors
/// When the signals cannot be caught.
pub fn on_interrupt(exit_code: i32) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    let mut signals = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        next(&mut signals).await;
        stop.cancel();
        next(&mut signals).await;
        std::process::exit(exit_code);
    });
    Ok(token)
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_only_asks_to_stop() {
        let token = on_interrupt(4).unwrap();
        assert!(!token.is_cancelled());
        kill_process(getpid(), Signal::INT).unwrap();
        token.cancelled().await;
    }
}
