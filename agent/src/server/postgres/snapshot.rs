//! What a database holds at one moment, while it goes on changing.
//!
//! Why: a dump can be compared row by row with its source only where both were taken from the same snapshot. So a
//! session takes one, counts in it, and holds it open for the dump.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::super::programs::Talk;
use super::super::{Result, ServerError};
use super::Postgres;
use super::query::{Rows, TABLES, count_sql, counts, name_of, parse_csv};

/// A session that only looks, and is idle for as long as a dump takes.
const OPTIONS: &str = "-c default_transaction_read_only=on -c lock_timeout=30s -c statement_timeout=0 \
     -c idle_in_transaction_session_timeout=0";
/// What `psql` is told to say behind each answer.
const END: &str = "ferry: end of answer";

/// A snapshot of one database, held by an open session.
pub(super) struct Snapshot {
    talk: Talk,
    id: String,
    database: String,
}

impl Postgres {
    /// Takes a snapshot and holds it until it is released or dropped.
    ///
    /// # Errors
    /// The database refuses, or `cancel` fired.
    pub(super) async fn hold_snapshot(
        &self,
        database: &str,
        cancel: &CancellationToken,
    ) -> Result<Snapshot> {
        let launch = self.ask_with_psql(database, OPTIONS, None);
        let mut snapshot = Snapshot {
            talk: self.gentle_surroundings().talk(&launch)?,
            id: String::new(),
            database: database.to_owned(),
        };
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()";
        let id = snapshot.ask(begin, cancel).await?;
        snapshot.id =
            id.into_iter()
                .flatten()
                .flatten()
                .next()
                .ok_or_else(|| ServerError::Missing {
                    what: "a snapshot of the database",
                    why: format!("`{database}` gave none"),
                })?;
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Its name, for `pg_dump --snapshot`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The rows of every ordinary table in it, as [`Postgres::table_rows`] names them.
    ///
    /// # Errors
    /// The database refuses, or `cancel` fired.
    pub(super) async fn table_rows(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, u64>> {
        let (mut rows, database) = (BTreeMap::new(), self.database.clone());
        // One by one: of a table that cannot be read the database tells a number only.
        for table in self.ask(TABLES, cancel).await? {
            let Some(sql) = count_sql(std::slice::from_ref(&table))? else {
                continue;
            };
            let named = |source| match source {
                ServerError::Cancelled { .. } => source,
                _ => ServerError::Table {
                    database: database.clone(),
                    table: name_of(&table),
                    source: Box::new(source),
                },
            };
            rows.extend(counts(self.ask(&sql, cancel).await.map_err(named)?));
        }
        Ok(rows)
    }

    /// Ends the session. The database would do the same when it is dropped.
    pub(super) async fn release(self) {
        self.talk.finish().await;
    }

    async fn ask(&mut self, sql: &str, cancel: &CancellationToken) -> Result<Rows> {
        let text = format!("{sql}\n;\n\\echo {END}\n");
        Ok(parse_csv(&self.talk.ask(&text, END, cancel).await?))
    }
}
