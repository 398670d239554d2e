//! `ferryctl backup`: what backups there are, and what may be done with each.

mod list;
mod prune;
mod restore;
mod verify;

use ferry_proto::v1::EngineFacts;
use pbjson_types::Timestamp;

use super::{End, Failed, Session};
use crate::{
    backups::{self, Backup, Known, Standing},
    cli::BackupCommand,
    connect::{
        ConnectedHost,
        address::{EngineChoice, InCluster},
    },
    exit::Exit,
    facts,
    recipes::{
        pmm_client_upgrade,
        upkeep::{About, FINISH, PRUNE},
    },
    run::journal::{self, Journal, JournalError, RunRow},
};

pub(super) async fn run(
    named: Option<&EngineChoice>,
    command: &BackupCommand,
    session: &Session,
) -> End {
    // Which runs there are is asked of an engine; which engine a run was of, the journal knows.
    let named = named.cloned();
    let of_all = named.clone().unwrap_or_default();
    match command {
        BackupCommand::List => list::run(&of_all, session).await,
        BackupCommand::Verify(arguments) => {
            let engine = engine_of(named, session, &arguments.run)?;
            verify::run(&engine, arguments, session).await
        }
        BackupCommand::Restore(arguments) => {
            let engine = engine_of(named, session, &arguments.run)?;
            restore::run(&engine, arguments, session).await
        }
        BackupCommand::Prune(arguments) => prune::run(&of_all, arguments, session).await,
    }
}

/// The engine that has the backup of a run: the one that was named, else the one that the run was of. What agents in a cluster are made
/// of is taken from the run either way.
fn engine_of(
    named: Option<EngineChoice>,
    session: &Session,
    run: &str,
) -> Result<EngineChoice, Failed> {
    let of_run = match session.journal()?.run(run) {
        Ok(row) => Some(EngineChoice::of(&row.plan)),
        // Nobody here has driven it, and it may be there all the same.
        Err(JournalError::NoSuchRun { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(match (named, of_run) {
        (Some(EngineChoice::Kubernetes(named)), Some(EngineChoice::Kubernetes(of_run))) => {
            EngineChoice::Kubernetes(InCluster {
                namespace: named.namespace.or(of_run.namespace),
                agent_image: of_run.agent_image,
            })
        }
        (named, of_run) => named.or(of_run).unwrap_or_default(),
    })
}

/// What there is now, and what is known of it.
pub(super) struct View {
    pub(super) engine: EngineFacts,
    pub(super) reached: EngineChoice,
    pub(super) known: Vec<Known>,
    /// The runs that remove backups, the newest first.
    pub(super) removing: Vec<Known>,
    pub(super) backups: Vec<Backup>,
}

impl View {
    pub(super) async fn look(session: &Session, host: &ConnectedHost) -> Result<Self, Failed> {
        let journal = session.journal()?;
        let known = crossings(&journal)?;
        let removing = removals(&journal)?;
        // Which engine it is must be known to know which folders to look for.
        let namespace = host.engine().namespace();
        let engine = facts::backups(host.agent(), namespace, Vec::new()).await?;
        let engine = engine.engine.unwrap_or_default();
        let folders = backups::known_folders(&known, &engine.id);
        let found = facts::backups(host.agent(), namespace, folders).await?;
        Ok(Self {
            backups: backups::together(&found, &known, &removing),
            engine,
            reached: host.engine().clone(),
            known,
            removing,
        })
    }

    /// The backup of a run, by the run's name or by a beginning that only it has.
    pub(super) fn of(&self, journal: &Journal, run: &str) -> Result<&Backup, Failed> {
        let row = match journal.run(run) {
            Ok(row) => row,
            Err(JournalError::NoSuchRun { .. }) if !run.is_empty() => {
                // Its own label says of which run it is, though no journal here knows that.
                let mut of_it = self.backups.iter().filter(|it| it.run.starts_with(run));
                return match (of_it.next(), of_it.next()) {
                    (Some(backup), None) => Ok(backup),
                    _ => Err(JournalError::NoSuchRun { run: run.into() }.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(subject) = &row.subject {
            return Err(not_a_crossing(&row.run, subject));
        }
        let found = self.backups.iter().find(|it| it.run == row.run);
        found.ok_or_else(|| {
            Failed::plain(
                "no-such-backup",
                format!(
                    "there is no backup of run {}, which is {}",
                    row.run,
                    row.state.word()
                ),
            )
            .hint("`ferryctl backup list` shows those that are there")
        })
    }

    /// The crossing that made a backup.
    pub(super) fn crossing(&self, backup: &Backup) -> Option<&Known> {
        self.known.iter().find(|(row, _)| row.run == backup.run)
    }

    pub(super) fn about(&self, backup: &Backup) -> About {
        About {
            place: backup.place(),
            server: backup.server.clone(),
            engine: self.engine.clone(),
            reached: self.reached.clone(),
            created: moment(journal::now()),
        }
    }

    /// What is locked while somebody works with a backup.
    pub(super) fn key(&self, backup: &Backup) -> String {
        journal::backup_key(&self.engine, backup.source())
    }
}

/// The runs that have carried servers over, or tried to.
pub(super) fn crossings(journal: &Journal) -> Result<Vec<Known>, Failed> {
    let mut known = Vec::new();
    for row in journal
        .runs()?
        .into_iter()
        .filter(|it| it.subject.is_none() && it.plan.recipe != pmm_client_upgrade::NAME)
    {
        let record = journal.record(&row.run)?;
        known.push((row, record));
    }
    Ok(known)
}

/// The runs that remove a backup, the newest first.
fn removals(journal: &Journal) -> Result<Vec<Known>, Failed> {
    let mut removing = Vec::new();
    let removes = |row: &RunRow| matches!(row.plan.recipe.as_str(), PRUNE | FINISH);
    for row in journal.runs()?.into_iter().filter(removes) {
        let record = journal.record(&row.run)?;
        removing.push((row, record));
    }
    Ok(removing)
}

/// A backup that can be read: whole, and no run is at work with it.
fn check_readable(backup: &Backup) -> Result<(), Failed> {
    let run = &backup.run;
    if let Some(removal) = backup.removal.as_ref().filter(|it| it.open) {
        let by = &removal.run;
        return Err(Failed::plain(
            "backup-being-removed",
            format!("run {by} is removing the backup of run {run}: a part of it may be gone"),
        )
        .hint(format!("`ferryctl resume {by}` goes on with that"))
        .exit(Exit::Refused));
    }
    let open = |why: &str| {
        Failed::plain("run-open", format!("run {run} is not over: {why}"))
            .hint(format!(
                "`ferryctl resume {run}` or `ferryctl rollback {run}` first"
            ))
            .exit(Exit::Refused)
    };
    match backup.standing {
        Standing::Open => Err(open("its backup is not complete, or is being used")),
        Standing::Held if backup.digest.is_empty() => Err(open("its backup is not complete")),
        Standing::Orphan => Ok(()),
        _ if backup.digest.is_empty() => Err(Failed::plain(
            "backup-incomplete",
            format!("the backup of run {run} was never completed: the run has no manifest of it"),
        )
        .hint("`ferryctl backup prune` removes it")),
        _ => Ok(()),
    }
}

/// What a person must know before relying on a backup of a run that nobody here has driven.
fn say_orphan(session: &Session, backup: &Backup) {
    if backup.standing == Standing::Orphan {
        session.printer.say(&format!(
            "No journal here knows run {}: the backup is compared with its own manifest, and nothing tells whether that was changed too.",
            backup.run
        ));
    }
}

pub(super) fn not_a_crossing(run: &str, subject: &str) -> Failed {
    Failed::plain(
        "run-not-a-crossing",
        format!("run {run} has carried no server over: it was about run {subject}"),
    )
    .hint(format!("name that one: {subject}"))
    .exit(Exit::Refused)
}

pub(super) fn moment(millis: i64) -> Timestamp {
    Timestamp {
        seconds: millis.div_euclid(1000),
        nanos: i32::try_from(millis.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}

pub(super) fn unplanned(error: &ferry_proto::PlanError) -> Failed {
    Failed::plain(error.code(), error.to_string())
}
