//! A tree that changes while it is walked: entries come and go, a folder is exchanged for a link that
//! leads out. Live work takes it as normal; all other work may fail, and says of what.

use super::{field::Field, *};
use rustix::fs::{RenameFlags, renameat_with};
use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// Runs `work` again and again for a while, beside `disturb`, which a busy machine or disk gives the time it needs. Both say whether they
/// did: that something was disturbed, and that something of it was met. Without enough of either nothing was tried.
fn beside(disturb: impl Fn(u64) -> bool + Sync, mut work: impl FnMut() -> bool) {
    const ENOUGH: u64 = 50;
    const MET: u64 = 5;
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut met, mut rounds) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Relaxed) {
                    break;
                }
                done.fetch_add(u64::from(disturb(round)), Relaxed);
            }
        });
        // Stopped however the work ends, or a failed assertion would wait for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _stop = Stop(&stop);
        let start = Instant::now();
        let enough = |met| {
            start.elapsed() >= Duration::from_millis(1500)
                && done.load(Relaxed) > ENOUGH
                && met >= MET
        };
        while !enough(met) && start.elapsed() < Duration::from_secs(60) {
            met += u64::from(work());
            rounds += 1;
        }
    });
    let done = done.into_inner();
    eprintln!("disturbed {done} times, met in {met} of {rounds} rounds");
    assert!(done > ENOUGH, "it was disturbed {done} times");
    assert!(met >= MET, "it was met in {met} of {rounds} rounds");
}

/// Folders and files come, change and go; errors of the disturber itself are part of it.
fn churn(root: &Path, round: u64) -> bool {
    let n = round % 7;
    let dir = root.join(format!("churn/{n}"));
    let _ = fs::create_dir_all(dir.join("in/ner"));
    for file in 0..5 {
        let _ = fs::write(dir.join(format!("in/{file}")), vec![b'x'; 1000]);
    }
    let _ = symlink("nowhere", dir.join("kind"));
    let _ = fs::rename(dir.join("in/0"), dir.join("in/moved"));
    let _ = fs::hard_link(dir.join("in/1"), dir.join("in/ner/linked"));
    let _ = fs::remove_file(dir.join("in/2"));
    let _ = fs::remove_file(dir.join("kind"));
    let _ = fs::create_dir(dir.join("kind"));
    let _ = fs::remove_dir_all(root.join(format!("churn/{}", (n + 3) % 7)));
    let _ = fs::write(
        root.join(format!("churn/{}", (n + 3) % 7)),
        "a file in its place",
    );
    let _ = fs::remove_file(root.join(format!("churn/{}", (n + 3) % 7)));
    dir.join("in/moved").exists()
}

/// Folders that take turns with a link: many, so that a walk on a busy machine, too, comes between.
const TURNS: u64 = 20;

/// A folder and a link to the neighbour's folder of the same content take turns under each name.
fn exchange(root: &Path, round: u64) -> bool {
    let [one, other] = ["a", "b"].map(|it| root.join(format!("turn/{it}{}", round % TURNS)));
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

fn turning() -> Field {
    let f = Field::new();
    for n in 0..3 {
        for turn in 0..TURNS {
            write(&f.srv.join(format!("turn/a{turn}/sub/{n}")), "of the tree");
        }
        write(
            &f.outside.join(format!("turn/sub/{n}")),
            b"what lies outside stays outside",
        );
    }
    for turn in 0..TURNS {
        symlink(f.outside.join("turn"), f.srv.join(format!("turn/b{turn}"))).unwrap();
    }
    f
}

#[test]
fn a_count_and_a_live_pass_take_entries_that_come_and_go_as_normal() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    fs::create_dir(f.srv.join("churn")).unwrap();
    let outside = f.seal();
    let (mut vanished, mut changed) = (0, 0);
    beside(
        |round| churn(&f.srv, round),
        || {
            let stats = count(&f.root(), &Watch::default()).unwrap();
            assert!(stats.entries >= 8 && stats.unreadable.is_empty());
            let report = f.pass(Pass::Live).unwrap();
            vanished += report.vanished;
            changed += report.changed_meanwhile;
            vanished > 0 && changed > 0
        },
    );
    eprintln!("{vanished} entries vanished, {changed} changed");
    f.assert_sealed(&outside);
    f.pass(Pass::Final).unwrap();
    let compared = f.compare().unwrap();
    assert!(compared.is_same(), "{compared:?}");
}

#[test]
fn work_that_needs_a_tree_at_rest_names_what_moved_or_is_right() {
    if !is_root() {
        return;
    }
    let f = Field::new();
    fs::create_dir(f.srv.join("churn")).unwrap();
    let outside = f.seal();
    let mut named = 0;
    let mut name = |error: TreeError| {
        let error = error.to_string();
        assert!(error.contains("churn"), "{error}");
        named += 1;
    };
    let mut met = false;
    beside(
        |round| churn(&f.srv, round),
        || {
            let results = [
                f.pass(Pass::Final).map(drop),
                f.compare().map(|report| met |= !report.is_same()),
                f.give(LinkCheck::Along).map(drop),
                f.give_back().map(drop),
                f.restore(Trust::Times).map(drop),
            ];
            assert_eq!(fs::read(f.srv.join("plain")).unwrap(), b"of the tree");
            let failed = results.into_iter().filter_map(Result::err);
            failed.map(&mut name).count() > 0
        },
    );
    assert!(named > 0 && met, "{named} errors, and no difference");
    f.assert_sealed(&outside);
    // A restore that met it in motion may have put aside one of the names of a file.
    let aside = f.srv.join(".ferry/aside");
    fs::remove_dir_all(&aside).unwrap();
    fs::create_dir(&aside).unwrap();
    // At rest again, all of it succeeds; what the record says of the time before fits nothing now.
    fs::remove_file(f.record()).unwrap();
    f.give(LinkCheck::First).unwrap();
    assert!(is_given(&f.srv).wrong.is_empty());
    f.give_back().unwrap();
    f.pass(Pass::Final).unwrap();
    assert!(f.compare().unwrap().is_same());
}

#[test]
fn a_folder_exchanged_for_a_link_leads_no_count_and_no_copy_out() {
    if !is_root() {
        return;
    }
    let f = turning();
    let outside = f.seal();
    beside(
        |round| exchange(&f.srv, round),
        || {
            let stats = count(&f.root(), &Watch::default()).unwrap();
            assert!(stats.unreadable.is_empty(), "{stats:?}");
            f.pass(Pass::Live).unwrap().vanished > 0
        },
    );
    f.assert_sealed(&outside);
    f.round();
}

#[test]
fn a_folder_exchanged_for_a_link_leads_no_change_out() {
    if !is_root() {
        return;
    }
    let f = turning();
    let outside = f.seal();
    let (mut done, mut failed) = (0, 0);
    beside(
        |round| exchange(&f.srv, round),
        || {
            let results = [
                f.give(LinkCheck::Along).map(|_| ()),
                f.give(LinkCheck::First).map(|_| ()),
                f.give_back().map(|_| ()),
                f.pass(Pass::Final).map(|_| ()),
                f.restore(Trust::Bytes).map(|_| ()),
                f.compare().map(|_| ()),
            ];
            let before = failed;
            for result in results {
                match result {
                    Ok(()) => done += 1,
                    Err(error) => {
                        failed += 1;
                        assert!(error.to_string().contains("turn"), "{error}");
                    }
                }
            }
            failed > before
        },
    );
    eprintln!("{done} done, {failed} failed");
    assert_eq!(f.seal(), outside);
    f.assert_sealed(&outside);
}
