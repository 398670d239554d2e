//! The server's PostgreSQL, through its own tools.
//!
//! Why its own `psql` and `pg_dump` and no client library: they fit the server's version, they use its unix socket,
//! where PMM trusts every local user (`facts/pmm.md` 1.3), and they need no password and no port.
//!
//! Everything about the cluster is observed from the running process first: people move data directories, change ports
//! and sockets, and install other majors.

mod controldata;
mod dump;
mod find;
mod hba;
mod manifest;
mod query;
mod restore;
mod roles;
mod scratch;
mod snapshot;

pub use controldata::ControlData;
pub use dump::{ARCHIVE, Dump, DumpProgress, DumpRequest};
pub use hba::{Hba, HbaRule};
pub use manifest::{Manifest, ManifestEntry, verify_manifest};
pub use query::{Rows, literal};
pub use restore::RestoreRequest;
pub use roles::{PasswordKind, Role};
pub use scratch::{ProofRequest, ToProve};

use std::path::PathBuf;

use super::ServerRoot;

/// The superuser of PMM's clusters.
const SUPERUSER: &str = "postgres";

/// The server's PostgreSQL cluster, and the way to it. Paths are in the server's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The server's root.
    pub root: ServerRoot,
    /// Where its programs are.
    pub bin_dir: PathBuf,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// The folder with its unix socket.
    pub socket_dir: PathBuf,
    /// Its port, which is part of the socket's name.
    pub port: u16,
    /// Whom it runs as.
    pub uid: u32,
    /// The primary group of that user.
    pub gid: u32,
    /// The name of that user, or its number where it has none.
    pub user: String,
    /// The cluster's major version, from `PG_VERSION`.
    pub major: String,
    /// Whether a server process was seen.
    pub running: bool,
}
