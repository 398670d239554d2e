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

/// Runs `work` again and again for a while, beside `disturb`, which a busy machine or disk gives the time it needs.
fn beside(disturb: impl Fn(u64) + Sync, mut work: impl FnMut()) {
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                disturb(rounds.fetch_add(1, Relaxed));
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
        let enough = |took: Duration| took.as_millis() >= 1500 && rounds.load(Relaxed) > 50;
        while !enough(start.elapsed()) && start.elapsed() < Duration::from_secs(60) {
            work();
        }
    });
    assert!(rounds.into_inner() > 50, "it was disturbed");
}

/// Folders and files come, change and go; errors of the disturber itself are part of it.
fn churn(root: &Path, round: u64) {
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
}

/// A folder and a link to the neighbour's folder of the same content take turns under each name.
fn exchange(root: &Path) {
    let _ = renameat_with(
        CWD,
        root.join("turn/a"),
        CWD,
        root.join("turn/b"),
        RenameFlags::EXCHANGE,
    );
}

fn turning() -> Field {
    let f = Field::new();
    for n in 0..50 {
        write(&f.srv.join(format!("turn/a/sub/{n}")), "of the tree");
        write(
            &f.outside.join(format!("turn/sub/{n}")),
            b"what lies outside stays outside",
        );
    }
    symlink(f.outside.join("turn"), f.srv.join("turn/b")).unwrap();
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
    let mut vanished = 0;
    beside(
        |round| churn(&f.srv, round),
        || {
            let stats = count(&f.root(), &Watch::default()).unwrap();
            assert!(stats.entries >= 8 && stats.unreadable.is_empty());
            vanished += f.pass(Pass::Live).unwrap().vanished;
        },
    );
    eprintln!("{vanished} entries vanished");
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
    let named = |error: TreeError| {
        let error = error.to_string();
        assert!(error.contains("churn"), "{error}");
    };
    beside(
        |round| churn(&f.srv, round),
        || {
            let _ = f.pass(Pass::Final).map_err(named);
            let _ = f.compare().map_err(named);
            let _ = f.give(LinkCheck::Along).map_err(named);
            let _ = f.give_back().map_err(named);
            let _ = f.restore(Trust::Times).map_err(named);
            assert_eq!(fs::read(f.srv.join("plain")).unwrap(), b"of the tree");
        },
    );
    f.assert_sealed(&outside);
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
    let mut vanished = 0;
    beside(
        |_| exchange(&f.srv),
        || {
            let stats = count(&f.root(), &Watch::default()).unwrap();
            assert!(stats.unreadable.is_empty(), "{stats:?}");
            vanished += f.pass(Pass::Live).unwrap().vanished;
        },
    );
    eprintln!("{vanished} entries vanished");
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
        |_| exchange(&f.srv),
        || {
            let results = [
                f.give(LinkCheck::Along).map(|_| ()),
                f.give(LinkCheck::First).map(|_| ()),
                f.give_back().map(|_| ()),
                f.pass(Pass::Final).map(|_| ()),
                f.restore(Trust::Bytes).map(|_| ()),
                f.compare().map(|_| ()),
            ];
            for result in results {
                match result {
                    Ok(()) => done += 1,
                    Err(error) => {
                        failed += 1;
                        assert!(error.to_string().contains("turn"), "{error}");
                    }
                }
            }
        },
    );
    eprintln!("{done} done, {failed} failed");
    assert_eq!(f.seal(), outside);
    f.assert_sealed(&outside);
}
