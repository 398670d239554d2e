//! Writes what PMM 3 drops or shows otherwise into the run's folder, beside the dumps.
//!
//! Why without a step of its own: it is a convenience. All of it is in the dumps too, so where it cannot be written that is a warning, and
//! no reason to give up a crossing.

use crate::{
    context::Context,
    error::StepError,
    server::{
        exports::{DASHBOARDS_AT_ONCE, Export},
        postgres::Postgres,
    },
    steps::count,
};

/// Writes all exports. What could not be written is a warning; the words say what was.
pub(super) async fn export(
    cx: &Context,
    postgres: &Postgres,
) -> Result<(Option<String>, Vec<String>), StepError> {
    let mut warnings = Vec::new();
    let mut written = Vec::new();
    let mut failed = |what: &str, error: &dyn std::fmt::Display| {
        warnings.push(format!(
            "{what} could not be exported, the dumps hold it: {error}"
        ));
    };
    match postgres.export_alerting().await {
        Ok(None) => {}
        Ok(Some(export)) => match write(cx, &export) {
            Ok(()) => written.push(export.name),
            Err(error) => failed("alerting", &error),
        },
        Err(error) => failed("alerting", &error),
    }
    let mut dashboards = 0;
    let found = postgres.dashboards_to_export().await;
    let ids = found.unwrap_or_else(|error| {
        failed("dashboards", &error);
        Vec::new()
    });
    for ids in ids.chunks(DASHBOARDS_AT_ONCE) {
        cx.check_cancelled()?;
        let exports = postgres.export_dashboards(ids).await;
        for export in exports.unwrap_or_else(|error| {
            failed(&format!("dashboards {ids:?}"), &error);
            Vec::new()
        }) {
            match write(cx, &export) {
                Ok(()) => dashboards += 1,
                Err(error) => failed(&export.name, &error),
            }
        }
    }
    if dashboards > 0 {
        written.push(count(dashboards, "dashboard"));
    }
    let words = (!written.is_empty()).then(|| format!("exported {}", written.join(", ")));
    Ok((words, warnings))
}

fn write(cx: &Context, export: &Export) -> std::io::Result<()> {
    cx.run_dir.replace(&export.name, &export.json)
}
