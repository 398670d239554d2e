//! The same for programs: one JSON object a line, each with the word `kind`. Names in it are those
//! of the API and never change their meaning.

use ferry_proto::v1::{Facts, Finding, Plan};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Problem, RunRow, RunStatus, RunSummary, Upkeep, rehearsal::RehearsalReport};
use crate::backups::Backup;
use crate::clients::Client;
use crate::run::events::RunEvent;

/// A check.
#[must_use]
pub fn check(facts: &Facts, findings: &[Finding]) -> String {
    line(&json!({ "kind": "check", "facts": value(facts), "findings": value(findings) }))
}

/// A plan, whole.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    line(&json!({ "kind": "plan", "plan": value(plan) }))
}

/// Runs, a line each.
#[must_use]
pub fn runs(rows: &[RunRow]) -> String {
    rows.iter().map(|row| object("run", row)).collect()
}

/// A run in full.
#[must_use]
pub fn status(status: &RunStatus) -> String {
    object("status", status)
}

/// The end of a run.
#[must_use]
pub fn summary(summary: &RunSummary) -> String {
    object("summary", summary)
}

/// The end of a rehearsal.
#[must_use]
pub fn rehearsal(report: &RehearsalReport) -> String {
    object("rehearsal", report)
}

/// Backups, a line each.
#[must_use]
pub fn backups(backups: &[Backup]) -> String {
    backups.iter().map(|it| object("backup", it)).collect()
}

/// Clients, a line each.
#[must_use]
pub fn clients(clients: &[Client]) -> String {
    clients.iter().map(|it| object("client", it)).collect()
}

/// The end of a run about a backup or a crossing.
#[must_use]
pub fn upkeep(upkeep: &Upkeep) -> String {
    object("upkeep", upkeep)
}

/// What went wrong.
#[must_use]
pub fn error(problem: &Problem) -> String {
    object("error", problem)
}

/// One event of a run. The step's id stands beside its index, which means nothing without the plan.
#[must_use]
pub fn event(plan: &Plan, event: &RunEvent) -> String {
    let mut value = value(event);
    let step = value
        .get("step")
        .and_then(Value::as_u64)
        .and_then(|step| usize::try_from(step).ok());
    if let (Some(object), Some(step)) = (
        value.as_object_mut(),
        step.and_then(|step| plan.steps.get(step)),
    ) {
        object.insert("step_id".to_owned(), step.id.clone().into());
    }
    object("event", &value)
}

/// The fields of `value` with its kind.
fn object(kind: &str, of: &impl Serialize) -> String {
    let mut fields = match value(of) {
        Value::Object(fields) => fields,
        other => serde_json::Map::from_iter([("value".to_owned(), other)]),
    };
    fields.insert("kind".to_owned(), kind.into());
    line(&Value::Object(fields))
}

/// The value, or why it cannot be written: an enum value of a newer release has no name here.
fn value(of: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(of).unwrap_or_else(|error| json!({ "unwritable": error.to_string() }))
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
