//! What `ferryd` does in a cluster's pods beside serving.
//!
//! Why an image describes itself: a cluster's API knows of an image its name and nothing else. So a pod is made of it that starts this
//! program in the place of its own, put there by the agent's image. It then runs as the image's own user, sees the image's own files,
//! and says what it found in the message that Kubernetes keeps of a container's end: no right to read logs is needed.

use std::{io, os::unix::fs::PermissionsExt as _, path::Path};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::engine::probe::VERSION_FILE;

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Whom its processes run as.
    pub uid: u32,
    /// And in which group.
    pub gid: u32,
    /// What stands in the file that PMM's images keep their version in; absent where there is none.
    pub version_file: Option<String>,
}

/// A version is short; what is longer is something else.
const LONGEST: usize = 256;

/// Copies this program to `folder`, for everybody to start.
///
/// # Errors
/// When it cannot be read or written.
pub fn install(folder: &Path) -> io::Result<()> {
    let mut program = fs_err::File::open("/proc/self/exe")?;
    let path = folder.join("ferryd");
    let mut options = fs_err::OpenOptions::new();
    let mut copy = options
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)?;
    io::copy(&mut program, &mut copy)?;
    copy.sync_all()?;
    // Whatever the mask of this process is.
    copy.set_permissions(std::fs::Permissions::from_mode(0o755))
}

/// Writes to `answer` what the image is that this process runs in.
///
/// # Errors
/// When the file cannot be written.
pub fn describe(answer: &Path) -> io::Result<()> {
    let version = fs_err::read_to_string(VERSION_FILE).ok();
    let description = Description {
        uid: users::get_effective_uid(),
        gid: users::get_effective_gid(),
        version_file: version.map(|text| text.chars().take(LONGEST).collect()),
    };
    let text = serde_json::to_string(&description).map_err(io::Error::other)?;
    fs_err::write(answer, text)
}

/// Asks the agent that listens on `socket` to end at a safe place. It is known by the socket itself, so that nobody else is asked.
///
/// # Errors
/// When nobody listens there, or the kernel does not say who.
pub async fn end(socket: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket).await?;
    let pid = stream.peer_cred()?.pid();
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the kernel does not say who listens"))?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_put_there_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path()).unwrap();
        let path = folder.path().join("ferryd");
        let own = fs_err::metadata("/proc/self/exe").unwrap().len();
        let metadata = fs_err::metadata(&path).unwrap();
        assert_eq!(metadata.len(), own);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
        // Somebody's file is not written over.
        assert!(install(folder.path()).is_err());
    }

    #[test]
    fn an_image_that_is_no_server_says_who_it_runs_as() {
        let file = tempfile::NamedTempFile::new().unwrap();
        describe(file.path()).unwrap();
        let said: Description =
            serde_json::from_str(&fs_err::read_to_string(file.path()).unwrap()).unwrap();
        assert_eq!(said.uid, users::get_effective_uid());
        assert_eq!(said.version_file, None);
    }
}
