//! Turns API keys into service accounts where the target still can, and looks that each key has one
//! where the target did it by itself (facts/pmm.md 4.2).

use async_trait::async_trait;
use ferry_proto::v1::Outcome;

use crate::{
    context::Context,
    error::StepError,
    server::{
        baseline::Access,
        keys::{ApiKey, api_keys, migrate_keys},
    },
    steps::{Work, count, done, done_with, skipped},
};

pub(in crate::steps) struct MigrateApiKeys;

#[async_trait]
impl Work for MigrateApiKeys {
    /// The server has been proven or is about to be: that its keys cannot be looked at is told, and
    /// whether one was lost is the baseline's question.
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        match migrate(cx).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Ok(done_with(
                "not looked at",
                vec![format!("API keys: {error}")],
            )),
        }
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("comes back with the data"))
    }
}

async fn migrate(cx: &Context) -> Result<Outcome, StepError> {
    let postgres = super::postgres(cx.surroundings.container()?).await?;
    let keys = api_keys(&postgres).await?;
    let left: Vec<_> = keys.iter().filter(|key| !key.migrated).collect();
    if keys.is_empty() {
        return Ok(skipped("the server has none"));
    }
    if left.is_empty() {
        return Ok(done(format!(
            "{} are service accounts",
            count(keys.len() as u64, "API key")
        )));
    }
    let mut orgs: Vec<i64> = left.iter().map(|key| key.org).collect();
    orgs.sort_unstable();
    orgs.dedup();
    let asked = migrate_keys(Access::default().ports.grafana, &orgs, None).await;
    let mut warnings = asked.details;
    // Grafana wants an administrator for it. On the targets where this is needed the keys work until an administrator logs in,
    // which does it too (facts/pmm.md 4.2).
    warnings.extend(asked.refused.into_iter().map(|(org, why)| {
        format!("API keys of organisation {org} are not service accounts yet: {why}; log in once as an administrator")
    }));
    let after = api_keys(&postgres).await?;
    let names: Vec<String> = after
        .iter()
        .filter(|key| !key.migrated)
        .map(ApiKey::title)
        .collect();
    if !names.is_empty() {
        warnings.push(format!("not service accounts yet: {}", names.join(", ")));
    }
    let migrated = after.len() - names.len();
    Ok(done_with(
        format!(
            "{migrated} of {} are service accounts",
            count(after.len() as u64, "API key")
        ),
        warnings,
    ))
}
