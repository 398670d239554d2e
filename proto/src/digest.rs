//! A plan is what a person approved. Its digest makes an edited, truncated or mixed-up plan file
//! refuse to run.

use serde::Serialize as _;

use crate::{PLAN_FORMAT, v1::Plan};

/// Why a plan is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No JSON, or not that of a plan: cut short, damaged, or another file.
    #[error("it cannot be read as a plan: {0}")]
    Unreadable(serde_json::Error),
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
            Self::Unreadable(_) => "plan-unreadable",
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

/// Reads a plan's file, and proves that it is the one that was made.
///
/// # Errors
/// [`PlanError::Unreadable`], [`PlanError::Format`], [`PlanError::Edited`].
pub fn read_plan(text: &str) -> Result<Plan, PlanError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: Option<serde_json::Value>,
    }
    // The format first: a newer one has fields that this release would call unknown.
    let head: Head = serde_json::from_str(text).map_err(PlanError::Unreadable)?;
    let found = head.format.as_ref().and_then(serde_json::Value::as_u64);
    if let Some(found) = found.filter(|&found| found > u64::from(PLAN_FORMAT)) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(PlanError::Format { found });
    }
    let plan: Plan = serde_json::from_str(text).map_err(PlanError::Unreadable)?;
    verify(&plan)?;
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
    fn a_plan_file_that_is_cut_anywhere_is_refused() {
        let text = serde_json::to_string_pretty(&plan()).unwrap();
        for end in 0..text.len() {
            let error = read_plan(&text[..end]).unwrap_err();
            assert_eq!(error.code(), "plan-unreadable", "cut at {end}");
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_changes_nothing() {
        let whole = plan();
        let text = serde_json::to_string_pretty(&whole).unwrap();
        let mut bytes = text.into_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                if let Ok(text) = std::str::from_utf8(&bytes)
                    && let Ok(read) = read_plan(text)
                {
                    assert_eq!(read, whole, "byte {at}, bit {bit}");
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }

    /// Made by the first release: every later one must read it, and find its digest right.
    #[test]
    fn a_plan_of_format_1_is_read_by_every_release() {
        let plan = read_plan(include_str!("digest/plan-v1.json")).unwrap();
        assert_eq!(plan.server, "docker:pmm-server");
        assert!(plan.steps.len() > 10 && plan.steps.iter().all(|step| step.action.is_some()));
        assert!(plan.facts.is_some());
    }

    #[test]
    fn a_newer_format_is_named_before_its_fields() {
        let text = r#"{"format": 7, "whatever": {"is": "new"}}"#;
        let error = read_plan(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the plan has format 7, this release reads format 1"
        );
    }

    #[test]
    fn another_format_is_named() {
        let mut newer = plan();
        newer.format = PLAN_FORMAT + 1;
        assert_eq!(verify(&newer).unwrap_err().code(), "plan-format");
    }
}
