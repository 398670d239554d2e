//! Ports of servers under test. Fixed rather than left to Docker, because a port must be the same after its server was replaced; between the
//! two nobody has it, so it is none that the system would give to somebody else, and no other test takes it.

use std::fs::File;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, Result};

/// Below those that the system gives to whoever asks for any, which begin at 32768.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Held as long as the test's process lives.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that is this test's alone.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Result<u16> {
    let folder = std::env::temp_dir().join("ferry-test-ports");
    fs_err::create_dir_all(&folder)?;
    // Tests that begin together look at different ones first.
    let apart = u16::try_from(std::process::id() % u32::from(u16::MAX)).unwrap_or_default();
    let first = PORTS.start + apart % u16::try_from(PORTS.len()).unwrap_or(1);
    for port in (first..PORTS.end).chain(PORTS.start..first) {
        let lock = File::create(folder.join(port.to_string()))?;
        let is_mine = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_mine && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            taken.push(lock);
            return Ok(port);
        }
    }
    Err(Error::of("no port is free".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = [(); 5].map(|()| free_port().unwrap());
        ports.sort_unstable();
        assert!(ports.windows(2).all(|two| two[0] != two[1]), "{ports:?}");
    }
}
