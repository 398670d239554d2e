//! `ferryctl rollback`: takes a run back, last step first, also after it was done.

use ferry_proto::v1::Plan;

use super::{End, Failed, Session, session::Way};
use crate::{
    cli::Rollback,
    recipes::{pmm_client_upgrade, pmm_kubernetes, pmm_move_appliance, pmm_move_data},
    run::{events::RunState, journal::RunRow},
};

pub(super) async fn run(arguments: &Rollback, session: &Session) -> End {
    let journal = session.journal()?;
    let row = journal.run(&arguments.run)?;
    refuse_over(&row)?;
    let mut warning = warning(&row.plan, row.state);
    if arguments.accept_damaged_copy {
        warning.push_str(" What the copy has is restored, also where it is not what was copied.");
    }
    let question = format!("{warning} Take it back?");
    session.confirm(arguments.yes, &question).await?;
    let host = session.host_of(&row.plan).await?;
    let (run, plan) = (&row.run, &row.plan);
    let way = Way::Back {
        accept_damaged_copy: arguments.accept_damaged_copy,
    };
    session.drive(&host, &journal, run, plan, None, &way).await
}

/// Said before anybody is asked: there is no way back from some runs.
fn refuse_over(row: &RunRow) -> Result<(), Failed> {
    let run = &row.run;
    let in_cluster = row.plan.recipe == pmm_kubernetes::NAME;
    if row.state == RunState::Finished {
        return Err(Failed::plain(
            "run-finished",
            format!(
                "run {run} is declared finished: {} was removed, and with it the way back",
                if in_cluster {
                    "what the StatefulSet was before"
                } else {
                    "the old container"
                }
            ),
        )
        .hint(match pmm_move_data::volume_of(&row.plan) {
            Some(_) => "the server goes on with its data on the volume".to_owned(),
            None => format!(
                "`ferryctl backup restore {run}` makes a new {} of the backup, if that is kept",
                if in_cluster { "claim" } else { "volume" }
            ),
        }));
    }
    if row.subject.is_some() && row.state.is_over() {
        return Err(Failed::plain(
            "nothing-to-take-back",
            format!("run {run} has changed nothing that could be taken back"),
        )
        .hint("`ferryctl runs` lists the crossings"));
    }
    Ok(())
}

/// What going back costs.
fn warning(plan: &Plan, state: RunState) -> String {
    if plan.is_rehearsal() {
        return "What the rehearsal made is discarded; the server is not touched.".to_owned();
    }
    if let Some(client) = pmm_client_upgrade::client_of(plan) {
        return format!(
            "The client on {} becomes PMM {} again, with the configuration that it had.",
            client.host, plan.from_version
        );
    }
    if let Some(origin) = pmm_move_appliance::origin_of(plan) {
        let gathered = match state {
            RunState::Done => format!(
                "; what it has gathered here since is on volume {} alone, which is kept",
                pmm_move_appliance::volume_of(plan)
            ),
            _ => String::new(),
        };
        return format!(
            "The container here is removed, and the server at {origin} serves again as PMM {}{gathered}.",
            plan.from_version
        );
    }
    if let Some(volume) = pmm_move_data::volume_of(plan) {
        return format!(
            "The server has its data in the container itself again, as it was; what it has gathered on volume {volume} since is not \
             taken along."
        );
    }
    if state == RunState::Done {
        return format!(
            "What PMM {} has gathered since the migration is set aside and not taken along.",
            plan.to_version
        );
    }
    format!("The server becomes PMM {} again.", plan.from_version)
}
