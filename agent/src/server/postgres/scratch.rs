//! Proving that a dump can be restored: into a cluster made for that alone.
//!
//! Why: an archive that lists its contents may still not restore. The scratch cluster uses the server's own programs,
//! listens on no port, lives in one new folder, and ends with the proof. The folder stays for the caller to remove.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program};
use super::super::{Result, ServerError};
use super::{Postgres, SUPERUSER};

/// How long a proof may take.
const PROOF_TIME: Duration = Duration::from_secs(6 * 3600);
/// How long the scratch cluster has to come up.
const START_TIME: Duration = Duration::from_secs(120);
/// The database that is restored into.
const DATABASE: &str = "proof";
/// The longest name of a unix socket, in bytes.
const MAX_SOCKET: usize = 107;

impl Postgres {
    /// Restores a dump into a new cluster in `scratch`, and gives the number of rows of each table found there. Both
    /// folders are in the server's names; `scratch` must not exist, its parent must, and must be passable for the
    /// database's user.
    ///
    /// # Errors
    /// The scratch cluster cannot be made or started, the dump does not restore without any error, or `cancel` fired.
    pub async fn prove_dump(
        &self,
        dump: &Path,
        scratch: &Path,
        jobs: NonZeroU8,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, u64>> {
        let cluster = self.scratch(scratch);
        let socket = scratch.join(format!(".s.PGSQL.{}", cluster.port));
        if socket.as_os_str().len() > MAX_SOCKET {
            return Err(ServerError::Missing {
                what: "a folder for the scratch cluster",
                why: format!("`{}` is too long for a unix socket", socket.display()),
            });
        }
        self.make_dir(scratch)?;
        let data = cluster.data_dir.clone();
        let mut args: Vec<OsString> = vec!["-D".into(), data.clone().into()];
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
        self.surroundings()
            .run(launch(Program::Initdb, args, START_TIME), cancel)
            .await?;

        let stop = cancel.child_token();
        let surroundings = self.surroundings();
        let serve = launch(
            Program::Postgres,
            serve_args(&data, scratch, cluster.port),
            PROOF_TIME,
        );
        let ending = stop.clone();
        let mut server = tokio::spawn(async move { surroundings.run(serve, &ending).await });
        // Dropping this future stops the server too.
        let _guard = stop.clone().drop_guard();
        let proven = tokio::select! {
            proven = cluster.restore_and_count(dump, jobs, cancel) => proven,
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
        stop.cancel();
        // It ends because it was told to, which is all that its outcome can say.
        let _ = server.await;
        proven
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

    async fn restore_and_count(
        &self,
        dump: &Path,
        jobs: NonZeroU8,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, u64>> {
        let started = Instant::now();
        while let Err(error) = self.query("postgres", "SELECT 1").await {
            if started.elapsed() > START_TIME {
                return Err(error);
            }
            tokio::select! {
                () = cancel.cancelled() => {
                    return Err(ServerError::Cancelled { what: "the proof of the dump".into() });
                }
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        self.execute("postgres", &format!("CREATE DATABASE {DATABASE}"))
            .await?;
        let mut args = self.connect_args();
        // The roles of the real cluster are not in this one.
        for arg in [
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
            "-d",
            DATABASE,
            "-j",
        ] {
            args.push(arg.into());
        }
        args.push(jobs.to_string().into());
        args.push(dump.into());
        self.surroundings()
            .run(launch(Program::PgRestore, args, PROOF_TIME), cancel)
            .await?;
        self.table_rows(DATABASE).await
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

/// No port, small, nothing outside its own folder; its data need not survive anything.
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
        "shared_buffers=32MB".into(),
        "dynamic_shared_memory_type=mmap".into(),
    ] {
        args.push("-c".into());
        args.push(setting);
    }
    args
}
