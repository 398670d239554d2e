//! Questions to the database.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::programs::{Launch, Program, Surroundings};
use super::super::{Result, ServerError};
use super::{Postgres, SUPERUSER};

/// Rows of columns; `None` is SQL's NULL.
pub type Rows = Vec<Row>;
/// One of them.
pub(super) type Row = Vec<Option<String>>;

/// What `psql` writes for NULL, which no text of PMM's holds.
const NULL: &str = "\u{1}";
/// How long a question may take: exact counts of large tables take their time.
pub(super) const QUERY_TIME: Duration = Duration::from_secs(300);
/// How much an answer may hold, in bytes.
pub(super) const MAX_ROWS: usize = 32 << 20;
/// Nothing that only asks can change anything.
const READ_ONLY: &str = "-c default_transaction_read_only=on -c lock_timeout=30s";

impl Postgres {
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings {
            root: self.root.clone(),
            bin_dir: self.bin_dir.clone(),
            uid: self.uid,
            gid: self.gid,
            gentle: false,
        }
    }

    /// For work beside a serving server, which can wait.
    pub(super) fn gentle_surroundings(&self) -> Surroundings {
        Surroundings {
            gentle: true,
            ..self.surroundings()
        }
    }

    /// Where to connect and as whom, as arguments that all of PostgreSQL's clients take.
    pub(super) fn connect_args(&self) -> Vec<std::ffi::OsString> {
        vec![
            "-h".into(),
            self.socket_dir.clone().into(),
            "-p".into(),
            self.port.to_string().into(),
            "-U".into(),
            SUPERUSER.into(),
            "-w".into(),
        ]
    }

    /// Asks one or more questions in a read-only session and gives all their rows.
    ///
    /// # Errors
    /// The SQL holds a backslash (which `psql` would not take for SQL), or the database refuses it.
    pub async fn query(&self, database: &str, sql: &str) -> Result<Rows> {
        self.psql(database, sql, READ_ONLY).await
    }

    /// The same in a session that may write.
    pub(super) async fn execute(&self, database: &str, sql: &str) -> Result<Rows> {
        self.psql(database, sql, "-c lock_timeout=30s").await
    }

    async fn psql(&self, database: &str, sql: &str, options: &'static str) -> Result<Rows> {
        if sql.contains('\\') {
            return Err(ServerError::UnsafeSql {
                what: "a backslash",
            });
        }
        // Not as an argument: other users could read it there.
        let stdin = format!("{sql}\n;\n").into_bytes();
        let launch = self.ask_with_psql(database, options, Some(stdin));
        let output = self
            .surroundings()
            .run(launch, &CancellationToken::new())
            .await?;
        Ok(parse_csv(&String::from_utf8_lossy(&output)))
    }

    /// How `psql` is started so that its answers can be read by [`parse_csv`].
    pub(super) fn ask_with_psql(
        &self,
        database: &str,
        options: &'static str,
        stdin: Option<Vec<u8>>,
    ) -> Launch {
        let mut args = self.connect_args();
        for arg in ["-X", "-q", "-t", "--csv", "-v", "ON_ERROR_STOP=1", "-P"] {
            args.push(arg.into());
        }
        args.push(format!("null={NULL}").into());
        args.push("-d".into());
        args.push(connection_string(database).into());
        Launch {
            program: Program::Psql,
            args,
            stdin,
            options,
            time: QUERY_TIME,
            max_output: MAX_ROWS,
        }
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_one(&self, database: &str, sql: &str) -> Result<Option<String>> {
        Ok(self
            .query(database, sql)
            .await?
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next()?))
    }

    /// Whether a database has this table in its public schema.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn has_table(&self, database: &str, table: &'static str) -> Result<bool> {
        let sql = format!("SELECT to_regclass('public.{table}')");
        Ok(self.query_one(database, &sql).await?.is_some())
    }

    /// The databases that can be connected to and are no templates, sorted.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn databases(&self) -> Result<Vec<String>> {
        let sql =
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
        let rows = self.query("postgres", sql).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().next()?)
            .collect())
    }

    /// The size of a database on disk, in bytes.
    ///
    /// # Errors
    /// As [`Self::query`]; there is no such database.
    pub async fn database_size(&self, database: &str) -> Result<u64> {
        let sql = format!("SELECT pg_database_size({})", literal(database)?);
        let size = self.query_one("postgres", &sql).await?;
        size.and_then(|size| size.parse().ok())
            .ok_or_else(|| ServerError::Missing {
                what: "the size of the database",
                why: format!("`{database}` gave none"),
            })
    }

    /// The highest applied migration of `pmm-managed`; `None` where there was none (`facts/pmm.md` 1.5).
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn schema_version(&self) -> Result<Option<u64>> {
        let max = self
            .query_one("pmm-managed", "SELECT max(id) FROM schema_migrations")
            .await?;
        Ok(max.and_then(|max| max.parse().ok()))
    }

    /// The exact number of rows of every ordinary table, by `schema.table`, or `table` in `public`. All counts come
    /// from one snapshot.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn table_rows(&self, database: &str) -> Result<BTreeMap<String, u64>> {
        let tables = self.query(database, TABLES).await?;
        match count_sql(&tables)? {
            Some(sql) => Ok(counts(self.query(database, &sql).await?)),
            None => Ok(BTreeMap::new()),
        }
    }
}

/// The ordinary tables, without those of extensions: these are made, and in part filled, by the extension itself.
pub(super) const TABLES: &str = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
     AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
     AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1, 2";

/// One question for the rows of all these tables; `None` where there is none.
pub(super) fn count_sql(tables: &[Row]) -> Result<Option<String>> {
    let mut sql = String::new();
    for row in tables {
        let [Some(schema), Some(table)] = row.as_slice() else {
            continue;
        };
        let name = name_of(row);
        let union = if sql.is_empty() { "" } else { " UNION ALL " };
        let (label, schema, table) = (literal(&name)?, identifier(schema), identifier(table));
        // Writing to a String cannot fail.
        let _ = write!(sql, "{union}SELECT {label}, count(*) FROM {schema}.{table}");
    }
    Ok((!sql.is_empty()).then_some(sql))
}

/// What a table of [`TABLES`] is called: with its schema where that is not `public`.
pub(super) fn name_of(table: &Row) -> String {
    match table.as_slice() {
        [Some(schema), Some(table)] if schema != "public" => format!("{schema}.{table}"),
        [_, Some(table)] => table.clone(),
        _ => String::new(),
    }
}

/// The answer to [`count_sql`].
pub(super) fn counts(rows: Rows) -> BTreeMap<String, u64> {
    rows.into_iter()
        .filter_map(|row| match row.as_slice() {
            [Some(name), Some(count)] => Some((name.clone(), count.parse().ok()?)),
            _ => None,
        })
        .collect()
}

/// Names a database in a way that no name can be taken for a connection string.
pub(super) fn connection_string(database: &str) -> String {
    let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("dbname='{quoted}'")
}

/// Text as an SQL literal.
///
/// # Errors
/// It holds a NUL or a backslash.
pub fn literal(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(ServerError::UnsafeSql { what: "a NUL" });
    }
    if text.contains('\\') {
        return Err(ServerError::UnsafeSql {
            what: "a backslash",
        });
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// A name as an SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads what `psql --csv -t` writes. An empty line is a row with one empty column.
pub(super) fn parse_csv(text: &str) -> Rows {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        let mut field = String::new();
        let mut quoted = false;
        if letters.next_if_eq(&'"').is_some() {
            quoted = true;
            while let Some(letter) = letters.next() {
                if letter != '"' || letters.next_if_eq(&'"').is_some() {
                    field.push(letter);
                } else {
                    break;
                }
            }
        }
        while let Some(letter) = letters.next_if(|letter| !matches!(letter, ',' | '\n')) {
            field.push(letter);
        }
        row.push(if !quoted && field == NULL {
            None
        } else {
            Some(field)
        });
        let ends_row = letters.next() != Some(',');
        if ends_row {
            rows.push(std::mem::take(&mut row));
        } else if letters.peek().is_none_or(|letter| *letter == '\n') {
            // A comma at the end of a row: one more, empty column.
            row.push(Some(String::new()));
            letters.next();
            rows.push(std::mem::take(&mut row));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(literal("o'neil").unwrap(), "'o''neil'");
        assert_eq!(literal("a\\b").unwrap_err().code(), "sql-unsafe");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(connection_string("a' host='x"), "dbname='a\\' host=\\'x'");
    }

    /// Quotes a field the way `psql` does.
    fn write_field(field: Option<&str>) -> String {
        match field {
            None => NULL.into(),
            Some(text) if text.contains([',', '"', '\n', '\r']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Some(text) => text.into(),
        }
    }

    proptest! {
        #[test]
        fn csv_comes_back(rows in prop::collection::vec(
            prop::collection::vec(prop::option::of("[a-z,\"\n\r ä]{0,6}"), 1..4), 0..4))
        {
            let mut text = String::new();
            for row in &rows {
                let fields: Vec<String> = row.iter().map(|f| write_field(f.as_deref())).collect();
                text.push_str(&fields.join(","));
                text.push('\n');
            }
            prop_assert_eq!(parse_csv(&text), rows);
        }

        #[test]
        fn no_text_panics(text in "(?s).{0,100}") {
            let _ = parse_csv(&text);
        }
    }
}
