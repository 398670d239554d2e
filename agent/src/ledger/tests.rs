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

/// The disk has no room for a record, and for the next one it has.
#[test]
fn what_follows_a_record_that_was_not_written_fits_what_stands_there() {
    for undo in [false, true] {
        let (_dir, ledger, _) = if undo {
            written()
        } else {
            let (dir, ledger) = ledger();
            drop(ledger.step("r", "s").unwrap());
            (dir, ledger, Vec::new())
        };
        let mut step = ledger.step("r", "s").unwrap();
        let before = step.status();
        let roomy = std::mem::replace(&mut step.file, full());
        let error = step.begin(2, undo).unwrap_err();
        assert_eq!(error.code(), "ledger");
        assert_eq!(step.status(), before);
        step.file = roomy;
        // Whoever failed to begin says so. Nothing was begun by what stands on the disk, so that nothing can have failed.
        let failure = Failure::from(error);
        let refused = step.failed(failure.clone(), undo).unwrap_err();
        assert_eq!(refused.code(), "illegal-transition");
        drop(step);
        let mut again = ledger.step("r", "s").unwrap();
        assert_eq!(again.status(), before);
        again.begin(3, undo).unwrap();
        again.failed(failure, undo).unwrap();
        drop(again);
        ledger.entries("r").unwrap();
    }
}

/// Half a line that cannot be taken away is not written behind.
#[test]
fn half_a_line_that_stays_is_not_written_behind() {
    let (_dir, ledger) = ledger();
    let mut step = ledger.step("r", "s").unwrap();
    // It takes no bytes, and cannot be cut either.
    let device = fs_err::OpenOptions::new()
        .append(true)
        .open("/dev/full")
        .unwrap();
    let roomy = std::mem::replace(&mut step.file, device.into());
    step.begin(1, false).unwrap_err();
    assert!(step.torn);
    step.file = roomy;
    step.file.write_all(b"0123456789abcdef {\"rec").unwrap();
    step.begin(1, false).unwrap();
    step.done(done(), false).unwrap();
    drop(step);
    let again = ledger.step("r", "s").unwrap();
    assert_eq!(again.status(), StepStatus::Succeeded);
}

/// A file without room for another byte.
fn full() -> File {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let file = memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap();
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    file.into()
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
    // All but the last line's end: without that the line is a torn one.
    for at in 0..bytes.len() - 1 {
        for bit in [0, 5, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            run.replace("damaged.ledger", &damaged).unwrap();
            let error = ledger.step("r", "damaged").unwrap_err();
            assert_eq!(error.code(), "ledger-damaged", "byte {at}");
            let line_start = bytes[..at]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |n| n + 1);
            let text = error.to_string();
            assert!(
                text.contains(&format!("byte {line_start}: ")),
                "byte {at}: {text}"
            );
            assert_eq!(
                run.read("damaged.ledger").unwrap().unwrap(),
                damaged,
                "kept as it is"
            );
            assert_eq!(ledger.entries("r").unwrap_err().code(), "ledger-damaged");
        }
    }
}

#[test]
fn damage_is_told_with_its_place_its_meaning_and_the_next_command() {
    let (_dir, ledger, mut bytes) = written();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    bytes[second + 30] ^= 1;
    ledger
        .run_dir("r")
        .unwrap()
        .replace("s.ledger", &bytes)
        .unwrap();
    let failure: Failure = ledger.step("r", "s").unwrap_err().into();
    assert_eq!(
        failure.message,
        format!(
            "the ledger of step `s` of run r is damaged at line 2, byte {second}: its checksum does \
             not fit; what the step did cannot be told from it"
        )
    );
    assert!(
        failure.hint.contains("`ferryctl status r`"),
        "{}",
        failure.hint
    );
}

#[test]
fn a_ledger_without_its_beginning_is_damaged() {
    let (_dir, ledger, bytes) = written();
    let run = ledger.run_dir("r").unwrap();
    let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    run.replace("s.ledger", &bytes[first..]).unwrap();
    let error = ledger.step("r", "s").unwrap_err();
    assert!(
        error.to_string().contains("the beginning is missing"),
        "{error}"
    );
}

/// After a power failure a block in the middle of what was written last may read as zeros.
#[test]
fn a_last_line_with_a_hole_is_a_torn_one() {
    let (_dir, ledger, mut bytes) = written();
    let whole = bytes.len();
    let json = serde_json::to_string(&Record::Keep {
        value: serde_json::json!("x".repeat(3000)),
    })
    .unwrap();
    bytes.extend_from_slice(format!("{} {json}\n", checksum(json.as_bytes())).as_bytes());
    let run = ledger.run_dir("r").unwrap();
    for hole in [
        whole..whole + 512,
        whole + 1000..whole + 1512,
        whole + 2600..bytes.len(),
    ] {
        let mut torn = bytes.clone();
        torn[hole].fill(0);
        run.replace("s.ledger", &torn).unwrap();
        let step = ledger.step("r", "s").unwrap();
        assert_eq!(step.kept().len(), 1);
        drop(step);
        assert_eq!(
            run.read("s.ledger").unwrap().unwrap().len(),
            whole,
            "the torn line is cut off"
        );
    }
    // With something behind it, it is damage.
    let mut torn = bytes.clone();
    torn[whole + 1000..whole + 1512].fill(0);
    torn.extend_from_slice(&bytes[whole..]);
    run.replace("s.ledger", &torn).unwrap();
    assert_eq!(ledger.step("r", "s").unwrap_err().code(), "ledger-damaged");
}

#[test]
fn a_ledger_of_a_newer_release_is_refused_as_such() {
    let (_dir, ledger) = ledger();
    let json = r#"{"record":"format","version":2}"#;
    let other = r#"{"record":"something-new","what":1}"#;
    let text: String = [json, other]
        .map(|json| format!("{} {json}\n", checksum(json.as_bytes())))
        .concat();
    ledger
        .run_dir("r")
        .unwrap()
        .replace("s.ledger", text.as_bytes())
        .unwrap();
    let error = ledger.step("r", "s").unwrap_err();
    assert_eq!(error.code(), "ledger-format");
    assert_eq!(
        error.to_string(),
        "step `s` of run r: the ledger has format 2, this agent reads 1"
    );
    let failure: Failure = error.into();
    assert!(
        failure
            .hint
            .contains("the release of Ferry that began this run")
    );
}

/// Written by the first release: every later one must read it.
#[test]
fn a_ledger_of_format_1_is_read_by_every_release() {
    let (_dir, ledger) = ledger();
    let bytes = include_bytes!("v1.ledger");
    ledger
        .run_dir("r")
        .unwrap()
        .replace("s.ledger", bytes)
        .unwrap();
    let entry = ledger.entries("r").unwrap().remove(0);
    assert_eq!(entry.status(), StepStatus::Undone);
    assert_eq!(entry.updated, Some(timestamp(1_700_000_005_000)));
    let step = ledger.step("r", "s").unwrap();
    assert_eq!(
        step.kept(),
        [
            serde_json::json!({"services": ["grafana", "nginx"], "uid": 26}),
            serde_json::json!(null)
        ]
    );
    let outcome = step.outcome().unwrap();
    assert_eq!(
        (&*outcome.summary, outcome.elapsed_ms),
        ("1,204 entries given back", 1500)
    );
    assert_eq!(outcome.values["entries"], "1204");
    assert_eq!(outcome.warnings, ["not there any more: a"]);
}

/// Somebody who asks for an undo of what was never begun opens its ledger too.
#[test]
fn a_step_was_begun_when_its_intent_was_written() {
    let (_dir, ledger, _) = written();
    let begun = |step: &str| was_begun(&ledger.run_dir("r").unwrap(), "r", step).unwrap();
    assert!(begun("s") && !begun("other"));
    drop(ledger.step("r", "other").unwrap());
    assert!(!begun("other"));
    ledger.step("r", "other").unwrap().begin(1, false).unwrap();
    assert!(begun("other"));
}

/// When something happened is told and never asked: records of a clock that jumped, in any direction, say the same.
#[test]
fn a_clock_that_jumps_changes_nothing_but_the_time_that_is_told() {
    let (_dir, ledger, bytes) = written();
    for times in [[0, u64::MAX], [u64::MAX, 0], [2_000_000_000_000, 1]] {
        let mut times = times.into_iter();
        let moved = |line: &str| {
            let (_, json) = line.split_once(' ').unwrap();
            let mut record: serde_json::Value = serde_json::from_str(json).unwrap();
            if record.get("unix_ms").is_some() {
                record["unix_ms"] = times.next().unwrap().into();
            }
            let json = record.to_string();
            format!("{} {json}\n", checksum(json.as_bytes()))
        };
        let text = std::str::from_utf8(&bytes).unwrap();
        let text: String = text.lines().map(moved).collect();
        let run = ledger.run_dir("r").unwrap();
        run.replace("s.ledger", text.as_bytes()).unwrap();
        let entry = ledger.entries("r").unwrap().remove(0);
        assert_eq!(entry.outcome, Some(done()));
        assert!(entry.updated.is_some_and(|it| it.seconds >= 0));
        let mut step = ledger.step("r", "s").unwrap();
        assert_eq!(step.status(), StepStatus::Succeeded);
        assert_eq!(step.kept(), [serde_json::json!({"was": 26})]);
        step.begin(1, true).unwrap();
        step.done(done_back(), true).unwrap();
    }
}

fn done_back() -> Outcome {
    Outcome {
        status: StepStatus::Undone.into(),
        ..Outcome::default()
    }
}
