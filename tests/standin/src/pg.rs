//! Connections to the real PostgreSQL: patient while it starts, immediate about a refusal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use crate::Result;

/// Connects over TCP as the programs do. While the server cannot be reached or is starting, tries again for `patience`.
pub(crate) async fn connect(
    user: &str,
    password: &str,
    database: &str,
    patience: Duration,
) -> std::result::Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(5432)
        .user(user)
        .password(password)
        .dbname(database);
    open(&config, patience).await
}

/// A program's own database, opened again when PostgreSQL was restarted below it.
pub(crate) struct Database {
    /// Role, password and database have one name in PMM.
    name: &'static str,
    client: Mutex<Arc<Client>>,
}

impl Database {
    pub(crate) fn new(name: &'static str, client: Client) -> Self {
        Self {
            name,
            client: Mutex::new(Arc::new(client)),
        }
    }

    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            let again = connect(self.name, self.name, self.name, Duration::from_secs(2)).await;
            *client = Arc::new(again.map_err(|e| sentence(&e))?);
        }
        Ok(Arc::clone(&client))
    }
}

/// Connects as the superuser over the local socket, which PMM leaves trusted.
pub(crate) async fn superuser(
    database: &str,
    patience: Duration,
) -> std::result::Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host_path("/run/postgresql")
        .user("postgres")
        .dbname(database);
    open(&config, patience).await
}

async fn open(
    config: &Config,
    patience: Duration,
) -> std::result::Result<Client, tokio_postgres::Error> {
    let deadline = Instant::now() + patience;
    loop {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) => {
                let starting = error
                    .code()
                    .is_none_or(|code| *code == SqlState::CANNOT_CONNECT_NOW);
                if !starting || Instant::now() > deadline {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// All rows of a query, each as a JSON object: columns moved between the majors, and JSON does not mind.
pub(crate) async fn rows(client: &Client, query: &str) -> Result<Vec<Value>> {
    let query = format!("SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')::text FROM ({query}) t");
    let text: String = client.query_one(&query, &[]).await?.get(0);
    Ok(serde_json::from_str(&text)?)
}

/// Inserts objects into the table whose columns they name; columns that are not named stay empty.
pub(crate) async fn insert(client: &Client, table: &str, rows: &[Value]) -> Result<()> {
    let text = Value::from(rows.to_vec()).to_string();
    let statement = format!(
        "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(null::{table}, $1::text::jsonb)"
    );
    client.execute(&statement, &[&text]).await?;
    Ok(())
}

/// The whole sentence of a database error; its `Display` alone says only "db error".
pub(crate) fn sentence(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} (SQLSTATE {})", db.message(), db.code().code()),
    )
}
