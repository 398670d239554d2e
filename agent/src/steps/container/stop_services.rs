//! Stops the server's programs by name, in order, each with its own grace (facts/pmm.md 8.1), so
//! that nothing is killed and clients see a closed port instead of half an answer.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome, ServicesPart};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    error::StepError,
    server::{
        ServerError, ServerRoot,
        postgres::Postgres,
        services::{DATABASE, ServiceEvent, StopPlan, plan_stop, start_all, stop_all},
        supervisor::{Process, Supervisor},
    },
    steps::{Work, count, done, done_with, same_cluster},
    surroundings::Container,
};

pub(in crate::steps) struct StopServices(pub(in crate::steps) v1::StopServices);

#[derive(Serialize, Deserialize)]
struct Before {
    ran: Vec<String>,
    postgres_data: Option<std::path::PathBuf>,
}

/// How long a program may take to come back, beyond its own start time.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How long the supervisor of a container that was just started may take to listen.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(60);

async fn supervisor_of_a_fresh_start(
    root: &ServerRoot,
    cx: &Context,
) -> Result<Supervisor, StepError> {
    let until = Instant::now() + SUPERVISOR_PATIENCE;
    loop {
        let listens = async {
            let supervisor = Supervisor::at(root)?;
            supervisor.state().await?;
            Ok::<_, StepError>(supervisor)
        };
        match listens.await {
            Ok(supervisor) => return Ok(supervisor),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => {
                cx.check_cancelled()?;
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// The supervisor looks once a second whether it was told to end, unless something wakes it (its loop sleeps through
/// signals, as Python's own functions do since 3.5). Whoever stops the container next would wait for that, so it is kept
/// awake until it is gone. Not for long: a run may be held here by a person.
fn keep_awake(supervisor: Supervisor) {
    const PAUSE: Duration = Duration::from_millis(40);
    const AT_MOST: Duration = Duration::from_secs(20);
    tokio::spawn(async move {
        let until = Instant::now() + AT_MOST;
        // Once it is on its way down it answers with a fault: it still is there, and still sleeps.
        while Instant::now() < until
            && matches!(
                supervisor.state().await,
                Ok(_) | Err(ServerError::SupervisorFault { .. })
            )
        {
            sleep(PAUSE).await;
        }
    });
}

impl StopServices {
    /// Whether this step is to stop the program of that full name.
    fn means(&self, full_name: &str) -> bool {
        let database = full_name.rsplit(':').next() == Some(DATABASE);
        match self.0.part() {
            ServicesPart::Unspecified => true,
            ServicesPart::Clients => !database,
            ServicesPart::Database => database,
        }
    }

    fn plan(&self, processes: &[Process], own: Option<&str>) -> StopPlan {
        let mut plan = plan_stop(processes, own);
        for names in [
            &mut plan.order,
            &mut plan.ran,
            &mut plan.struggling,
            &mut plan.unknown,
        ] {
            names.retain(|name| self.means(name));
        }
        plan
    }

    /// After this step nothing of the server runs any more.
    fn is_last(&self) -> bool {
        self.0.part() != ServicesPart::Clients
    }
}

/// Before the last one is stopped: nobody has started the others again.
async fn check_others_down(step: &StopServices, container: &Container) -> Result<(), StepError> {
    super::check_down(
        container,
        |name| !step.means(name),
        "programs of the server run after its databases were dumped for the last time",
        "find out who started them and keep them from it for the run, then `ferryctl migrate` again",
    )
    .await
}

/// The server's programs that are not down, of those that are meant by their full name.
pub(super) async fn left_running(
    container: &Container,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<String>, StepError> {
    let supervisor = Supervisor::at(&container.root)?;
    let own = container.own_program.as_deref();
    let processes = supervisor.processes().await?.into_iter();
    let left = processes
        .filter(|process| !own.is_some_and(|own| process.is_named(own)))
        .filter(|process| is_meant(&process.full_name()) && !process.state.is_down())
        .map(|process| format!("{} is {}", process.full_name(), process.state.as_str()));
    Ok(left.collect())
}

#[async_trait]
impl Work for StopServices {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        let supervisor = Supervisor::at(&container.root)?;
        let processes = supervisor.processes().await?;
        let plan = self.plan(&processes, container.own_program.as_deref());
        let postgres = Postgres::find(&container.root, &processes).ok();
        if self.0.part() == ServicesPart::Database {
            // What was dumped is all there is: the others are still down, and this is the PostgreSQL that they left.
            check_others_down(self, container).await?;
            if let Some(found) = &postgres {
                same_cluster::check_start(cx, &container.root, &found.data_dir)?;
            }
        }
        if cx.first_kept::<Before>()?.is_none() {
            // Whoever could answer has been stopped before PostgreSQL is.
            if self.0.part() != ServicesPart::Database {
                super::baseline::refresh(cx).await?;
            }
            let postgres_data = postgres
                .as_ref()
                .filter(|found| found.running && self.is_last())
                .map(|found| found.data_dir.clone());
            cx.keep(&Before {
                ran: plan.ran.clone(),
                postgres_data,
            })?;
        }
        let (mut stopped, total) = (0, plan.order.len() as u64);
        let mut report = |event| match event {
            ServiceEvent::Stopping(name) => cx.progress(stopped, total, "programs", &name),
            ServiceEvent::Stopped(..) => stopped += 1,
            ServiceEvent::Starting(_) | ServiceEvent::Running(_) => {}
        };
        stop_all(&supervisor, &plan, &mut report, &cx.cancel.token).await?;
        if let Some(found) = &postgres {
            match self.0.part() {
                ServicesPart::Clients => {
                    same_cluster::note_start(cx, &container.root, &found.data_dir)?;
                }
                ServicesPart::Database => {
                    same_cluster::note_stop(cx, &container.root, &found.data_dir)?;
                }
                ServicesPart::Unspecified => {}
            }
        }
        if self.is_last() {
            keep_awake(supervisor);
        }
        let warnings = plan
            .unknown
            .iter()
            .map(|name| format!("program `{name}` is not PMM's own; it was stopped too"))
            .collect();
        Ok(done_with(count(plan.ran.len() as u64, "program"), warnings))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let container = cx.surroundings.container()?;
        let left = left_running(container, |name| self.means(name)).await?;
        if !left.is_empty() {
            return Err(
                StepError::new("programs-left", "programs of the server still run").details(left),
            );
        }
        let Some(before) = cx.first_kept::<Before>()? else {
            return Ok(());
        };
        let Some(data) = before.postgres_data else {
            return Ok(());
        };
        let control = Postgres::in_dir(&container.root, &data)?
            .controldata()
            .await?;
        if control.is_shut_down() {
            return Ok(());
        }
        Err(StepError::new(
            "postgres-not-shut-down",
            format!(
                "PostgreSQL's cluster is `{}` after the stop",
                control.cluster_state
            ),
        )
        .hint("see `/srv/logs/postgresql14.log`; the server is started again"))
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        let Some(before) = cx.first_kept::<Before>()? else {
            return Ok(done("nothing was stopped"));
        };
        let supervisor = supervisor_of_a_fresh_start(&container.root, cx).await?;
        let (mut started, total) = (0, before.ran.len() as u64);
        let mut report = |event| match event {
            ServiceEvent::Starting(name) => cx.progress(started, total, "programs", &name),
            ServiceEvent::Running(_) => started += 1,
            ServiceEvent::Stopping(_) | ServiceEvent::Stopped(..) => {}
        };
        start_all(
            &supervisor,
            &before.ran,
            START_PATIENCE,
            &mut report,
            &cx.cancel.token,
        )
        .await?;
        Ok(done(format!("{} again", count(total, "program"))))
    }
}
