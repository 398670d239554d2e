//! Grafana: users, keys and service accounts, by release (facts/pmm.md 4). It alone knows who somebody is.

mod keys;
mod who;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;

use crate::http::{self, Request, Response};
use crate::pg::Database;
use crate::product::Product;
use crate::run::{Mark, Stop, open_all};
use crate::{Result, pg};
use who::Kind;

const SCHEMA: &str = include_str!("schema9.sql");
const SEED: &str = include_str!("seed.sql");

/// What a Grafana can do, by the PMM it came with (facts/pmm.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Release {
    /// PMM 2: keys are keys; turning them into service accounts answers with a sentence only.
    V9,
    /// 3.0 and 3.1: nothing happens by itself.
    V11_1,
    /// 3.2 to 3.7: keys are turned at the start.
    V11_6,
    /// From 3.8: the same, and the old addresses are gone.
    V12_4,
}

impl Release {
    fn of(product: &Product) -> Self {
        match product {
            p if !p.is_v3() => Self::V9,
            p if !p.at_least(3, 2, 0) => Self::V11_1,
            p if !p.at_least(3, 8, 0) => Self::V11_6,
            _ => Self::V12_4,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::V9 => "9.2.20",
            Self::V11_1 => "11.1.8",
            Self::V11_6 => "11.6.3",
            Self::V12_4 => "12.4.0",
        }
    }
}

struct State {
    release: Release,
    database: Database,
}

/// Runs until it is stopped.
pub(crate) async fn main() -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let release = Release::of(&product);
    open_all(Path::new("/srv/grafana"))?;
    let mark = Mark::set("grafana", Path::new("/srv/grafana"), &product)?;
    let opened = tokio::select! {
        opened = open(release, !product.is_v3() && fs_err::metadata("/opt/.seeded").is_ok()) => opened,
        () = stop.asked() => return mark.clear().await,
    };
    let client = match opened {
        Ok(client) => client,
        Err(error) => {
            mark.clear().await?;
            return Err(error);
        }
    };
    let state = Arc::new(State {
        release,
        database: Database::new("grafana", client),
    });
    let answering = http::serve(3000, move |request| {
        let state = Arc::clone(&state);
        async move {
            routes(&state, &request).await.unwrap_or_else(|error| {
                eprintln!("{} {}: {error}", request.method, request.path);
                message(500, &error.to_string())
            })
        }
    });
    tokio::select! {
        ended = answering => ended?,
        () = stop.asked() => {}
    }
    mark.clear().await
}

/// Connects, and brings the tables to this release. A role that is refused is not healed by anybody (facts/pmm.md 1.6).
async fn open(release: Release, seed: bool) -> Result<Client> {
    let mut tries = 0;
    let client = loop {
        match pg::connect("grafana", "grafana", "grafana", Duration::from_secs(30)).await {
            Ok(client) => break client,
            // The role and the database may just be in the making.
            Err(_) if tries < 15 => tries += 1,
            Err(e) => {
                return Err(format!("failed to connect to database: {}", pg::sentence(&e)).into());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let present = client
        .query_one("SELECT to_regclass('migration_log') IS NOT NULL", &[])
        .await?;
    if !present.get::<_, bool>(0) {
        client.batch_execute(&format!("BEGIN; {SCHEMA}")).await?;
        let password =
            std::env::var("GF_SECURITY_ADMIN_PASSWORD").unwrap_or_else(|_| "admin".to_owned());
        let hash = who::hash(&format!("salt{password}"));
        client
            .execute(
                "INSERT INTO \"user\" (login, email, name, password, salt, org_id, is_admin) \
                 VALUES ('admin', 'admin@localhost', 'admin', $1, 'salt', 1, true)",
                &[&hash],
            )
            .await?;
        client
            .batch_execute("INSERT INTO org_user (org_id, user_id, role) VALUES (1, 1, 'Admin')")
            .await?;
        if seed {
            client.batch_execute(SEED).await?;
            for (org, name, role, expires) in [
                (1_i64, "pmm-client", "Admin", None),
                (1, "dashboards", "Viewer", None),
                (1, "ci", "Editor", None),
                (1, "expired", "Admin", Some(1_600_000_000_i64)),
                (2, "second", "Admin", None),
            ] {
                keys::insert(
                    &client,
                    org,
                    name,
                    role,
                    &format!("seed-{name}"),
                    expires,
                    None,
                )
                .await?;
            }
        }
        client.batch_execute("COMMIT").await?;
    }
    if release >= Release::V11_1 {
        // One way: an older Grafana never finds these again as it left them.
        client
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS resource_migration_log (id SERIAL PRIMARY KEY, migration_id VARCHAR(255));\
                 ALTER TABLE \"user\" ADD COLUMN IF NOT EXISTS uid VARCHAR(40);\
                 ALTER TABLE dashboard ADD COLUMN IF NOT EXISTS folder_uid VARCHAR(40);",
            )
            .await?;
        let entry = format!("v{} complete", release.version());
        client
            .execute(
                "INSERT INTO migration_log (migration_id, sql, success, error, \"timestamp\") \
                 SELECT $1::varchar, '', true, '', now() WHERE NOT EXISTS (SELECT 1 FROM migration_log WHERE migration_id = $1)",
                &[&entry],
            )
            .await?;
    }
    if release >= Release::V11_6 {
        let outcome = keys::migrate(&client, release, None).await?;
        println!("API keys turned into service accounts: {outcome:?}");
    }
    Ok(client)
}

fn message(status: u16, text: &str) -> Response {
    Response::json(status, &json!({ "message": text }))
}

async fn routes(state: &State, request: &Request) -> Result<Response> {
    let path = request.path.strip_prefix("/graph").unwrap_or(&request.path);
    let method = request.method.as_str();
    if path == "/api/health" {
        return Ok(Response::ok(
            &json!({ "commit": "standin", "database": "ok", "version": state.release.version() }),
        ));
    }
    let client = state.database.client().await?;
    let Some(who) = who::ask(&client, request).await? else {
        return Ok(message(401, "Invalid username or password"));
    };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["standin", "whoami"]) => {
            return Ok(Response::ok(
                &json!({ "role": who.role, "kind": who.kind.name() }),
            ));
        }
        ("GET", ["api", "auth", "serviceaccount"]) => {
            return Ok(if who.kind == Kind::ServiceAccount {
                Response::ok(&json!({ "orgId": who.org, "role": who.role }))
            } else {
                message(400, "Auth method is not service account token")
            });
        }
        ("GET", ["api", "org"]) => {
            return Ok(Response::ok(&json!({ "id": who.org })));
        }
        ("GET", ["api", "user"]) => {
            return Ok(Response::ok(
                &json!({ "login": who.login, "orgId": who.org }),
            ));
        }
        ("GET", ["api", "search"]) => {
            let query = format!(
                "SELECT id, uid, title, slug AS uri, 'dash-db' AS type FROM dashboard WHERE org_id = {} ORDER BY title",
                who.org
            );
            return Ok(Response::ok(&json!(pg::rows(&client, &query).await?)));
        }
        _ => {}
    }
    if who.role != "Admin" {
        return Ok(message(403, "Permission denied"));
    }
    match (method, parts.as_slice()) {
        ("GET", ["api", "orgs"]) => Ok(Response::ok(&json!(
            pg::rows(&client, "SELECT id, name FROM org ORDER BY id").await?
        ))),
        ("GET", ["api", "datasources"]) => {
            let query = format!(
                "SELECT id, uid, name, type, url FROM data_source WHERE org_id = {} ORDER BY id",
                who.org
            );
            Ok(Response::ok(&json!(pg::rows(&client, &query).await?)))
        }
        _ => keys::routes(&client, state.release, &who, request, method, &parts).await,
    }
}
