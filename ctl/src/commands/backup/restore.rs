//! `ferryctl backup restore`: a new volume of a backup. It is never restored over anything: who wants
//! the old server back in its place has `ferryctl rollback`.

use super::{End, Failed, Session, View, check_readable, say_orphan, unplanned};
use crate::{
    backups::restored_volume, cli::Restore, commands::upkeep, connect::address::EngineChoice,
    recipes,
};

pub(super) async fn run(engine: &EngineChoice, arguments: &Restore, session: &Session) -> End {
    let journal = session.journal()?;
    let into = arguments.into.as_deref().map(volume).transpose()?;
    let host = session.host(engine).await?;
    let view = View::look(session, &host).await?;
    let backup = view.of(&journal, &arguments.run)?;
    check_readable(backup)?;
    say_orphan(session, backup);
    let into = into.map_or_else(
        || restored_volume(backup, view.crossing(backup)),
        str::to_owned,
    );
    let plan = recipes::upkeep::restore(&view.about(backup), &backup.digest, &into);
    let plan = plan.map_err(|error| unplanned(&error))?;
    let result = upkeep::begin(session, &host, &plan, &view.key(backup), &backup.run).await?;
    upkeep::tell(session, &journal, &result)
}

/// A name that a volume can have; a path would be another thing.
fn volume(name: &str) -> Result<&str, Failed> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if first && name.len() > 1 && name.chars().all(rest) {
        return Ok(name);
    }
    Err(Failed::plain(
        "bad-volume",
        format!("`{}` is no name of a volume", name.escape_debug()),
    )
    .hint("letters, digits, `_`, `.` and `-` are allowed, for example `--into pmm-data-old`")
    .exit(crate::exit::Exit::Usage))
}
