//! The recipe that carries PostgreSQL over by a new cluster: everything is found again, the former cluster is kept, and a way
//! back has it in its place.

use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::kill::{Tool, is};
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// What a cluster is known by, whatever is in it.
const IDENTITY: &str = "SELECT system_identifier FROM pg_control_system()";

#[test]
fn a_new_cluster_has_everything_and_the_way_back_has_the_former_one() -> Result<()> {
    let server = TestServer::used(Options {
        md5_roles: true,
        ..Options::default()
    })?;
    let tree = server.snapshot_between()?;
    let before = Seen::of(&server)?;
    let former = server.psql("postgres", IDENTITY)?;
    let tool = Ferryctl::new()?;
    let address = server.address();
    let recipe = ["--recipe", "pmm-dump-restore"];
    let words = ["migrate", &address, "--to", TO, "--yes"];
    let done = tool.run(&[&words[..], &recipe].concat())?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert!(done.shown().contains("recipe pmm-dump-restore"));
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_ne!(server.psql("postgres", IDENTITY)?, former);
    assert_eq!(
        witness::strangers(&server.mountpoint()?, (1000, 0))?,
        [""; 0]
    );

    let run = tool.only_run()?;
    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(server.psql("postgres", IDENTITY)?, former);
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    server.stop(60)?;
    let now = server.tree_snapshot()?;
    assert_eq!(witness::not_as_before(&tree, &now, 2), [""; 0]);
    Ok(())
}

/// A host that is switched on again, or a person, has PMM 2 serve again while its run stands still: what it writes then is in no dump.
#[test]
fn what_a_server_writes_behind_its_dump_is_not_lost() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let address = server.address();
    for (step, code) in [
        ("dump-at-rest", "programs-run-again"),
        ("stop-database", "server-restarted"),
    ] {
        let tool = Tool::new()?;
        let words = ["migrate", &address, "--to", TO, "--yes"];
        let mut call = tool.start(&[&words[..], &["--recipe", "pmm-dump-restore"]].concat())?;
        let run = call.run_name()?;
        call.wait_for(step, is("finished", step, false))?;
        call.kill()?;
        docker(&["restart", &server.name])?;
        server.wait_ready()?;
        let table = format!("zz_later_{}", step.replace('-', "_"));
        server.psql("pmm-managed", &format!("CREATE TABLE {table} (number int)"))?;
        let ended = tool.run(&["resume", &run])?;
        assert_eq!(ended.last("summary")["state"], "rolled-back", "{ended:#?}");
        assert_eq!(ended.last("summary")["failure"]["code"], code, "{ended:#?}");
        server.wait_ready()?;
        assert_eq!(witness::version(&server)?, "2.44.1");
        server.psql("pmm-managed", &format!("SELECT * FROM {table}"))?;
    }
    Ok(())
}
