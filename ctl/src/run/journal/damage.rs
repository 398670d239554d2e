//! A store that is torn, damaged, of another release, or on a disk that is full.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::*;
use crate::{run::events::RunEvent, samples};

const SERVER: &str = "docker:engine/pmm";

fn note(text: &str) -> RunEvent {
    RunEvent::Note {
        step: 0,
        text: text.into(),
    }
}

/// A store with one run and some events, closed, and its bytes.
fn closed() -> (tempfile::TempDir, String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&samples::plan(), SERVER).unwrap();
    let _lock = journal.drive(&run).unwrap();
    let started = RunEvent::Started {
        run: run.clone(),
        resumed: false,
        on_failure: None,
    };
    journal.append_at(&run, 1000, &started).unwrap();
    for n in 0..40 {
        let text = format!("{n}: {}", "a note ".repeat(40));
        journal.append_at(&run, 1001, &note(&text)).unwrap();
    }
    drop(journal);
    let bytes = fs_err::read(folder.path().join("ferry.db")).unwrap();
    (folder, run, bytes)
}

/// A store that is open, so that its run and seven events stand in the log alone.
fn open() -> (tempfile::TempDir, Journal, String) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&samples::plan(), SERVER).unwrap();
    let started = RunEvent::Started {
        run: run.clone(),
        resumed: false,
        on_failure: None,
    };
    journal.append_at(&run, 1, &started).unwrap();
    for n in 0..6 {
        journal.append_at(&run, 2, &note(&n.to_string())).unwrap();
    }
    (folder, journal, run)
}

/// What a reader gets of a store: everything, or a refusal.
fn read(folder: &Path, run: &str) -> Result<Vec<Entry>, JournalError> {
    let journal = Journal::open(folder)?;
    journal.record(run)?;
    journal.events(run, 1)
}

#[track_caller]
fn assert_refused(error: &JournalError, what: &str) {
    assert_eq!(error.code(), "journal-damaged", "{what}: {error}");
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("nothing was done") && hint.contains("ferryctl"),
        "{hint}"
    );
}

#[test]
fn a_store_that_lost_its_end_is_refused_and_never_taken_for_a_new_one() {
    let (folder, run, bytes) = closed();
    let file = folder.path().join("ferry.db");
    let whole = read(folder.path(), &run).unwrap();
    assert_eq!(whole.len(), 41);
    for length in (0..bytes.len())
        .step_by(1024)
        .chain([1, 15, 16, 17, 99, 100, bytes.len() - 1])
    {
        fs_err::write(&file, &bytes[..length]).unwrap();
        for rest in ["ferry.db-wal", "ferry.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(rest));
        }
        let error = read(folder.path(), &run).unwrap_err();
        assert_refused(&error, &format!("cut to {length} bytes"));
    }
    fs_err::write(&file, &bytes).unwrap();
    assert_eq!(read(folder.path(), &run).unwrap(), whole);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(
        folder.path().join("ferry.db"),
        "this is no database".repeat(500),
    )
    .unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert_refused(&error, "garbage");
    assert!(error.to_string().contains("not a database"), "{error}");
}

/// Whatever byte of it changed: the events are all as they were written, or nothing is read.
#[test]
fn a_changed_byte_is_refused_or_changes_no_event() {
    let (folder, run, bytes) = closed();
    let file = folder.path().join("ferry.db");
    let whole = read(folder.path(), &run).unwrap();
    let plan = Journal::open(folder.path())
        .unwrap()
        .run(&run)
        .unwrap()
        .plan;
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(53) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        fs_err::write(&file, &damaged).unwrap();
        for rest in ["ferry.db-wal", "ferry.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(rest));
        }
        match read(folder.path(), &run) {
            Ok(events) => {
                assert_eq!(events, whole, "byte {at}");
                let read = Journal::open(folder.path())
                    .unwrap()
                    .run(&run)
                    .unwrap()
                    .plan;
                assert_eq!(read, plan, "byte {at}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > bytes.len() / 53 / 3, "{refused}");
}

#[test]
fn a_changed_event_is_named() {
    let (folder, run, _) = closed();
    let database = Connection::open(folder.path().join("ferry.db")).unwrap();
    let change = "UPDATE events SET event = replace(event, '7: a note', '8: a note') WHERE idx = 9";
    assert_eq!(database.execute(change, []).unwrap(), 1);
    let error = read(folder.path(), &run).unwrap_err();
    assert_refused(&error, "changed");
    assert_eq!(
        error.to_string(),
        format!("the journal of run {run} is damaged at event 9: its checksum does not fit")
    );
}

#[test]
fn a_run_that_is_listed_otherwise_than_its_events_say_is_named() {
    let (folder, run, _) = closed();
    let database = Connection::open(folder.path().join("ferry.db")).unwrap();
    database
        .execute("UPDATE runs SET state = 'done'", [])
        .unwrap();
    let error = read(folder.path(), &run).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it is listed as done, and is running by its events")
    );
}

/// The log that SQLite keeps beside the file loses its end, as in a crash: whole events remain.
#[test]
fn a_torn_log_keeps_whole_events() {
    let (folder, journal, run) = open();
    let whole = journal.events(&run, 1).unwrap();
    let [file, log] =
        ["ferry.db", "ferry.db-wal"].map(|n| fs_err::read(folder.path().join(n)).unwrap());
    let other = tempfile::tempdir().unwrap();
    let mut counts = std::collections::BTreeSet::new();
    for length in (0..=log.len()).step_by(500).chain([log.len()]) {
        let _ = std::fs::remove_file(other.path().join("ferry.db-shm"));
        fs_err::write(other.path().join("ferry.db"), &file).unwrap();
        fs_err::write(other.path().join("ferry.db-wal"), &log[..length]).unwrap();
        let journal = Journal::open(other.path()).unwrap();
        let events = journal.events(&run, 1).unwrap();
        assert_eq!(events, whole[..events.len()], "cut to {length} bytes");
        if !journal.runs().unwrap().is_empty() {
            journal.record(&run).unwrap();
        }
        counts.insert(events.len());
    }
    assert_eq!(counts, (0..=7).collect());
}

/// A byte of the log changed: only the last event, which nothing was written behind, can pass for one that was torn.
#[test]
fn a_changed_byte_of_the_log_is_refused_or_loses_no_event_but_the_last() {
    let (folder, journal, run) = open();
    let log_of = |folder: &Path| fs_err::read(folder.join("ferry.db-wal")).unwrap();
    let last = log_of(folder.path()).len();
    journal.append_at(&run, 3, &note("the last")).unwrap();
    let whole = journal.events(&run, 1).unwrap();
    let file = fs_err::read(folder.path().join("ferry.db")).unwrap();
    let log = log_of(folder.path());
    assert!(last < log.len());
    let other = tempfile::tempdir().unwrap();
    let (mut refused, mut lost) = (0, 0);
    // What a frame says of itself, where the last events stand.
    let frames = (HEADER_OF_LOG..log.len()).step_by(FRAME).rev().take(8);
    let heads = frames.flat_map(|frame| frame..frame + 24);
    let bytes = (0..log.len()).step_by(331).chain(0..HEADER_OF_LOG);
    for at in bytes.chain(heads) {
        let mut damaged = log.clone();
        damaged[at] ^= 0x10;
        let _ = std::fs::remove_file(other.path().join("ferry.db-shm"));
        fs_err::write(other.path().join("ferry.db"), &file).unwrap();
        fs_err::write(other.path().join("ferry.db-wal"), &damaged).unwrap();
        match read(other.path(), &run) {
            Ok(events) if events == whole => {}
            Ok(events) => {
                assert_eq!(events, whole[..whole.len() - 1], "byte {at}");
                assert!(at >= last, "byte {at} of {last}");
                lost += 1;
            }
            Err(error) => {
                assert_refused(&error, &format!("byte {at}"));
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && lost > 0, "{refused} refused, {lost} lost");
}

const HEADER_OF_LOG: usize = 32;
/// A frame of it, with a page.
const FRAME: usize = 24 + 4096;

#[test]
fn a_full_disk_refuses_the_event_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = journal.create_run(&samples::plan(), SERVER).unwrap();
    let started = RunEvent::Started {
        run: run.clone(),
        resumed: false,
        on_failure: None,
    };
    journal.append_at(&run, 1, &started).unwrap();
    // As little room as the file has: SQLite answers as for a disk that is full.
    let pages: i64 = journal
        .lock()
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    let limit = |n: i64| {
        let pragma = format!("PRAGMA max_page_count = {n}");
        let _: i64 = journal
            .lock()
            .query_row(&pragma, [], |row| row.get(0))
            .unwrap();
    };
    limit(pages);
    let mut kept = 1;
    let error = loop {
        match journal.append_at(&run, 2, &note(&"long ".repeat(200))) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "journal-failed");
    assert!(error.to_string().contains("full"), "{error}");
    assert!(error.hint().unwrap().contains("has space"));
    assert_eq!(journal.events(&run, 1).unwrap().len(), kept);
    journal.record(&run).unwrap();
    limit(pages + 100);
    journal
        .append_at(&run, 3, &note("there is room again"))
        .unwrap();
    assert_eq!(read(folder.path(), &run).unwrap().len(), kept + 1);
}

#[test]
fn a_store_that_may_not_be_written_is_refused() {
    let (folder, _, _) = closed();
    let file = std::fs::File::open(folder.path().join("ferry.db")).unwrap();
    // Root may write whatever its mode says: only this attribute stops it.
    let flags = ioctl_getflags(&file);
    if let Err(error) = flags.and_then(|flags| ioctl_setflags(&file, flags | IFlags::IMMUTABLE)) {
        eprintln!("passed over: no immutable attribute here: {error}");
        return;
    }
    let refused = Journal::open(folder.path());
    ioctl_setflags(&file, flags.unwrap()).unwrap();
    let error = refused.unwrap_err();
    assert_eq!(error.code(), "state-folder");
    assert!(error.hint().unwrap().contains("--state-dir"));
}

/// Written by the first release, with a run under way: every later one must go on from it.
#[test]
fn a_store_of_version_1_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let stored = include_bytes!("journal-v1.db");
    fs_err::write(folder.path().join("ferry.db"), stored).unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let row = journal.runs().unwrap().remove(0);
    assert_eq!((row.state, &*row.server_key), (RunState::Running, SERVER));
    let record = journal.record(&row.run).unwrap();
    assert_eq!(record.state(), RunState::Running);
    assert_eq!(journal.events(&row.run, 1).unwrap().len(), 4);
    assert_eq!(
        journal
            .append(&row.run, &note("by another release"))
            .unwrap(),
        5
    );
    let refused = journal.create_run(&samples::plan(), SERVER).unwrap_err();
    assert_eq!(refused.code(), "server-locked");
    assert_eq!(read(folder.path(), &row.run).unwrap().len(), 5);
    // What version 1 did not know.
    assert_eq!(journal.run(&row.run).unwrap().subject, None);
    let end = [
        RunEvent::RollingBack { why: None },
        RunEvent::Ended {
            state: RunState::RolledBack,
            failure: None,
        },
    ];
    for event in end {
        journal.append(&row.run, &event).unwrap();
    }
    journal.create_run(&samples::plan(), SERVER).unwrap();
}

#[test]
fn events_that_are_not_found_are_missed() {
    let (folder, run, _) = closed();
    let database = rusqlite::Connection::open(folder.path().join("ferry.db")).unwrap();
    let last = "DELETE FROM events WHERE idx = (SELECT max(idx) FROM events)";
    database.execute(last, []).unwrap();
    let error = read(folder.path(), &run).unwrap_err();
    assert_refused(&error, "the last is gone");
    assert!(error.to_string().contains("missing"), "{error}");
}
