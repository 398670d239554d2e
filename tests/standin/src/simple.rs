//! Programs that only have to run, be healthy, and stop when asked.

use crate::Result;
use crate::http::{self, Request, Response};
use crate::product::Product;
use crate::run::Stop;

/// vmalert, alertmanager, vmproxy, pmm-agent.
pub(crate) async fn main(name: &str) -> Result<()> {
    let mut stop = Stop::listen()?;
    let product = Product::of_image()?;
    let port = match name {
        "vmalert" => {
            if product.is_v3() {
                refuse_alerting_rules()?;
            }
            8880
        }
        "alertmanager" => 9093,
        "vmproxy" => 8430,
        _ => 7777,
    };
    tokio::select! {
        ended = http::serve(port, |request: Request| async move { answer(&request) }) => ended,
        () = stop.asked() => Ok(()),
    }
}

fn answer(request: &Request) -> Response {
    match request.path.as_str() {
        "/health" | "/alertmanager/-/ready" | "/alertmanager/-/healthy" => {
            Response::text(200, "OK")
        }
        "/local/Status" => Response::ok(&serde_json::json!({ "agent_id": "pmm-server" })),
        _ => Response::text(404, "not found"),
    }
}

/// PMM 3 runs vmalert without a notifier, so the rules that PMM 2 took make it stop (facts/pmm.md 6, point 12).
fn refuse_alerting_rules() -> Result<()> {
    let Ok(folder) = fs_err::read_dir("/srv/prometheus/rules") else {
        return Ok(());
    };
    for entry in folder {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let text = fs_err::read_to_string(&path)?;
        if text
            .lines()
            .any(|line| line.trim_start().starts_with("- alert:"))
        {
            return Err("config contains alerting rules but neither `-notifier.url` nor `-notifier.config` \
                        nor `-notifier.blackhole` aren't set"
                .into());
        }
    }
    Ok(())
}
