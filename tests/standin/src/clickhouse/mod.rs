//! ClickHouse: query analytics' rows on 8123, and the refusal to touch data that belong to somebody else.

mod sql;
mod store;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::Result;
use crate::http::{self, Request, Response};
use crate::product::Product;
use crate::run::{Mark, Stop, open_all};
use store::Store;

/// Runs until it is stopped.
pub(crate) async fn main() -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let folder = Path::new("/srv/clickhouse");
    own_data_only(folder)?;
    open_all(folder)?;
    let mark = Mark::set("clickhouse", folder, &product)?;
    let store = Arc::new(Mutex::new(Store::open(folder)?));
    let answering = http::serve(8123, {
        let store = Arc::clone(&store);
        move |request| {
            let store = Arc::clone(&store);
            async move { routes(&mut *store.lock().await, &request) }
        }
    });
    let flushing = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            store.lock().await.flush()?;
        }
    };
    let ended: Result<()> = tokio::select! {
        ended = answering => ended,
        ended = flushing => ended,
        () = stop.asked() => Ok(()),
    };
    ended?;
    store.lock().await.flush()?;
    mark.clear().await
}

/// Root must own what it serves; another user is only warned, and then fails where it may not write (facts/pmm.md 1.8).
fn own_data_only(folder: &Path) -> Result<()> {
    let own = rustix_uid();
    let owner = fs_err::metadata(folder)?.uid();
    if own == owner {
        return Ok(());
    }
    let sentence = format!(
        "Effective user of the process ({own}) does not match the owner of the data ({owner})."
    );
    if own == 0 {
        return Err(format!(
            "Code: 430. DB::Exception: {sentence} Run under 'sudo -u {owner}'. (MISMATCHING_USERS_FOR_PROCESS_AND_DATA)"
        )
        .into());
    }
    eprintln!("<Warning> Application: {sentence}");
    Ok(())
}

/// This process's own user; `/proc/self` belongs to it.
fn rustix_uid() -> u32 {
    fs_err::metadata("/proc/self")
        .map(|m| m.uid())
        .unwrap_or(u32::MAX)
}

fn routes(store: &mut Store, request: &Request) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        (_, "/ping" | "/replicas_status") => Response::text(200, "Ok.\n"),
        // Between the programs of the double only.
        ("POST", "/standin/rows") => {
            let rows = request.json();
            for row in rows.as_array().into_iter().flatten() {
                if let Some(row) = store::Row::of_json(row) {
                    store.insert(row);
                }
            }
            Response::text(200, "")
        }
        ("POST", "/standin/schema") => {
            let version = request.json()["version"].as_u64().unwrap_or(0);
            match store.migrate(version) {
                Ok(()) => Response::text(200, ""),
                Err(error) => Response::text(500, error.to_string()),
            }
        }
        ("GET", "/standin/report") => {
            let bound = |name: &str, or: u64| {
                request
                    .param(name)
                    .and_then(|v| v.parse().ok())
                    .unwrap_or(or)
            };
            Response::ok(&report(store, bound("from", 0), bound("to", u64::MAX)))
        }
        (_, "/") => {
            let mut query = request.param("query").unwrap_or("").to_owned();
            query.push_str(&String::from_utf8_lossy(&request.body));
            match sql::run(store, query.trim()) {
                Ok(text) => Response::text(200, text),
                Err(error) => Response::text(400, format!("{error}\n")),
            }
        }
        _ => Response::text(404, "There is no handle\n"),
    }
}

/// How often each query ran in `[from, to)`.
fn report(store: &Store, from: u64, to: u64) -> Value {
    let mut queries = std::collections::BTreeMap::<&str, u64>::new();
    for row in store.rows().filter(|r| (from..to).contains(&r.start)) {
        *queries.entry(&row.query).or_default() += row.count;
    }
    json!(queries)
}
