//! Proving that dumps can be restored: into a cluster made for that alone.
//!
//! Why: an archive that lists its contents may still not restore. The scratch cluster uses the server's own programs,
//! has its roles and its databases' names, owners and locales, listens on no port, lives in one new folder, and is
//! stopped with the proof. The folder stays for the caller to use or to remove.
//!
//! It is stopped by its own pid file ([`leftover`]), the same way as one that outlived an agent that was killed.

mod leftover;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program};
use super::super::{Result, ServerError};
use super::query::connection_string;
use super::{Postgres, SUPERUSER};

/// How long a proof may take.
const PROOF_TIME: Duration = Duration::from_secs(6 * 3600);
/// How long the scratch cluster has to come up.
const START_TIME: Duration = Duration::from_secs(120);
/// How long it has to write what it holds and to end.
const STOP_TIME: Duration = Duration::from_secs(300);
/// The longest name of a unix socket, in bytes.
const MAX_SOCKET: usize = 107;

/// A dump that is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToProve {
    /// The database that it was made of.
    pub database: String,
    /// The dump's folder, in the server's names.
    pub dump: PathBuf,
}

/// What to prove, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofRequest {
    /// The dumps, each of another database.
    pub dumps: Vec<ToProve>,
    /// The folder for the cluster, in the server's names. It must not exist; its parent must, and must be passable for
    /// the database's user. The cluster itself is the folder `data` in it.
    pub scratch: PathBuf,
    /// How many tables are restored at once.
    pub jobs: NonZeroU8,
    /// What [`Postgres::cluster_sql`] gave when the dumps were made.
    pub cluster_sql: String,
    /// Roles that get their default password, as [`Postgres::heal_role`] would give it to them.
    pub heal_roles: Vec<String>,
}

impl Postgres {
    /// Restores dumps into a new cluster, under their own names, and gives the rows of each table found there by
    /// database. Nobody else is asked anything: the server need not run.
    ///
    /// # Errors
    /// The scratch cluster cannot be made, started or stopped, a dump does not restore without any error, or `cancel`
    /// fired. The folder may be there then; nothing runs in it.
    pub async fn prove_dumps(
        &self,
        request: &ProofRequest,
        progress: &mut (dyn FnMut(&str) + Send),
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        let (scratch, cluster) = (&request.scratch, self.scratch(&request.scratch));
        let socket = scratch.join(format!(".s.PGSQL.{}", cluster.port));
        if socket.as_os_str().len() > MAX_SOCKET {
            return Err(ServerError::Missing {
                what: "a folder for the scratch cluster",
                why: format!("`{}` is too long for a unix socket", socket.display()),
            });
        }
        self.make_dir(scratch)?;
        progress("a new cluster");
        self.init(&cluster.data_dir, cancel).await?;

        let stop = cancel.child_token();
        let surroundings = self.gentle_surroundings();
        let serve = launch(
            Program::Postgres,
            serve_args(&cluster.data_dir, scratch, cluster.port),
            PROOF_TIME,
        );
        // Not `cancel` itself: a cluster that is told to end by its pid file ends in order.
        let ending = CancellationToken::new();
        let told = ending.clone();
        let mut server = tokio::spawn(async move { surroundings.run(serve, &told).await });
        // Dropping this future stops the server too.
        let _guard = ending.clone().drop_guard();
        let proven = tokio::select! {
            proven = cluster.restore_all(request, progress, &stop) => proven,
            ended = &mut server => {
                return Err(match ended {
                    Ok(Err(error)) => error,
                    _ => ServerError::Missing {
                        what: "the scratch cluster",
                        why: "it ended before the proof did".into(),
                    },
                });
            }
        };
        progress("the cluster ends");
        let stopped = self.end_scratch(scratch).await;
        if stopped.is_err() {
            ending.cancel();
        }
        let ended = match server.await {
            Ok(ended) => ended.map(drop),
            Err(error) => Err(ServerError::Missing {
                what: "the end of the scratch cluster",
                why: error.to_string(),
            }),
        };
        let proven = proven?;
        stopped?;
        ended?;
        Ok(proven)
    }

    async fn init(&self, data: &Path, cancel: &CancellationToken) -> Result<()> {
        let mut args: Vec<OsString> = vec!["-D".into(), data.into()];
        for arg in [
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ] {
            args.push(arg.into());
        }
        let launch = launch(Program::Initdb, args, START_TIME);
        self.gentle_surroundings()
            .run(launch, cancel)
            .await
            .map(drop)
    }

    fn scratch(&self, dir: &Path) -> Self {
        Self {
            socket_dir: dir.to_owned(),
            data_dir: dir.join("data"),
            port: 5432,
            running: true,
            ..self.clone()
        }
    }

    async fn restore_all(
        &self,
        request: &ProofRequest,
        progress: &mut (dyn FnMut(&str) + Send),
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        let cancelled = || ServerError::Cancelled {
            what: "the proof of the dumps".into(),
        };
        let started = Instant::now();
        while let Err(error) = self.query("postgres", "SELECT 1").await {
            if started.elapsed() > START_TIME {
                return Err(error);
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(cancelled()),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        self.execute("postgres", &request.cluster_sql).await?;
        for role in &request.heal_roles {
            self.heal_role(role).await?;
        }
        let mut proven = BTreeMap::new();
        for ToProve { database, dump } in &request.dumps {
            progress(database);
            let mut args = self.connect_args();
            for arg in ["--exit-on-error", "--no-tablespaces", "-j"] {
                args.push(arg.into());
            }
            args.push(request.jobs.to_string().into());
            args.push("-d".into());
            args.push(connection_string(database).into());
            args.push(dump.into());
            self.gentle_surroundings()
                .run(launch(Program::PgRestore, args, PROOF_TIME), cancel)
                .await?;
            if cancel.is_cancelled() {
                return Err(cancelled());
            }
            proven.insert(database.clone(), self.table_rows(database).await?);
        }
        Ok(proven)
    }
}

fn launch(program: Program, args: Vec<OsString>, time: Duration) -> Launch {
    Launch {
        program,
        args,
        stdin: None,
        options: "",
        time,
        max_output: 4 << 20,
    }
}

/// No port, small, nothing outside its own folder; its data need not survive a crash. What it is told is not logged:
/// there may be passwords in it.
fn serve_args(data: &Path, socket_dir: &Path, port: u16) -> Vec<OsString> {
    let mut socket = OsString::from("unix_socket_directories=");
    socket.push(PathBuf::from(socket_dir));
    let mut args: Vec<OsString> = vec!["-D".into(), data.into()];
    for setting in [
        socket,
        format!("port={port}").into(),
        "listen_addresses=".into(),
        "fsync=off".into(),
        "full_page_writes=off".into(),
        "autovacuum=off".into(),
        "wal_level=minimal".into(),
        "max_wal_senders=0".into(),
        "max_wal_size=128MB".into(),
        "shared_buffers=32MB".into(),
        "dynamic_shared_memory_type=mmap".into(),
        "log_min_error_statement=panic".into(),
    ] {
        args.push("-c".into());
        args.push(setting);
    }
    args
}
