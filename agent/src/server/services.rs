//! Stopping and starting a server's programs, by name and in order.
//!
//! Why by name: `stopAllProcesses` also stops the agent where that is one of the programs. Why in order: nginx first, so
//! that clients are refused and keep their data instead of getting half-dead answers; `pmm-managed` before what it would
//! restart; the databases last (`facts/pmm.md` 8.1). Programs between which no order matters stop side by side: each second
//! of this is downtime, and every one has its own full grace all the same.
//!
//! What ran before is in the [`StopPlan`], which is made before the first stop: the caller writes it down first, so that
//! undo knows it whatever happens.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::supervisor::{Process, ProcessState, Supervisor};
use super::xmlrpc::Fault;
use super::{Result, ServerError};

/// The order in which known programs are stopped. `*` is where unknown ones go.
const ORDER: [&str; 15] = [
    "nginx",
    "*",
    "pmm-update-perform-init",
    "pmm-update-perform",
    "pmm-agent",
    "pmm-managed",
    "qan-api2",
    "vmproxy",
    "vmalert",
    "alertmanager",
    "dbaas-controller",
    "grafana",
    "victoriametrics",
    "clickhouse",
    "postgresql",
];
/// Programs of PMM that have no place of their own in the order.
const ALSO_KNOWN: [&str; 4] = ["prometheus", "pmm-init", "nomad-server", "pmm-update"];
/// The first of each wave: those up to the next are stopped together, when all before them are down. Those that use the
/// databases are in waves before them, and those that restart others before these.
const WAVES: [&str; 7] = [
    "nginx",
    "*",
    "pmm-update-perform-init",
    "pmm-agent",
    "pmm-managed",
    "qan-api2",
    "victoriametrics",
];
/// How often a program is looked at while it stops or starts. Most are gone at once, so the first looks come sooner.
const LOOK: Duration = Duration::from_millis(200);
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// How long a program may be ended before it counts as failed.
const EXITED_PATIENCE: Duration = Duration::from_secs(5);
/// What a program gets beyond its own grace, for the supervisor's own loop.
const SLACK: Duration = Duration::from_secs(15);

/// What will be stopped, and what must be started again to undo it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopPlan {
    /// All programs except the agent's own, in the order of stopping.
    pub order: Vec<String>,
    /// Those that run now, in the same order.
    pub ran: Vec<String>,
    /// Those that keep failing to start now. They are stopped, and left stopped by undo only if they fail again.
    pub struggling: Vec<String>,
    /// Those that PMM does not have by itself.
    pub unknown: Vec<String>,
}

/// The supervisor's name for PostgreSQL (facts/pmm.md 1.2).
pub const DATABASE: &str = "postgresql";

/// What happened to one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEvent {
    /// It was asked to stop.
    Stopping(String),
    /// It stopped; false when it had not been running.
    Stopped(String, bool),
    /// It was asked to start.
    Starting(String),
    /// It runs.
    Running(String),
}

/// Takes the events of a stop or start.
pub type OnService<'a> = &'a mut (dyn FnMut(ServiceEvent) + Send);

/// The order in which programs are stopped, as the full names that the supervisor takes. `own` is the program that the
/// agent itself is, if it is one.
#[must_use]
pub fn stop_order(processes: &[Process], own: Option<&str>) -> Vec<String> {
    let mut ranked: Vec<(usize, &Process)> = processes
        .iter()
        .filter(|process| own.is_none_or(|own| !process.is_named(own)))
        .map(|process| (rank(process), process))
        .collect();
    ranked.sort_by(|(a_rank, a), (b_rank, b)| {
        a_rank
            .cmp(b_rank)
            .then_with(|| a.full_name().cmp(&b.full_name()))
    });
    ranked
        .into_iter()
        .map(|(_, process)| process.full_name())
        .collect()
}

/// The wave of a program that [`stop_order`] names.
fn wave(full_name: &str) -> usize {
    let unknown = position("*");
    let rank = full_name.rsplit(':').find_map(place).unwrap_or(unknown);
    WAVES.iter().filter(|first| position(first) <= rank).count()
}

fn position(name: &str) -> usize {
    ORDER
        .iter()
        .position(|known| *known == name)
        .unwrap_or_default()
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == name && name != "*")
}

fn rank(process: &Process) -> usize {
    place(&process.name)
        .or_else(|| place(&process.group))
        .unwrap_or_else(|| position("*"))
}

/// Whether PMM has a program of this name by itself.
#[must_use]
pub fn is_known(process: &Process) -> bool {
    [&process.name, &process.group]
        .into_iter()
        .any(|name| place(name).is_some() || ALSO_KNOWN.contains(&name.as_str()))
}

/// What stopping everything will mean.
#[must_use]
pub fn plan_stop(processes: &[Process], own: Option<&str>) -> StopPlan {
    let order = stop_order(processes, own);
    let pick = |wanted: &dyn Fn(&Process) -> bool| -> Vec<String> {
        let chosen: Vec<String> = processes
            .iter()
            .filter(|p| wanted(p))
            .map(Process::full_name)
            .collect();
        order
            .iter()
            .filter(|name| chosen.contains(name))
            .cloned()
            .collect()
    };
    StopPlan {
        ran: pick(&|process| process.state.is_up()),
        struggling: pick(&|process| process.state == ProcessState::Backoff),
        unknown: pick(&|process| !is_known(process)),
        order,
    }
}

/// Stops what the plan names, wave after wave, each with its own grace, and proves that the processes are gone.
///
/// Safe to repeat: what is down already is passed over.
///
/// # Errors
/// A program does not stop in its time, something came back, the supervisor cannot be reached, or `cancel` fired; what
/// was stopped until then stays stopped.
pub async fn stop_all(
    supervisor: &Supervisor,
    plan: &StopPlan,
    on: OnService<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    for together in plan.order.chunk_by(|a, b| wave(a) == wave(b)) {
        let mut asked = Vec::with_capacity(together.len());
        for name in together {
            asked.extend(ask_to_stop(supervisor, name, on).await?);
        }
        for stopping in asked {
            stopping.wait(supervisor, on, cancel).await?;
        }
    }
    let names: Vec<String> = supervisor
        .processes()
        .await?
        .iter()
        .filter(|process| plan.order.contains(&process.full_name()) && !process.state.is_down())
        .map(Process::full_name)
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(ServerError::ProgramsCameBack { names })
    }
}

/// A program that was asked to stop.
struct Stopping<'a> {
    name: &'a str,
    process: Option<Identity>,
    grace: Duration,
    since: Instant,
}

/// Asks one program to stop, if it runs.
async fn ask_to_stop<'a>(
    supervisor: &Supervisor,
    name: &'a str,
    on: OnService<'_>,
) -> Result<Option<Stopping<'a>>> {
    let before = match supervisor.process(name).await {
        // Somebody removed it from the supervisor meanwhile: then it does not run.
        Err(ServerError::SupervisorFault { fault, .. }) if fault.code == Fault::BAD_NAME => {
            return Ok(None);
        }
        other => other?,
    };
    if before.state.is_down() {
        on(ServiceEvent::Stopped(name.to_owned(), false));
        return Ok(None);
    }
    let grace = supervisor.config().stop_wait(&before.group, &before.name) + SLACK;
    let process = before.pid.and_then(Identity::of);
    on(ServiceEvent::Stopping(name.to_owned()));
    supervisor.stop(name).await?;
    Ok(Some(Stopping {
        name,
        process,
        grace,
        since: Instant::now(),
    }))
}

impl Stopping<'_> {
    async fn wait(
        self,
        supervisor: &Supervisor,
        on: OnService<'_>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut look = FIRST_LOOK;
        loop {
            let now = supervisor.process(self.name).await?;
            let gone = self.process.as_ref().is_none_or(|it| !it.is_alive());
            if now.state.is_down() && now.pid.is_none() && gone {
                on(ServiceEvent::Stopped(self.name.to_owned(), true));
                return Ok(());
            }
            let waited = self.since.elapsed();
            if waited > self.grace {
                return Err(late(self.name, now.state, "stopped", waited));
            }
            pause(cancel, "stopping the server's programs", look).await?;
            look = (look * 2).min(LOOK);
        }
    }
}

/// Starts `names`, which are given in the order of stopping, in the reverse order, and waits until each is RUNNING.
///
/// # Errors
/// A program fails or is not RUNNING within `patience` beyond its own `startsecs`, the supervisor cannot be reached, or
/// `cancel` fired.
pub async fn start_all(
    supervisor: &Supervisor,
    names: &[String],
    patience: Duration,
    on: OnService<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    for name in names.iter().rev() {
        on(ServiceEvent::Starting(name.clone()));
        supervisor.start(name).await?;
        let started = Instant::now();
        let mut exited_since = None;
        loop {
            let now = supervisor.process(name).await?;
            // A program that ended is started again by the supervisor within a second, where it is
            // meant to go on; one that has done its work stays ended with 0.
            if now.state == ProcessState::Exited {
                let since: Instant = *exited_since.get_or_insert_with(Instant::now);
                if since.elapsed() < EXITED_PATIENCE {
                    pause(cancel, "starting the server's programs", LOOK).await?;
                    continue;
                }
                if now.exit_status == 0 {
                    break;
                }
            } else {
                exited_since = None;
            }
            let allowed = supervisor.config().start_wait(&now.group, &now.name) + patience;
            match now.state {
                ProcessState::Running => break,
                ProcessState::Fatal | ProcessState::Exited => {
                    return Err(ServerError::ProgramFailed {
                        name: name.clone(),
                        state: now.state.as_str().into(),
                        why: now.spawn_error,
                    });
                }
                state if started.elapsed() > allowed => {
                    return Err(late(name, state, "running", started.elapsed()));
                }
                // It was still stopping when it was asked to start, so that was not heard.
                ProcessState::Stopped => {
                    supervisor.start(name).await?;
                }
                _ => {}
            }
            pause(cancel, "starting the server's programs", LOOK).await?;
        }
        on(ServiceEvent::Running(name.clone()));
    }
    Ok(())
}

fn late(name: &str, state: ProcessState, wanted: &'static str, after: Duration) -> ServerError {
    ServerError::ProgramLate {
        name: name.to_owned(),
        state: state.as_str().into(),
        wanted,
        after,
    }
}

async fn pause(cancel: &CancellationToken, what: &str, pause: Duration) -> Result<()> {
    tokio::select! {
        () = cancel.cancelled() => Err(ServerError::Cancelled { what: what.into() }),
        () = tokio::time::sleep(pause) => Ok(()),
    }
}

/// A process that cannot be mistaken for a later one with the same number.
struct Identity {
    pid: u32,
    start: String,
}

impl Identity {
    fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: start_time(pid)?,
        })
    }

    fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|start| start == self.start)
    }
}

/// Field 22 of `/proc/<pid>/stat`; `None` also for a process that ended and was not yet collected.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, but it ends with the last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(group: &str, name: &str, state: ProcessState) -> Process {
        Process {
            name: name.into(),
            group: group.into(),
            state,
            pid: None,
            exit_status: 0,
            spawn_error: String::new(),
            logfile: String::new(),
            started: 0,
        }
    }

    #[test]
    fn databases_stop_together_when_nobody_uses_them_any_more() {
        let waves = |names: &[&str]| names.iter().map(|name| wave(name)).collect::<Vec<_>>();
        assert_eq!(
            waves(&[
                "nginx",
                "own:own",
                "pmm-update-perform",
                "pmm-agent",
                "pmm-managed"
            ]),
            [1, 2, 3, 4, 5]
        );
        assert_eq!(waves(&["qan-api2", "vmalert", "tools:grafana"]), [6; 3]);
        assert_eq!(
            waves(&["victoriametrics", "clickhouse", "postgresql"]),
            [7; 3]
        );
    }

    proptest! {
        #[test]
        fn waves_never_go_back(names in proptest::sample::subsequence(ORDER.to_vec(), 0..ORDER.len())) {
            let all: Vec<_> = names.iter().map(|n| process(n, n, ProcessState::Running)).collect();
            let order = stop_order(&all, None);
            prop_assert!(order.windows(2).all(|pair| wave(&pair[0]) <= wave(&pair[1])));
        }
    }

    #[test]
    fn nginx_first_databases_last_and_not_ourselves() {
        let names = [
            "postgresql",
            "grafana",
            "ferryd",
            "clickhouse",
            "pmm-managed",
            "nginx",
            "mine",
        ];
        let mut all: Vec<Process> = names
            .iter()
            .map(|name| process(name, name, ProcessState::Running))
            .collect();
        all.push(process("theirs", "a", ProcessState::Backoff));
        all[1].state = ProcessState::Exited;
        let plan = plan_stop(&all, Some("ferryd"));
        assert_eq!(
            plan.order,
            [
                "nginx",
                "mine",
                "theirs:a",
                "pmm-managed",
                "grafana",
                "clickhouse",
                "postgresql"
            ]
        );
        assert_eq!(
            plan.ran,
            ["nginx", "mine", "pmm-managed", "clickhouse", "postgresql"]
        );
        assert_eq!(plan.struggling, ["theirs:a"]);
        assert_eq!(plan.unknown, ["mine", "theirs:a"]);
    }

    #[test]
    fn own_start_time_is_read() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(
            !Identity {
                pid: own.pid,
                start: "1".into()
            }
            .is_alive()
        );
        assert!(Identity::of(u32::MAX).is_none());
    }

    proptest! {
        #[test]
        fn every_program_once_and_in_order(picks in prop::collection::btree_set((0usize..ORDER.len(), 0u8..3), 0..20)) {
            let all: Vec<Process> = picks.iter().map(|(at, salt)| match ORDER[*at] {
                "*" => process(&format!("u{salt}"), "x", ProcessState::Running),
                name if *salt == 0 => process(name, name, ProcessState::Running),
                name => process("g", &format!("{name}-{salt}"), ProcessState::Running),
            }).collect();
            let order = stop_order(&all, None);
            let mut expected: Vec<String> = all.iter().map(Process::full_name).collect();
            let mut sorted = order.clone();
            expected.sort();
            sorted.sort();
            prop_assert_eq!(sorted, expected);
            let places: Vec<usize> = order.iter().filter_map(|name| place(name)).collect();
            prop_assert!(places.is_sorted());
            prop_assert_eq!(order.iter().position(|name| name == "nginx").unwrap_or(0), 0);
        }
    }
}
