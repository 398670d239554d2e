//! `ferryctl resume`: goes on with a run from its journal, the way it went.

use super::{End, Failed, Session, session::Way};
use crate::{cli::Resume, run::journal::Journal};

pub(super) async fn run(arguments: &Resume, session: &Session) -> End {
    let journal = session.journal()?;
    let name = match &arguments.run {
        Some(name) => name.clone(),
        None => the_only_one(&journal)?,
    };
    let row = journal.run(&name)?;
    let host = session.host_of(&row.plan).await?;
    session
        .drive(
            &host,
            &journal,
            &row.run,
            &row.plan,
            arguments.on_failure,
            &match arguments.origin_gone {
                true => Way::OnwardAlone,
                false => Way::Onward,
            },
        )
        .await
}

fn the_only_one(journal: &Journal) -> Result<String, Failed> {
    let open: Vec<String> = journal
        .runs()?
        .into_iter()
        .filter(|row| !row.state.is_over())
        .map(|row| row.run)
        .collect();
    match open.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(
            Failed::plain("no-open-run", "there is no run to go on with")
                .hint("`ferryctl runs` lists those that are over"),
        ),
        several => Err(Failed::plain(
            "several-open-runs",
            format!(
                "there are several runs to go on with: {}",
                several.join(", ")
            ),
        )
        .hint("name one of them: `ferryctl resume RUN`")),
    }
}
