//! What every verb needs: the printer, the journal, the agents of a server.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use ferry_proto::{
    Secret,
    v1::{Facts, Plan, Step, action::Kind},
};
use tokio_util::sync::CancellationToken;

use super::{End, Failed, summary, upkeep};
use crate::{
    cli::{Global, OnFailure},
    connect::{
        ConnectedHost, HostAgent, LocalEngine, RunAgents, TlsFolder,
        address::{Address, AgentAddress, EngineChoice, InCluster},
        binary::find_agent_binary,
        connect_client, connect_origin, connect_remote, start_beside_cluster, start_embedded,
    },
    exit::Exit,
    facts::{self, Wanted},
    recipes::{Compose, Unit, Wishes, pmm_move_appliance, policy, upkeep::is_upkeep},
    report::{Printer, live},
    run::{
        driver::{self, Driver},
        events::{self, RunState},
        journal::{Journal, default_state_folder},
    },
};

/// How long running host steps get to end at a safe place when a person has asked to stop.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(20);

/// One call of `ferryctl`.
pub(super) struct Session {
    pub(super) printer: Printer,
    pub(super) global: Global,
    pub(super) shutdown: CancellationToken,
    /// A key of the operator's, to be tried on the old server and on the new one.
    pub(super) api_key: Option<Secret>,
}

/// Which way a run is driven.
pub(super) enum Way {
    Onward,
    /// The machine that the data was pulled from is not asked any more.
    OnwardAlone,
    Back {
        /// The copy is restored as it is, whatever its manifest says.
        accept_damaged_copy: bool,
    },
}

impl Session {
    fn state_dir(&self) -> Result<std::path::PathBuf, Failed> {
        self.global
            .state_dir
            .clone()
            .or_else(default_state_folder)
            .ok_or_else(|| {
                Failed::plain(
                    "no-state-folder",
                    "there is no home folder to keep journals in",
                )
                .hint("name a folder with `--state-dir`")
            })
    }

    /// The journals.
    pub(super) fn journal(&self) -> Result<Journal, Failed> {
        Ok(Journal::open(&self.state_dir()?)?)
    }

    /// The host agent beside an engine: in this process, unless it is elsewhere.
    pub(super) async fn host(&self, engine: &EngineChoice) -> Result<ConnectedHost, Failed> {
        let no_image = match engine {
            EngineChoice::Kubernetes(place) => self.in_cluster(place).agent_image.is_none(),
            _ => false,
        };
        if no_image {
            return Err(Failed::plain("no-agent-image", "a cluster has to be told which image its agents are made of")
                .hint(
                    "build it with `cargo xtask image agent`, push it where the cluster fetches images, and name it with \
                     `--agent-image` or FERRY_AGENT_IMAGE",
                )
                .exit(Exit::Usage));
        }
        self.host_alone(engine).await
    }

    /// The host agent that a run is gone on with.
    pub(super) async fn host_of(&self, plan: &Plan) -> Result<ConnectedHost, Failed> {
        let engine = EngineChoice::of(plan);
        if plan.steps.iter().all(is_alone) {
            return self.host_alone(&engine).await;
        }
        self.host(&engine).await
    }

    fn in_cluster(&self, place: &InCluster) -> InCluster {
        let named = self.global.agent_image.clone();
        InCluster {
            agent_image: named.or_else(|| place.agent_image.clone()),
            ..place.clone()
        }
    }

    /// As [`Self::host`], for what needs no other agent: a cluster need not be told then what they are made of.
    pub(super) async fn host_alone(&self, engine: &EngineChoice) -> Result<ConnectedHost, Failed> {
        let local = match engine {
            EngineChoice::Docker => LocalEngine::Docker,
            EngineChoice::Podman => LocalEngine::Podman,
            EngineChoice::Kubernetes(place) => {
                let state = self.state_dir()?;
                Journal::open(&state)?;
                return Ok(start_beside_cluster(self.in_cluster(place), &state).await?);
            }
            EngineChoice::Agent(address) => {
                return Ok(connect_remote(address, &self.tls()).await?);
            }
        };
        let binary = find_agent_binary(self.global.agent_binary.as_deref())?;
        let state = self.state_dir()?;
        Journal::open(&state)?;
        Ok(start_embedded(local, &state, binary, &self.tls()).await?)
    }

    /// The certificates to show to agents elsewhere.
    fn tls(&self) -> TlsFolder {
        let folder = self.global.tls.clone().or_else(default_tls_folder);
        TlsFolder::new(&folder.unwrap_or_default())
    }

    /// The agent on a client's host.
    pub(super) async fn client(&self, address: &AgentAddress) -> Result<HostAgent, Failed> {
        Ok(connect_client(address, &self.tls()).await?)
    }

    /// The agent on the machine that a server moves away from.
    pub(super) async fn origin(&self, address: &AgentAddress) -> Result<HostAgent, Failed> {
        Ok(connect_origin(address, &self.tls()).await?)
    }

    /// What the agents see of a server now. One that a run has begun with is not looked at: halfway
    /// across it looks like a server that must not be touched, or that needs no migration.
    pub(super) async fn facts(
        &self,
        host: &ConnectedHost,
        address: &Address,
        wishes: &Wishes,
        pull: bool,
    ) -> Result<Facts, Failed> {
        self.printer.detail("looking at the server");
        let wanted = Wanted {
            container: address.container().to_owned(),
            target_image: wishes.target_image.clone(),
            // What is refused by its name is not fetched to be refused.
            pull: pull && !policy::refuses_name(wishes),
            backup_folder: wishes.backup.folder().to_owned(),
            data_volume: wishes.data_volume.clone().unwrap_or_default(),
            api_key: self.api_key.clone(),
            clients: false,
            only_clients: false,
            compose: wishes.compose != Compose::Refuse,
            unit: wishes.unit == Unit::Edit,
        };
        let identity = facts::identify(host.agent(), address.container()).await?;
        super::apply::refuse_locked(self, &identity)?;
        Ok(facts::gather(host.agent(), &wanted, &self.shutdown).await?)
    }

    /// Asks a person. Without one, `--yes` is needed: a script must say that it means it.
    pub(super) async fn confirm(&self, yes: bool, question: &str) -> Result<(), Failed> {
        if yes {
            return Ok(());
        }
        let mut stderr = std::io::stderr();
        if !std::io::stdin().is_terminal() || !stderr.is_terminal() {
            return Err(
                Failed::plain("not-confirmed", "nobody is there to confirm it")
                    .hint("say `--yes` to go on without being asked")
                    .exit(Exit::Usage),
            );
        }
        let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        // A thread of its own waits for the answer, so that Ctrl-C is one too.
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut answer)
                .map(|_| answer)
        });
        let answer = self.shutdown.run_until_cancelled(answer).await;
        let agreed = match answer {
            Some(Ok(Ok(answer))) => {
                matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
            }
            _ => false,
        };
        if asked.is_ok() && agreed {
            return Ok(());
        }
        Err(Failed::plain("not-confirmed", "it was not confirmed"))
    }

    /// Drives a run, and says how it ended.
    pub(super) async fn drive(
        &self,
        host: &ConnectedHost,
        journal: &Journal,
        run: &str,
        plan: &Plan,
        on_failure: Option<OnFailure>,
        way: &Way,
    ) -> End {
        let result = self
            .drive_run(host, journal, run, plan, on_failure, way)
            .await?;
        let backward_was_wanted = matches!(way, Way::Back { .. });
        if is_upkeep(plan) {
            let end = upkeep::tell(self, journal, &result)?;
            let taken_back = backward_was_wanted && result.state == RunState::RolledBack;
            return Ok(if taken_back { Exit::Done } else { end });
        }
        if plan.is_rehearsal() {
            let report = summary::of_rehearsal(&result);
            let json = || crate::report::json::rehearsal(&report);
            self.printer
                .data(|look| crate::report::rehearsal(&report, look), json);
        } else {
            let summary = summary::of(&result);
            let json = || crate::report::json::summary(&summary);
            self.printer
                .data(|look| crate::report::summary(&summary, look), json);
        }
        Ok(match result.state {
            RunState::Done | RunState::Finished => Exit::Done,
            RunState::RolledBack if backward_was_wanted => Exit::Done,
            RunState::RolledBack if was_held_by_another(&result) => Exit::Refused,
            RunState::RolledBack => Exit::RolledBack,
            RunState::Held | RunState::Running | RunState::RollingBack => Exit::Held,
        })
    }

    /// Drives a run; nothing is said of its end yet.
    pub(super) async fn drive_run(
        &self,
        host: &ConnectedHost,
        journal: &Journal,
        run: &str,
        plan: &Plan,
        on_failure: Option<OnFailure>,
        way: &Way,
    ) -> Result<driver::RunResult, Failed> {
        let container = plan
            .facts
            .as_ref()
            .and_then(|facts| facts.container.as_ref());
        let container = container.map(|it| it.name.clone()).unwrap_or_default();
        let mut agents = RunAgents::of(host.agent().beside(run, &container));
        if !plan.client.is_empty() {
            agents = agents.with_client(plan.client.parse()?, self.tls());
        }
        if let Some(origin) = pmm_move_appliance::origin_of(plan) {
            agents = agents.with_origin(origin.parse()?, self.tls());
        }
        let mut reporter = live::reporter(self.printer.settings());
        let options = driver::Options {
            on_failure: on_failure.map(|it| match it {
                OnFailure::Rollback => events::OnFailure::Rollback,
                OnFailure::Hold => events::OnFailure::Hold,
            }),
            accept_damaged_copy: matches!(
                way,
                Way::Back {
                    accept_damaged_copy: true
                }
            ),
            origin_gone: matches!(way, Way::OnwardAlone),
            ..driver::Options::default()
        };
        let report = Box::new(move |plan: &Plan, event: &_| reporter.event(plan, event));
        let mut driver = Driver::new(
            journal.clone(),
            agents,
            options,
            self.shutdown.clone(),
            report,
        )
        .with_api_key(self.api_key.clone());
        let result = match way {
            Way::Onward | Way::OnwardAlone => driver.apply(run).await?,
            Way::Back { .. } => driver.rollback(run).await?,
        };
        drop(driver);
        if result.is_interrupted() {
            // Host steps live in this process: they are told to stop where it is safe.
            let _late = tokio::time::timeout(DRAIN, host.drain()).await;
        }
        Ok(result)
    }
}

/// Whether the host agent does a step without any other.
fn is_alone(step: &Step) -> bool {
    let kind = step.action.as_ref().and_then(|it| it.kind.as_ref());
    matches!(kind, Some(Kind::RemoveBackup(_) | Kind::FinishRun(_)))
}

/// Where the certificates of this user's controller are.
fn default_tls_folder() -> Option<std::path::PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::base_strategy::Xdg::new().ok()?;
    Some(strategy.config_dir().join("ferry/tls"))
}

/// Another run, of another controller, was quicker: this one was refused by the engine's own lock.
fn was_held_by_another(result: &driver::RunResult) -> bool {
    let failure = result.failure.as_ref();
    failure.is_some_and(|failure| failure.code == "server-held-by-run")
}
