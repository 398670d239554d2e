//! Dumping a database, and proving that the dump can be read.
//!
//! The rows are counted in the very snapshot that is dumped: the server goes on writing meanwhile, and a count of any
//! other moment would prove nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU8;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Gid, OFlags, Uid, fchown};
use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program};
use super::super::{Result, ServerError};
use super::Postgres;
use super::manifest::{Manifest, hash_in_background};
use super::query::connection_string;

/// How long a dump may take: the databases of PMM are small, hours mean that something hangs.
const DUMP_TIME: Duration = Duration::from_secs(6 * 3600);
/// The name of a dump that is one file.
pub const ARCHIVE: &str = "database.dump";
/// How often progress is told.
const LOOK: Duration = Duration::from_millis(500);

/// What to dump, and to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpRequest {
    /// The database.
    pub database: String,
    /// The folder, in the server's names. It must not exist; its parent must, and must be passable for the database's
    /// user.
    pub dir: PathBuf,
    /// How many tables are dumped at once.
    pub jobs: NonZeroU8,
}

/// A dump that was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dump {
    /// Its files.
    pub manifest: Manifest,
    /// The rows of every ordinary table in it, as [`Postgres::table_rows`] names them.
    pub rows: BTreeMap<String, u64>,
    /// The size of the database when it was dumped, in bytes, with its indexes.
    pub database_size: u64,
}

/// How far a dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpProgress {
    /// Bytes written so far, compressed.
    pub written: u64,
    /// The size of the database, uncompressed and with its indexes: an upper bound.
    pub database_size: u64,
}

impl Postgres {
    /// Dumps a database into a new folder, has `pg_restore` read the archive's contents, hashes its files, and counts
    /// the rows of its tables as they are in the dump.
    ///
    /// The folder belongs to the database's user. After a failure the folder stays, with what was written: removing is
    /// the caller's decision.
    ///
    /// # Errors
    /// The folder exists, the database refuses, the archive cannot be read, or `cancel` fired.
    pub async fn dump(
        &self,
        request: &DumpRequest,
        progress: &mut (dyn FnMut(DumpProgress) + Send),
        cancel: &CancellationToken,
    ) -> Result<Dump> {
        let host_dir = self.make_dir(&request.dir)?;
        let form = ["-Fd".into(), "-j".into(), request.jobs.to_string().into()];
        let into = ["-f".into(), request.dir.clone().into()];
        let args = form.into_iter().chain(into).collect();
        let dump = self.dump_to(request, &host_dir, args, None, progress, cancel);
        let dump = dump.await?;
        self.check_dump(&request.dir, cancel).await?;
        Ok(dump)
    }

    /// As [`Self::dump`], into a folder outside the server's tree, where its programs cannot go: `dir` is named as this
    /// process sees it, and the dump is one file in it, [`ARCHIVE`]. Nothing but the proof reads it here.
    ///
    /// # Errors
    /// As [`Self::dump`].
    pub async fn dump_apart(
        &self,
        request: &DumpRequest,
        progress: &mut (dyn FnMut(DumpProgress) + Send),
        cancel: &CancellationToken,
    ) -> Result<Dump> {
        let dir = &request.dir;
        self.make_dir_at(dir)?;
        let path = dir.join(ARCHIVE);
        let fail = |source| ServerError::File {
            doing: "create",
            path: path.clone(),
            source,
        };
        let mut options = std::fs::File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(fail)?;
        // Whoever restores it is the database's user.
        let owner = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(&file, Some(owner.0), Some(owner.1)).map_err(|error| fail(error.into()))?;
        let args = vec!["-Fc".into()];
        self.dump_to(request, dir, args, Some(file), progress, cancel)
            .await
    }

    async fn dump_to(
        &self,
        request: &DumpRequest,
        host_dir: &Path,
        form: Vec<OsString>,
        file: Option<std::fs::File>,
        progress: &mut (dyn FnMut(DumpProgress) + Send),
        cancel: &CancellationToken,
    ) -> Result<Dump> {
        let database_size = self.database_size(&request.database).await?;
        let mut snapshot = self.hold_snapshot(&request.database, cancel).await?;
        let rows = snapshot.table_rows(cancel).await?;
        let mut args = self.connect_args();
        args.extend(form);
        args.extend([
            "-Z1".into(),
            format!("--snapshot={}", snapshot.id()).into(),
            // Somebody's lock on a table must not hold the run up for hours. `pg_dump` takes back what a session is told by `PGOPTIONS`.
            "--lock-wait-timeout=60s".into(),
            "-d".into(),
            connection_string(&request.database).into(),
        ]);
        let launch = Launch {
            program: Program::PgDump,
            args,
            stdin: None,
            options: "",
            time: DUMP_TIME,
            max_output: 1 << 20,
        };
        let surroundings = self.gentle_surroundings();
        let mut run = std::pin::pin!(async {
            match file {
                Some(file) => surroundings.run_into(launch, file, cancel).await,
                None => surroundings.run(launch, cancel).await.map(drop),
            }
        });
        loop {
            tokio::select! {
                done = &mut run => {
                    done?;
                    break;
                }
                () = tokio::time::sleep(LOOK) => {
                    progress(DumpProgress { written: size_of(host_dir), database_size });
                }
            }
        }
        progress(DumpProgress {
            written: size_of(host_dir),
            database_size,
        });
        snapshot.release().await;
        Ok(Dump {
            manifest: hash_in_background(host_dir).await?,
            rows,
            database_size,
        })
    }

    /// Has `pg_restore` read the contents of a dump, given in the server's names, and gives the number of its entries.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub async fn check_dump(&self, dir: &Path, cancel: &CancellationToken) -> Result<usize> {
        let launch = Launch {
            program: Program::PgRestore,
            args: vec!["--list".into(), dir.into()],
            stdin: None,
            options: "",
            time: Duration::from_secs(300),
            max_output: 32 << 20,
        };
        let output = self.surroundings().run(launch, cancel).await?;
        let text = String::from_utf8_lossy(&output);
        let entries = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(';'))
            .count();
        if entries == 0 {
            let why = "`pg_restore` finds nothing in it".into();
            return Err(ServerError::DumpDamaged {
                dir: self.root.join(dir),
                why,
            });
        }
        Ok(entries)
    }

    /// Makes the folder and gives it to the database's user, by descriptor.
    pub(super) fn make_dir(&self, dir: &Path) -> Result<PathBuf> {
        let (parent, name) =
            dir.parent()
                .zip(dir.file_name())
                .ok_or_else(|| ServerError::Missing {
                    what: "the dump's folder",
                    why: format!("`{}` names none", dir.display()),
                })?;
        let path = self.root.resolve(parent)?.join(name);
        self.make_dir_at(&path)?;
        Ok(path)
    }

    /// The same for a path as this process sees it.
    fn make_dir_at(&self, path: &Path) -> Result<()> {
        let fail = |source: std::io::Error| ServerError::File {
            doing: "create",
            path: path.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|error| fail(error.into()))?;
        let owner = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(&fd, Some(owner.0), Some(owner.1)).map_err(|error| fail(error.into()))
    }
}

fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}
