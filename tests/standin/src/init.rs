//! What runs first under either supervisord: `pmm-update-perform-init` in PMM 2, `pmm-init` in PMM 3.
//!
//! On a volume of an older version it puts the maintenance page up, stamps the volume with the new version *before* anything has
//! been proven, waits a while for the server, and takes the page down whether it came or not (facts/pmm.md 1.5).

use std::time::Duration;

use crate::product::{Fault, Product};
use crate::{Result, http, pg};

const PAGE: &str = "/usr/share/pmm-server/maintenance/maintenance.html";
const STAMP: &str = "/srv/grafana/PERCONA_DASHBOARDS_VERSION";

/// Runs once.
pub(crate) async fn main() -> Result<()> {
    let product = Product::of_image()?;
    let found = fs_err::read_to_string(STAMP)
        .ok()
        .as_deref()
        .and_then(Product::parse);
    let stuck = Fault::of_environment(&product) == Some(Fault::Maintenance);
    let older = found.is_none_or(|v| v < product);
    println!("image {product}, volume older: {older}");
    if older || stuck {
        fs_err::write(
            PAGE,
            "<html><body><h1>PMM is being upgraded</h1></body></html>\n",
        )?;
    } else if std::path::Path::new(PAGE).exists() {
        // A container that was stopped in the middle left the page in its own layer.
        fs_err::remove_file(PAGE)?;
    }
    grafana_role().await?;
    if older {
        fs_err::write(STAMP, format!("{product}\n"))?;
    }
    if stuck {
        std::future::pending::<()>().await;
    }
    if older {
        let ready = if product.is_v3() {
            "/v1/server/readyz"
        } else {
            "/v1/readyz"
        };
        for _ in 0..100 {
            if http::healthy(7772, ready).await {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        fs_err::remove_file(PAGE)?;
    }
    Ok(())
}

/// Makes Grafana's role and database where there is none; a role that is there keeps whatever password it has.
async fn grafana_role() -> Result<()> {
    let root = pg::superuser("postgres", Duration::from_secs(150))
        .await
        .map_err(|e| pg::sentence(&e))?;
    if root
        .query_opt("SELECT 1 FROM pg_roles WHERE rolname = 'grafana'", &[])
        .await?
        .is_none()
    {
        if std::env::var("STANDIN_MD5").is_ok() && !Product::of_image()?.is_v3() {
            root.batch_execute("SET password_encryption = 'md5'")
                .await?;
        }
        root.batch_execute("CREATE USER grafana LOGIN PASSWORD 'grafana'")
            .await?;
    }
    if root
        .query_opt("SELECT 1 FROM pg_database WHERE datname = 'grafana'", &[])
        .await?
        .is_none()
    {
        root.batch_execute("CREATE DATABASE grafana OWNER grafana")
            .await?;
    }
    Ok(())
}
