//! One file a verb. Each turns its arguments into calls of the parts, and what comes back into text
//! and an exit code; none of them decides anything of its own.

mod apply;
mod arrival;
mod backup;
mod check;
mod clients;
mod failed;
mod finish;
mod hops;
mod key_file;
mod migrate;
mod moving;
mod plan;
mod rehearse;
mod resume;
mod rollback;
mod rows;
mod runs;
mod session;
mod status;
mod summary;
mod upkeep;
mod watch;

use failed::Failed;
use session::Session;

use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cli, Command},
    exit::Exit,
    report::Printer,
    run::interrupt::on_interrupt,
};

/// How a verb ends: with an exit code, or with what went wrong.
type End = Result<Exit, Failed>;

/// Does what the command line asks for.
pub async fn run(cli: Cli, printer: Printer) -> Exit {
    let end = match on_interrupt(i32::from(Exit::Held.code())) {
        Ok(shutdown) => begin(cli, printer, shutdown).await,
        Err(error) => Err(Failed::plain(
            "signals",
            format!("signals cannot be caught: {error}"),
        )),
    };
    end.unwrap_or_else(|failed| {
        printer.problem(&failed.problem);
        failed.exit
    })
}

async fn begin(cli: Cli, printer: Printer, shutdown: CancellationToken) -> End {
    // Before anything is looked at: a run that goes on without the key that was meant for it proves less than was asked for.
    let api_key = cli.command.api_key_file().map(key_file::read);
    let session = Session {
        printer,
        global: cli.global,
        shutdown,
        api_key: api_key.transpose()?,
    };
    dispatch(cli.command, &session).await
}

async fn dispatch(command: Command, session: &Session) -> End {
    match command {
        Command::Check(arguments) => check::run(&arguments, session).await,
        Command::Plan(arguments) => plan::run(&arguments, session).await,
        Command::Apply(arguments) => apply::run(&arguments, session).await,
        Command::Migrate(arguments) => migrate::run(&arguments, session).await,
        Command::Rehearse(arguments) => rehearse::run(&arguments, session).await,
        Command::Status(arguments) => status::run(&arguments, session),
        Command::Watch(arguments) => watch::run(&arguments, session).await,
        Command::Resume(arguments) => resume::run(&arguments, session).await,
        Command::Rollback(arguments) => rollback::run(&arguments, session).await,
        Command::Runs => runs::run(session),
        Command::Backup { engine, command } => {
            backup::run(engine.as_ref(), &command, session).await
        }
        Command::Finish(arguments) => finish::run(&arguments, session).await,
        Command::Clients(arguments) => clients::run(&arguments, session).await,
    }
}
