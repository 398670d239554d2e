//! No room, no permission.

use ferry_tests::disk::{Disk, set_immutable};
use ferry_tests::matrix::Stage;
use ferry_tests::server::Options;
use ferry_tests::{Result, docker};

use crate::scene::{Planned, Told, goes_on_back_but_killed, held, rolled_back, until};

/// A server whose data has a file system of its own, that can be filled up. The disk comes first, so that it goes last.
fn on_a_disk(name: &str) -> Result<(Disk, Stage)> {
    let disk = Disk::make(
        &format!("ferry-test-{}-{name}", std::process::id()),
        8 << 30,
    )?;
    let stage = Stage::with(
        Options {
            volume: Some(disk.volume.clone()),
            ..Options::default()
        },
        |_| Ok(()),
    )?;
    Ok((disk, stage))
}

/// The copy's volume is full before the copy is whole.
pub(crate) fn no_space_for_the_copy() -> Result<()> {
    let stage = Stage::new()?;
    let plan = Planned::make(&stage, &stage.target)?;
    // As the run itself would make it, but small.
    let name = format!("{}-ferry-{}", stage.server.volume, plan.run);
    let label = format!("ferry.run={}", plan.run);
    docker(&[
        "volume",
        "create",
        "--label",
        &label,
        "--label",
        "ferry.role=backup",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=2m",
        &name,
    ])?;
    let ended = plan.apply(&stage.tool)?;
    let told = Told {
        code: "no-space",
        says: &["No space left on device", "free or add space"],
    };
    rolled_back(&stage, &ended, told)
}

/// The server's own disk is full when the databases are dumped onto it: nothing can be written down either.
pub(crate) fn no_space_for_the_dump() -> Result<()> {
    let (disk, stage) = on_a_disk("dump")?;
    let (call, run) = until(&stage, "finished", "capture-baseline")?;
    disk.fill_up()?;
    let ended = call.end()?;
    held(
        &ended,
        &run,
        Told {
            code: "ledger",
            says: &["No space left on device", "free space"],
        },
    );
    disk.empty()?;
    goes_on_back_but_killed(&stage, &run)
}

/// The server's own disk fills up later, when the ledger alone has something to write.
pub(crate) fn no_space_for_the_ledger() -> Result<()> {
    let (disk, stage) = on_a_disk("ledger")?;
    let (call, run) = until(&stage, "finished", "copy-volume")?;
    disk.fill_up()?;
    let ended = call.end()?;
    held(
        &ended,
        &run,
        Told {
            code: "ledger",
            says: &["No space left on device", "free space"],
        },
    );
    disk.empty()?;
    goes_on_back_but_killed(&stage, &run)
}

/// A file that nobody may change, not even root.
pub(crate) fn permission_denied() -> Result<()> {
    let stage = Stage::new()?;
    let (call, _run) = until(&stage, "finished", "copy-volume")?;
    let file = stage
        .server
        .mountpoint()?
        .join("prometheus/rules/pmm.rules.yml");
    let file = file.with_file_name("immutable.yml");
    fs_err::write(&file, "")?;
    set_immutable(&file, true)?;
    let ended = call.end();
    set_immutable(&file, false)?;
    fs_err::remove_file(&file)?;
    let told = Told {
        code: "tree-entries-failed",
        says: &["immutable.yml", "Operation not permitted"],
    };
    rolled_back(&stage, &ended?, told)
}
