//! pmm-managed: owns the database, decides whether it fits, and answers the JSON gateway on 7772.

mod crypt;
mod heard;
mod inventory;
mod migrate;
mod seed;
mod settings;
mod targets;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::http::{self, Request, Response};
use crate::pg::Database;
use crate::product::{Fault, Product};
use crate::run::{Mark, Stop};
use crate::{Result, pg, supervisor};
use heard::Heard;
use inventory::{Inventory, Wording};

const SCHEMA: &str = include_str!("schema2.sql");
/// Left on the volume by the entrypoint of a PMM 2 that is to look used.
const SEED_MARK: &str = "/srv/.standin-seed-inventory";

struct State {
    product: Product,
    fault: Option<Fault>,
    database: Database,
    /// When agents out in the field have found the way back.
    clients_back: Instant,
    heard: Heard,
}

/// Runs until it is stopped.
pub(crate) async fn main() -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let mark = Mark::set("pmm-managed", Path::new("/srv/logs"), &product)?;
    let opened = tokio::select! {
        client = open_and_prepare(&product) => client,
        () = stop.asked() => return mark.clear().await,
    };
    let client = match opened {
        Ok(client) => client,
        Err(error) => {
            // A refusal is a clean end: the mark tells of kills only.
            mark.clear().await?;
            return Err(error);
        }
    };
    settings::apply_environment(&client, product.is_v3()).await?;
    let wait = std::env::var("STANDIN_RECONNECT_MS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(1500);
    let state = Arc::new(State {
        fault: Fault::of_environment(&product),
        product,
        database: Database::new("pmm-managed", client),
        clients_back: Instant::now() + Duration::from_millis(wait),
        heard: Heard::default(),
    });
    tokio::spawn(async {
        if let Err(error) = supervisor::start("pmm-agent").await {
            eprintln!("cannot start pmm-agent: {error}");
        }
    });
    let answering = http::serve(7772, {
        let state = Arc::clone(&state);
        move |request| {
            let state = Arc::clone(&state);
            async move { answer(&state, request).await }
        }
    });
    tokio::select! {
        ended = answering => ended?,
        () = stop.asked() => {}
    }
    mark.clear().await
}

async fn open_and_prepare(product: &Product) -> Result<Client> {
    let mut client = open_database(product).await?;
    prepare(&mut client, product).await?;
    Ok(client)
}

/// The database, made or opened up by the superuser where need be. Releases differ in what they dare (facts/pmm.md 1.6).
async fn open_database(product: &Product) -> Result<Client> {
    let patience = Duration::from_secs(150);
    let own = || pg::connect("pmm-managed", "pmm-managed", "pmm-managed", patience);
    let error = match own().await {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    println!("cannot open the database: {}", pg::sentence(&error));
    let root = if product.is_v3() {
        let password = fs_err::read_to_string("/srv/.postgres_password").unwrap_or_default();
        pg::connect("postgres", password.trim(), "postgres", patience).await
    } else {
        pg::superuser("postgres", patience).await
    };
    let root = root.map_err(|e| format!("as superuser: {}", pg::sentence(&e)))?;
    let present = root
        .query_opt("SELECT 1 FROM pg_roles WHERE rolname = 'pmm-managed'", &[])
        .await?
        .is_some();
    if !present {
        if std::env::var("STANDIN_MD5").is_ok() && !product.is_v3() {
            root.batch_execute("SET password_encryption = 'md5'")
                .await?;
        }
        root.batch_execute(r#"CREATE USER "pmm-managed" LOGIN PASSWORD 'pmm-managed'"#)
            .await?;
    } else if product.at_least(3, 7, 1) && error.code() == Some(&SqlState::INVALID_PASSWORD) {
        root.batch_execute(r#"ALTER USER "pmm-managed" WITH PASSWORD 'pmm-managed'"#)
            .await?;
    }
    let present = root
        .query_opt(
            "SELECT 1 FROM pg_database WHERE datname = 'pmm-managed'",
            &[],
        )
        .await?
        .is_some();
    if !present {
        root.batch_execute(r#"CREATE DATABASE "pmm-managed" OWNER "pmm-managed""#)
            .await?;
    }
    own().await.map_err(|e| pg::sentence(&e).into())
}

/// Brings the schema to this version's, or says why that cannot be.
async fn prepare(client: &mut Client, product: &Product) -> Result<()> {
    let last = migrate::last_of(product);
    match migrate::current(client).await? {
        Some(id) if id > last => {
            return Err(format!(
                "database schema version {id} is newer than {last}: unknown migration id {id}"
            )
            .into());
        }
        Some(id) => migrate::run(client, id, last).await?,
        None => {
            client
                .batch_execute(&format!("BEGIN; {SCHEMA} COMMIT;"))
                .await?;
            let seeded = !product.is_v3() && Path::new(SEED_MARK).exists();
            let [nodes, services] = if seeded {
                crate::files::sizes().inventory
            } else {
                [1, 0]
            };
            let version = product.to_string();
            seed::inventory(client, !product.is_v3(), &version, nodes, services).await?;
            if seeded {
                seed::extras(client).await?;
                fs_err::remove_file(SEED_MARK)?;
            }
            migrate::run(client, migrate::LAST_V2, last).await?;
        }
    }
    if last >= 110 {
        crypt::agents(client, &crypt::key()?).await?;
    }
    Ok(())
}

impl State {
    async fn inventory(&self) -> Result<Inventory> {
        let mut all = Inventory::read(&*self.database.client().await?).await?;
        self.heard.add_to(&mut all);
        Ok(match self.fault {
            Some(Fault::Empty) => all.only_server(),
            Some(Fault::Half) => all.half(),
            _ => all,
        })
    }

    fn wording(&self) -> Wording {
        Wording {
            v3: self.product.is_v3(),
            clients_back: Instant::now() >= self.clients_back,
        }
    }

    /// What the ready page looks at: some of the programs, none of the data.
    async fn ready(&self) -> bool {
        if self.fault == Some(Fault::Maintenance) {
            return false;
        }
        let common = http::healthy(3000, "/api/health").await
            && http::healthy(9090, "/health").await
            && http::healthy(8880, "/health").await;
        let own = match self.product.is_v3() {
            false => http::healthy(9093, "/alertmanager/-/ready").await,
            true => !self.product.at_least(3, 8, 0) || http::healthy(9922, "/health").await,
        };
        common && own
    }

    fn version(&self) -> Value {
        let version = self.product.to_string();
        let detail = json!({ "version": version, "full_version": format!("{version}-1"), "timestamp": "2026-06-16T10:00:00Z" });
        let method = if self.product.is_v3() {
            "DISTRIBUTION_METHOD_DOCKER"
        } else {
            "DOCKER"
        };
        json!({ "version": version, "server": detail, "managed": detail, "distribution_method": method })
    }
}

async fn answer(state: &State, request: Request) -> Response {
    match routes(state, &request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("{} {}: {error}", request.method, request.path);
            Response::grpc(500, 13, &error.to_string())
        }
    }
}

async fn routes(state: &State, request: &Request) -> Result<Response> {
    let v3 = state.product.is_v3();
    let say = state.wording();
    let version = state.product.to_string();
    let route = (v3, request.method.as_str(), request.path.as_str());
    Ok(Response::ok(&match route {
        (false, "GET", "/v1/readyz") | (true, "GET", "/v1/server/readyz") => {
            if !state.ready().await {
                return Ok(Response::grpc(500, 13, "PMM Server is not ready yet."));
            }
            json!({})
        }
        (false, "GET", "/v1/leaderHealthCheck") | (true, "GET", "/v1/server/leaderHealthCheck") => {
            json!({})
        }
        (false, "GET", "/v1/version") | (true, "GET", "/v1/server/version") => state.version(),
        (false, "POST", "/v1/inventory/Nodes/List") | (true, "GET", "/v1/inventory/nodes") => {
            say.nodes(&state.inventory().await?)
        }
        (false, "POST", "/v1/inventory/Services/List")
        | (true, "GET", "/v1/inventory/services") => say.services(&state.inventory().await?),
        (false, "POST", "/v1/inventory/Agents/List") | (true, "GET", "/v1/inventory/agents") => {
            say.agents(&state.inventory().await?)
        }
        (false, "POST", "/v1/management/Node/List") | (true, "GET", "/v1/management/nodes") => {
            say.managed_nodes(&state.inventory().await?)
        }
        (false, "POST", "/v1/management/Service/List")
        | (true, "GET", "/v1/management/services") => {
            say.managed_services(&state.inventory().await?)
        }
        (false, "POST", "/v1/management/Agent/List") | (true, "GET", "/v1/management/agents") => {
            say.managed_agents(&state.inventory().await?)
        }
        (true, "GET", "/v1/management/agents/versions") => {
            say.versions(&state.inventory().await?, &version)
        }
        (false, "POST", "/v1/Settings/Get") | (true, "GET", "/v1/server/settings") => {
            settings::show(&*state.database.client().await?, v3).await?
        }
        (false, "POST", "/v1/management/backup/Backups/ListScheduled")
        | (true, "GET", "/v1/backups/scheduled") => {
            let tasks = pg::rows(
                &*state.database.client().await?,
                "SELECT * FROM scheduled_tasks",
            )
            .await?;
            json!({ "scheduled_backups": tasks.iter().map(|t| json!({
                "scheduled_backup_id": t["id"], "service_id": t["data"]["mysql_backup"]["service_id"],
                "location_id": t["data"]["mysql_backup"]["location_id"], "cron_expression": t["cron_expression"],
                "enabled": t["disabled"] == json!(false),
            })).collect::<Vec<_>>() })
        }
        (false, "POST", "/v1/management/alerting/Templates/List")
        | (true, "GET", "/v1/alerting/templates") => {
            let table = if v3 {
                "alert_rule_templates"
            } else {
                "ia_templates"
            };
            let query = format!("SELECT name, summary, source, yaml FROM {table} ORDER BY name");
            json!({ "templates": pg::rows(&*state.database.client().await?, &query).await? })
        }
        (false, "POST", "/v1/management/Role/List") | (true, "GET", "/v1/accesscontrol/roles") => {
            let query = "SELECT id AS role_id, title, description, filter FROM roles ORDER BY id";
            json!({ "roles": pg::rows(&*state.database.client().await?, query).await? })
        }
        // From the doubles of clients on other hosts.
        (_, "POST", "/v1/standin/agent") => {
            state.heard.note(&request.json());
            json!({})
        }
        // Between the programs of the double only.
        (_, "GET", "/standin/targets") => match state.fault {
            Some(Fault::NoUp) => json!([]),
            _ => json!(targets::series(
                &state.inventory().await?,
                say,
                &state.product
            )),
        },
        (_, _, "/auth_request") => return authorise(state, request).await,
        (_, method, path) => {
            return Ok(Response::grpc(
                404,
                5,
                &format!("Endpoint not found: {method} {path}"),
            ));
        }
    }))
}

/// nginx asks here before it lets anybody in; who somebody is, Grafana knows.
async fn authorise(state: &State, request: &Request) -> Result<Response> {
    let uri = request.header("x-original-uri").unwrap_or("");
    let path = uri.split('?').next().unwrap_or("");
    let viewer = path.ends_with("/version")
        || path.contains("/qan/")
        || path.contains("/updates")
        || path.starts_with("/v1/Updates")
        || path.ends_with("/settings/readonly");
    let Some(credentials) = request.header("authorization") else {
        return Ok(Response::grpc(401, 16, "Unauthorized"));
    };
    let (status, body) = http::call(
        "GET",
        3000,
        "/standin/whoami",
        &[("authorization", credentials)],
        "",
    )
    .await?;
    if status != 200 {
        return Ok(Response::grpc(401, 16, "Unauthorized"));
    }
    let who: Value = serde_json::from_slice(&body)?;
    // API keys that were not turned into service accounts are no longer looked at from 3.2 on (facts/pmm.md 4.2).
    if who["kind"] == "api-key" && state.product.at_least(3, 2, 0) {
        return Ok(Response::grpc(
            401,
            16,
            "Auth method is not service account token",
        ));
    }
    Ok(match (who["role"].as_str(), viewer) {
        (Some("Admin"), _) | (Some(_), true) => Response::ok(&json!({})),
        _ => Response::grpc(403, 7, "Access denied."),
    })
}
