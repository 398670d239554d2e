//! What somebody does to the data, or to its copy, while the server is down and the data is not handed over yet: a run that is taken back
//! then reverses its steps and restores nothing, unless it has to.

use std::path::{Path, PathBuf};

use ferry_tests::disk::{flip_bit, keeping_time};
use ferry_tests::kill::{Ended, is};
use ferry_tests::matrix::{Journey, ServerScene, Stage};
use ferry_tests::server::{Options, TestServer};
use ferry_tests::{Result, docker};

use crate::copies::{copy_of, files, name_of};
use crate::scene::{Told, and_back, goes_on_back, held, until};

/// A run that stands behind its copy, with nobody at work.
fn stopped() -> Result<(Stage, String)> {
    stopped_on(Stage::new()?)
}

fn stopped_on(stage: Stage) -> Result<(Stage, String)> {
    let (call, run) = until(&stage, "intended", "replace-container")?;
    call.kill()?;
    Ok((stage, run))
}

/// Three files of the data that no program touches, and that is not all of them.
fn three(stage: &Stage) -> Result<[PathBuf; 3]> {
    let dump = stage.scene.server.mountpoint()?.join("dump");
    let mut found = files(&dump).into_iter().map(|file| dump.join(file));
    let mut next = || found.next().expect("the seed has such files");
    Ok([next(), next(), next()])
}

fn rolled_back(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, 0, "{ended:#?}");
    let told = format!("{:?}", ended.lines);
    for word in says {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
}

/// Somebody frees space, and leaves something behind.
pub(crate) fn the_data_is_changed_in_the_downtime() -> Result<()> {
    let (stage, run) = stopped()?;
    let [removed, changed, beside] = three(&stage)?;
    fs_err::remove_file(&removed)?;
    fs_err::write(&changed, "of somebody")?;
    let added = beside.with_file_name("not-there-before");
    fs_err::write(&added, "of somebody")?;
    let ended = stage.run(&["rollback", &run, "--yes"])?;
    let (removed, changed) = (name_of(&removed), name_of(&changed));
    rolled_back(
        &ended,
        &[
            "changed while the server was down",
            &removed,
            &changed,
            "2 files restored",
            "1 entry that the copy does not have kept in",
        ],
    );
    stage.assert_as_before()
}

/// Nothing says that the data is not right, so the server comes back, and what is left of the copy stays.
pub(crate) fn the_copy_is_gone_in_the_downtime() -> Result<()> {
    let (stage, run) = stopped()?;
    let copy = copy_of(&stage, &run)?;
    fs_err::rename(&copy, copy.with_file_name("elsewhere"))?;
    comes_back_and_keeps_the_copy(&stage, &run, &["could not be compared with its copy"])?;
    stage.assert_as_before()
}

/// The data is what was copied, and that is all that is needed.
pub(crate) fn the_copy_is_damaged_in_the_downtime() -> Result<()> {
    let (stage, run) = stopped()?;
    let [lost, ..] = three(&stage)?;
    let lost = in_copy(&stage, &run, &lost)?;
    fs_err::remove_file(&lost)?;
    let says = ["the data is as it was copied", &name_of(&lost)];
    comes_back_and_keeps_the_copy(&stage, &run, &says)?;
    stage.assert_as_before()
}

fn comes_back_and_keeps_the_copy(stage: &Stage, run: &str, says: &[&str]) -> Result<()> {
    let ended = stage.run(&["rollback", run, "--yes"])?;
    rolled_back(&ended, says);
    let volume = format!("{}-ferry-{run}", stage.scene.server.volume);
    assert!(
        ended.last("summary")["kept"].to_string().contains(&volume),
        "{ended:#?}"
    );
    let listed = stage.run(&["backup", "list"])?;
    assert!(format!("{listed:?}").contains(run), "{listed:#?}");
    // Nobody who is not there gives it up.
    let pruned = stage.run(&["backup", "prune", "--yes"])?;
    assert_eq!(pruned.code, 0, "{pruned:#?}");
    docker(&["volume", "rm", &volume]).map(drop)
}

fn in_copy(stage: &Stage, run: &str, file: &Path) -> Result<PathBuf> {
    let data = stage.scene.server.mountpoint()?;
    let below = file.strip_prefix(&data).unwrap_or(file);
    Ok(copy_of(stage, run)?.join(below))
}

/// Neither of the two is what it was: a person decides.
pub(crate) fn data_and_copy_are_changed_in_the_downtime() -> Result<()> {
    let (stage, run) = stopped()?;
    let [removed, lost, _] = three(&stage)?;
    let data = stage.scene.server.mountpoint()?;
    let in_copy = in_copy(&stage, &run, &lost)?;
    let (beside, folder) = (
        copy_of(&stage, &run)?.with_file_name("lost"),
        in_copy.parent(),
    );
    let folder = folder.unwrap_or(&in_copy);
    fs_err::remove_file(&removed)?;
    keeping_time(folder, || Ok(fs_err::rename(&in_copy, &beside)?))?;
    let told = Told {
        code: "copy-not-proven",
        says: &[
            "missing in the copy",
            &name_of(&lost),
            &name_of(&removed),
            "--accept-damaged-copy",
        ],
    };
    let ended = stage.run(&["rollback", &run, "--yes"])?;
    held(&ended, &run, told);
    keeping_time(folder, || Ok(fs_err::rename(&beside, &in_copy)?))?;
    // What is missing can be looked at before anything is decided.
    let restored = format!("{}-looked-at", stage.scene.server.volume);
    let ended = stage.run(&["backup", "restore", &run, "--into", &restored])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    let format = "{{.Mountpoint}}";
    let place = docker(&["volume", "inspect", "--format", format, &restored])?;
    let removed = removed.strip_prefix(&data).unwrap_or(&removed);
    let is_there = Path::new(&place).join(removed).exists();
    docker(&["volume", "rm", &restored])?;
    assert!(is_there, "{} is in the copy", removed.display());
    goes_on_back(&stage, &run)
}

fn of_new_cluster() -> Result<Stage> {
    let none = |_: &TestServer| Ok(());
    Stage::on(ServerScene::new(
        Journey::NewCluster,
        Options::default(),
        none,
    )?)
}

/// What a run keeps beside the data.
fn kept(stage: &Stage, run: &str, name: &str) -> Result<PathBuf> {
    let data = stage.scene.server.mountpoint()?;
    Ok(data.join(".ferry/runs").join(run).join(name))
}

/// Somebody takes what lies aside for garbage. It is the server's own cluster, whose place the new one has.
pub(crate) fn the_former_cluster_is_gone_in_the_downtime() -> Result<()> {
    let (stage, run) = stopped_on(of_new_cluster()?)?;
    fs_err::remove_dir_all(kept(&stage, &run, "proof/data")?)?;
    no_server_starts_without_its_cluster(&stage, &run)?;
    // What is left of it is none either.
    let (stage, run) = stopped_on(stage)?;
    fs_err::remove_dir_all(kept(&stage, &run, "proof/data/global")?)?;
    no_server_starts_without_its_cluster(&stage, &run)
}

fn no_server_starts_without_its_cluster(stage: &Stage, run: &str) -> Result<()> {
    // Without its copy nothing starts: PMM 2 would serve what is not its own.
    let copy = copy_of(stage, run)?;
    let elsewhere = copy.with_file_name("elsewhere");
    fs_err::rename(&copy, &elsewhere)?;
    let told = Told {
        code: "tree-open",
        says: &["cannot be compared with its copy", "--accept-damaged-copy"],
    };
    let ended = stage.run(&["rollback", run, "--yes"])?;
    held(&ended, run, told);
    assert!(
        format!("{ended:?}").contains("somebody has removed the former cluster"),
        "{ended:#?}"
    );
    fs_err::rename(&elsewhere, &copy)?;
    goes_on_back(stage, run)
}

/// It has lain there for as long as PMM 3 ran, and nobody takes it for what the server had.
pub(crate) fn the_former_cluster_is_damaged_after_the_crossing() -> Result<()> {
    let stage = of_new_cluster()?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    assert_eq!(call.end()?.code, 0);
    fs_err::remove_dir_all(kept(&stage, &run, "proof/data/base")?)?;
    and_back(&stage, &run)
}

/// The copy has all owners too.
pub(crate) fn the_record_of_owners_is_damaged() -> Result<()> {
    let (stage, run) = stopped()?;
    flip_bit(&kept(&stage, &run, "owners.record")?)?;
    let ended = stage.run(&["rollback", &run, "--yes"])?;
    rolled_back(&ended, &["the owners are left for the comparison"]);
    stage.assert_as_before()
}

/// The data was restored and compared, and the run is not over.
pub(crate) fn the_data_is_changed_behind_the_restore() -> Result<()> {
    let stage = Stage::new()?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    assert_eq!(call.end()?.code, 0);
    let mut call = stage.start(&["rollback", &run, "--yes"])?;
    call.wait_for("the restore", is("finished", "hand-over-volume", true))?;
    call.kill()?;
    let [removed, changed, _] = three(&stage)?;
    fs_err::remove_file(&removed)?;
    fs_err::write(&changed, "of somebody")?;
    goes_on_back(&stage, &run)
}

/// What runs on the data has another name than the run gave it, so that nobody stops it by that.
pub(crate) fn somebody_uses_the_data_that_is_taken_back() -> Result<()> {
    let stage = Stage::new()?;
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    assert_eq!(call.end()?.code, 0);
    let name = &stage.scene.server.name;
    let other = format!("{name}-renamed");
    docker(&["rename", name, &other])?;
    let told = Told {
        code: "data-in-use",
        says: &[&other],
    };
    let ended = stage.run(&["rollback", &run, "--yes"])?;
    held(&ended, &run, told);
    assert_eq!(ended.count("intended", "hand-over-volume"), 0, "{ended:#?}");
    docker(&["rename", &other, name])?;
    goes_on_back(&stage, &run)
}
