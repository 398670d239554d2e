//! What is done with a backup after the crossing: listed, proven, restored, given up; and one that is kept in a folder.

mod filters;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferry_tests::disk::{Disk, flip_bit, free_bytes};
use ferry_tests::ferryctl::{Asking, Ferryctl, Finished};
use ferry_tests::host_agent::HostAgent;
use ferry_tests::kill::{Tool, is, send};
use ferry_tests::server::{Options, Seed, TestServer};
use ferry_tests::snapshot::{self, Kind};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};
use filters::assert_said;
use rustix::process::Signal;
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";

fn migrated(tool: &Ferryctl, server: &TestServer, more: &[&str]) -> Result<(Finished, String)> {
    let address = server.address();
    let mut words = vec!["migrate", &address, "--to", TO, "--yes"];
    words.extend(more);
    let done = tool.run(&words)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let run = tool.only_run()?;
    Ok((done, run))
}

fn mountpoint(volume: &str) -> Result<PathBuf> {
    let format = "{{.Mountpoint}}";
    Ok(docker(&["volume", "inspect", "--format", format, volume])?.into())
}

/// The backups of this server: other tests have theirs in the same engine.
fn listed(tool: &Ferryctl, server: &TestServer) -> Result<Vec<Value>> {
    let list = tool.run(&["backup", "list", "--output", "json"])?;
    assert_eq!(list.code, 0, "{}", list.shown());
    let lines = list.json()?.into_iter();
    Ok(lines
        .filter(|line| line["server"] == server.name.as_str())
        .collect())
}

#[test]
fn a_backup_is_proven_restored_and_given_up() -> Result<()> {
    let server = TestServer::used(Options {
        seed: Seed {
            odd: true,
            ..Seed::default()
        },
        ..Options::default()
    })?;
    let tool = Ferryctl::new()?;
    let (done, run) = migrated(&tool, &server, &[])?;
    let volume = format!("{}-data-ferry-{run}", server.name);
    for command in ["backup verify", "rollback", "finish"] {
        let said = format!("ferryctl {command} {run}");
        assert!(done.stdout.contains(&said), "{}", done.shown());
    }
    let was = server.inspect()?;

    // Listed, with what stands behind it.
    let ours = listed(&tool, &server)?;
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0]["volume"], volume.as_str());
    assert_eq!(ours[0]["standing"], "unfinished");
    assert!(ours[0]["digest"].as_str().is_some_and(|it| it.len() == 64));
    let strange = listed(&tool.stranger()?, &server)?;
    assert_eq!(strange[0]["standing"], "orphan");

    // Proven, and the server does not notice.
    let verified = tool.run(&["backup", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());
    assert!(verified.stdout.contains("Verified"), "{}", verified.shown());
    let is = server.inspect()?;
    assert_eq!(was["Id"], is["Id"]);
    for part in ["Pid", "StartedAt"] {
        assert_eq!(was["State"][part], is["State"][part], "{part}");
    }

    // Restored into a new volume, the same to the byte, and never over anything.
    let restored = format!("{}-restored-{run}", server.volume);
    let back = tool.run(&["backup", "restore", &run])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    for words in [restored.as_str(), "lost", "docker run --detach"] {
        assert!(back.stdout.contains(words), "no {words}: {}", back.shown());
    }
    let copy = mountpoint(&volume)?.join("data");
    let tree = snapshot::take(&copy)?;
    let again = snapshot::take(&mountpoint(&restored)?)?;
    assert_eq!(snapshot::differences(&tree, &again), [""; 0]);
    let twice = tool.run(&["backup", "restore", &run])?;
    assert_eq!(twice.code, 1, "{}", twice.shown());
    assert!(twice.stdout.contains(&restored), "{}", twice.shown());
    let still = snapshot::take(&mountpoint(&restored)?)?;
    assert_eq!(snapshot::differences(&tree, &still), [""; 0]);

    // It is the only way back: nobody removes it.
    let kept = tool.run(&["backup", "prune", "--yes"])?;
    assert_eq!(kept.code, 0, "{}", kept.shown());
    let why = "its server is not declared finished";
    let flat = kept.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(why), "{}", kept.shown());
    assert_eq!(listed(&tool, &server)?.len(), 1);

    // One bit that is not as it was is found, and named.
    let file = tree.iter().find(|it| it.kind == Kind::File && it.size > 0);
    let file = file.map(|it| it.path.clone()).unwrap_or_default();
    flip_bit(&copy.join(&file))?;
    let spoilt = tool.run(&["backup", "verify", &run])?;
    assert_eq!(spoilt.code, 1, "{}", spoilt.shown());
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let flat: String = spoilt.stdout.split_whitespace().collect();
    assert!(flat.contains(&*name), "no {name}: {}", spoilt.shown());
    // A restore proves before it makes anything of use.
    let other = format!("{}-other", server.name);
    let refused = tool.run(&["backup", "restore", &run, "--into", &other])?;
    assert_eq!(refused.code, 1, "{}", refused.shown());
    assert!(docker(&["volume", "inspect", &other]).is_err());
    flip_bit(&copy.join(&file))?;

    // Declared finished: the old container goes, the backup stays, and there is no way back.
    let old = format!("{}-2.44.1-{run}", server.name);
    let unasked = tool.run(&["finish", &run])?;
    assert_eq!(unasked.code, 2, "{}", unasked.shown());
    docker(&["stop", &server.name])?;
    let stopped = tool.run(&["finish", &run, "--yes"])?;
    assert_eq!(stopped.code, 1, "{}", stopped.shown());
    assert!(
        stopped.stdout.contains("does not run"),
        "{}",
        stopped.shown()
    );
    docker(&["container", "inspect", &old])?;
    docker(&["start", &server.name])?;
    // Somebody who is asked and says no, and then yes.
    let ask = || Asking::start(&tool.command(&["finish", &run]), "Declare it finished?");
    let declined = ask()?.answer("n")?;
    assert_eq!(declined.code, 1, "{}", declined.shown());
    docker(&["container", "inspect", &old])?;
    let finished = ask()?.answer("y")?;
    assert_eq!(finished.code, 0, "{}", finished.shown());
    assert!(docker(&["container", "inspect", &old]).is_err());
    assert_eq!(listed(&tool, &server)?[0]["standing"], "finished");
    let twice = tool.run(&["finish", &run, "--yes"])?;
    assert_eq!(twice.code, 5, "{}", twice.shown());
    assert_said("finished-twice", &twice, Some(&server.name));
    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 5, "{}", back.shown());
    assert_said("rollback-of-a-finished-run", &back, Some(&server.name));
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "3.8.1");

    // Now it may go, when somebody says so.
    let unasked = tool.run(&["backup", "prune"])?;
    assert_eq!(unasked.code, 2, "{}", unasked.shown());
    let young = tool.run(&["backup", "prune", "--older-than", "1d", "--yes"])?;
    assert_eq!(young.code, 0, "{}", young.shown());
    assert_eq!(listed(&tool, &server)?.len(), 1);
    let gone = tool.run(&["backup", "prune", "--yes"])?;
    assert_eq!(gone.code, 0, "{}", gone.shown());
    assert_eq!(listed(&tool, &server)?, [Value::Null; 0]);
    assert!(docker(&["volume", "inspect", &volume]).is_err());
    let left: Vec<String> = witness::beside(&server.name)?;
    assert_eq!(left, [format!("volume {restored}")]);
    Ok(())
}

#[test]
fn the_way_back_of_another_journals_crossing_is_no_orphan_that_may_go() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let tool = Ferryctl::new()?;
    let (_, run) = migrated(&tool, &server, &[])?;
    let volume = format!("{}-data-ferry-{run}", server.name);
    let old = format!("{}-2.44.1-{run}", server.name);
    // An agent that may touch this server's alone: to a stranger the backups of other tests are orphans as well.
    let agent = HostAgent::start(&[&server.name])?;
    let (engine, tls) = (agent.address(""), agent.tls());
    let (engine, tls) = (engine.trim_end_matches('/'), tls.to_string_lossy());
    let stranger = tool.stranger()?;
    let prune = || {
        let words = ["backup", "--engine", engine, "prune", "--orphans", "--yes"];
        let done = stranger.run(&[&words[..], &["--tls", &tls]].concat())?;
        assert_eq!(done.code, 0, "{}", done.shown());
        Ok::<_, ferry_tests::Error>(done)
    };
    let kept = prune()?;
    let flat = kept.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [&*old, &format!("ferryctl finish {run}"), "--state-dir"] {
        assert!(flat.contains(words), "no {words}: {}", kept.shown());
    }
    assert!(docker(&["volume", "inspect", &volume]).is_ok());
    let verified = tool.run(&["backup", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());

    let finished = tool.run(&["finish", &run, "--yes"])?;
    assert_eq!(finished.code, 0, "{}", finished.shown());
    prune()?;
    assert!(docker(&["volume", "inspect", &volume]).is_err());
    Ok(())
}

#[test]
fn a_folder_holds_the_backup_and_the_way_back() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let before = Seen::of(&server)?;
    let tool = Ferryctl::new()?;
    let disk = tempfile::tempdir()?;
    let folder = disk.path().to_string_lossy().into_owned();
    let check = |folder: &str| {
        let address = server.address();
        tool.run(&["check", &address, "--to", TO, "--backup-to", folder])
    };
    let inside = server.mountpoint()?.join("prometheus");
    for (unfit, code) in [
        ("/no/such/folder", "backup-folder-unusable"),
        (&*inside.to_string_lossy(), "backup-inside-data"),
    ] {
        let found = check(unfit)?;
        assert_eq!(found.code, 3, "{}", found.shown());
        assert!(found.stdout.contains(code), "{}", found.shown());
    }
    assert!(!Path::new("/no").exists(), "a missing folder is not made");
    let relative = check("mnt/b")?;
    assert_eq!(relative.code, 2);
    assert_said("usage-backup-to", &relative, None);

    let limits = ["--backup-to", &folder, "--io-limit", "200M"];
    let (done, run) = migrated(&tool, &server, &limits)?;
    let own = format!("{folder}/{}-ferry-{run}", server.name);
    assert!(Path::new(&own).join("data/postgres14").is_dir(), "{own}");
    assert!(done.stderr.contains("200 MiB a second"), "{}", done.shown());
    assert!(done.stdout.contains(&own), "{}", done.shown());
    assert_eq!(listed(&tool, &server)?[0]["folder"], own.as_str());
    let verified = tool.run(&["backup", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());

    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(
        fs_err::read_dir(&folder)?.count(),
        0,
        "its copy went with the run"
    );
    let over = tool.run(&["finish", &run, "--yes"])?;
    assert_eq!(over.code, 5, "{}", over.shown());
    assert_said("finish-of-a-run-rolled-back", &over, Some(&server.name));
    Ok(())
}

#[test]
fn runs_and_words_that_are_not_there() -> Result<()> {
    let tool = Ferryctl::new()?;
    for words in [
        &["backup", "verify", "7f3a9c21"] as &[_],
        &["backup", "restore", "7f3a9c21"],
        &["finish", "7f3a9c21", "--yes"],
    ] {
        let finished = tool.run(words)?;
        assert_eq!(finished.code, 1, "{}", finished.shown());
        let name = format!(
            "no-run-{}",
            words[..words.len() - 1].join("-").replace("-7f3a9c21", "")
        );
        assert_said(&name, &finished, None);
    }
    for (name, words) in [
        (
            "io-limit",
            &["migrate", "docker:p", "--to", TO, "--io-limit", "fast"] as &[_],
        ),
        ("older-than", &["backup", "prune", "--older-than", "30"]),
        ("into", &["backup", "restore", "7f3a9c21", "--into", "/srv"]),
    ] {
        let finished = tool.run(words)?;
        assert_eq!(finished.code, 2, "{}", finished.shown());
        assert_said(&format!("usage-{name}"), &finished, None);
    }
    Ok(())
}

#[test]
fn on_a_disk_that_shares_blocks_a_copy_takes_next_to_none() -> Result<()> {
    const BIG: u64 = 300 << 20;
    let name = format!("ferry-test-{}-sharing", std::process::id());
    let Some(disk) = Disk::sharing(&name, 4 << 30)? else {
        eprintln!("not tried: this machine's kernel has no XFS");
        return Ok(());
    };
    let server = TestServer::used(Options {
        volume: Some(disk.volume.clone()),
        ..Options::default()
    })?;
    let big = disk.mountpoint().join("data/dump/big");
    fs_err::create_dir_all(big.parent().unwrap_or(&big))?;
    std::io::copy(
        &mut fs_err::File::open("/dev/urandom")?.take(BIG),
        &mut fs_err::File::create(&big)?,
    )?;
    fs_err::File::open(&big)?.sync_all()?;
    let before = free_bytes(&disk.mountpoint())?;
    let tool = Ferryctl::new()?;
    let folder = disk.mountpoint().join("backups");
    fs_err::create_dir(&folder)?;
    let (_, run) = migrated(&tool, &server, &["--backup-to", &folder.to_string_lossy()])?;
    let taken = before.saturating_sub(free_bytes(&disk.mountpoint())?);
    assert!(
        taken < BIG / 2,
        "{taken} bytes for a copy of more than {BIG}"
    );

    // It is a copy all the same, for who proves it and for who goes back by it.
    let verified = tool.run(&["backup", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());
    fs_err::OpenOptions::new()
        .write(true)
        .open(&big)?
        .write_all(b"changed")?;
    let verified = tool.run(&["backup", "verify", &run])?;
    assert_eq!(verified.code, 0, "{}", verified.shown());
    // Brought back it shares its blocks again, and takes no room that is not there.
    fs_err::remove_file(&big)?;
    disk.leave(BIG / 2)?;
    let back = tool.run(&["rollback", &run, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    assert_eq!(fs_err::metadata(&big)?.len(), BIG);
    Ok(())
}

/// Where the dumps are proven nobody gets in from outside: no port, a folder of its own, and no rights but the database's.
#[test]
fn dumps_are_proven_where_nobody_else_reaches() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let tool = Tool::new()?;
    let mut call = tool.start(&["migrate", &server.address(), "--to", TO, "--yes"])?;
    let run = call.run_name()?;
    call.wait_for("the proof", is("intended", "prove-dumps", false))?;
    let folder = format!("/srv/.ferry/runs/{run}/proof");
    let outside = server
        .mountpoint()?
        .join(format!(".ferry/runs/{run}/proof"));
    let deadline = Instant::now() + Duration::from_secs(60);
    // It serves for a second. It is looked at while it stands still.
    let pid = loop {
        assert!(Instant::now() < deadline, "no scratch cluster was seen");
        // It makes its socket behind all ports that it would listen on.
        let listens = outside.join(".s.PGSQL.5432").exists();
        let found = serving(&folder).filter(|_| listens);
        // It may be over between the look and the signal.
        if let Some(pid) = found.filter(|pid| send(*pid, Signal::STOP).is_ok()) {
            break pid;
        }
    };
    let seen = Scratch::of(pid, &outside);
    send(pid, Signal::CONT)?;
    let seen = seen?;
    let of_the_database = fs_err::metadata(server.mountpoint()?.join("postgres14"))?.uid();
    assert_eq!(seen.uids, [of_the_database; 4]);
    assert_ne!(of_the_database, 0);
    assert_eq!(seen.capabilities, 0, "it could do more than its user");
    assert_eq!(seen.ports, 0, "it listens on a port");
    assert_eq!(seen.folder, (0o700, of_the_database));
    let done = call.end()?;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(serving(&folder).is_none());
    Ok(())
}

/// The PostgreSQL, by its first process, whose data lies in this folder, as it sees it.
fn serving(folder: &str) -> Option<u32> {
    let data = format!("{folder}/data");
    let mut processes = fs_err::read_dir("/proc").ok()?.flatten();
    processes.find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let words = fs_err::read(entry.path().join("cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        let is_server = words.next()?.ends_with(b"/postgres");
        (is_server && words.any(|word| word == data.as_bytes())).then_some(pid)
    })
}

/// What a stranger could reach of it.
struct Scratch {
    uids: [u32; 4],
    capabilities: u64,
    /// Sockets of its own that listen on an address.
    ports: usize,
    /// Mode and owner of its folder.
    folder: (u32, u32),
}

impl Scratch {
    fn of(pid: u32, folder: &Path) -> Result<Self> {
        let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let mut uids = [0; 4];
        for (uid, word) in uids.iter_mut().zip(field("Uid:").split_whitespace()) {
            *uid = word.parse().unwrap_or_default();
        }
        let own: Vec<String> = fs_err::read_dir(format!("/proc/{pid}/fd"))?
            .filter_map(|entry| fs_err::read_link(entry.ok()?.path()).ok())
            .filter_map(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let mut ports = 0;
        for table in ["tcp", "tcp6"] {
            let table = fs_err::read_to_string(format!("/proc/{pid}/net/{table}"))?;
            let listening = table.lines().filter(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                // `0A` is a socket that listens; its inode is the tenth word.
                words.get(3) == Some(&"0A")
                    && words
                        .get(9)
                        .is_some_and(|it| own.iter().any(|own| own == it))
            });
            ports += listening.count();
        }
        let meta = fs_err::metadata(folder)?;
        Ok(Self {
            uids,
            capabilities: u64::from_str_radix(&field("CapEff:"), 16).unwrap_or(u64::MAX),
            ports,
            folder: (meta.mode() & 0o7777, meta.uid()),
        })
    }
}
