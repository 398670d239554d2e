//! The pull as the steps of a run have it done: a pass while the server runs, and one behind its stop. The run's other steps stop the
//! programs there and start them again, so that nothing of it is noted or undone here.
//!
//! The baseline comes with the last pass. It was captured on the other machine, into that agent's own state, and whoever compares with it looks
//! for it in the run's folder on the volume that the server is on.

use std::path::{Path, PathBuf};

use super::{
    Address, Connection, Ended, FOLDER, LOST, Pull, Remote, Renumber, Renumbered, StepError, What,
    again_when_lost, hold, received, refuse_others, refuse_used,
};
use crate::{
    state_dir::{STATE_DIR_NAME, StateDir},
    tree::{PullError, PullReport, Watch},
};

/// The other machine is out of reach. What is here stays, and the step is only to be gone on with.
const ORIGIN_LOST: &str = "origin-lost";

/// What is pulled, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The agent there.
    pub(crate) from: String,
    /// The folder that becomes what the data is there.
    pub(crate) into: PathBuf,
    /// The certificates to show.
    pub(crate) tls: PathBuf,
    pub(crate) users: Vec<Renumber>,
    pub(crate) groups: Vec<Renumber>,
    pub(crate) bytes_per_second: Option<u64>,
}

/// Which pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// While the server runs; all of it is read back.
    Live,
    /// Behind the stop: what it writes is read back, all else was by the pass before.
    Last,
    /// The same, after a try that was cut off and has perhaps read back nothing: all of it is read back.
    LastAgain,
}

/// A connection to the other machine, and the folder that no other pull works on meanwhile.
#[derive(Debug)]
pub(crate) struct Passing {
    options: Pull,
    connection: Connection,
    runs: StateDir,
    state: StateDir,
    run: String,
}

impl Passing {
    /// Connects, and takes the folder.
    ///
    /// # Errors
    /// `origin-lost`; or the folder is not this run's alone.
    pub(crate) async fn begin(wanted: Wanted, run: &str) -> Result<Self, StepError> {
        let from = wanted.from.parse();
        let from = from.map_err(|why: String| StepError::new("bad-parameter", why))?;
        refuse_others(&wanted.into)?;
        let connection = connected(&from, &wanted.tls).await?;
        let state = StateDir::open(&wanted.into, STATE_DIR_NAME)?;
        let runs = state.sub("runs")?;
        refuse_used(&runs, run)?;
        let state = state.sub(FOLDER)?;
        hold(&state)?;
        let options = Pull {
            from,
            into: wanted.into,
            tls: wanted.tls,
            stop: false,
            r#final: false,
            start_again: false,
            owner: None,
            map_user: wanted.users,
            map_group: wanted.groups,
            io_limit: wanted.bytes_per_second,
        };
        Ok(Self {
            options,
            connection,
            runs,
            state,
            run: run.to_owned(),
        })
    }

    /// The pass, as a thread's work. It is called where the runtime is.
    pub(crate) fn pass(
        self,
        turn: Turn,
    ) -> impl FnOnce(&Watch<'_>) -> Result<PullReport, StepError> + Send + 'static {
        let last = turn != Turn::Live;
        let remote = Remote::over(&self.connection, last);
        let mut baselines = Remote::over(&self.connection, false);
        let what = match turn {
            Turn::Live => What::LiveProven,
            Turn::Last => What::LastShort,
            Turn::LastAgain => What::Last,
        };
        move |watch| {
            let options = &self.options;
            let source = Renumbered::new(remote, &options.map_user, &options.map_group);
            let report = received(options, &self.state, what, source, watch).map_err(told)?;
            if last {
                let before = again_when_lost(watch, || baselines.before(&self.run));
                let before = before.map_err(|error| told(error.into()))?;
                before.keep(&self.runs.sub(&self.run)?)?;
            }
            Ok(report)
        }
    }
}

/// Whoever goes on without the certificates has not lost what is here: that is no reason to take a run back either.
async fn connected(from: &Address, tls: &Path) -> Result<Connection, StepError> {
    let connection = Connection::make(from, tls).await;
    connection.map_err(|error| match error.code() {
        "agent-unreachable" => lost(error.to_string()),
        "bad-certificates" => StepError::new(ORIGIN_LOST, error.to_string())
            .hint("name the folder with `ca.pem`, `cert.pem` and `key.pem` by `--tls`"),
        _ => error,
    })
}

fn told(ended: Ended) -> StepError {
    match ended {
        Ended::Pull(PullError::Source(failure))
            if [LOST, "agent-unreachable"].contains(&failure.code.as_str()) =>
        {
            lost(failure.message)
        }
        other => other.into(),
    }
}

fn lost(why: String) -> StepError {
    StepError::new(ORIGIN_LOST, why).hint(
        "is `ferryd appliance` running there, and does its policy name this machine among the `readers`? What is here is not sent again",
    )
}

/// Why the agent there does not give this machine its data; empty when it does. Nothing is received but the first names.
pub(crate) async fn refusal(from: &str, tls: &Path) -> String {
    let looked = async {
        let from = from.parse();
        let from = from.map_err(|why: String| StepError::new("bad-parameter", why))?;
        let connection = Connection::make(&from, tls).await?;
        let mut remote = Remote::over(&connection, false);
        crate::blocking::run(move || {
            use crate::tree::Source as _;
            remote.list()?;
            remote.next_part()
        })
        .await?;
        Ok::<(), StepError>(())
    };
    looked
        .await
        .err()
        .map(|it| it.to_string())
        .unwrap_or_default()
}

/// That no program of the server runs there. Nothing is received but the first names.
///
/// # Errors
/// `pull-source`, which names `programs-run-again`; or `origin-lost`.
pub(crate) async fn at_rest(from: &str, tls: &Path) -> Result<(), StepError> {
    let from = from.parse();
    let from = from.map_err(|why: String| StepError::new("bad-parameter", why))?;
    let connection = connected(&from, tls).await?;
    let mut remote = Remote::over(&connection, true);
    let looked = crate::blocking::run(move || {
        use crate::tree::Source as _;
        Ok::<_, StepError>(remote.list().and_then(|()| remote.next_part().map(drop)))
    });
    looked.await?.map_err(|error| told(Ended::Pull(error)))
}

/// Whether the agent there answers a caller with these certificates. Nothing is asked of it.
///
/// # Errors
/// `origin-lost`.
pub(crate) async fn reach(from: &str, tls: &Path) -> Result<(), StepError> {
    let from = from.parse();
    let from = from.map_err(|why: String| StepError::new("bad-parameter", why))?;
    connected(&from, tls).await.map(drop)
}
