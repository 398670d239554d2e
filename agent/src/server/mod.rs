//! How a PMM server is reached from beside its processes.
//!
//! Why: everything Ferry knows of a server (what runs, what it holds, whether it came back whole) and most of what it
//! does to one (stop services, dump databases) goes through the server's own doors: its supervisor's XML-RPC socket, its
//! own PostgreSQL tools, and the HTTP ports that it opens on loopback. None of these needs a password of the user's, a
//! shell, or an open port (`facts/pmm.md` 3.5, 8.1).
//!
//! The code runs in a sidecar that shares the server's PID and network namespaces, where the server's files are at
//! `/proc/1/root`; or inside the server itself, where they are at `/`. [`ServerRoot`] is that difference and the only
//! one; nothing else here knows which of the two it is.
//!
//! ```text
//!  Supervisor ── run/supervisor/supervisor.sock      programs, states, stop, start
//!  Postgres ──── own psql, pg_dump, … (programs.rs)  roles, sizes, dumps, counts
//!  Pmm ───────── 127.0.0.1:7772, else nginx          version, readiness, inventory
//!  Victoria ──── 127.0.0.1:9090    Qan ── 9922, 8123    keys ── database `grafana`, 3000
//!      └─────────────► facts.rs: what the checks need      baseline.rs: what must be found again
//! ```

pub mod baseline;
pub mod error;
pub mod exports;
pub mod facts;
pub mod http;
pub mod ini;
pub mod keys;
pub mod pmm;
pub mod postgres;
pub mod programs;
pub mod qan;
pub mod root;
pub mod services;
pub mod supervisor;
pub mod supervisor_config;
pub mod users;
pub mod victoria;
pub mod xmlrpc;

pub use error::ServerError;
pub use root::ServerRoot;

/// What this module returns.
pub type Result<T, E = ServerError> = std::result::Result<T, E>;
