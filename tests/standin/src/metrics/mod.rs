//! VictoriaMetrics: keeps series on its volume, scrapes what pmm-managed names, answers queries on 9090.

mod eval;
mod parse;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::Result;
use crate::http::{self, Request, Response};
use crate::product::Product;
use crate::run::{Mark, Stop, open_all};
use store::Store;

/// Seconds between scrapes.
const STEP: u64 = 2;

pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Runs until it is stopped.
pub(crate) async fn main() -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let folder = Path::new("/srv/victoriametrics/data");
    open_all(folder)?;
    let mark = Mark::set("victoriametrics", folder, &product)?;
    let store = Arc::new(Mutex::new(Store::open(folder)?));
    let answering = http::serve(9090, {
        let store = Arc::clone(&store);
        move |request| {
            let store = Arc::clone(&store);
            async move { routes(&*store.lock().await, &request) }
        }
    });
    tokio::select! {
        ended = answering => ended?,
        ended = scrape(&store) => ended?,
        () = stop.asked() => {}
    }
    store.lock().await.flush()?;
    mark.clear().await
}

/// Writes a sample of each target as long as pmm-managed can say which they are; nothing else keeps a series fresh.
async fn scrape(store: &Mutex<Store>) -> Result<()> {
    loop {
        if let Ok((200, body)) = http::call("GET", 7772, "/standin/targets", &[], "").await {
            let targets: Vec<Value> = serde_json::from_slice(&body)?;
            let mut store = store.lock().await;
            store.scraped(&targets, now().floor(), STEP);
            store.flush()?;
        }
        tokio::time::sleep(Duration::from_secs(STEP)).await;
    }
}

fn routes(store: &Store, request: &Request) -> Response {
    match request.path.trim_start_matches("/prometheus") {
        "/health" | "/-/healthy" => Response::text(200, "OK"),
        "/api/v1/query" => {
            let Some(query) = request.param("query") else {
                return bad("missing `query` arg");
            };
            let at = match request.param("time").map(time) {
                None => now(),
                Some(Some(at)) => at,
                Some(None) => return bad("cannot parse `time`"),
            };
            match parse::expression(query).and_then(|e| eval::instant(store, &e, at)) {
                Ok(value) => success(&value.to_json(at)),
                Err(error) => bad(&error),
            }
        }
        "/api/v1/query_range" => {
            let number = |name: &str| request.param(name).and_then(time);
            let (Some(query), Some(start), Some(end)) =
                (request.param("query"), number("start"), number("end"))
            else {
                return bad("missing `query`, `start` or `end` arg");
            };
            let step = number("step").unwrap_or(60.0).max(1.0);
            match parse::expression(query).and_then(|e| eval::range(store, &e, start, end, step)) {
                Ok(value) => success(&value),
                Err(error) => bad(&error),
            }
        }
        "/api/v1/status/tsdb" => {
            let total = store.series().len();
            Response::ok(&json!({ "status": "success", "data": { "totalSeries": total } }))
        }
        _ => Response::text(404, "unsupported path requested"),
    }
}

/// A time as the API takes it: seconds, or RFC 3339; a step may carry a unit.
fn time(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .or_else(|| parse::duration(text))
        .or_else(|| {
            text.parse::<jiff::Timestamp>()
                .ok()
                .map(|t| t.as_duration().as_secs_f64())
        })
}

fn success(data: &Value) -> Response {
    Response::ok(&json!({ "status": "success", "data": data }))
}

fn bad(error: &str) -> Response {
    Response::json(
        422,
        &json!({ "status": "error", "errorType": "422", "error": error }),
    )
}
