//! Crashes and damage, as bytes.

use super::*;
use crate::state_dir::STATE_DIR_NAME;

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(dir.path(), STATE_DIR_NAME);
    (dir, ledger)
}

fn done() -> Outcome {
    Outcome {
        status: StepStatus::Succeeded.into(),
        summary: "all".into(),
        ..Outcome::default()
    }
}

fn written() -> (tempfile::TempDir, Ledger, Vec<u8>) {
    let (dir, ledger) = ledger();
    let mut step = ledger.step("r", "s").unwrap();
    step.begin(1, false).unwrap();
    step.keep(serde_json::json!({"was": 26})).unwrap();
    step.done(done(), false).unwrap();
    drop(step);
    let bytes = ledger
        .run_dir("r")
        .unwrap()
        .read("s.ledger")
        .unwrap()
        .unwrap();
    (dir, ledger, bytes)
}

#[test]
fn what_was_written_is_read_again() {
    let (_dir, ledger, _) = written();
    let step = ledger.step("r", "s").unwrap();
    assert_eq!(step.status(), StepStatus::Succeeded);
    assert_eq!(step.outcome(), Some(&done()));
    assert_eq!(step.kept(), [serde_json::json!({"was": 26})]);
    assert_eq!(ledger.entries("").unwrap().len(), 1);
}

#[test]
fn a_torn_tail_is_dropped_at_every_length() {
    let (_dir, ledger, bytes) = written();
    let run = ledger.run_dir("r").unwrap();
    for length in 0..bytes.len() {
        run.replace("torn.ledger", &bytes[..length]).unwrap();
        let mut step = ledger.step("r", "torn").unwrap();
        if !step.status().is_done() {
            step.begin(2, false).unwrap();
            step.done(done(), false).unwrap();
        }
        drop(step);
        let again = ledger.step("r", "torn").unwrap();
        assert_eq!(again.status(), StepStatus::Succeeded, "cut at {length}");
    }
}

#[test]
fn damage_in_the_middle_is_refused() {
    let (_dir, ledger, bytes) = written();
    let run = ledger.run_dir("r").unwrap();
    let lines: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    for at in 0..lines[lines.len() - 2] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x01;
        run.replace("damaged.ledger", &damaged).unwrap();
        let error = ledger.step("r", "damaged").unwrap_err();
        assert_eq!(error.code(), "ledger-damaged", "byte {at}");
    }
}

#[test]
fn a_second_agent_cannot_hold_the_same_step() {
    let (_dir, ledger) = ledger();
    let held = ledger.step("r", "s").unwrap();
    assert_eq!(ledger.step("r", "s").unwrap_err().code(), "step-busy");
    drop(held);
    ledger.step("r", "s").unwrap();
}

#[test]
fn an_illegal_record_is_not_written() {
    let (_dir, ledger, bytes) = written();
    let mut step = ledger.step("r", "s").unwrap();
    assert_eq!(
        step.begin(2, false).unwrap_err().code(),
        "illegal-transition"
    );
    let after = ledger
        .run_dir("r")
        .unwrap()
        .read("s.ledger")
        .unwrap()
        .unwrap();
    assert_eq!(after, bytes);
}
