//! qan-api2: brings the schema in ClickHouse up at its start, takes in what connected agents see, reports on 9922.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::http::{self, Request, Response};
use crate::product::Product;
use crate::run::Stop;

/// Runs until it is stopped.
pub(crate) async fn main() -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let v3 = product.is_v3();
    tokio::select! {
        ended = schema(if v3 { 22 } else { 17 }) => ended?,
        () = stop.asked() => return Ok(()),
    }
    tokio::select! {
        ended = http::serve(9922, move |request| async move { answer(v3, &request).await }) => ended,
        ended = collect() => ended,
        () = stop.asked() => Ok(()),
    }
}

/// Waits for ClickHouse and migrates. A dirty schema is the end (facts/pmm.md 6, point 5).
async fn schema(version: u64) -> Result<()> {
    let body = json!({ "version": version }).to_string();
    loop {
        match http::call("POST", 8123, "/standin/schema", &[], &body).await {
            Ok((200, _)) => return Ok(()),
            Ok((_, text)) => {
                return Err(format!("migrations: {}", String::from_utf8_lossy(&text)).into());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

/// One row every two seconds for each service whose exporter is being scraped.
async fn collect() -> Result<()> {
    loop {
        if let Ok((200, body)) = http::call("GET", 7772, "/standin/targets", &[], "").await {
            let targets: Vec<Value> = serde_json::from_slice(&body)?;
            let start = jiff::Timestamp::now().as_second();
            let rows: Vec<_> = targets
                .iter()
                .filter(|t| t["labels"]["__name__"] == "mysql_up")
                .map(|t| {
                    let service = t["labels"]["service_name"].as_str().unwrap_or("");
                    json!([start, format!("Q-{service}"), 1])
                })
                .collect();
            // ClickHouse may be on its way out; the next rows come in two seconds.
            let _ = http::call("POST", 8123, "/standin/rows", &[], &json!(rows).to_string()).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn answer(v3: bool, request: &Request) -> Response {
    match (v3, request.method.as_str(), request.path.as_str()) {
        (_, "GET", "/health") | (true, "GET", "/v1/qan/health") => Response::ok(&json!({})),
        (false, "POST", "/v0/qan/GetReport") | (true, "POST", "/v1/qan/metrics:getReport") => {
            match report(&request.json()).await {
                Ok(value) => Response::ok(&value),
                Err(error) => Response::grpc(400, 3, &error.to_string()),
            }
        }
        _ => Response::grpc(404, 5, "Not Found"),
    }
}

async fn report(request: &Value) -> Result<Value> {
    let bound = |field: &str| -> Result<i64> {
        let text = request[field]
            .as_str()
            .ok_or_else(|| format!("{field} is missing"))?;
        Ok(text.parse::<jiff::Timestamp>()?.as_second())
    };
    let (from, to) = (bound("period_start_from")?, bound("period_start_to")?);
    if from > to {
        return Err("from-date is bigger then to-date".into());
    }
    let target = format!("/standin/report?from={from}&to={to}");
    let (status, body) = http::call("GET", 8123, &target, &[], "").await?;
    if status != 200 {
        return Err(format!("ClickHouse answered {status}").into());
    }
    let found: Value = serde_json::from_slice(&body)?;
    let mut queries: Vec<(&String, u64)> = found
        .as_object()
        .into_iter()
        .flatten()
        .map(|(q, n)| (q, n.as_u64().unwrap_or(0)))
        .collect();
    queries.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let number = |field: &str, or: usize| {
        request[field]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(or)
    };
    let (offset, limit) = (number("offset", 0), number("limit", 10));
    let row = |rank: usize, dimension: &str, count: u64| json!({ "rank": rank, "dimension": dimension, "num_queries": count, "load": count as f32 / 60.0 });
    let total: u64 = queries.iter().map(|q| q.1).sum();
    let mut rows = vec![row(0, "TOTAL", total)];
    let page = queries.iter().enumerate().skip(offset).take(limit);
    rows.extend(page.map(|(i, (query, count))| row(i + 1, query, *count)));
    // The real one counts its TOTAL line among the rows only when there is something to total.
    if queries.is_empty() {
        rows.clear();
    }
    Ok(json!({ "total_rows": queries.len(), "offset": offset, "limit": limit, "rows": rows }))
}
