//! No room, no permission.

use ferry_tests::disk::{Disk, keeping_time, set_immutable};
use ferry_tests::matrix::Stage;
use ferry_tests::server::Options;
use ferry_tests::{Result, docker};

use crate::scene::{
    Planned, Told, goes_on_back_but_killed, held, is_rolled_back, rolled_back, until,
};

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
    let plan = Planned::make(&stage, &stage.scene.target)?;
    // As the run itself would make it, but small.
    let name = format!("{}-ferry-{}", stage.scene.server.volume, plan.run);
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
    let ended = plan.apply(&stage)?;
    let told = Told {
        code: "no-space",
        says: &["No space left on device", "make room"],
    };
    rolled_back(&stage, &ended, told)
}

/// The server's own disk is full when the databases are dumped onto it.
pub(crate) fn no_space_for_the_dump() -> Result<()> {
    no_space_after("dump", "capture-baseline")
}

/// The server's own disk fills up later, when baseline and ledgers have something to write.
pub(crate) fn no_space_for_the_ledger() -> Result<()> {
    no_space_after("ledger", "copy-volume")
}

/// Which write it is that meets the full disk first is the disk's whim, as programs of the server give back a block now and then.
fn no_space_after(name: &str, step: &'static str) -> Result<()> {
    let (disk, stage) = on_a_disk(name)?;
    let (mut call, run) = until(&stage, "finished", step)?;
    disk.fill_up()?;
    let failed = call.wait_for("the failure", |line| line["event"] == "failed")?;
    let failure = failed["failure"].to_string();
    assert!(failure.contains("No space left on device"), "{failed:#}");
    let code = failed["failure"]["code"].as_str().unwrap_or_default();
    assert!(
        ["ledger", "no-space", "tool-failed"].contains(&code),
        "{failed:#}"
    );
    disk.empty()?;
    // What a full disk has ended for good is started again by whoever made room.
    for program in ["clickhouse", "victoriametrics"] {
        let _runs = stage
            .scene
            .server
            .exec(&["supervisorctl", "start", program]);
    }
    let ended = call.end()?;
    let told = Told {
        code,
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
