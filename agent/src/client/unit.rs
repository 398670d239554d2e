//! The client's service, `pmm-agent.service`, by `systemctl`.

use std::path::Path;

use crate::{
    error::StepError,
    server::programs::client::{Tool, ask, perform},
    state_dir::StateDir,
};

/// As the packages call it (`facts/pmm.md` 5.1).
const UNIT: &str = "pmm-agent.service";

/// How the unit stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The service manager knows it.
    pub(crate) known: bool,
    pub(crate) running: bool,
    /// It starts with the host.
    pub(crate) enabled: bool,
}

/// Looks; a host without systemd has no unit.
///
/// # Errors
/// When the service manager cannot be heard.
pub(crate) async fn look() -> Result<Unit, StepError> {
    if !Tool::Systemctl.is_here() {
        return Ok(Unit::default());
    }
    let properties = [
        "show",
        "--property=LoadState,ActiveState,UnitFileState",
        UNIT,
    ];
    Ok(read(&ask(Tool::Systemctl, &properties).await?.text))
}

fn read(text: &str) -> Unit {
    let is = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
    Unit {
        known: is("LoadState=loaded"),
        running: is("ActiveState=active"),
        enabled: is("UnitFileState=enabled"),
    }
}

/// Starts it anew, with the unit that the package has brought.
///
/// # Errors
/// When systemctl fails, with what it said.
pub(crate) async fn restart(log: (&StateDir, &str)) -> Result<(), StepError> {
    perform(Tool::Systemctl, &["daemon-reload"], Path::new("/"), log).await?;
    perform(Tool::Systemctl, &["restart", UNIT], Path::new("/"), log)
        .await
        .map_err(|error| error.hint("`journalctl --unit pmm-agent` on the client's host says why"))
}

/// Has it start with the host, where it did before: the packages' scripts disable the unit when one of them goes.
///
/// # Errors
/// When systemctl fails, with what it said.
pub(crate) async fn enable(log: (&StateDir, &str)) -> Result<(), StepError> {
    if look().await?.enabled {
        return Ok(());
    }
    perform(Tool::Systemctl, &["enable", UNIT], Path::new("/"), log).await
}

/// Refuses where it does not run.
///
/// # Errors
/// With the code `client-not-running`.
pub(crate) async fn check_running() -> Result<(), StepError> {
    if look().await?.running {
        return Ok(());
    }
    Err(StepError::new(
        "client-not-running",
        format!("`{UNIT}` does not stay up on the client's host"),
    )
    .hint("`journalctl --unit pmm-agent` there says why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_by_whole_words() {
        let unit = |known, running, enabled| Unit {
            known,
            running,
            enabled,
        };
        for (text, expected) in [
            (
                "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
                unit(true, true, true),
            ),
            (
                "LoadState=loaded\nActiveState=activating\nUnitFileState=enabled-runtime\n",
                unit(true, false, false),
            ),
            (
                "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n",
                unit(false, false, false),
            ),
            ("", unit(false, false, false)),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
