//! Stops the server's programs by name, in order, each with its own grace (facts/pmm.md 8.1), so
//! that nothing is killed and clients see a closed port instead of half an answer.

use std::time::Duration;

use async_trait::async_trait;
use ferry_proto::v1::Outcome;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    context::Context,
    error::StepError,
    server::{
        ServerError, ServerRoot,
        postgres::Postgres,
        services::{ServiceEvent, plan_stop, start_all, stop_all},
        supervisor::Supervisor,
    },
    steps::{Work, count, done, done_with},
};

pub(in crate::steps) struct StopServices;

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

#[async_trait]
impl Work for StopServices {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let container = cx.surroundings.container()?;
        let supervisor = Supervisor::at(&container.root)?;
        let processes = supervisor.processes().await?;
        let plan = plan_stop(&processes, container.own_program.as_deref());
        if cx.first_kept::<Before>()?.is_none() {
            super::baseline::refresh(cx).await?;
            let postgres = Postgres::find(&container.root, &processes).ok();
            let postgres_data = postgres
                .filter(|found| found.running)
                .map(|found| found.data_dir);
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
        keep_awake(supervisor);
        let warnings = plan
            .unknown
            .iter()
            .map(|name| format!("program `{name}` is not PMM's own; it was stopped too"))
            .collect();
        Ok(done_with(count(plan.ran.len() as u64, "program"), warnings))
    }

    async fn verify(&self, cx: &Context) -> Result<(), StepError> {
        let container = cx.surroundings.container()?;
        let supervisor = Supervisor::at(&container.root)?;
        let left: Vec<String> = supervisor
            .processes()
            .await?
            .into_iter()
            .filter(|process| {
                !container
                    .own_program
                    .as_deref()
                    .is_some_and(|own| process.is_named(own))
            })
            .filter(|process| !process.state.is_down())
            .map(|process| format!("{} is {}", process.full_name(), process.state.as_str()))
            .collect();
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
