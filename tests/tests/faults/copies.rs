//! Backups that are worth nothing: found before anything was changed, or before the way back is gone by them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferry_tests::disk::{flip_bit, keeping_time};
use ferry_tests::matrix::Stage;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::snapshot::{self, Kind};
use ferry_tests::{Result, docker};

use crate::scene::{Told, and_back, goes_on_back, held, rolled_back};

/// Slow enough that a file is damaged before the rest is copied.
const LIMIT: &str = "32M";

/// A function that is found by the session's search path, as nobody has it who restores: what is dumped cannot be read again.
pub(crate) fn a_dump_cannot_be_restored() -> Result<()> {
    let stage = Stage::with(Options::default(), |server: &TestServer| {
        for statement in [
            "CREATE TABLE zz_known (number int)",
            "INSERT INTO zz_known VALUES (1)",
            "CREATE FUNCTION zz_is_known(int) RETURNS boolean LANGUAGE sql AS \
             $$ SELECT EXISTS (SELECT FROM zz_known WHERE number = $1) $$",
            "CREATE TABLE zz_unrestorable (number int CHECK (zz_is_known(number)))",
            "INSERT INTO zz_unrestorable VALUES (1)",
        ] {
            server.psql("pmm-managed", statement)?;
        }
        Ok(())
    })?;
    let ended = stage.begin()?.end()?;
    assert_eq!(ended.count("failed", "prove-dumps"), 1, "{ended:#?}");
    assert_eq!(ended.count("intended", "stop-services"), 0, "{ended:#?}");
    let told = Told {
        code: "tool-failed",
        says: &["a dump cannot be restored", "zz_known"],
    };
    rolled_back(&stage, &ended, told)
}

/// What is read again is no longer what was dumped: a check of one table adds a row to another, whoever fills it.
pub(crate) fn a_dump_restores_to_other_rows() -> Result<()> {
    let stage = Stage::with(Options::default(), |server: &TestServer| {
        for statement in [
            "CREATE TABLE zz_notes (number int)",
            "CREATE FUNCTION zz_noted(int) RETURNS boolean LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.zz_notes VALUES ($1); RETURN true; END $$",
            "CREATE TABLE zz_noted (number int CHECK (public.zz_noted(number)))",
            "INSERT INTO zz_noted VALUES (1)",
        ] {
            server.psql("pmm-managed", statement)?;
        }
        Ok(())
    })?;
    let ended = stage.begin()?.end()?;
    assert_eq!(ended.count("failed", "prove-dumps"), 1, "{ended:#?}");
    assert_eq!(ended.count("intended", "stop-services"), 0, "{ended:#?}");
    let told = Told {
        code: "dump-not-proven",
        says: &["zz_notes"],
    };
    rolled_back(&stage, &ended, told)
}

/// A disk that gives other bytes than it was given.
pub(crate) fn the_copy_is_damaged_before_its_proof() -> Result<()> {
    let stage = Stage::new()?;
    let address = stage.scene.server.address();
    let mut words = vec!["migrate", &address, "--to", &stage.scene.target, "--yes"];
    words.extend(["--io-limit", LIMIT]);
    let mut call = stage.start(&words)?;
    let run = call.run_name()?;
    let file = damage_while_it_is_copied(&stage, &run)?;
    let ended = call.end()?;
    assert_eq!(ended.count("failed", "prove-copy"), 1, "{ended:#?}");
    assert_eq!(ended.count("intended", "stop-services"), 0, "{ended:#?}");
    let told = Told {
        code: "copy-not-proven",
        says: &["other content", &name_of(&file)],
    };
    rolled_back(&stage, &ended, told)
}

/// Damages the first file whose copy is finished: it has the original's time then.
fn damage_while_it_is_copied(stage: &Stage, run: &str) -> Result<PathBuf> {
    let data = stage.scene.server.mountpoint()?;
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        let Ok(copy) = copy_of(stage, run) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let finished = files(&copy.join("dump")).into_iter().find(|file| {
            let time = |root: &Path| {
                fs_err::metadata(root.join("dump").join(file)).and_then(|it| it.modified())
            };
            time(&copy).is_ok_and(|copied| time(&data).is_ok_and(|time| time == copied))
        });
        if let Some(file) = finished {
            let file = copy.join("dump").join(file);
            flip_bit(&file)?;
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no file was copied")
}

/// The copy is damaged after the crossing: PMM 3 goes on until somebody has put it right.
pub(crate) fn the_copy_is_damaged_after_the_crossing() -> Result<()> {
    let (stage, run) = crossed()?;
    let server = &stage.scene.server;
    let copy = copy_of(&stage, &run)?;
    let [damaged, lost] = two_files(&copy);
    let (beside, folder) = (copy.with_file_name("lost"), lost.parent().unwrap_or(&copy));
    flip_bit(&damaged)?;
    keeping_time(folder, || Ok(fs_err::rename(&lost, &beside)?))?;
    let started = || Ok::<_, ferry_tests::Error>(server.inspect()?["State"]["StartedAt"].clone());
    let before = started()?;

    let ended = stage.run(&["rollback", &run, "--yes"])?;
    let told = Told {
        code: "copy-not-proven",
        says: &[
            "other content",
            &name_of(&damaged),
            "missing in the copy",
            &name_of(&lost),
            "was not stopped",
            "--accept-damaged-copy",
        ],
    };
    held(&ended, &run, told);
    assert!(server.is_v3()?);
    assert_eq!(started()?, before, "PMM 3 was stopped for it");
    // Whoever puts it right asks for what is left to do.
    let verify = || stage.run(&["backup", "verify", &run]);
    let verified = verify()?;
    assert_eq!(verified.code, 1, "{verified:#?}");
    assert!(
        format!("{verified:?}").contains(&name_of(&lost)),
        "{verified:#?}"
    );

    flip_bit(&damaged)?;
    keeping_time(folder, || Ok(fs_err::rename(&beside, &lost)?))?;
    let verified = verify()?;
    assert_eq!(verified.code, 0, "{verified:#?}");
    goes_on_back(&stage, &run)
}

/// An operator takes what there is: told which files that are, and given all others as they were.
pub(crate) fn a_damaged_copy_is_accepted() -> Result<()> {
    let (stage, run) = crossed()?;
    let server = &stage.scene.server;
    let (copy, data) = (copy_of(&stage, &run)?, server.mountpoint()?);
    let [damaged, right] = two_files(&copy);
    let below = |file: &Path| {
        file.strip_prefix(&copy)
            .map(|it| data.join(it))
            .unwrap_or_default()
    };
    let before = fs_err::read(&damaged)?;
    for file in [&damaged, &right] {
        flip_bit(file)?;
    }
    // One of the two is in the data as it was; the other is what PMM 3 has made of it.
    fs_err::write(below(&damaged), "of a newer version")?;

    let ended = stage.run(&["rollback", &run, "--yes", "--accept-damaged-copy"])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    let told = format!("{:?}", ended.lines);
    assert!(
        told.contains("1 file restored as the copy has it"),
        "{told}"
    );
    assert!(told.contains(&name_of(&damaged)), "{told}");
    let now = fs_err::read(below(&damaged))?;
    assert_ne!(now, before, "the copy's own bytes");
    assert_eq!(now[1..], before[1..]);
    flip_bit(&below(&damaged))?;
    stage.assert_as_before()?;
    // With the copy as it should be nobody has to accept anything.
    let (call, run) = begun(&stage)?;
    assert_eq!(call.end()?.code, 0);
    and_back(&stage, &run)
}

/// What the copy had to be is not known any more; that it is there is enough for whoever accepts it.
pub(crate) fn a_copy_without_its_manifest_is_accepted() -> Result<()> {
    let (stage, run) = crossed()?;
    let manifest = copy_of(&stage, &run)?.with_file_name("manifest");
    flip_bit(&manifest)?;
    let told = Told {
        code: "manifest-damaged",
        says: &["manifest", "--accept-damaged-copy"],
    };
    held(&stage.run(&["rollback", &run, "--yes"])?, &run, told);
    assert!(stage.scene.server.is_v3()?);
    let ended = stage.run(&["rollback", &run, "--yes", "--accept-damaged-copy"])?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    stage.assert_as_before()
}

fn begun(stage: &Stage) -> Result<(ferry_tests::kill::Call, String)> {
    let mut call = stage.begin()?;
    let run = call.run_name()?;
    Ok((call, run))
}

fn crossed() -> Result<(Stage, String)> {
    let stage = Stage::new()?;
    let (call, run) = begun(&stage)?;
    let ended = call.end()?;
    assert_eq!(ended.code, 0, "{ended:#?}");
    Ok((stage, run))
}

/// The copy of the server's data, in its backup volume.
pub(crate) fn copy_of(stage: &Stage, run: &str) -> Result<PathBuf> {
    let volume = format!("{}-ferry-{run}", stage.scene.server.volume);
    let format = "{{.Mountpoint}}";
    let place = docker(&["volume", "inspect", "--format", format, &volume])?;
    Ok(Path::new(&place).join("data"))
}

/// Files that no program of the server touches.
fn two_files(copy: &Path) -> [PathBuf; 2] {
    let mut found = files(&copy.join("dump")).into_iter();
    let mut next = || {
        copy.join("dump")
            .join(found.next().expect("the seed has such files"))
    };
    [next(), next()]
}

/// Files below a folder that have content and one name, in the order of their names; none while it is not there.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let tree = snapshot::take(folder).unwrap_or_default();
    let mut files = Vec::from_iter(
        tree.into_iter()
            .filter(|it| it.kind == Kind::File && it.size > 0 && it.links == 1)
            .map(|it| it.path),
    );
    files.sort();
    files
}

pub(crate) fn name_of(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
