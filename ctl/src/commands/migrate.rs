//! `ferryctl migrate`: check, plan, confirm and apply in one go.

use super::{End, Session, apply, plan, rehearse};
use crate::{cli::Migrate, connect::address::Address, exit::Exit, recipes::Wishes, report};

pub(super) async fn run(arguments: &Migrate, session: &Session) -> End {
    let address: Address = arguments.subject.server.parse()?;
    let host = session.host(address.engine()).await?;
    let wishes = Wishes {
        jobs: arguments.jobs,
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        backup: plan::backup(&arguments.target),
        bytes_per_second: arguments.pace.io_limit,
        ..plan::wishes(&arguments.subject)
    };
    if arguments.rehearse {
        let exit = rehearse::rehearse(session, &host, &address, &wishes, false).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    let (_, made) = plan::make(session, &host, &address, &wishes).await?;
    let Ok(plan) = made else {
        return Ok(Exit::Blockers);
    };
    session
        .printer
        .say(&report::plan(&plan, "", session.printer.settings().stderr));
    let question = format!(
        "Carry {} from PMM {} to {} now?",
        address.container(),
        plan.from_version,
        plan.to_version
    );
    session.confirm(arguments.yes, &question).await?;
    apply::begin(session, &host, &plan, arguments.on_failure).await
}
