//! A plan is what a person approved. Its digest makes an edited, truncated or mixed-up plan file
//! refuse to run.

use serde::Serialize as _;

use crate::{PLAN_FORMAT, v1::Plan};

/// Why a plan is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Written by another release.
    #[error("the plan has format {found}, this release reads format {PLAN_FORMAT}")]
    Format {
        /// What the file says.
        found: u32,
    },
    /// Changed since it was made.
    #[error(
        "the plan was changed after it was made: its digest says {stated}, its content {actual}"
    )]
    Edited {
        /// What the file says, shortened.
        stated: String,
        /// What its content gives, shortened.
        actual: String,
    },
    /// Cannot be written as JSON.
    #[error("the plan cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl PlanError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format { .. } => "plan-format",
            Self::Edited { .. } => "plan-edited",
            Self::Json(_) => "plan-json",
        }
    }
}

/// Gives a plan its digest and its id.
///
/// # Errors
/// [`PlanError::Json`] when the plan cannot be serialised.
pub fn seal(mut plan: Plan) -> Result<Plan, PlanError> {
    plan.format = PLAN_FORMAT;
    plan.digest = digest(&plan)?;
    plan.id = plan.digest.chars().take(8).collect();
    Ok(plan)
}

/// Proves that a plan is the one that was made.
///
/// # Errors
/// [`PlanError::Format`] for a plan of another release, [`PlanError::Edited`] for a changed one.
pub fn verify(plan: &Plan) -> Result<(), PlanError> {
    if plan.format != PLAN_FORMAT {
        return Err(PlanError::Format { found: plan.format });
    }
    let actual = digest(plan)?;
    let id: String = actual.chars().take(8).collect();
    if plan.digest != actual || plan.id != id {
        return Err(PlanError::Edited {
            stated: plan.digest.chars().take(8).collect(),
            actual: id,
        });
    }
    Ok(())
}

fn digest(plan: &Plan) -> Result<String, PlanError> {
    let bare = Plan {
        id: String::new(),
        digest: String::new(),
        ..plan.clone()
    };
    // Through a `Value`, whose maps are sorted: the digest must not depend on field order.
    let value = bare.serialize(serde_json::value::Serializer)?;
    Ok(blake3::hash(&serde_json::to_vec(&value)?)
        .to_hex()
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Step;

    fn plan() -> Plan {
        let steps = vec![Step {
            id: "pull-image".into(),
            ..Step::default()
        }];
        seal(Plan {
            server: "docker:pmm-server".into(),
            steps,
            ..Plan::default()
        })
        .unwrap()
    }

    #[test]
    fn a_sealed_plan_survives_its_file() {
        let text = serde_json::to_string_pretty(&plan()).unwrap();
        let read: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(read.id.len(), 8);
        verify(&read).unwrap();
    }

    #[test]
    fn an_edited_plan_is_refused() {
        let mut edited = plan();
        edited.steps[0].title = "something else".into();
        assert_eq!(verify(&edited).unwrap_err().code(), "plan-edited");
        let mut renamed = plan();
        renamed.id = "00000000".into();
        assert_eq!(verify(&renamed).unwrap_err().code(), "plan-edited");
    }

    #[test]
    fn another_format_is_named() {
        let mut newer = plan();
        newer.format = PLAN_FORMAT + 1;
        assert_eq!(verify(&newer).unwrap_err().code(), "plan-format");
    }
}
