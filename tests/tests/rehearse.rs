//! The rehearsal, beside a server that goes on serving: nothing of it may change while its copy becomes PMM 3, and nothing may be
//! left of the copy.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Fault, Options, TestServer};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker, kill};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// What a server gets that becomes ready, in seconds: more than any machine takes.
const PATIENCE: u32 = 180;

/// Parts of the volume that the server itself reads and writes all the time.
const SERVED: [&str; 5] = [
    "logs",
    "postgres14",
    "clickhouse",
    "victoriametrics",
    "prometheus",
];

/// A folder of the test's own in each of them, which no program of the server looks into.
const UNREAD: &str = "unread";

/// All that can be seen of an entry without touching it.
#[derive(Debug, PartialEq, Eq)]
struct Still {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    accessed: (i64, i64),
    content: Option<blake3::Hash>,
}

/// Everything that the server does not serve from, the root with its listing included, and what lies in the midst of what it serves from
/// and is none of its programs'. Taken without leaving an access time.
fn still(root: &Path) -> Result<BTreeMap<PathBuf, Still>> {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let path = root.join(&below);
        let meta = fs_err::symlink_metadata(&path)?;
        let unnoticed = rustix::fs::OFlags::NOATIME.bits().cast_signed();
        let open = || {
            let mut options = fs_err::File::options();
            options.read(true).custom_flags(unnoticed).open(&path)
        };
        let mut content = None;
        if meta.is_dir() {
            for entry in rustix::fs::Dir::read_from(open()?).map_err(std::io::Error::from)? {
                let entry = entry.map_err(std::io::Error::from)?;
                let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
                let top = below.as_os_str().is_empty();
                let served = top && SERVED.iter().any(|part| name == *part);
                if served && path.join(name).join(UNREAD).exists() {
                    left.push(below.join(name).join(UNREAD));
                }
                if name != "." && name != ".." && !served {
                    left.push(below.join(name));
                }
            }
        } else if meta.is_file() {
            let mut bytes = Vec::new();
            open()?.read_to_end(&mut bytes)?;
            content = Some(blake3::hash(&bytes));
        }
        let it = Still {
            inode: meta.ino(),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            accessed: (meta.atime(), meta.atime_nsec()),
            content,
        };
        found.insert(below, it);
    }
    Ok(found)
}

/// Files, folders and links that nobody has read since they were written: the next reader leaves an access time, also where the mount is
/// `relatime`. All that is held still has that, and there is more of it in a folder of its own, and in the midst of what is served from.
fn make_untouched(root: &Path) -> Result<()> {
    let served = SERVED.map(|part| root.join(part).join(UNREAD));
    for own in [root.join("own")].iter().chain(&served) {
        fs_err::create_dir_all(own.join("deep/er"))?;
        fs_err::write(own.join("file"), "content")?;
        fs_err::write(own.join("deep/er/file"), "more")?;
        fs_err::hard_link(own.join("file"), own.join("deep/link"))?;
        fs_err::os::unix::fs::symlink("file", own.join("symlink"))?;
    }
    let second = |tv_sec, tv_nsec| rustix::fs::Timespec { tv_sec, tv_nsec };
    for path in still(root)?.into_keys() {
        let ours = path.starts_with("own") || path.components().any(|it| it.as_os_str() == UNREAD);
        let modified = match ours {
            true => second(1_100_000_000, 9),
            false => second(0, rustix::fs::UTIME_OMIT),
        };
        let times = rustix::fs::Timestamps {
            last_access: second(1_000_000_000, 7),
            last_modification: modified,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, root.join(path), &times, flags)
            .map_err(std::io::Error::from)?;
    }
    Ok(())
}

fn differences(before: &BTreeMap<PathBuf, Still>, after: &BTreeMap<PathBuf, Still>) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| format!("{path:?}: {:?} → {:?}", before.get(path), after.get(path)))
        .collect()
}

/// That whoever reads here does leave an access time: on a file system that keeps none, nothing would be proven.
fn assert_reading_is_seen() -> Result<()> {
    // Beside the volumes, which are all on one file system.
    let volumes = docker(&["info", "--format", "{{.DockerRootDir}}"])?;
    let folder = tempfile::tempdir_in(Path::new(&volumes).join("volumes"))?;
    make_untouched(folder.path())?;
    let before = still(folder.path())?;
    fs_err::read(folder.path().join("own/file"))?;
    let seen = differences(&before, &still(folder.path())?);
    assert_eq!(seen.len(), 2, "a file with two names was read: {seen:?}");
    Ok(())
}

/// Asks the server until it is told to stop, and keeps what was no good answer.
fn probe(port: u16, on: &AtomicBool, asked: &AtomicU32, refused: &Mutex<Vec<String>>) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while on.load(Relaxed) {
        let answer = || -> std::io::Result<Vec<u8>> {
            let patience = Duration::from_secs(10);
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"GET /v1/readyz HTTP/1.0\r\nHost: pmm\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        };
        let (began, answer) = (Instant::now(), answer());
        asked.fetch_add(1, Relaxed);
        if !matches!(&answer, Ok(answer) if answer.get(9..12) == Some(b"200")) {
            let answer = answer.map(|it| String::from_utf8_lossy(&it).into_owned());
            let said = format!("after {:?}: {answer:?}", began.elapsed());
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.push(said);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn report(finished: &Finished) -> Result<Value> {
    let lines = finished.json()?;
    let last = lines.last().cloned().unwrap_or_default();
    assert_eq!(last["kind"], "rehearsal", "{}", finished.shown());
    Ok(last)
}

/// What the engine holds that has to do with the server, networks included.
fn left(server: &TestServer) -> Result<Vec<String>> {
    let mut left = witness::beside(&server.name)?;
    left.extend(witness::networks(&server.name)?);
    Ok(left)
}

#[test]
fn it_would_succeed_and_nothing_of_the_server_changes() -> Result<()> {
    let server = TestServer::used(Options {
        publish: true,
        md5_roles: true,
        env: vec![("DATA_RETENTION".into(), "480h".into())],
        ..Options::default()
    })?;
    assert_reading_is_seen()?;
    let root = server.mountpoint()?;
    make_untouched(&root)?;
    let was = server.inspect()?;
    let seen = Seen::of(&server)?;
    let before = still(&root)?;
    assert_eq!(
        differences(&before, &still(&root)?),
        [""; 0],
        "the witness itself touches"
    );

    let tool = Ferryctl::new()?;
    let (on, asked) = (AtomicBool::new(true), AtomicU32::new(0));
    let refused = Mutex::default();
    let port = server.ports.unwrap_or_default().0;
    let done = std::thread::scope(|scope| {
        scope.spawn(|| probe(port, &on, &asked, &refused));
        let done = tool.run(&[
            "rehearse",
            &server.address(),
            "--to",
            TO,
            "--output",
            "json",
        ]);
        on.store(false, Relaxed);
        done
    })?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(differences(&before, &still(&root)?), [""; 0]);
    // A server that was stopped or started again says nothing. That one of its programs took longer to answer the other than that has
    // patience for, on a busy machine, is told with 500, and may be at times.
    let (refused, asked) = (refused.into_inner().unwrap(), asked.into_inner());
    let (busy, silent): (Vec<_>, Vec<_>) = refused
        .into_iter()
        .partition(|said| said.contains("HTTP/1.1 500"));
    assert_eq!(silent, [""; 0]);
    assert!(
        asked > 20 && busy.len() * 50 <= 50 + asked as usize,
        "{busy:?} of {asked}"
    );

    let report = report(&done)?;
    assert_eq!(report["state"], "done", "{report}");
    assert!(
        report["downtime"]["total_ms"].as_u64() > Some(1000),
        "{report}"
    );
    assert!(
        report["downtime"]["measured_ms"].as_u64() > Some(100),
        "{report}"
    );
    let found = report["found_again"].to_string();
    assert!(
        found.contains("5 nodes") && found.contains("12 services"),
        "{found}"
    );
    let left_out = report["left_out"].to_string();
    assert!(left_out.contains("targets that are up"), "{left_out}");

    // The same container, never restarted, and nothing of ours beside it.
    let is = server.inspect()?;
    for part in [
        "Id",
        "Name",
        "Image",
        "HostConfig",
        "Config",
        "Mounts",
        "State",
    ] {
        let without_health = |value: &Value| {
            let mut part = value[part].clone();
            if let Some(fields) = part.as_object_mut() {
                fields.remove("Health");
            }
            part
        };
        assert_eq!(without_health(&is), without_health(&was), "{part}");
    }
    assert_eq!(left(&server)?, [""; 0]);
    assert_eq!(seen.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

/// A target with a fault of its own, so that one server is enough for several of them. It is gone when it is dropped.
struct Target(String);

impl Target {
    fn with(fault: Fault, server: &TestServer) -> Result<Self> {
        let name = format!("ferry-test/{}-{}:3.8.1", server.name, fault.word());
        let folder = tempfile::tempdir()?;
        let text = format!("FROM {TO}\nENV STANDIN_FAULT={}\n", fault.word());
        fs_err::write(folder.path().join("Dockerfile"), text)?;
        let context = folder.path().to_string_lossy();
        docker(&["build", "--quiet", "--tag", &name, &context])?;
        Ok(Self(name))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _left = docker(&["rmi", "--force", &self.0]);
    }
}

/// Rehearses with a target that fails, and proves that the report says so and why, and that nothing came of it.
fn would_fail(server: &TestServer, words: &[&str], ready_seconds: u32, why: &[&str]) -> Result<()> {
    let root = server.mountpoint()?;
    let (was, before) = (server.inspect()?, still(&root)?);
    let tool = Ferryctl::new()?;
    let ready = ready_seconds.to_string();
    let patience = ["--ready-timeout", &ready, "--compare-timeout", "8"];
    let failed = tool.run(&[words, &patience[..]].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    let said = failed.shown();
    for word in why.iter().chain(&["Would fail"]) {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
    assert_eq!(differences(&before, &still(&root)?), [""; 0]);
    assert_eq!(
        server.inspect()?["State"]["StartedAt"],
        was["State"]["StartedAt"]
    );
    assert_eq!(left(server)?, [""; 0]);
    let runs = tool.run(&["runs", "--output", "json"])?.json()?;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["state"], "rolled-back", "{runs:?}");
    Ok(())
}

/// The migration that is to rehearse first goes no further than that.
fn would_not_be_migrated(fault: Fault, why: &[&str]) -> Result<()> {
    let server = TestServer::used(Options {
        fault: Some(fault),
        ..Options::default()
    })?;
    make_untouched(&server.mountpoint()?)?;
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--rehearse", "--yes"];
    would_fail(&server, &words, PATIENCE, why)
}

#[test]
fn a_target_that_does_not_start_would_fail() -> Result<()> {
    would_not_be_migrated(Fault::Exit, &["FATAL: this server was told not to start"])
}

#[test]
fn a_target_with_half_the_inventory_would_fail() -> Result<()> {
    would_not_be_migrated(Fault::Half, &["services"])
}

#[test]
#[ignore = "three rehearsals that each wait for what does not come"]
fn targets_that_exit_in_a_loop_are_empty_or_never_ready_would_fail() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    make_untouched(&server.mountpoint()?)?;
    let seen = Seen::of(&server)?;
    for (fault, ready_seconds, why) in [
        (Fault::Loop, 20, "exited with code 1"),
        (Fault::Empty, PATIENCE, "services"),
        (Fault::Maintenance, 10, "it shows its maintenance page"),
    ] {
        let target = Target::with(fault, &server)?;
        let address = server.address();
        let words = ["rehearse", &address, "--to", &target.0];
        would_fail(&server, &words, ready_seconds, &[why])?;
    }
    assert_eq!(seen.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    Ok(())
}

/// How long these steps took in the first run of a call, in milliseconds.
fn took(done: &Finished, steps: &[&str]) -> Result<Option<u64>> {
    let lines = done.json()?;
    let took = |step: &&str| {
        let ended = |line: &&Value| line["event"] == "finished" && line["step_id"] == **step;
        let took = &lines.iter().find(ended)?["outcome"]["elapsed_ms"];
        took.as_u64().or_else(|| took.as_str()?.parse().ok())
    };
    Ok(steps.iter().map(took).sum())
}

#[test]
fn a_migration_goes_on_when_its_rehearsal_succeeded() -> Result<()> {
    let server = TestServer::used(Options {
        // PMM 3 complains of what it does not know, with its value.
        env: vec![("HOUSE_SITE".into(), "behind-the-hill".into())],
        ..Options::default()
    })?;
    let seen = Seen::of(&server)?;
    let tool = Ferryctl::new()?;
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--rehearse", "--yes"];
    let how = ["--recipe", "pmm-dump-restore", "--output", "json"];
    let done = tool.run(&[&words[..], &how].concat())?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let ends: Vec<Value> = done
        .json()?
        .into_iter()
        .filter(|line| line["kind"] == "rehearsal" || line["kind"] == "summary")
        .collect();
    let [rehearsal, summary] = &ends[..] else {
        panic!("{}", done.shown());
    };
    for (end, kind) in [(rehearsal, "rehearsal"), (summary, "summary")] {
        assert_eq!(end["kind"], kind);
        assert_eq!(end["state"], "done", "{end}");
    }
    let mend = rehearsal["mend"].to_string();
    assert!(
        mend.contains("unknown environment variable") && mend.contains("HOUSE_SITE"),
        "{mend}"
    );
    assert!(!mend.contains("behind-the-hill"), "{mend}");
    // The second dump and its restore are in the downtime that is told, as they were measured.
    assert_eq!(rehearsal["recipe"], "pmm-dump-restore");
    let measured = rehearsal["downtime"]["measured_ms"].as_u64();
    let both = took(&done, &["dump-databases", "prove-dumps"])?;
    assert!(both.is_some() && measured > both, "{both:?}: {rehearsal}");
    // And what was foretold is what came, or near it: others use the machine at one time more than at another.
    let foretold = rehearsal["downtime"]["total_ms"].as_u64().unwrap_or(0);
    let came = summary["downtime_ms"].as_u64().unwrap_or(0);
    assert!(
        came < foretold * 10 && foretold < came * 10,
        "{foretold} ms were foretold, and {came} came: {rehearsal} {summary}"
    );

    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(seen.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    // What the crossing keeps is there, and of the rehearsal nothing.
    let run = summary["run"].as_str().unwrap_or_default();
    assert_ne!(rehearsal["run"], run);
    let kept = [
        format!("container {}-2.44.1-{run}", server.name),
        format!("volume {}-data-ferry-{run}", server.name),
    ];
    assert_eq!(left(&server)?, kept);
    Ok(())
}

#[test]
fn what_is_kept_is_alone_and_goes_when_it_is_taken_back() -> Result<()> {
    let server = TestServer::used(Options {
        networks: vec!["front".into()],
        publish: true,
        ..Options::default()
    })?;
    let tool = Ferryctl::new()?;
    let done = tool.run(&["rehearse", &server.address(), "--to", TO, "--keep"])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let run = tool.only_run()?;
    let name = format!("{}-rehearsal-{run}", server.name);
    for words in [
        &name,
        &format!("ferryctl rollback {run}"),
        &"Would succeed".to_owned(),
    ] {
        assert!(
            done.shown().contains(words),
            "no {words} in {}",
            done.shown()
        );
    }
    let copy = server.named(&name);
    assert_eq!(witness::version(&copy)?, "3.8.1");
    assert_eq!(copy.count("nodes")?, server.count("nodes")?);
    // The copy's cluster is the one that the proof made, and not the torn one of a server that ran.
    let identity = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(
        copy.psql("postgres", identity)?,
        server.psql("postgres", identity)?
    );
    let kept = copy.inspect()?;
    let host = &kept["HostConfig"];
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert!(
        host["PortBindings"]
            .as_object()
            .is_none_or(|it| it.is_empty()),
        "{host}"
    );
    for limit in ["Memory", "NanoCpus", "PidsLimit"] {
        assert!(host[limit].as_i64() > Some(0), "{limit}: {}", host[limit]);
    }
    let networks = kept["NetworkSettings"]["Networks"].as_object().cloned();
    assert_eq!(
        networks.unwrap_or_default().keys().collect::<Vec<_>>(),
        [&name]
    );
    let internal = docker(&["network", "inspect", "--format", "{{.Internal}}", &name])?;
    assert_eq!(internal.trim(), "true");

    let gone = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(gone.code, 0, "{}", gone.shown());
    let front: Vec<_> = left(&server)?;
    assert_eq!(front, [format!("network {}-front", server.name)]);
    server.wait_ready()?;
    Ok(())
}

#[test]
fn a_rehearsal_that_was_killed_excludes_others_and_goes_on() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let root = server.mountpoint()?;
    make_untouched(&root)?;
    let before = still(&root)?;
    let tool = kill::Tool::new()?;
    let address = server.address();
    let mut call = tool.start(&["rehearse", &address, "--to", TO])?;
    call.wait_for("the proof", kill::is("intended", "prove-dumps", false))?;
    call.kill()?;

    let refused = tool.run(&["migrate", &address, "--to", TO, "--yes"])?;
    assert_eq!(refused.code, 5, "{refused:?}");
    // Another person's, who has none of this in the journals: the engine's own lock holds.
    let stranger = kill::Tool::new()?;
    let refused = stranger.run(&["rehearse", &address, "--to", TO])?;
    assert_eq!(refused.code, 5, "{refused:?}");

    let resumed = tool.run(&["resume"])?;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(differences(&before, &still(&root)?), [""; 0]);
    assert_eq!(left(&server)?, [""; 0]);
    Ok(())
}
