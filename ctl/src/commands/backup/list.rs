//! `ferryctl backup list`: nothing is changed.

use super::{End, Session, View};
use crate::{exit::Exit, report};

pub(super) async fn run(session: &Session) -> End {
    let host = session.host().await?;
    let view = View::look(session, &host).await?;
    session.printer.data(
        |look| report::backups(&view.backups, look),
        || report::json::backups(&view.backups),
    );
    Ok(Exit::Done)
}
