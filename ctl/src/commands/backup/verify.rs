//! `ferryctl backup verify`: a backup compared with its manifest, by an agent that can only read it.

use super::{End, Session, View, check_readable, say_orphan, unplanned};
use crate::{cli::Verify, commands::upkeep, connect::address::EngineChoice, recipes};

pub(super) async fn run(engine: &EngineChoice, arguments: &Verify, session: &Session) -> End {
    let journal = session.journal()?;
    let host = session.host(engine).await?;
    let view = View::look(session, &host).await?;
    let backup = view.of(&journal, &arguments.run)?;
    check_readable(backup)?;
    say_orphan(session, backup);
    let plan = recipes::upkeep::verify(&view.about(backup), &backup.digest);
    let plan = plan.map_err(|error| unplanned(&error))?;
    let result = upkeep::begin(session, &host, &plan, &view.key(backup), &backup.run).await?;
    upkeep::tell(session, &journal, &result)
}
