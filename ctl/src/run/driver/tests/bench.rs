//! A run of a small plan, its journal, and the agents that it is performed by.

use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex},
    time::Duration,
};

use ferry_proto::v1::{
    Action, CaptureBaseline, CompareBaseline, CopyVolume, HandOverVolume, LaunchAgents, Place,
    Plan, PullData, RetireAgents, StartServer, Step, StopServer, action::Kind,
};
use tokio_util::sync::CancellationToken;

use crate::{
    double::{Double, DoubleAgents},
    run::{
        driver::{Driver, Options, RunResult},
        events::RunEvent,
        journal::Journal,
    },
};

pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    pub(super) journal: Journal,
    pub(super) double: Double,
    pub(super) run: String,
}

pub(super) type Heard = Arc<Mutex<Vec<RunEvent>>>;

pub(super) fn quick() -> Options {
    Options {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        ..Options::default()
    }
}

fn plan() -> Plan {
    let step = |id: &str, place: Place, downtime: bool| {
        let kind = match id {
            "launch-agents" => Some(Kind::LaunchAgents(LaunchAgents::default())),
            "stop-server" => Some(Kind::StopServer(StopServer::default())),
            "start-server" => Some(Kind::StartServer(StartServer::default())),
            "retire-agents" => Some(Kind::RetireAgents(RetireAgents::default())),
            _ => None,
        };
        Step {
            id: id.into(),
            place: place.into(),
            title: id.replace('-', " "),
            action: Some(Action { kind }),
            downtime,
            ..Step::default()
        }
    };
    let steps = vec![
        step("pull-image", Place::Host, false),
        step("launch-agents", Place::Host, false),
        step("capture-baseline", Place::Container, false),
        step("stop-services", Place::Container, true),
        step("stop-server", Place::Host, true),
        step("transfer-ownership", Place::Volume, true),
        step("start-server", Place::Host, true),
        step("compare-baseline", Place::Container, false),
        step("retire-agents", Place::Host, false),
    ];
    ferry_proto::seal(Plan {
        steps,
        server: "docker:pmm".into(),
        ..Plan::default()
    })
    .unwrap()
}

pub(super) fn ids() -> Vec<String> {
    plan().steps.into_iter().map(|step| step.id).collect()
}

pub(super) fn done(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("do {id}")).collect()
}

pub(super) fn undone(ids: &[String]) -> Vec<String> {
    ids.iter().rev().map(|id| format!("undo {id}")).collect()
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(&plan())
    }

    /// The same plan, in which the steps that try a key are what they are called.
    pub(super) fn with_baselines() -> Self {
        let mut plan = plan();
        for step in &mut plan.steps {
            let kind = match step.id.as_str() {
                "capture-baseline" => Kind::CaptureBaseline(CaptureBaseline {}),
                "compare-baseline" => Kind::CompareBaseline(CompareBaseline::default()),
                _ => continue,
            };
            step.action = Some(Action { kind: Some(kind) });
        }
        Self::of(&ferry_proto::seal(plan).unwrap())
    }

    /// A plan whose way back restores data from a copy.
    pub(super) fn with_hand_over() -> Self {
        Self::by_recipe("")
    }

    /// The same by a recipe of this name.
    pub(super) fn by_recipe(name: &str) -> Self {
        let mut plan = plan();
        plan.recipe = name.to_owned();
        for step in &mut plan.steps {
            step.point_of_no_return = step.id == "start-server";
        }
        let step = |id: &str, kind: Kind| Step {
            id: id.into(),
            place: Place::Volume.into(),
            title: id.replace('-', " "),
            action: Some(Action { kind: Some(kind) }),
            downtime: true,
            ..Step::default()
        };
        let copy = CopyVolume {
            final_pass: true,
            ..CopyVolume::default()
        };
        plan.steps
            .insert(5, step("copy-changes", Kind::CopyVolume(copy)));
        let hand_over = HandOverVolume::default();
        plan.steps
            .insert(7, step("hand-over-volume", Kind::HandOverVolume(hand_over)));
        Self::of(&ferry_proto::seal(plan).unwrap())
    }

    /// A plan whose data comes from another machine.
    pub(super) fn with_pull() -> Self {
        let mut plan = plan();
        let step = |id: &str, kind: Option<Kind>| Step {
            id: id.into(),
            place: Place::Host.into(),
            title: id.replace('-', " "),
            action: Some(Action { kind }),
            downtime: true,
            ..Step::default()
        };
        let pull = PullData {
            final_pass: true,
            ..PullData::default()
        };
        plan.steps[5] = step("pull-changes", Some(Kind::PullData(pull)));
        plan.steps.insert(6, step("create-server", None));
        Self::of(&ferry_proto::seal(plan).unwrap())
    }

    fn of(plan: &Plan) -> Self {
        // In memory: thousands of syncs to a disk would be most of the time of these tests.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let journal = Journal::open(folder.path()).unwrap();
        let run = journal.create_run(plan, "docker:engine/pmm").unwrap();
        Self {
            folder,
            journal,
            double: Double::new(),
            run,
        }
    }

    pub(super) fn driver(&self, options: Options) -> Driver<'static, DoubleAgents> {
        self.driver_that_dies(options, usize::MAX).0
    }

    /// A driver that ends like a killed one right after the event with this number (from 0) is in
    /// the journal: not one more line of it is run.
    pub(super) fn driver_that_dies(
        &self,
        options: Options,
        after: usize,
    ) -> (Driver<'static, DoubleAgents>, Heard) {
        let heard = Heard::default();
        let events = heard.clone();
        let report = move |_: &Plan, event: &RunEvent| {
            if !matches!(event, RunEvent::Progress { .. }) {
                let count = {
                    let mut events = events.lock().unwrap();
                    events.push(event.clone());
                    events.len()
                };
                if count == after.saturating_add(1) {
                    resume_unwind(Box::new("killed"));
                }
            }
        };
        let agents = self.double.agents();
        let stop = CancellationToken::new();
        let driver = Driver::new(
            self.journal.clone(),
            agents,
            options,
            stop,
            Box::new(report),
        );
        (driver, heard)
    }

    pub(super) async fn apply(&self) -> RunResult {
        self.driver(quick()).apply(&self.run).await.unwrap()
    }

    pub(super) fn effects(&self) -> Vec<String> {
        self.double.state().effects.clone()
    }

    pub(super) fn logged(&self) -> Vec<RunEvent> {
        self.journal
            .events(&self.run, 1)
            .unwrap()
            .into_iter()
            .map(|entry| entry.event)
            .collect()
    }

    /// The journal tells the same as the driver did.
    pub(super) fn check(&self, result: &RunResult) {
        assert_eq!(self.journal.record(&self.run).unwrap(), result.record);
        assert_eq!(self.journal.run(&self.run).unwrap().state, result.state);
        let open = self.journal.open_run_for("docker:engine/pmm").unwrap();
        assert_eq!(open.is_none(), result.state.is_over());
        if result.state.is_over() {
            assert_eq!(result.record.downtime.since, None);
        }
    }
}
