//! `ferryctl rollback`: takes a run back, last step first, also after it was done.

use ferry_proto::v1::Plan;

use super::{End, Session, session::Way};
use crate::{
    cli::{OnFailure, Rollback},
    run::events::RunState,
};

pub(super) async fn run(arguments: &Rollback, session: &Session) -> End {
    let journal = session.journal()?;
    let row = journal.run(&arguments.run)?;
    let question = format!("{} Take it back?", warning(&row.plan, row.state));
    session.confirm(arguments.yes, &question).await?;
    let host = session.host().await?;
    let (run, plan) = (&row.run, &row.plan);
    session
        .drive(&host, &journal, run, plan, OnFailure::Rollback, &Way::Back)
        .await
}

/// What going back costs.
fn warning(plan: &Plan, state: RunState) -> String {
    if plan.is_rehearsal() {
        return "What the rehearsal made is discarded; the server is not touched.".to_owned();
    }
    if state == RunState::Done {
        return format!(
            "What PMM {} has gathered since the migration is set aside and not taken along.",
            plan.to_version
        );
    }
    format!("The server becomes PMM {} again.", plan.from_version)
}
