//! `ferryctl backup restore`: a new volume of a backup, or a new claim of one in a cluster. It is never restored over anything: who wants
//! the old server back in its place has `ferryctl rollback`.

use super::{End, Failed, Session, View, check_readable, say_orphan, unplanned};
use crate::{
    backups::restored_volume,
    cli::Restore,
    commands::upkeep,
    connect::address::{EngineChoice, is_object_name},
    recipes,
};

pub(super) async fn run(engine: &EngineChoice, arguments: &Restore, session: &Session) -> End {
    let journal = session.journal()?;
    let into = arguments.into.as_deref();
    let into = if engine.is_cluster() {
        into.map(claim).transpose()?
    } else {
        into.map(volume).transpose()?
    };
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

/// A name that a claim can have; it is beside the backup's, in its namespace.
fn claim(name: &str) -> Result<&str, Failed> {
    if is_object_name(name) {
        return Ok(name);
    }
    Err(Failed::plain(
        "bad-claim",
        format!("`{}` is no name of a claim", name.escape_debug()),
    )
    .hint("small letters, digits and `-` are allowed, for example `--into pmm-storage-old-0`; it is made in the backup's namespace")
    .exit(crate::exit::Exit::Usage))
}
