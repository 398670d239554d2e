//! What this agent did, on disk: intent before the act, outcome after it.
//!
//! One append-only file a step, so that two agents of one run (beside the processes, and with the
//! volume only) never write to the same file. A line is a checksum and a JSON record. A torn last
//! line is a crash while writing and is dropped, whether its end is missing or a block of it that
//! never reached the disk reads as zeros; anything else that does not fit is damage, and a damaged
//! ledger is refused, because what it says decides what is undone.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::PathBuf,
};

use ferry_proto::{
    StatusEvent, next_status,
    v1::{Failure, LedgerEntry, Outcome, StepStatus},
};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{error::StepError, state_dir::StateDir};

/// The version of the record format, written as the first record of each file.
const FORMAT: u32 = 1;

/// One line of a step's ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Record {
    Format {
        version: u32,
    },
    /// The intent: the agent is about to act.
    Begin {
        attempt: u32,
        undo: bool,
        unix_ms: u64,
    },
    /// What undo will need, or how far the step is. Written before the act it describes.
    Keep {
        value: serde_json::Value,
    },
    Done {
        outcome: Outcome,
        undo: bool,
        unix_ms: u64,
    },
    Failed {
        failure: Failure,
        undo: bool,
        unix_ms: u64,
    },
}

/// All ledgers of this agent: `<state>/runs/<run>/<step>.ledger`.
///
/// The folder is made by the first step that is begun and not before: an agent that only looks
/// leaves no trace on the server's data.
#[derive(Debug, Clone)]
pub struct Ledger {
    parent: PathBuf,
    name: &'static str,
}

impl Ledger {
    /// The ledgers in the state folder `name` of `parent`.
    #[must_use]
    pub fn at(parent: impl Into<PathBuf>, name: &'static str) -> Self {
        Self {
            parent: parent.into(),
            name,
        }
    }

    fn runs(&self) -> io::Result<StateDir> {
        StateDir::open(&self.parent, self.name)?.sub("runs")
    }

    /// The folder of one run, for what its steps keep: records of owners, dumps, the baseline.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn run_dir(&self, run: &str) -> io::Result<StateDir> {
        self.runs()?.sub(run)
    }

    /// What a step has kept in a file of its run's folder; `None` where there is no such run or file. Nothing is made by the look.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn kept_file(&self, run: &str, name: &str) -> io::Result<Option<Vec<u8>>> {
        if !self.parent.join(self.name).exists()
            || !self.runs()?.names()?.iter().any(|it| it == run)
        {
            return Ok(None);
        }
        self.run_dir(run)?.read(name)
    }

    /// Opens a step's ledger and takes its lock, so that no second agent performs the step.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or another process holds it.
    pub fn step(&self, run: &str, step: &str) -> Result<StepLedger, StepError> {
        let dir = self.run_dir(run)?;
        let file = dir.append_file(&format!("{step}.ledger"))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            StepError::new(
                "step-busy",
                format!("another agent is performing step `{step}` of run {run}"),
            )
            .hint("wait until it is done, then `ferryctl resume`")
        })?;
        StepLedger::read(file, run, step)
    }

    /// What the ledgers say of each step, of one run or (with an empty name) of all.
    ///
    /// # Errors
    /// When a ledger cannot be read or is damaged.
    pub fn entries(&self, run: &str) -> Result<Vec<LedgerEntry>, StepError> {
        if !self.parent.join(self.name).exists() {
            return Ok(Vec::new());
        }
        let runs = if run.is_empty() {
            self.runs()?.names()?
        } else {
            vec![run.to_owned()]
        };
        let mut entries = Vec::new();
        for run in runs {
            let dir = self.run_dir(&run)?;
            for name in dir.names()? {
                let Some(step) = name.strip_suffix(".ledger") else {
                    continue;
                };
                let bytes = dir.read(&name)?.unwrap_or_default();
                entries.push(Replay::of(&bytes, &run, step)?.entry(&run, step));
            }
        }
        Ok(entries)
    }
}

/// Whether a step of a run was ever begun by this agent, as the run's folder says.
///
/// # Errors
/// When its ledger cannot be read or is damaged.
pub fn was_begun(run_dir: &StateDir, run: &str, step: &str) -> Result<bool, StepError> {
    let bytes = run_dir.read(&format!("{step}.ledger"))?.unwrap_or_default();
    Ok(Replay::of(&bytes, run, step)?.status != StepStatus::Planned)
}

/// The ledger of one step, open and locked.
#[derive(Debug)]
pub struct StepLedger {
    file: File,
    /// What the file adds up to: never more than is on the disk.
    replay: Replay,
    /// Half a line stands at its end that could not be taken away: the next one would be glued to it.
    torn: bool,
}

impl StepLedger {
    fn read(mut file: File, run: &str, step: &str) -> Result<Self, StepError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let replay = Replay::of(&bytes, run, step)?;
        if replay.intact_bytes < bytes.len() {
            // The torn tail goes, or the next record would be glued to it.
            file.set_len(replay.intact_bytes as u64)?;
            file.sync_all()?;
        }
        let mut ledger = Self {
            file,
            replay,
            torn: false,
        };
        if ledger.replay.records == 0 {
            ledger.append(&Record::Format { version: FORMAT })?;
        }
        Ok(ledger)
    }

    /// Where the step stands.
    #[must_use]
    pub fn status(&self) -> StepStatus {
        self.replay.status
    }

    /// The outcome that was written last, of the step or of its undo.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.replay.outcome.as_ref()
    }

    /// How the try with this number failed, where it was the last one.
    #[must_use]
    pub fn failure_of(&self, attempt: u32) -> Option<&Failure> {
        self.replay
            .failure
            .as_ref()
            .filter(|_| self.replay.attempt == attempt)
    }

    /// All values that were kept, of all attempts, the oldest first.
    #[must_use]
    pub fn kept(&self) -> &[serde_json::Value] {
        &self.replay.kept
    }

    /// Writes the intent.
    ///
    /// # Errors
    /// When the step may not begin where it stands, or the record cannot be written.
    pub fn begin(&mut self, attempt: u32, undo: bool) -> Result<(), StepError> {
        self.append(&Record::Begin {
            attempt,
            undo,
            unix_ms: now_ms(),
        })
    }

    /// Keeps a value for undo. It is on disk when this returns.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn keep(&mut self, value: serde_json::Value) -> Result<(), StepError> {
        self.append(&Record::Keep { value })
    }

    /// Writes the outcome.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn done(&mut self, outcome: Outcome, undo: bool) -> Result<(), StepError> {
        self.append(&Record::Done {
            outcome,
            undo,
            unix_ms: now_ms(),
        })
    }

    /// Writes the failure.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn failed(&mut self, failure: Failure, undo: bool) -> Result<(), StepError> {
        self.append(&Record::Failed {
            failure,
            undo,
            unix_ms: now_ms(),
        })
    }

    fn append(&mut self, record: &Record) -> Result<(), StepError> {
        // The transition is checked before it is written: a ledger never holds an illegal one. It counts when it is on the disk: what
        // follows a record that failed to be written is checked against what stands there.
        let mut next = self.replay.clone();
        next.take(record)?;
        let json = serde_json::to_string(record)
            .map_err(|e| StepError::new("ledger", format!("a record cannot be written: {e}")))?;
        let line = format!("{} {json}\n", checksum(json.as_bytes()));
        match self.write(line.as_bytes()) {
            Ok(()) => {
                next.intact_bytes += line.len();
                self.replay = next;
                Ok(())
            }
            Err(e) => Err(StepError::new(
                "ledger",
                format!("the ledger on the server's volume: {e}"),
            )
            .hint("free space on the volume, then `ferryctl resume`")),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let intact = u64::try_from(self.replay.intact_bytes).unwrap_or(u64::MAX);
        if self.torn {
            self.file.set_len(intact)?;
            self.torn = false;
        }
        let written = self
            .file
            .write_all(line)
            .and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.torn = self.file.set_len(intact).is_err();
        }
        written
    }
}

/// What the records of one file add up to.
#[derive(Debug, Clone, Default)]
struct Replay {
    status: StepStatus,
    outcome: Option<Outcome>,
    failure: Option<Failure>,
    /// Number of the last try that was begun, of the step or of its undo.
    attempt: u32,
    kept: Vec<serde_json::Value>,
    records: usize,
    intact_bytes: usize,
    updated_ms: u64,
}

impl Replay {
    fn of(bytes: &[u8], run: &str, step: &str) -> Result<Self, StepError> {
        let mut replay = Self {
            status: StepStatus::Planned,
            ..Self::default()
        };
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, offset) = (replay.records + 1, replay.intact_bytes);
            let damaged = |why: &str| damaged(run, step, (line, offset), why);
            let Some(record) = parse(&rest[..end]) else {
                if end + 1 == rest.len() && has_hole(&rest[..end]) {
                    break;
                }
                return Err(damaged("its checksum does not fit"));
            };
            if line == 1 && !matches!(record, Record::Format { .. }) {
                return Err(damaged("the beginning is missing"));
            }
            replay.take(&record).map_err(|e| match e.code() {
                "ledger-format" => e.during(format!("step `{step}` of run {run}")),
                _ => damaged(&e.to_string()),
            })?;
            rest = &rest[end + 1..];
            replay.intact_bytes += end + 1;
        }
        Ok(replay)
    }

    fn take(&mut self, record: &Record) -> Result<(), StepError> {
        match record {
            Record::Format { version } if *version > FORMAT => {
                return Err(StepError::new(
                    "ledger-format",
                    format!("the ledger has format {version}, this agent reads {FORMAT}"),
                )
                .hint("use the release of Ferry that began this run"));
            }
            Record::Format { .. } => {}
            Record::Begin {
                undo: false,
                unix_ms,
                attempt,
            } => {
                self.step(StatusEvent::Intend)?;
                self.step(StatusEvent::Begin)?;
                self.attempt = *attempt;
                self.failure = None;
                self.updated_ms = *unix_ms;
            }
            Record::Begin {
                undo: true,
                unix_ms,
                attempt,
            } => {
                self.step(StatusEvent::BeginUndo)?;
                self.attempt = *attempt;
                self.failure = None;
                self.updated_ms = *unix_ms;
            }
            Record::Keep { value } => self.kept.push(value.clone()),
            Record::Done {
                outcome,
                undo,
                unix_ms,
            } => {
                let event = if *undo {
                    StatusEvent::EndUndo
                } else {
                    StatusEvent::End(outcome.status())
                };
                self.step(event)?;
                self.outcome = Some(outcome.clone());
                self.failure = None;
                self.updated_ms = *unix_ms;
            }
            Record::Failed {
                failure,
                undo,
                unix_ms,
            } => {
                self.step(if *undo {
                    StatusEvent::FailUndo
                } else {
                    StatusEvent::Fail
                })?;
                self.failure = Some(failure.clone());
                self.updated_ms = *unix_ms;
            }
        }
        self.records += 1;
        Ok(())
    }

    fn step(&mut self, event: StatusEvent) -> Result<(), StepError> {
        self.status = next_status(self.status, event)
            .map_err(|illegal| StepError::new("illegal-transition", illegal.to_string()))?;
        Ok(())
    }

    fn entry(self, run: &str, step: &str) -> LedgerEntry {
        LedgerEntry {
            run: run.to_owned(),
            step: step.to_owned(),
            status: self.status.into(),
            outcome: self.outcome,
            failure: self.failure,
            updated: Some(timestamp(self.updated_ms)),
        }
    }
}

fn damaged(run: &str, step: &str, (line, offset): (usize, usize), why: &str) -> StepError {
    StepError::new(
        "ledger-damaged",
        format!(
            "the ledger of step `{step}` of run {run} is damaged at line {line}, byte {offset}: \
             {why}; what the step did cannot be told from it"
        ),
    )
    .hint(format!(
        "nothing was done; keep `runs/{run}/{step}.ledger` in the state folder, and \
         `ferryctl status {run}` tells what the controller knows of the step"
    ))
}

/// Whether a stretch of the line was never written: JSON has no zeros, and a torn write leaves at
/// least a sector of them. A flipped bit does not.
fn has_hole(line: &[u8]) -> bool {
    line.windows(64)
        .any(|window| window.iter().all(|&byte| byte == 0))
}

fn parse(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let (sum, json) = text.split_once(' ')?;
    if sum != checksum(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(16).collect()
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn timestamp(unix_ms: u64) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp {
        seconds: i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_ms % 1000 * 1_000_000).unwrap_or(0),
    }
}

/// See [`crate::fuzzing`].
#[doc(hidden)]
pub mod fuzzing {
    use super::{Replay, StepStatus, checksum};

    fn read(bytes: &[u8]) -> Option<(StepStatus, usize, usize)> {
        let replay = Replay::of(bytes, "run", "step").ok()?;
        Some((replay.status, replay.records, replay.intact_bytes))
    }

    fn holds(bytes: &[u8]) {
        let Some(read_first) = read(bytes) else {
            return;
        };
        let intact = &bytes[..read_first.2];
        assert_eq!(
            read(intact),
            Some(read_first),
            "what was cut off said something"
        );
        let torn = [intact, b"0123456789abcdef {\"record\":"].concat();
        assert_eq!(read(&torn), Some(read_first), "a torn line was not dropped");
    }

    /// A ledger's file is read or refused; what is torn off its end changes nothing of the rest.
    pub fn ledger(bytes: &[u8]) {
        holds(bytes);
        // No guess finds a checksum: the same lines again, each with the one that fits.
        let mut summed = Vec::with_capacity(bytes.len() * 2);
        for line in bytes.split(|&byte| byte == b'\n') {
            let json = line.get(17..).filter(|json| json.starts_with(b"{"));
            let json = json.unwrap_or(line);
            summed.extend_from_slice(checksum(json).as_bytes());
            summed.push(b' ');
            summed.extend_from_slice(json);
            summed.push(b'\n');
        }
        holds(&summed);
    }
}

#[cfg(test)]
mod tests;
