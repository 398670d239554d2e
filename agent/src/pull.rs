//! `ferryd pull`: the data of a server that runs on another machine without a container is brought here, while that server runs and
//! once more, what changed, when its programs have stopped.
//!
//! Why a program of its own beside the steps of a run: where there is no engine yet, or one that no controller reaches, the
//! data can be brought all the same, and into any folder. What it needs is the other machine's agent, a folder, and a certificate with a
//! name that the other agent's policy calls a reader.

mod owners;
mod remote;
pub(crate) mod run;
mod stop;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    args::Pull,
    error::StepError,
    state_dir::{STATE_DIR_NAME, StateDir},
    tree::{
        self, CancelFlag, Done, ManifestFolder, Owner, Pass, ProveOptions, PullError, PullOptions,
        PullReport, RecordWriter, Root, TransferOptions, TreeError, Watch,
    },
};
use owners::Renumbered;
use remote::{Connection, LOST, Remote};
use stop::Programs;

pub use owners::Renumber;
pub use remote::Address;

/// What is pulled from.
type There = Renumbered<Remote>;

/// Where the manifests are, below the state folder.
const FOLDER: &str = "pull";
/// The record of former owners; the source has them, so that nobody reads it.
const RECORD: &str = "owners.record";
/// So often a pull is begun before a lost connection ends it, and so long after it was lost.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_secs(5);
/// Between two words of progress.
const PAUSE: Duration = Duration::from_secs(5);

/// Brings the data here, and says what it took. Where `cancel` is set it ends at a safe place, and programs that it had stopped are
/// started again.
///
/// # Errors
/// With what failed and what to do; what has been received stays, and is not sent again.
pub async fn run(options: &Pull, cancel: CancelFlag) -> Result<String, StepError> {
    refuse_others(&options.into)?;
    let connection = Connection::make(&options.from, &options.tls).await?;
    let state = StateDir::open(&options.into, STATE_DIR_NAME)?;
    // The agent that only looks at the new server has the volume read-only, and could not make the ledgers' folder in this one.
    let runs = state.sub("runs")?;
    if !options.start_again {
        refuse_used(&runs, "")?;
    }
    let state = state.sub(FOLDER)?;
    hold(&state)?;
    let work = Work {
        options: options.clone(),
        connection,
        state,
        cancel,
    };
    if options.r#final {
        return work.pass(What::Last).await;
    }
    if !options.stop && !options.start_again {
        return work.pass(What::Live).await;
    }
    let channel = work.connection.channel.clone();
    let mut programs = Programs::of(channel, work.state.clone())?;
    if options.stop {
        return work.stopped(&mut programs).await;
    }
    if !programs.may_be_down() {
        return Ok("nobody has had the programs there stopped from here".to_owned());
    }
    let said = programs.start_again().await?;
    Ok(format!("the old server serves again: {said}"))
}

/// What is not there is removed here, so a folder is either empty at first or was begun by a pull.
fn refuse_others(into: &Path) -> Result<(), StepError> {
    let failed = |error: std::io::Error| {
        StepError::new("pull-folder", format!("`{}`: {error}", into.display()))
            .hint("name an existing, empty folder by `--into`, such as a new volume's")
    };
    let state = into.join(STATE_DIR_NAME).join(FOLDER);
    if fs_err::symlink_metadata(state).is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    for entry in fs_err::read_dir(into).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // The second is what a disk of its own begins with.
        if name != STATE_DIR_NAME && name != "lost+found" {
            let what = format!("it is not empty, it has `{}`", name.display());
            return Err(failed(std::io::Error::other(what)));
        }
    }
    Ok(())
}

/// What a run has worked on is a server's own data by now: a pull would make the old machine's of it. `own` is the run that pulls; empty:
/// none does.
fn refuse_used(runs: &StateDir, own: &str) -> Result<(), StepError> {
    let Some(run) = runs.names()?.into_iter().find(|run| run != own) else {
        return Ok(());
    };
    let what = format!(
        "`{}`: the run `{run}` has worked on the server that this data became",
        runs.path().display()
    );
    Err(StepError::new("pull-used", what)
        .hint("nothing was changed; to begin anew pull into a new volume, to have the old server serve again use `--start-again`"))
}

/// Two at once would remove each other's files. The lock goes with this process.
fn hold(state: &StateDir) -> Result<(), StepError> {
    flock(state.fd(), FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let what = format!("another pull works on `{}`", state.path().display());
        StepError::new("pull-busy", what).hint("wait for its end, or end it with Ctrl-C")
    })
}

struct Work {
    options: Pull,
    connection: Connection,
    state: StateDir,
    cancel: CancelFlag,
}

/// What is done in one pass, and behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Beside the server: what is wrong with it the next pass mends.
    Live,
    /// Beside the server, right before it stops: all is read back, so that it need not be in the downtime.
    LiveProven,
    /// Behind the stop, with all of it read back.
    Last,
    /// Behind the stop and a [`What::LiveProven`]: what it writes is read back, and all of it looked at.
    LastShort,
}

impl What {
    fn pass(self) -> Pass {
        match self {
            Self::Live | Self::LiveProven => Pass::Live,
            Self::Last | Self::LastShort => Pass::Final,
        }
    }
}

impl Work {
    /// Once while the server runs, and once more when its programs have stopped. Where that fails, they are started again.
    async fn stopped(&self, programs: &mut Programs) -> Result<String, StepError> {
        // Whoever was killed behind the stop left the server down: then there is nothing to do beside it.
        let mut last = What::Last;
        if !programs.may_be_down() {
            let said = self.pass(What::LiveProven).await?;
            tracing::info!("while the server ran: {said}");
            last = What::LastShort;
        }
        let result = match programs.stop().await {
            Ok(()) => self.pass(last).await,
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(said) => {
                return Ok(format!(
                    "{said}; the programs there are stopped and stay so"
                ));
            }
            Err(error) if !programs.may_be_down() => return Err(error),
            Err(error) => error,
        };
        tracing::error!("{error}; starting the programs there again");
        Err(match programs.start_again().await {
            Ok(said) => error.details([format!("the old server serves again: {said}")]),
            Err(second) => error
                .details([format!("the old server is down, and could not be started again: {second}")])
                .hint("pull again with `--start-again`, or on the old machine `supervisorctl start all`"),
        })
    }

    async fn pass(&self, what: What) -> Result<String, StepError> {
        let (options, state) = (self.options.clone(), self.state.clone());
        let cancel = self.cancel.clone();
        let remote = Remote::over(&self.connection, what.pass() == Pass::Final);
        let source = Renumbered::new(remote, &options.map_user, &options.map_group);
        let said = crate::blocking::run(move || {
            let teller = Teller::default();
            let tell = |done| teller.tell(done);
            let watch = Watch {
                progress: &tell,
                cancel,
            };
            received(&options, &state, what, source, &watch)
        });
        Ok(sentence(&said.await?, what, self.options.owner))
    }
}

/// One pass, the proof behind it, and behind the last one the owner.
fn received(
    options: &Pull,
    state: &StateDir,
    what: What,
    mut source: There,
    watch: &Watch<'_>,
) -> Result<PullReport, Ended> {
    let root = Root::open(&options.into, None)?;
    let manifests = ManifestFolder::in_open(state.fd(), state.path())?;
    let pass = what.pass();
    let limit = options.io_limit.filter(|_| pass == Pass::Live);
    let how = PullOptions {
        pass,
        bytes_per_second: limit,
        manifest: &manifests,
        read_back: what == What::LastShort,
    };
    let report = again_when_lost(watch, || {
        tracing::info!("receiving what is not here yet");
        tree::pull(&mut source, &root, &how, watch)
    })?;
    if pass == Pass::Final {
        confirm(&mut source, &manifests, watch)?;
    }
    if what != What::Live {
        let how = ProveOptions {
            bytes_per_second: limit,
            looks_only: what == What::LastShort,
            ..ProveOptions::default()
        };
        prove(&root, (&manifests, pass), &how, watch)?;
    }
    if let Some(owner) = options.owner.filter(|_| pass == Pass::Final) {
        give_to(owner, state, &root, watch)?;
    }
    Ok(report)
}

fn give_to(
    owner: Owner,
    state: &StateDir,
    root: &Root,
    watch: &Watch<'_>,
) -> Result<(), StepError> {
    // One that an earlier pull left speaks of owners that this one has set anew.
    let record = state.open_file(RECORD)?;
    record.set_len(0)?;
    let record = RecordWriter::open(record)?;
    tree::transfer(root, owner, record, &TransferOptions::default(), watch)?;
    let wrong = tree::verify_owner(root, owner, watch)?.wrong;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StepError::new(
        "owner-wrong",
        format!("{} entries do not belong to {owner}", wrong.count),
    )
    .details(wrong.first)
    .hint("something changes owners beside this program: find it, then pull again"))
}

/// The manifest is what the source still says.
fn confirm(source: &mut There, manifests: &ManifestFolder, watch: &Watch<'_>) -> Result<(), Ended> {
    let manifest = manifests.read(Pass::Final)?;
    let changed = again_when_lost(watch, || {
        tracing::info!("comparing with what the other machine says now");
        tree::confirm(source, &manifest, watch)
    })?;
    if changed.is_empty() {
        return Ok(());
    }
    let differs = StepError::new(
        "pull-source-changed",
        format!(
            "{} entries on the other machine are not what was received",
            changed.count
        ),
    )
    .details(changed.first)
    .hint("find out who writes there and stop it, then pull again");
    Err(differs.into())
}

/// Everything here is what the manifest says.
fn prove(
    root: &Root,
    (manifests, pass): (&ManifestFolder, Pass),
    how: &ProveOptions,
    watch: &Watch<'_>,
) -> Result<(), StepError> {
    tracing::info!("comparing what is here with the manifest");
    let proven = tree::prove(root, &manifests.read(pass)?, how, watch)?;
    if proven.is_proven() {
        return Ok(());
    }
    // What the manifests know is not what lies here, so they say nothing more: the next pull compares each file by its hash.
    manifests.forget()?;
    Err(StepError::new(
        "pull-differs",
        format!(
            "{} entries here are not what was received",
            proven.differences.count
        ),
    )
    .details(proven.differences.first)
    .hint(
        "somebody writes in the folder, or its disk does not give back what was written (`dmesg`); pull again when that is mended",
    ))
}

/// Why a pass ended early. The other side being out of reach is told from all else: then the pass is only to be gone on with.
#[derive(Debug)]
enum Ended {
    Pull(PullError),
    Here(StepError),
}

impl From<PullError> for Ended {
    fn from(error: PullError) -> Self {
        Self::Pull(error)
    }
}

impl From<TreeError> for Ended {
    fn from(error: TreeError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<StepError> for Ended {
    fn from(error: StepError) -> Self {
        Self::Here(error)
    }
}

impl From<Ended> for StepError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Pull(error) => error.into(),
            Ended::Here(error) => error,
        }
    }
}

/// A connection that is lost on the way is made anew: what is here is not sent again.
fn again_when_lost<T>(
    watch: &Watch<'_>,
    mut attempt: impl FnMut() -> Result<T, PullError>,
) -> Result<T, PullError> {
    let mut tries = 1;
    loop {
        match attempt() {
            Err(PullError::Source(failure))
                if failure.code == LOST && tries < TRIES && !watch.cancel.is_cancelled() =>
            {
                tracing::warn!("{failure}; trying again");
                tries += 1;
                std::thread::sleep(AGAIN);
            }
            other => return other,
        }
    }
}

fn sentence(report: &PullReport, what: What, owner: Option<Owner>) -> String {
    let mut said = format!(
        "{} entries; {} files with {} bytes received, {} were here by their times and {} by their hash",
        report.entries,
        report.files_received,
        report.bytes_received,
        report.files_known,
        report.files_same
    );
    if report.extras > 0 {
        said.push_str(&format!("; {} removed here", report.extras));
    }
    let moving = report.vanished + report.changed_meanwhile;
    if moving > 0 {
        said.push_str(&format!("; {moving} in motion, for the next pull"));
    }
    let last = what.pass() == Pass::Final;
    if last {
        said.push_str("; the same as what the other machine says now");
    }
    if what != What::Live {
        said.push_str("; proven against its manifest");
    }
    if let Some(owner) = owner.filter(|_| last) {
        said.push_str(&format!("; all of it belongs to {owner}"));
    }
    said
}

/// Says now and then how far it is.
#[derive(Default)]
struct Teller {
    told: Mutex<Option<Instant>>,
}

impl Teller {
    fn tell(&self, done: Done) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= PAUSE) {
            *told = Some(Instant::now());
            tracing::info!("{} entries, {} bytes", done.entries, done.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pull_at_a_time_and_none_behind_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            StateDir::open(folder.path(), STATE_DIR_NAME)
                .unwrap()
                .sub(FOLDER)
                .unwrap()
        };
        let first = open();
        hold(&first).unwrap();
        assert_eq!(hold(&open()).unwrap_err().code(), "pull-busy");
        drop(first);
        hold(&open()).unwrap();

        let state = StateDir::open(folder.path(), STATE_DIR_NAME).unwrap();
        let runs = state.sub("runs").unwrap();
        refuse_used(&runs, "").unwrap();
        runs.sub("pmm-1").unwrap();
        refuse_used(&runs, "pmm-1").unwrap();
        let refused = refuse_used(&runs, "pmm-2").unwrap_err();
        assert_eq!(refused.code(), "pull-used");
        assert!(refused.to_string().contains("pmm-1"), "{refused}");
    }
}
