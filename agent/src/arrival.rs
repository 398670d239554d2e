//! The machine that a server comes to from another one: whether its data can be written here, and what is taken already.
//!
//! Why the host agent writes in the engine's volume itself and no agent in a container does: the data comes over the network, by the
//! certificates of this machine, and agents in containers with a volume have no network and are given no secret.

use std::{
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
};

use ferry_proto::v1::PublishedPort;
use rustix::fs::Access;

use crate::{
    engine::{Engine, EngineInfo, inspect, labels::RUN_LABEL},
    error::StepError,
    surroundings::Host,
    unit,
};

/// `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID` and `SETFCAP`: what it takes to make entries as they were elsewhere.
const CAPABILITIES: [u32; 5] = [0, 1, 3, 4, 31];

/// Where the engine keeps its volumes.
#[must_use]
pub(crate) fn volumes(info: &EngineInfo) -> PathBuf {
    Path::new(&info.root_dir).join("volumes")
}

/// Why this agent cannot write what volumes hold, as a clause; empty when it can.
pub(crate) fn obstacle(engine: &Engine, info: &EngineInfo) -> String {
    let has = |word: &str| info.security_options.iter().any(|it| it.contains(word));
    if !unit::is_local(engine) {
        return "the engine is not this machine's own".to_owned();
    }
    if info.rootless {
        return "the engine is an ordinary user's, in whose containers owners are others"
            .to_owned();
    }
    if has("name=userns") {
        return "the engine gives its containers a user namespace of their own, in which owners are others".to_owned();
    }
    if !rustix::process::geteuid().is_root() {
        return "this user is not root".to_owned();
    }
    if !is_able(&fs_err::read_to_string("/proc/self/status").unwrap_or_default()) {
        return "the agent's unit takes away the rights to give files their owners and modes"
            .to_owned();
    }
    let folder = volumes(info);
    match rustix::fs::access(&folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => String::new(),
        Err(error) => format!("`{}` cannot be written here: {error}", folder.display()),
    }
}

/// Whether a process with this status may make entries of any owner and mode.
fn is_able(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    effective.is_some_and(|it| CAPABILITIES.iter().all(|bit| it & (1 << bit) != 0))
}

/// A port that is to be published, in the words of the engine's own.
#[must_use]
pub(crate) fn published(port: &PublishedPort) -> inspect::PublishedPort {
    inspect::PublishedPort {
        host_ip: port.address.clone(),
        host_port: port.host.to_string(),
        container: format!("{}/tcp", port.container),
    }
}

/// Whether somebody listens there. That nobody may try is no answer.
pub(crate) fn is_taken(port: &PublishedPort) -> bool {
    let address: Option<IpAddr> = match port.address.as_str() {
        "" => Some([0, 0, 0, 0].into()),
        text => text.parse().ok(),
    };
    let (Some(address), Ok(number)) = (address, u16::try_from(port.host)) else {
        return false;
    };
    is_listened_on(address, number)
}

/// Whether somebody listens at this address of the machine. That nobody may try is no answer.
pub(crate) fn is_listened_on(address: IpAddr, port: u16) -> bool {
    let bound = TcpListener::bind((address, port));
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Where the volume that this run has made is on this machine.
///
/// # Errors
/// It is not there, is another's, or is not here.
pub(crate) async fn folder_of(host: &Host, volume: &str, run: &str) -> Result<PathBuf, StepError> {
    let found = host.engine.inspect_volume(volume).await?;
    if found.labels.get(RUN_LABEL).map(String::as_str) != Some(run) {
        return Err(StepError::new(
            "volume-taken",
            format!("volume `{volume}` is there and not of run {run}"),
        )
        .hint(format!("`ferryctl rollback {run}`")));
    }
    let folder = PathBuf::from(&found.mountpoint);
    if !fs_err::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir()) {
        let what = format!(
            "volume `{volume}` is not on this machine: the engine says `{}`",
            folder.display()
        );
        return Err(StepError::new("volume-out-of-reach", what).hint(
            "run `ferryctl` as root on the machine that has the engine, or use a host agent there",
        ));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_all_of_the_rights() {
        assert!(is_able("Name:\tferryd\nCapEff:\t000001ffffffffff\n"));
        // What `deploy/ferryd-host.service` leaves it.
        assert!(!is_able("CapEff:\t0000000000000002\n"));
        assert!(!is_able("CapEff:\tx\n") && !is_able(""));
    }

    #[test]
    fn a_port_is_taken_while_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |address: &str| PublishedPort {
            address: address.into(),
            host: listener.local_addr().unwrap().port().into(),
            container: 443,
        };
        assert!(is_taken(&port("127.0.0.1")) && is_taken(&port("")));
        assert!(!is_taken(&port("no address")));
        let told = published(&port("127.0.0.1"));
        assert_eq!((&*told.host_ip, &*told.container), ("127.0.0.1", "443/tcp"));
    }
}
