use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const HELPER: &str = "FERRY_TREE_HELPER";

/// Not a test of its own: what the tests below start, to be killed.
#[test]
#[ignore = "started by other tests"]
fn helper() {
    let Some(dir) = std::env::var_os(HELPER).map(PathBuf::from) else {
        return;
    };
    let mode = fs::read_to_string(dir.join("mode")).unwrap();
    fs::write(dir.join("started"), "").unwrap();
    match &*mode {
        "first" => drop(give(
            &dir.join("srv"),
            &dir.join("record"),
            LinkCheck::First,
        )),
        "along" => drop(give(
            &dir.join("srv"),
            &dir.join("record"),
            LinkCheck::Along,
        )),
        "back" => drop(give_back(&dir.join("srv"), &dir.join("record"))),
        "live" => drop(killed_copies::pass(&dir, Pass::Live)),
        "final" => drop(killed_copies::pass(&dir, Pass::Final)),
        "restore" => drop(killed_copies::bring_back(&dir)),
        other => panic!("{other}"),
    }
}

/// Starts the helper, and waits until it is about to work.
#[expect(
    clippy::disallowed_methods,
    reason = "a process to be killed is what is tried here"
)]
fn start(dir: &Path, mode: &str) -> Child {
    fs::write(dir.join("mode"), mode).unwrap();
    let _ = fs::remove_file(dir.join("started"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tree::tests::killed::helper",
            "--ignored",
            "--test-threads=1",
        ])
        .env(HELPER, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !dir.join("started").exists() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Kills the helper after `delay`; true where it was still at work.
pub(super) fn killed_after(dir: &Path, mode: &str, delay: Duration) -> bool {
    let mut child = start(dir, mode);
    thread::sleep(delay);
    let _ = kill_process(Pid::from_child(&child), Signal::KILL);
    !child.wait().unwrap().success()
}

/// How long the helper works when it is left alone.
pub(super) fn undisturbed(dir: &Path, mode: &str) -> Duration {
    let mut child = start(dir, mode);
    let begin = Instant::now();
    assert!(child.wait().unwrap().success());
    begin.elapsed()
}

pub(super) fn large(root: &Path) {
    sample(root);
    for folder in 0..60 {
        for file in 0..100 {
            write(&root.join(format!("many/{folder}/{file}")), "content");
        }
    }
    for file in 0..200 {
        let path = root.join(format!("special/{file}"));
        write(&path, "s");
        own(&path, 8, 8);
        mode(&path, 0o6755);
        set_capability(&path);
    }
}

#[test]
fn a_killed_transfer_is_resumed_and_undone_exactly() {
    if !is_root() {
        return;
    }
    for mode in ["first", "along"] {
        let dir = tempfile::tempdir().unwrap();
        let (root, record) = (dir.path().join("srv"), dir.path().join("record"));
        large(&root);
        let before = snapshot(&root);
        let whole = undisturbed(dir.path(), mode);
        give_back(&root, &record).unwrap();
        assert_back(&snapshot(&root), &before);
        let (mut kills, mut halfway) = (0, 0);
        for step in 1..=16 {
            let delay = whole * step / 16;
            kills += u32::from(killed_after(dir.path(), mode, delay));
            let now = snapshot(&root);
            let differ = now
                .iter()
                .filter(|(path, state)| before[*path] != **state)
                .count();
            halfway += u32::from(differ > 0 && !is_given(&root).wrong.is_empty());
            if step % 3 == 0 {
                // Undone from halfway, possibly killed in that too.
                killed_after(dir.path(), "back", delay / 4);
                give_back(&root, &record).unwrap();
                assert_back(&snapshot(&root), &before);
            }
        }
        eprintln!("{mode}: {kills} of 16 killed within {whole:?}, {halfway} of them halfway");
        let report = give(&root, &record, LinkCheck::First).unwrap();
        assert!(report.entries > 6000);
        assert!(is_given(&root).wrong.is_empty());
        for (path, now) in snapshot(&root) {
            assert_eq!(
                (now.2, &now.3),
                (before[&path].2, &before[&path].3),
                "{path:?}"
            );
        }
        give_back(&root, &record).unwrap();
        assert_back(&snapshot(&root), &before);
    }
}

#[test]
fn a_cancelled_transfer_is_resumed_and_undone_exactly() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, path) = (dir.path().join("srv"), dir.path().join("record"));
    large(&root);
    let before = snapshot(&root);
    for millis in [0, 1, 2, 4, 8, 16] {
        let watch = Watch::default();
        let cancel = watch.cancel.clone();
        let opened = Root::open(&root, None).unwrap();
        let writer = RecordWriter::open(record(&path)).unwrap();
        let options = TransferOptions {
            links: LinkCheck::Along,
            ..TransferOptions::default()
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(millis));
                cancel.cancel();
            });
            let result = transfer(&opened, TARGET, writer, &options, &watch);
            assert!(
                matches!(result, Ok(_) | Err(TreeError::Cancelled)),
                "{result:?}"
            );
        });
    }
    give(&root, &path, LinkCheck::First).unwrap();
    assert!(is_given(&root).wrong.is_empty());
    give_back(&root, &path).unwrap();
    assert_back(&snapshot(&root), &before);
}
