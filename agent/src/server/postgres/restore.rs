//! Putting a dump in the place of a database.
//!
//! Why by renaming: the dump is restored into a database of another name first, and only a complete one takes the place
//! of the old, which is kept under a third name. A restore that fails, or is repeated, or is undone, loses nothing.
//!
//! ```text
//!  restore:  dump ─► x_ferry_new      x ─► x_ferry_old      x_ferry_new ─► x
//!  undo:     x dropped, x_ferry_old ─► x
//! ```

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program};
use super::super::{Result, ServerError};
use super::Postgres;
use super::query::{connection_string, identifier};

/// How long a restore may take.
const RESTORE_TIME: Duration = Duration::from_secs(6 * 3600);

/// What to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The database whose place is taken. Nobody may be connected to it at the end.
    pub database: String,
    /// The role that owns it. It and all other owners in the dump must exist.
    pub owner: String,
    /// The dump's folder, in the server's names.
    pub dir: PathBuf,
    /// How many tables are restored at once.
    pub jobs: NonZeroU8,
}

impl Postgres {
    /// Restores a dump, and keeps the database that was there for [`Self::undo_restore`]. Safe to repeat: what is kept
    /// is always what was there before the first time.
    ///
    /// # Errors
    /// The dump cannot be read or does not restore without any error, somebody is connected, or `cancel` fired; unless
    /// the renaming itself was interrupted, the database is untouched then.
    pub async fn restore(
        &self,
        request: &RestoreRequest,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.check_dump(&request.dir, cancel).await?;
        let database = &request.database;
        let (new, old) = (new_name(database), old_name(database));
        self.drop_database(&new).await?;
        let (new_id, owner) = (identifier(&new), identifier(&request.owner));
        let sql = format!("CREATE DATABASE {new_id} OWNER {owner} TEMPLATE template0");
        self.execute("postgres", &sql).await?;
        let mut args = self.connect_args();
        args.extend([
            "--exit-on-error".into(),
            "-j".into(),
            request.jobs.to_string().into(),
        ]);
        args.extend([
            "-d".into(),
            connection_string(&new).into(),
            request.dir.clone().into(),
        ]);
        let launch = Launch {
            program: Program::PgRestore,
            args,
            stdin: None,
            options: "",
            time: RESTORE_TIME,
            max_output: 4 << 20,
        };
        self.surroundings().run(launch, cancel).await?;
        let there = self.databases().await?;
        if there.contains(&old) {
            // An earlier try came this far: what is in place now is a restored one.
            self.drop_database(database).await?;
        } else if there.contains(database) {
            self.rename_database(database, &old).await?;
        }
        self.rename_database(&new, database).await
    }

    /// Puts the database that was there before [`Self::restore`] back. Does nothing where none was kept.
    ///
    /// # Errors
    /// Somebody is connected, or the database refuses.
    pub async fn undo_restore(&self, database: &str) -> Result<()> {
        self.drop_database(&new_name(database)).await?;
        let old = old_name(database);
        if !self.databases().await?.contains(&old) {
            return Ok(());
        }
        self.drop_database(database).await?;
        self.rename_database(&old, database).await
    }

    /// Drops the database that [`Self::restore`] kept. After that a restore cannot be undone.
    ///
    /// # Errors
    /// The database in place is missing, or the kept one cannot be dropped.
    pub async fn forget_restored(&self, database: &str) -> Result<()> {
        if !self
            .databases()
            .await?
            .iter()
            .any(|there| there == database)
        {
            return Err(ServerError::Missing {
                what: "the restored database",
                why: format!("`{database}` does not exist, so what was kept of it stays"),
            });
        }
        self.drop_database(&old_name(database)).await
    }

    async fn drop_database(&self, database: &str) -> Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS {}", identifier(database));
        self.execute("postgres", &sql).await.map(drop)
    }

    async fn rename_database(&self, from: &str, to: &str) -> Result<()> {
        let sql = format!(
            "ALTER DATABASE {} RENAME TO {}",
            identifier(from),
            identifier(to)
        );
        self.execute("postgres", &sql).await.map(drop)
    }
}

fn new_name(database: &str) -> String {
    format!("{database}_ferry_new")
}

fn old_name(database: &str) -> String {
    format!("{database}_ferry_old")
}
