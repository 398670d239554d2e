//! The life of a step at an agent, on the steps that need nothing but a tree: performed twice, undone
//! twice, cut off, and asked for by a controller that knows more than the ledger.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use ferry_proto::v1::{self, Action, Place, action::Kind as ActionKind};
use futures_util::StreamExt as _;

use super::*;
use crate::{state_dir::STATE_DIR_NAME, surroundings::Volume};

/// Somebody's data and a place for its copy.
struct Bench {
    data: tempfile::TempDir,
    backup: tempfile::TempDir,
    runner: Arc<Runner>,
}

const RUN: &str = "r1";
/// A step that the run has begun before.
const BEFORE: &str = "capture-baseline";

impl Bench {
    /// `None` where owners cannot be changed.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let (data, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = data.path();
        fs_err::create_dir_all(root.join("prometheus/rules")).unwrap();
        for (name, owner, mode) in [
            ("prometheus/rules/own.yml", 1000, 0o644),
            ("key", 0, 0o600),
            ("tool", 26, 0o4755),
        ] {
            let path = root.join(name);
            fs_err::write(&path, name).unwrap();
            rustix::fs::chown(
                &path,
                Some(rustix::fs::Uid::from_raw(owner)),
                Some(rustix::fs::Gid::from_raw(owner)),
            )
            .unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let runner = Self::runner(root, backup.path());
        // A run comes to the last pass with other steps behind it.
        let ledger = Ledger::at(root, STATE_DIR_NAME);
        let mut before = ledger.step(RUN, BEFORE).unwrap();
        before.begin(1, false).unwrap();
        Some(Self {
            data,
            backup,
            runner,
        })
    }

    fn runner(data: &Path, backup: &Path) -> Arc<Runner> {
        let volume = Volume {
            data: data.to_owned(),
            backup: backup.to_owned(),
            live: None,
        };
        Runner::new(
            Arc::new(Surroundings::Volume(volume)),
            Ledger::at(data, STATE_DIR_NAME),
        )
    }

    /// Everything that a rollback must bring back, by path.
    fn picture(&self) -> Vec<(String, u32, u32, u32, i64, Vec<u8>)> {
        let mut all = Vec::new();
        let mut folders = vec![self.data.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(STATE_DIR_NAME) {
                    continue;
                }
                let meta = fs_err::symlink_metadata(&path).unwrap();
                let bytes = if meta.is_dir() {
                    Vec::new()
                } else {
                    fs_err::read(&path).unwrap()
                };
                if meta.is_dir() {
                    folders.push(path.clone());
                }
                let name = path.display().to_string();
                all.push((
                    name,
                    meta.uid(),
                    meta.gid(),
                    meta.mode(),
                    meta.mtime(),
                    bytes,
                ));
            }
        }
        all.sort();
        all
    }

    async fn ask(&self, step: &Step, undo: Option<bool>) -> Result<Kind, StepError> {
        let undo = undo.map(|has_outcome| Undo {
            has_outcome,
            ..Undo::default()
        });
        let mut events = self.runner.start(RUN, step, 1, undo).await?;
        let mut last = None;
        while let Some(event) = events.next().await {
            last = event.kind;
        }
        Ok(last.expect("a step ends with an event"))
    }

    async fn run(&self, step: &Step) -> Outcome {
        match self.ask(step, None).await.unwrap() {
            Kind::Finished(outcome) => outcome,
            other => panic!("{}: {other:?}", step.id),
        }
    }

    async fn undo(&self, step: &Step) -> Outcome {
        match self.ask(step, Some(true)).await.unwrap() {
            Kind::Finished(outcome) => outcome,
            other => panic!("{}: {other:?}", step.id),
        }
    }
}

fn step(kind: ActionKind) -> Step {
    let action = Action { kind: Some(kind) };
    Step {
        id: action.kind_name().to_owned(),
        place: Place::Volume.into(),
        action: Some(action),
        ..Step::default()
    }
}

fn target() -> Option<v1::Owner> {
    Some(v1::Owner { uid: 1000, gid: 0 })
}

/// The volume agent's steps as a plan has them.
fn steps() -> Vec<Step> {
    vec![
        step(ActionKind::CopyVolume(v1::CopyVolume {
            final_pass: true,
            ..Default::default()
        })),
        step(ActionKind::ProveCopy(v1::ProveCopy {
            final_manifest: true,
            ..v1::ProveCopy::default()
        })),
        step(ActionKind::SetAsideFiles(v1::SetAsideFiles {
            paths: vec!["prometheus/rules/own.yml".to_owned()],
        })),
        step(ActionKind::TransferOwnership(v1::TransferOwnership {
            owner: target(),
            expected_entries: 0,
        })),
        step(ActionKind::HandOverVolume(v1::HandOverVolume {
            owner: target(),
        })),
    ]
}

#[tokio::test]
async fn every_step_can_be_done_twice_and_undone_twice() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.picture();
    for step in &steps() {
        let first = bench.run(step).await;
        assert_eq!(bench.run(step).await, first, "{}", step.id);
    }
    assert_ne!(bench.picture(), before);
    for step in steps().iter().rev() {
        let first = bench.undo(step).await;
        assert_eq!(first.status(), StepStatus::Undone);
        assert_eq!(bench.undo(step).await, first, "{}", step.id);
    }
    assert_eq!(bench.picture(), before);
}

/// A disk that was not mounted again after a reboot leaves an empty folder: not what became of the data.
#[tokio::test]
async fn an_empty_folder_in_the_place_of_the_data_does_not_empty_the_copy() {
    let Some(bench) = Bench::new() else { return };
    let last_pass = &steps()[0];
    bench.run(last_pass).await;
    let copied = bench.backup.path().join("data/key");
    assert!(copied.exists());
    let elsewhere = tempfile::tempdir().unwrap();
    let bench = Bench {
        runner: Bench::runner(elsewhere.path(), bench.backup.path()),
        ..bench
    };
    match bench.ask(last_pass, None).await.unwrap() {
        Kind::Failed(failure) => assert_eq!(failure.code, "data-elsewhere"),
        other => panic!("{other:?}"),
    }
    assert!(copied.exists());
}

#[tokio::test]
async fn each_step_alone_is_undone_whatever_became_of_it() {
    for number in 1..steps().len() {
        let Some(bench) = Bench::new() else { return };
        let steps = steps();
        bench.run(&steps[0]).await;
        let before = bench.picture();
        // Cut off right behind the intent: the ledger knows no more.
        let ledger = Ledger::at(bench.data.path(), STATE_DIR_NAME);
        let step = &steps[number];
        ledger.step(RUN, &step.id).unwrap().begin(1, false).unwrap();
        bench.undo(step).await;
        assert_eq!(bench.picture(), before, "{}", step.id);
    }
}

/// Who moved a file back died before the time of its folder was set.
#[tokio::test]
async fn a_file_that_is_back_already_gives_its_folder_the_time_it_had() {
    let Some(bench) = Bench::new() else { return };
    let root = bench.data.path();
    let rules = std::fs::File::open(root.join("prometheus/rules")).unwrap();
    rules.set_modified(std::time::UNIX_EPOCH).unwrap();
    let before = bench.picture();
    let set_aside = &steps()[2];
    bench.run(set_aside).await;
    let ledger = Ledger::at(root, STATE_DIR_NAME);
    ledger
        .step(RUN, &set_aside.id)
        .unwrap()
        .begin(2, true)
        .unwrap();
    let aside = root.join(STATE_DIR_NAME).join("runs").join(RUN);
    fs_err::rename(aside.join("aside-0"), root.join("prometheus/rules/own.yml")).unwrap();
    assert_ne!(bench.picture(), before);
    bench.undo(set_aside).await;
    assert_eq!(bench.picture(), before);
}

#[tokio::test]
async fn a_file_that_somebody_made_in_the_place_of_one_set_aside_is_told() {
    let Some(bench) = Bench::new() else { return };
    let set_aside = &steps()[2];
    bench.run(set_aside).await;
    let own = bench.data.path().join("prometheus/rules/own.yml");
    fs_err::write(&own, "somebody's").unwrap();
    let told = bench.undo(set_aside).await;
    let [warning] = &told.warnings[..] else {
        panic!("{told:?}")
    };
    assert!(
        warning.contains("own.yml` is another file now"),
        "{warning}"
    );
    assert!(warning.contains("aside-0"), "{warning}");
    assert_eq!(fs_err::read_to_string(own).unwrap(), "somebody's");
}

#[tokio::test]
async fn what_the_target_changed_is_restored_and_kept_aside() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.picture();
    for step in &steps() {
        bench.run(step).await;
    }
    let root = bench.data.path();
    fs_err::write(root.join("key"), "migrated one way").unwrap();
    fs_err::write(root.join("new"), "only the target has it").unwrap();
    fs_err::remove_file(root.join("tool")).unwrap();
    for step in steps().iter().rev() {
        bench.undo(step).await;
    }
    assert_eq!(bench.picture(), before);
    let aside = root
        .join(STATE_DIR_NAME)
        .join("runs")
        .join(RUN)
        .join("after-1");
    assert!(fs_err::read_dir(aside).unwrap().count() > 0);
}

#[tokio::test]
async fn an_emptied_ledger_is_no_undo() {
    let Some(bench) = Bench::new() else { return };
    let steps = steps();
    for step in &steps {
        bench.run(step).await;
    }
    fs_err::remove_dir_all(bench.data.path().join(STATE_DIR_NAME)).unwrap();
    for step in steps.iter().rev() {
        let refused = bench.ask(step, Some(true)).await.unwrap_err();
        assert_eq!(refused.code(), "ledger-missing", "{}", step.id);
        // A step that the controller does not know to be done may never have been begun.
        assert!(matches!(
            bench.ask(step, Some(false)).await,
            Ok(Kind::Finished(_))
        ));
    }
}

#[tokio::test]
async fn a_step_for_another_place_is_refused_and_can_be_undone() {
    let Some(bench) = Bench::new() else { return };
    let stop = step(ActionKind::StopServices(v1::StopServices::default()));
    let failed = bench.ask(&stop, None).await.unwrap();
    assert!(matches!(failed, Kind::Failed(failure) if failure.code == "wrong-place"));
    let listed = bench.runner.list(RUN).unwrap();
    let entry = listed.iter().find(|it| it.step == stop.id).unwrap();
    assert_eq!(entry.status(), StepStatus::Failed);
}

#[tokio::test]
async fn names_that_could_be_paths_are_refused() {
    let Some(bench) = Bench::new() else { return };
    for id in ["", "../x", "a/b", "A", "x y", &"x".repeat(65)] {
        let step = Step {
            id: id.to_owned(),
            ..steps().remove(0)
        };
        let refused = bench.ask(&step, None).await.unwrap_err();
        assert_eq!(refused.code(), "bad-name", "{id:?}");
    }
}

/// Work that fails with this code, and counts how often it was done.
struct Failing(&'static str, Arc<std::sync::atomic::AtomicU32>);

#[async_trait::async_trait]
impl steps::Work for Failing {
    async fn apply(&self, _: &Context) -> Result<Outcome, StepError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Err(StepError::new(self.0, "it is broken").hint("mend it"))
    }

    async fn verify(&self, _: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, cx: &Context) -> Result<Outcome, StepError> {
        self.apply(cx).await
    }
}

fn failing(code: &'static str, data: &Path) -> (Arc<Runner>, Arc<std::sync::atomic::AtomicU32>) {
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = count.clone();
    let works = Works::new(move |_| Ok(Box::new(Failing(code, counted.clone()))));
    let volume = Volume {
        data: data.to_owned(),
        live: None,
        backup: data.to_owned(),
    };
    let around = Arc::new(Surroundings::Volume(volume));
    let runner = Runner::performing(around, Ledger::at(data, STATE_DIR_NAME), works);
    (runner, count)
}

async fn end_of(runner: &Arc<Runner>, attempt: u32, undo: bool) -> Kind {
    let step = Step {
        id: "s".into(),
        ..Step::default()
    };
    let undo = undo.then(Undo::default);
    let mut events = runner.start(RUN, &step, attempt, undo).await.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = event.kind;
    }
    last.unwrap()
}

/// The answer of a failed try was lost: whoever asks for the same try again gets it, and no new one.
#[tokio::test]
async fn a_failed_try_is_answered_again_and_only_a_new_one_made_anew() {
    let data = tempfile::tempdir().unwrap();
    let (runner, count) = failing("broken", data.path());
    let count = || count.load(std::sync::atomic::Ordering::Relaxed);
    for (attempt, undo, tries) in [
        (1, false, 1),
        (1, false, 1),
        (2, false, 2),
        (2, false, 2),
        (1, true, 3),
        (1, true, 3),
        (2, true, 4),
    ] {
        let Kind::Failed(failure) = end_of(&runner, attempt, undo).await else {
            panic!("it fails");
        };
        assert_eq!((&*failure.code, &*failure.hint), ("broken", "mend it"));
        assert_eq!(count(), tries, "try {attempt}, undo {undo}");
    }
    // After a restart of the agent too: the ledger knows.
    let (runner, again) = failing("broken", data.path());
    end_of(&runner, 2, true).await;
    assert_eq!(again.load(std::sync::atomic::Ordering::Relaxed), 0);
}

/// It is waited for by whoever asks, with the same try.
#[tokio::test]
async fn a_try_that_found_no_engine_is_made_anew_when_it_is_asked_for_again() {
    for code in ["engine-unreachable", "engine-interrupted", "engine-timeout"] {
        let data = tempfile::tempdir().unwrap();
        let (runner, count) = failing(code, data.path());
        for (undo, tries) in [(false, 1), (false, 2), (true, 3), (true, 4)] {
            let Kind::Failed(failure) = end_of(&runner, 1, undo).await else {
                panic!("it fails");
            };
            assert_eq!(failure.code, code);
            let made = count.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(made, tries, "{code}, undo {undo}");
        }
    }
}

/// Two connections ask for one step at the same moment, from two threads: one performs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_step_asked_for_twice_at_once_is_one_step() {
    for _ in 0..50 {
        let data = tempfile::tempdir().unwrap();
        let (runner, count) = failing("broken", data.path());
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let runner = runner.clone();
                tokio::spawn(async move { end_of(&runner, 1, false).await })
            })
            .collect();
        for one in asked {
            let Kind::Failed(failure) = one.await.unwrap() else {
                panic!("it fails");
            };
            assert_eq!(failure.code, "broken");
        }
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

/// Work that is given a key, uses it, and fails the first time.
struct Trial;

const KEY: &str = "eyJrIjoib3duIiwibiI6ImNpIn0=";

#[async_trait::async_trait]
impl steps::Work for Trial {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        cx.keep(&true)?;
        cx.note(format!("it is {:?}", cx.api_key));
        match &cx.api_key {
            Some(key) if key.reveal() == KEY => Ok(Outcome {
                status: StepStatus::Succeeded.into(),
                ..Outcome::default()
            }),
            other => Err(StepError::new("api-key-refused", format!("{other:?}"))),
        }
    }

    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(Outcome::default())
    }
}

#[tokio::test]
async fn a_key_reaches_the_work_and_no_file_or_event() {
    let data = tempfile::tempdir().unwrap();
    let volume = Volume {
        data: data.path().to_owned(),
        backup: data.path().to_owned(),
        live: None,
    };
    let runner = Runner::performing(
        Arc::new(Surroundings::Volume(volume)),
        Ledger::at(data.path(), STATE_DIR_NAME),
        Works::new(|_| Ok(Box::new(Trial))),
    );
    let step = step(ActionKind::CaptureBaseline(v1::CaptureBaseline {}));
    let mut told = String::new();
    // A wrong one first: a refusal must not tell it either.
    for (attempt, key) in [(1, "another-key-1234"), (2, KEY)] {
        let secret = Some(Secret::new(key));
        let events = runner.start_with(RUN, &step, attempt, None, secret).await;
        let events: Vec<StepEvent> = events.unwrap().collect().await;
        let finished = matches!(events.last().unwrap().kind, Some(Kind::Finished(_)));
        assert_eq!(finished, key == KEY, "{events:?}");
        told.push_str(&format!("{events:?}"));
    }
    told.push_str(&format!("{:?}", runner.list(RUN).unwrap()));
    let mut files = 0;
    let mut folders = vec![data.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                told.push_str(&String::from_utf8_lossy(&fs_err::read(&path).unwrap()));
            }
        }
    }
    assert!(files > 0, "the ledger is a file");
    assert!(told.contains("api-key-refused") && told.contains("(hidden)"));
    assert!(
        !told.contains(KEY) && !told.contains("another-key-1234"),
        "{told}"
    );
}
