//! No room, no permission.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferry_tests::disk::{Disk, free_bytes, keeping_time, set_immutable};
use ferry_tests::kill::{Call, is, stop_behind};
use ferry_tests::matrix::Stage;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::{Result, docker};
use rustix::process::Signal;

use crate::scene::{
    Planned, Told, goes_on_back, goes_on_back_but_killed, held, is_rolled_back, rolled_back, until,
};

/// A server whose data has a file system of its own, that can be filled up. The disk comes first, so that it goes last.
fn on_a_disk(name: &str) -> Result<(Disk, Stage)> {
    on_a_disk_with(name, |_| Ok(()))
}

fn on_a_disk_with(
    name: &str,
    prepare: impl FnOnce(&TestServer) -> Result<()>,
) -> Result<(Disk, Stage)> {
    let disk = Disk::make(
        &format!("ferry-test-{}-{name}", std::process::id()),
        8 << 30,
    )?;
    let stage = Stage::with(
        Options {
            volume: Some(disk.volume.clone()),
            ..Options::default()
        },
        prepare,
    )?;
    Ok((disk, stage))
}

/// The copy's volume is full before the copy is whole.
pub(crate) fn no_space_for_the_copy() -> Result<()> {
    let stage = Stage::new()?;
    let plan = Planned::make(&stage, &stage.scene.target)?;
    let volume = plan.backup_in_memory(&stage, 2 << 20)?;
    let ended = plan.apply(&stage)?;
    let told = Told {
        code: "no-space",
        says: &["No space left on device", "make room"],
    };
    is_rolled_back(&ended, told);
    // It was there before the run, and stays.
    docker(&["volume", "rm", &volume])?;
    stage.assert_as_before()
}

/// The copy's volume has no room for what came since the live pass: met by the last one, with the server down.
pub(crate) fn no_space_for_the_last_pass() -> Result<()> {
    const SIZE: u64 = 1 << 30;
    const NEW: usize = 64 << 20;
    let stage = Stage::new()?;
    let plan = Planned::make(&stage, &stage.scene.target)?;
    let volume = plan.backup_in_memory(&stage, SIZE)?;
    let mut call = plan.start(&stage)?;
    call.wait_for("the proof", is("intended", "prove-copy", false))?;
    let folder = stage.scene.server.mountpoint()?.join("backup");
    let new = folder.join("new");
    keeping_time(&folder, || Ok(fs_err::write(&new, vec![b'x'; NEW])?))?;
    call.wait_for("the stop", is("intended", "stop-services", false))?;
    // It is there while somebody has it mounted, as the agent has.
    let place = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume])?;
    let place = Path::new(&place);
    let room = free_bytes(place)?.saturating_sub(16 << 20);
    let others = fs_err::File::create(place.join("others"))?;
    let nothing_special = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&others, nothing_special, 0, room).map_err(std::io::Error::from)?;
    let ended = call.end()?;
    assert_eq!(ended.count("failed", "copy-changes"), 1, "{ended:#?}");
    keeping_time(&folder, || Ok(fs_err::remove_file(&new)?))?;
    let told = Told {
        code: "no-space",
        says: &["make room"],
    };
    is_rolled_back(&ended, told);
    docker(&["volume", "rm", &volume])?;
    stage.assert_as_before()
}

/// The server's own disk has room for the ledgers when the databases are to be dumped onto it, and less than is left for others.
pub(crate) fn no_space_for_the_dump() -> Result<()> {
    let (disk, stage) = on_a_disk("dump")?;
    let (mut call, _run) = between(&stage, "capture-baseline")?;
    disk.leave(16 << 20)?;
    call.signal(Signal::CONT)?;
    let failed = call.wait_for("the failure", |line| line["event"] == "failed");
    disk.empty()?;
    let failed = failed?;
    assert_eq!(failed["step_id"], "dump-databases", "{failed:#}");
    let told = Told {
        code: "no-space",
        says: &["left for others"],
    };
    // Nobody met the end of the disk, and no program of the server ended.
    rolled_back(&stage, &call.end()?, told)
}

/// A dump that would take the last room of the server's disk is ended while there is room for the server that runs.
pub(crate) fn a_dump_that_would_fill_the_disk() -> Result<()> {
    let told = Told {
        code: "no-space",
        says: &["the dump of `pmm-managed`", "left for others", "removed"],
    };
    would_fill_the_disk("capture-baseline", told)
}

/// What its proof restores is known by then: it does not begin.
pub(crate) fn a_proof_that_would_fill_the_disk() -> Result<()> {
    let told = Told {
        code: "no-space-for-proof",
        says: &["proving the dumps needs", "to others"],
    };
    would_fill_the_disk("dump-databases", told)
}

/// The step behind this one would write more than there is left for it, and says so.
fn would_fill_the_disk(behind: &'static str, told: Told<'_>) -> Result<()> {
    // What cannot be compressed, each row in as many bytes in the dump.
    const LARGE: &str = "CREATE TABLE zz_large (content bytea); \
        ALTER TABLE zz_large ALTER content SET STORAGE EXTERNAL; \
        WITH one AS MATERIALIZED (SELECT string_agg(uuid_send(gen_random_uuid()), '') AS content FROM generate_series(1, 65536)) \
        INSERT INTO zz_large SELECT content FROM one, generate_series(1, 250)";
    // What `ferryd` leaves to others on a file system of 8 GiB, and what the dump finds beside it.
    const RESERVE: u64 = (8 << 30) / 20;
    const ROOM: u64 = 80 << 20;
    let (disk, stage) =
        on_a_disk_with("room", |server| server.psql("pmm-managed", LARGE).map(drop))?;
    let (call, _run) = until(&stage, "finished", behind)?;
    let free = free_bytes(&disk.mountpoint())?;
    keeping_time(&disk.mountpoint(), || {
        disk.fill("room", free - RESERVE - ROOM)
    })?;
    let (least, ended) = least_free(&disk, || call.end())?;
    keeping_time(&disk.mountpoint(), || {
        Ok(fs_err::remove_file(disk.mountpoint().join("room"))?)
    })?;
    assert!(least > RESERVE / 2, "only {least} bytes were free once");
    // The room is given back: of the dump that was ended nothing is left.
    let free_now = free_bytes(&disk.mountpoint())?;
    assert!(
        free_now + (ROOM / 2) > free,
        "{free} bytes were free before, and {free_now} are now"
    );
    rolled_back(&stage, &ended, told)
}

/// The least that was free on a disk while something was done.
fn least_free<T>(disk: &Disk, done: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let over = AtomicBool::new(false);
    let (least, done) = std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut least = u64::MAX;
            while !over.load(Ordering::Relaxed) {
                least = least.min(free_bytes(&disk.mountpoint()).unwrap_or(u64::MAX));
                std::thread::sleep(Duration::from_millis(20));
            }
            least
        });
        let done = done();
        over.store(true, Ordering::Relaxed);
        (looks.join().unwrap_or(0), done)
    });
    Ok((least, done?))
}

/// The server's own disk is full to the last block when the next step begins: its ledger cannot be made.
pub(crate) fn no_space_for_the_ledger() -> Result<()> {
    let (disk, stage) = on_a_disk("ledger")?;
    let (mut call, run) = between(&stage, "copy-volume")?;
    let full = disk.keep_full()?;
    call.signal(Signal::CONT)?;
    let failed = call.wait_for("the failure", |line| line["event"] == "failed");
    drop(full);
    disk.empty()?;
    let failed = failed?;
    assert_eq!(failed["step_id"], "prove-copy", "{failed:#}");
    assert_eq!(failed["failure"]["code"], "ledger", "{failed:#}");
    // What a full disk has ended for good is started again by whoever made room.
    for program in ["clickhouse", "victoriametrics"] {
        let _runs = stage
            .scene
            .server
            .exec(&["supervisorctl", "start", program]);
    }
    let ended = call.end()?;
    let told = Told {
        code: "ledger",
        says: &["No space left on device"],
    };
    match ended.code {
        // Not even the undo could be written down before there was room.
        4 => {
            held(&ended, &run, told);
            goes_on_back_but_killed(&stage, &run)
        }
        _ => {
            is_rolled_back(&ended, told);
            stage.assert_as_before_but_killed()
        }
    }
}

/// A file that the new version no longer has comes back by a restore, and the disk has no room for it: told while the new version serves.
pub(crate) fn no_space_for_the_restore() -> Result<()> {
    const FILE: &str = "backup/large";
    let (disk, stage) = on_a_disk_with("restore", |server| {
        let file = server.mountpoint()?.join(FILE);
        if let Some(folder) = file.parent() {
            fs_err::create_dir_all(folder)?;
        }
        Ok(fs_err::write(file, vec![b'x'; 256 << 20])?)
    })?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    let ended = call.end()?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    let server = &stage.scene.server;
    fs_err::remove_file(server.mountpoint()?.join(FILE))?;
    disk.leave(64 << 20)?;
    let ended = stage.run(&["rollback", &run, "--yes"])?;
    let told = Told {
        code: "no-space-for-restore",
        says: &["MiB more", "was not stopped", "free space there"],
    };
    held(&ended, &run, told);
    assert!(server.is_v3()?);
    disk.empty()?;
    goes_on_back(&stage, &run)
}

/// The room that a restore needs was there when it was looked for, and is gone when it is at work: half of the data is restored then.
pub(crate) fn no_space_in_the_middle_of_the_restore() -> Result<()> {
    const FILES: usize = 24;
    const SIZE: usize = 16 << 20;
    let file = |server: &TestServer, number: usize| -> Result<_> {
        let folder = server.mountpoint()?.join("backup/many");
        fs_err::create_dir_all(&folder)?;
        Ok(folder.join(format!("large-{number:02}")))
    };
    let (disk, stage) = on_a_disk_with("middle", |server| {
        for number in 0..FILES {
            let byte = u8::try_from(number).unwrap_or(u8::MAX);
            fs_err::write(file(server, number)?, vec![byte; SIZE])?;
        }
        Ok(())
    })?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    let ended = call.end()?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    let server = &stage.scene.server;
    for number in 0..FILES {
        fs_err::remove_file(file(server, number)?)?;
    }
    let mut call = stage.start(&["rollback", &run, "--yes"])?;
    // Room was looked for, and PMM 3 has stopped.
    call.wait_for("the stop", is("finished", "start-server", true))?;
    // Beside the data: what is there and not in the copy would be put aside.
    const ROOM: &str = ".ferry/room";
    disk.fill(
        ROOM,
        free_bytes(&disk.mountpoint())?.saturating_sub(96 << 20),
    )?;
    let ended = call.end()?;
    assert_eq!(ended.count("failed", "hand-over-volume"), 1, "{ended:#?}");
    let told = Told {
        code: "no-space",
        says: &["No space left on device"],
    };
    held(&ended, &run, told);
    fs_err::remove_file(disk.mountpoint().join(ROOM))?;
    goes_on_back(&stage, &run)
}

/// A run between two steps: the agent has ended the one, and the controller stands still before it has heard of that. What is done to a
/// disk here meets the beginning of the next step, and nothing before.
fn between(stage: &Stage, step: &'static str) -> Result<(Call, String)> {
    let (call, run) = until(stage, "intended", step)?;
    stop_behind(&call, &stage.scene.server.mountpoint()?, step)?;
    Ok((call, run))
}

/// A file that nobody may change, not even root.
pub(crate) fn permission_denied() -> Result<()> {
    let stage = Stage::new()?;
    let (call, _run) = until(&stage, "finished", "copy-volume")?;
    let folder = stage.scene.server.mountpoint()?.join("prometheus/rules");
    let file = folder.join("immutable.yml");
    keeping_time(&folder, || Ok(fs_err::write(&file, "")?))?;
    set_immutable(&file, true)?;
    let ended = call.end();
    set_immutable(&file, false)?;
    keeping_time(&folder, || Ok(fs_err::remove_file(&file)?))?;
    let told = Told {
        code: "tree-immutable",
        says: &["immutable.yml", "chattr -i"],
    };
    rolled_back(&stage, &ended?, told)
}
