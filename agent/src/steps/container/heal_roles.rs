//! Gives database roles the password kind that PMM 3 asks for, while PMM 2 still runs and asks for
//! none (facts/pmm.md 1.6): a role whose stored hash is older makes PMM 3 hang at its start.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    context::Context,
    error::StepError,
    server::postgres::PasswordKind,
    steps::{Work, done, skipped},
};

pub(in crate::steps) struct HealRoles(pub(in crate::steps) v1::HealRoles);

#[async_trait]
impl Work for HealRoles {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let postgres = super::postgres(cx.surroundings.container()?).await?;
        let mut healed = Vec::new();
        for role in &self.0.roles {
            if postgres.heal_role(role).await? {
                healed.push(format!("`{role}`"));
            }
        }
        if healed.is_empty() {
            return Ok(skipped("all of them are SCRAM already"));
        }
        Ok(done(healed.join(", ")))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let postgres = super::postgres(cx.surroundings.container()?).await?;
        let roles = postgres.role_passwords().await?;
        for wanted in &self.0.roles {
            let healed = roles
                .iter()
                .any(|role| role.name == *wanted && role.kind == PasswordKind::Scram);
            if !healed {
                return Err(StepError::new(
                    "role-not-healed",
                    format!("database role `{wanted}` still has no SCRAM password"),
                ));
            }
        }
        Ok(())
    }

    /// The password is the same one in a newer form, and PMM 2 asks for none: it stays.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("the roles keep their password, stored as SCRAM"))
    }
}
