//! `backup restore`, `finish` and `backup prune`, killed with SIGKILL while they are at it: the same command again, or `resume`, ends
//! where an undisturbed one ends. Until then a half of a backup is never shown as one, and the way back of a server stays.

use std::path::{Path, PathBuf};

use ferry_tests::disk::set_immutable;
use ferry_tests::kill::{
    Bulk, Ended, Tool, agents_of, is, kill_container, process_of, send, stop_within,
};
use ferry_tests::server::{Options, TestServer};
use ferry_tests::snapshot;
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};
use rustix::process::Signal;
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// Enough that neither a restore nor a removal is over before it is noticed.
const MANY: (usize, usize) = (400, 75);

/// A server that was carried over with many files, and its backup.
struct Scene {
    server: TestServer,
    tool: Tool,
    run: String,
    seen: Seen,
}

impl Scene {
    fn new(more: &[&str]) -> Result<Self> {
        let server = TestServer::used(Options::default())?;
        Bulk::make(server.mountpoint()?.join("dump/many"), MANY.0, MANY.1)?;
        let seen = Seen::of(&server)?;
        let tool = Tool::new()?;
        let address = server.address();
        let mut words = vec!["migrate", &address, "--to", TO, "--yes"];
        words.extend(more);
        let mut call = tool.start(&words)?;
        let run = call.run_name()?;
        let done = call.end()?;
        assert_eq!(done.code, 0, "{done:?}");
        Ok(Self {
            server,
            tool,
            run,
            seen,
        })
    }

    /// What `backup list` says of this server's backups.
    fn listed(&self) -> Result<Vec<Value>> {
        let list = self.tool.run(&["backup", "list"])?;
        assert_eq!(list.code, 0, "{list:?}");
        let ours = |line: &Value| line["server"] == self.server.name.as_str();
        Ok(list.lines.into_iter().filter(ours).collect())
    }

    fn open_runs(&self) -> Result<Vec<Value>> {
        let status = self.tool.run(&["status"])?;
        assert_eq!(status.code, 0, "{status:?}");
        Ok(status.lines)
    }

    /// Starts a verb and kills it when it has said that it begins a step; gives the verb's own run.
    fn cut_off(&self, words: &[&str], step: &'static str) -> Result<String> {
        let mut call = self.tool.start(words)?;
        let run = call.run_name()?;
        call.wait_for(step, is("intended", step, false))?;
        call.kill()?;
        let open = self.open_runs()?;
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(open[0]["run"], run.as_str(), "{open:?}");
        Ok(run)
    }

    /// Nothing is open, and nothing but what the crossing made is left of any of it.
    fn assert_over(&self, left: &[String]) -> Result<()> {
        assert_eq!(self.open_runs()?, [Value::Null; 0]);
        assert_eq!(agents_of(&self.server.name)?, [""; 0]);
        assert_eq!(witness::beside(&self.server.name)?, left);
        let label = format!("label=ferry.run={}", self.run);
        let helpers = ["ps", "--all", "--quiet", "--filter", &label];
        let helpers = docker(&[&helpers[..], &["--filter", "label=ferry.role=folder"]].concat())?;
        assert_eq!(helpers, "", "a helper is left");
        // The server has noticed nothing of it.
        assert_eq!(witness::version(&self.server)?, "3.8.1");
        assert_eq!(self.seen.lost(&Seen::of(&self.server)?), [""; 0]);
        Ok(())
    }

    fn old_container(&self) -> String {
        format!("{}-2.44.1-{}", self.server.name, self.run)
    }

    fn is_there(container: &str) -> bool {
        docker(&["container", "inspect", container]).is_ok()
    }

    /// Waits for the process that removes the folder `own`, and stops it when it is half through.
    fn stop_removal(&self, own: &Path) -> Result<u32> {
        let name = own.file_name().unwrap_or_default().to_string_lossy();
        let many = own.join("data/dump/many");
        let before = entries(&many);
        let remover = process_of(&["folder", "remove", &name])?;
        stop_within(remover, || Ok(entries(&many) < before))?;
        let left = entries(&many);
        assert!(0 < left && left < before, "{left} of {before}: not within");
        Ok(remover)
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

fn code(ended: &Ended) -> &Value {
    &ended.last("error")["code"]
}

#[test]
fn restore_finish_and_prune_of_a_folder_are_cut_off_and_end_as_if_they_were_not() -> Result<()> {
    let disk = tempfile::tempdir()?;
    let folder = disk.path().to_string_lossy().into_owned();
    let scene = Scene::new(&["--backup-to", &folder])?;
    let (tool, run) = (&scene.tool, scene.run.as_str());
    let own = disk
        .path()
        .join(format!("{}-ferry-{run}", scene.server.name));
    let whole = snapshot::take(&own.join("data"))?;
    let restored = format!("{}-restored-{run}", scene.server.volume);
    let old = scene.old_container();

    // Restore: the controller in the middle of the copy, then its agent too.
    let restore = ["backup", "restore", run];
    let restoring = scene.cut_off(&restore, "restore-backup")?;
    kill_container(&format!("ferry-volume-{}-ferry-{run}", scene.server.name))?;
    let kept = tool.run(&["backup", "prune", "--yes"])?;
    assert_eq!(kept.code, 0, "{kept:?}");
    let again = tool.run(&restore)?;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.last("upkeep")["run"], restoring.as_str(), "{again:?}");
    let copy: PathBuf = docker(&[
        "volume",
        "inspect",
        "--format",
        "{{.Mountpoint}}",
        &restored,
    ])?
    .into();
    let back = snapshot::take(&copy)?;
    assert_eq!(snapshot::differences(&whole, &back), [""; 0]);
    let mut left = vec![format!("container {old}"), format!("volume {restored}")];
    left.sort();
    scene.assert_over(&left)?;

    // Finish: until it is over nobody takes the crossing back, and the backup is the way back still.
    let finish = ["finish", run, "--yes"];
    let finishing = scene.cut_off(&finish, "finish-run")?;
    let rollback = tool.run(&["rollback", run, "--yes"])?;
    assert_eq!(rollback.code, 5, "{rollback:?}");
    assert_eq!(code(&rollback), "server-locked", "{rollback:?}");
    let kept = tool.run(&["backup", "prune", "--yes"])?;
    assert_eq!(kept.code, 0, "{kept:?}");
    assert_eq!(scene.listed()?[0]["standing"], "unfinished");
    let again = tool.run(&finish)?;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.last("upkeep")["run"], finishing.as_str(), "{again:?}");
    assert!(!Scene::is_there(&old));
    assert_eq!(scene.listed()?[0]["standing"], "finished");
    scene.assert_over(&[format!("volume {restored}")])?;

    // Prune: one that fails when it has begun leaves a backup that does not look whole.
    let prune = ["backup", "prune", "--yes"];
    let many = own.join("data/dump/many");
    set_immutable(&many, true)?;
    let failed = tool.run(&prune)?;
    set_immutable(&many, false)?;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(entries(&many), MANY.0);
    assert_eq!(scene.listed()?[0]["removal"]["open"], false);
    assert_eq!(scene.open_runs()?, [Value::Null; 0]);

    // Half of the files are gone when controller and helper are killed.
    let mut call = tool.start(&prune)?;
    let pruning = call.run_name()?;
    let remover = scene.stop_removal(&own)?;
    call.kill()?;
    send(remover, Signal::KILL)?;
    let half = scene.listed()?;
    assert_eq!(half[0]["removal"]["run"], pruning.as_str(), "{half:?}");
    assert_eq!(half[0]["removal"]["open"], true, "{half:?}");
    for words in [["backup", "verify", run], restore] {
        let refused = tool.run(&words)?;
        assert_eq!(refused.code, 5, "{refused:?}");
        assert_eq!(code(&refused), "backup-being-removed", "{refused:?}");
    }
    // Once more, and this time the helper removes all of it without anybody who could hear of it.
    let call = tool.start(&prune)?;
    let remover = scene.stop_removal(&own)?;
    call.kill()?;
    send(remover, Signal::CONT)?;
    scene
        .server
        .wait_until("the backup is gone", 60, || !own.exists())?;
    assert_eq!(scene.listed()?, [Value::Null; 0]);
    let again = tool.run(&prune)?;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.last("upkeep")["run"], pruning.as_str(), "{again:?}");
    scene.assert_over(&[format!("volume {restored}")])?;
    assert_eq!(entries(disk.path()), 0);
    let nothing = tool.run(&prune)?;
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert_eq!(nothing.count("intended", "remove-backup"), 0, "{nothing:?}");
    Ok(())
}

#[test]
fn a_finish_that_removes_the_backup_is_cut_off_and_resumed() -> Result<()> {
    let scene = Scene::new(&[])?;
    let (tool, run) = (&scene.tool, scene.run.as_str());
    let finish = ["finish", run, "--remove-backup", "--yes"];
    scene.cut_off(&finish, "remove-backup")?;
    assert!(!Scene::is_there(&scene.old_container()));
    // The engine may have removed it all the same; while it is there it is said to be on its way.
    for backup in scene.listed()? {
        assert_eq!(backup["standing"], "unfinished", "{backup}");
        assert_eq!(backup["removal"]["open"], true, "{backup}");
    }
    let rollback = tool.run(&["rollback", run, "--yes"])?;
    assert_eq!(rollback.code, 5, "{rollback:?}");
    let kept = tool.run(&["backup", "prune", "--yes"])?;
    assert_eq!((kept.code, kept.count("intended", "remove-backup")), (0, 0));
    let resumed = tool.run(&["resume"])?;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(scene.listed()?, [Value::Null; 0]);
    scene.assert_over(&[])?;
    let twice = tool.run(&["finish", run, "--yes"])?;
    assert_eq!(twice.code, 5, "{twice:?}");
    assert_eq!(code(&twice), "run-finished", "{twice:?}");
    Ok(())
}
