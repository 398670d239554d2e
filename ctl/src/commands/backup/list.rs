//! `ferryctl backup list`: nothing is changed.

use super::{End, Session, View};
use crate::{connect::address::EngineChoice, exit::Exit, report};

pub(super) async fn run(engine: &EngineChoice, session: &Session) -> End {
    let host = session.host_alone(engine).await?;
    let view = View::look(session, &host).await?;
    session.printer.data(
        |look| report::backups(&view.backups, look),
        || report::json::backups(&view.backups),
    );
    Ok(Exit::Done)
}
