//! Programs of the server that fail, hang, or tell another time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_tests::Result;
use ferry_tests::kill::{find, is, pid_of, send};
use ferry_tests::matrix::Stage;
use ferry_tests::random::Random;
use ferry_tests::server::{Options, TestServer};
use rustix::process::Signal;
use serde_json::Value;

use crate::engine::Again;
use crate::scene::{Told, and_back, goes_on_back, held, rolled_back, until};

/// A table whose file is damaged: `pg_dump` reads half of the database and ends there.
pub(crate) fn the_dump_fails_half_way() -> Result<()> {
    let stage = Stage::with(Options::default(), damage_a_table)?;
    let ended = stage.begin()?.end()?;
    let told = Told {
        code: "tool-failed",
        says: &["damaged", "invalid page"],
    };
    rolled_back(&stage, &ended, told)
}

fn damage_a_table(server: &TestServer) -> Result<()> {
    server.psql(
        "pmm-managed",
        "CREATE TABLE zz_damaged AS SELECT generate_series(1, 1000) AS number",
    )?;
    let file = server.psql("pmm-managed", "SELECT pg_relation_filepath('zz_damaged')")?;
    server.stop(60)?;
    let path = server.mountpoint()?.join("postgres14").join(file);
    let mut bytes = fs_err::read(&path)?;
    bytes[..64].fill(0xa5);
    // In place: the file stays its owner's.
    fs_err::write(&path, bytes)?;
    server.restart_after_stop()?;
    server.wait_ready()
}

/// Somebody ends the sessions of the dump and of its count at the database, while it waits for a table that somebody else has locked.
pub(crate) fn the_dump_loses_its_session() -> Result<()> {
    let stage = Stage::with(Options::default(), make_table)?;
    let lock = Lock::take(&stage.scene.server)?;
    let ender = stage.scene.server.named(&stage.scene.server.name);
    let again = Again::and_again(move || {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE query LIKE 'LOCK TABLE public.zz_locked IN ACCESS SHARE%' \
                   OR query LIKE '%count(*) FROM %zz_locked%' AND pid <> pg_backend_pid()";
        ender.psql("postgres", end).is_ok_and(|ended| ended != "0")
    });
    let ended = stage.begin()?.end();
    let hits = again.hits();
    lock.release(&stage.scene.server)?;
    assert!(hits > 0, "no session was ended: {ended:#?}");
    let told = Told {
        code: "tool-failed",
        says: &["terminat"],
    };
    rolled_back(&stage, &ended?, told)
}

/// Somebody has locked a table and does not let go of it.
pub(crate) fn the_dump_waits_for_a_lock() -> Result<()> {
    let stage = Stage::with(Options::default(), make_table)?;
    let lock = Lock::take(&stage.scene.server)?;
    let ended = stage.begin()?.end();
    lock.release(&stage.scene.server)?;
    let told = Told {
        code: "tool-failed",
        says: &["zz_locked", "timeout"],
    };
    rolled_back(&stage, &ended?, told)
}

fn make_table(server: &TestServer) -> Result<()> {
    server
        .psql("pmm-managed", "CREATE TABLE zz_locked (number int)")
        .map(drop)
}

/// A lock on a table, held by a session of its own.
struct Lock(std::thread::JoinHandle<Result<String>>);

impl Lock {
    fn take(server: &TestServer) -> Result<Self> {
        let locker = server.named(&server.name);
        let thread = std::thread::spawn(move || {
            let lock = "BEGIN; LOCK TABLE zz_locked; SELECT pg_sleep(300)";
            locker.psql("pmm-managed", lock)
        });
        server.wait_until("the lock", 30, || {
            let held = "SELECT count(*) FROM pg_locks \
                        WHERE relation = 'zz_locked'::regclass AND mode = 'AccessExclusiveLock' AND granted";
            server
                .psql("pmm-managed", held)
                .is_ok_and(|count| count != "0")
        })?;
        Ok(Self(thread))
    }

    fn release(self, server: &TestServer) -> Result<()> {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE query LIKE 'BEGIN; LOCK TABLE zz_locked%'";
        server.psql("postgres", end)?;
        // It was ended, so that it ends badly.
        let _ended = self.0.join();
        Ok(())
    }
}

/// The supervisor hangs until the step has failed of it.
pub(crate) fn the_supervisor_does_not_answer() -> Result<()> {
    let stage = Stage::new()?;
    let supervisor = pid_of(&stage.scene.server.name)?;
    let (mut call, _run) = until(&stage, "finished", "copy-volume")?;
    send(supervisor, Signal::STOP)?;
    let failed = call.wait_for("the failure", |line| line["event"] == "failed");
    send(supervisor, Signal::CONT)?;
    failed?;
    let told = Told {
        code: "server-timeout",
        says: &["supervisor"],
    };
    rolled_back(&stage, &call.end()?, told)
}

/// The supervisor hangs for good: then not even the server's being well can be proven.
pub(crate) fn the_supervisor_never_answers() -> Result<()> {
    let stage = Stage::new()?;
    let supervisor = pid_of(&stage.scene.server.name)?;
    let (call, run) = until(&stage, "finished", "copy-volume")?;
    send(supervisor, Signal::STOP)?;
    let ended = call.end();
    send(supervisor, Signal::CONT)?;
    let told = Told {
        code: "baseline-differs",
        says: &["the supervisor's answer", "did not finish"],
    };
    held(&ended?, &run, told);
    goes_on_back(&stage, &run)
}

/// A program that nothing ends, not even SIGKILL: it is frozen by its control group.
pub(crate) fn a_service_does_not_stop() -> Result<()> {
    let stage = Stage::new()?;
    let pid = stage
        .scene
        .server
        .exec(&["supervisorctl", "pid", "vmproxy"])?;
    let Some(frozen) = Frozen::new(&stage.scene.server.name, &pid)? else {
        Random::new()
            .tell("passed over: this machine has no freezer that holds a program against SIGKILL");
        return Ok(());
    };
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    call.wait_for("the copy", is("finished", "copy-volume", false))?;
    frozen.freeze()?;
    let ended = call.end();
    frozen.thaw()?;
    let ended = ended?;
    let told = Told {
        code: "program-late",
        says: &["vmproxy"],
    };
    if ended.code == 1 {
        return rolled_back(&stage, &ended, told);
    }
    held(
        &ended,
        &run,
        Told {
            code: "program-late",
            says: &["vmproxy"],
        },
    );
    goes_on_back(&stage, &run)
}

/// One process in a control group of its own.
struct Frozen {
    group: PathBuf,
    home: PathBuf,
    pid: String,
}

impl Frozen {
    /// `inside` is the process as its container numbers it. `None`: this machine has the second version of control groups alone, whose
    /// freezer lets SIGKILL through.
    fn new(container: &str, inside: &str) -> Result<Option<Self>> {
        let first = pid_of(container)?;
        let pid = outside(first, inside)?;
        let groups = fs_err::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let Some((_, own)) = groups.lines().find_map(|line| line.split_once(":freezer:")) else {
            return Ok(None);
        };
        let home = Path::new("/sys/fs/cgroup/freezer").join(own.trim_start_matches('/'));
        let group = home.join("ferry-test-frozen");
        fs_err::create_dir(&group)?;
        Ok(Some(Self { group, home, pid }))
    }

    fn freeze(&self) -> Result<()> {
        fs_err::write(self.group.join("cgroup.procs"), &self.pid)?;
        Ok(fs_err::write(self.group.join("freezer.state"), "FROZEN")?)
    }

    fn thaw(&self) -> Result<()> {
        fs_err::write(self.group.join("freezer.state"), "THAWED")?;
        // It may have ended by now, as it was asked to.
        let _over = fs_err::write(self.home.join("cgroup.procs"), &self.pid);
        std::thread::sleep(Duration::from_millis(300));
        Ok(fs_err::remove_dir(&self.group)?)
    }
}

/// The process of this machine that a container numbers `inside`.
fn outside(first: u32, inside: &str) -> Result<String> {
    let space = fs_err::read_link(format!("/proc/{first}/ns/pid"))?;
    for entry in fs_err::read_dir("/proc")? {
        let path = entry?.path();
        let same = fs_err::read_link(path.join("ns/pid")).is_ok_and(|it| it == space);
        let status = fs_err::read_to_string(path.join("status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let last = numbers.and_then(|numbers| numbers.split_whitespace().last());
        if same && last == Some(inside) {
            return Ok(path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned());
        }
    }
    Err(std::io::Error::other(format!("no process {inside} in the container")).into())
}

/// The clock jumps by days while nobody is at work, in both directions. All that a run knows of time is what it wrote down, so what was
/// written is moved instead of the clock, which is the machine's.
pub(crate) fn the_clock_jumps() -> Result<()> {
    const DAYS: i64 = 3 * 86_400;
    for jump in [DAYS, -DAYS] {
        let stage = Stage::new()?;
        let (call, run) = until(&stage, "finished", "stop-services")?;
        drop(call);
        let file = stage.scene.server.mountpoint()?.join(".ferry");
        let file = find(&file, "baseline.json")?.expect("the baseline is on the volume");
        let mut baseline: Value = serde_json::from_slice(&fs_err::read(&file)?)?;
        let taken = baseline["taken_at"].as_i64().expect("it has a time");
        baseline["taken_at"] = (taken - jump).into();
        fs_err::write(&file, serde_json::to_vec_pretty(&baseline)?)?;
        let ended = stage.run(&["resume", &run])?;
        assert_eq!(ended.code, 0, "{ended:#?}");
        and_back(&stage, &run)?;
    }
    Ok(())
}
