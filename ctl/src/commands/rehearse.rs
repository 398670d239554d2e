//! `ferryctl rehearse`: the whole crossing on a copy, while the server goes on serving.
//!
//! It is a run like any other, with a journal: it can be watched, resumed, and taken back, which discards the copy.

use super::{End, Session, check, plan, session::Way};
use crate::{
    cli::{OnFailure, Rehearse},
    connect::{ConnectedHost, address::Address},
    recipes::{Backup, Wishes, pmm_in_place},
    run::journal::server_key,
};

pub(super) async fn run(arguments: &Rehearse, session: &Session) -> End {
    let address: Address = arguments.subject.server.parse()?;
    let host = session.host(address.engine()).await?;
    let wishes = Wishes {
        recipe: arguments.way.recipe,
        bytes_per_second: arguments.pace.io_limit,
        jobs: arguments.jobs,
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        ..plan::wishes(&arguments.subject)
    };
    rehearse(session, &host, &address, &wishes, arguments.keep).await
}

/// Looks, plans and rehearses. Nobody is asked: nothing of the server is changed.
pub(super) async fn rehearse(
    session: &Session,
    host: &ConnectedHost,
    address: &Address,
    wishes: &Wishes,
    keep: bool,
) -> End {
    // Its copy is thrown away, so it never goes where backups are kept.
    let wishes = &Wishes {
        backup: Backup::NewVolume,
        ..wishes.clone()
    };
    let facts = session.facts(host, address, wishes, true).await?;
    let server = address.to_string();
    let made = pmm_in_place::rehearsal(&server, facts.clone(), wishes, keep, plan::now());
    let plan = match made {
        Ok(plan) => plan,
        Err(refused) => return Ok(check::show(session, &facts, &refused.findings, &[])),
    };
    let journal = session.journal()?;
    let run = journal.create_run(&plan, &server_key(&facts))?;
    let (on_failure, way) = (Some(OnFailure::Rollback), Way::Onward);
    session
        .drive(host, &journal, &run, &plan, on_failure, &way)
        .await
}
