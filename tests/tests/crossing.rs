//! The crossing, on a server that has everything people have, and proven by other means than the tool's own.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Container, Options, Seed, TestServer};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";
const RULES: &str =
    "groups:\n- name: own\n  rules:\n  - alert: Down\n    expr: up == 0\n    for: 5m\n";
const RULES_PATH: &str = "prometheus/rules/pmm.rules.yml";
const WEIRD: &str = "it's \"quoted\", costs $HOME `id` \\n\nand has a second line";

/// What PMM 3 drops or shows otherwise is there for people to read, and for root alone.
fn assert_exported(folder: &Path) -> Result<()> {
    let mut texts = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("export-") {
            assert_eq!(entry.metadata()?.mode() & 0o777, 0o600);
            texts.push(fs_err::read_to_string(entry.path())?);
        }
    }
    assert_eq!(texts.len(), 2, "{texts:?}");
    for part in ["\"ia_channels\"", "\"singlestat\""] {
        assert!(texts.iter().any(|text| text.contains(part)), "{texts:?}");
    }
    Ok(())
}

/// The settings that a container's user chose, as the engine tells them, without what follows from the image or the moment.
fn settings(inspected: &Value) -> Value {
    let config = &inspected["Config"];
    let host = &inspected["HostConfig"];
    let own = |name: &str| {
        let list = config["Env"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|entry| {
            entry
                .as_str()
                .is_some_and(|e| e.starts_with(&format!("{name}=")))
        })
    };
    let networks = inspected["NetworkSettings"]["Networks"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, network)| {
            let aliases = network["Aliases"].as_array().cloned().unwrap_or_default();
            // The engine adds the short id of each container by itself.
            let short = inspected["Id"].as_str().unwrap_or_default().get(..12);
            let kept: Vec<Value> = aliases
                .into_iter()
                .filter(|alias| alias.as_str() != short)
                .collect();
            (name.clone(), Value::from(kept))
        });
    serde_json::json!({
        "name": inspected["Name"], "restart": host["RestartPolicy"], "memory": host["Memory"], "pids": host["PidsLimit"], "ulimits": host["Ulimits"],
        "label": config["Labels"]["org.example.team"], "hostname": config["Hostname"],
        "weird": own("WEIRD"), "seed": own("STANDIN_SEED"), "mounts": inspected["Mounts"],
        "networks": networks.collect::<serde_json::Map<_, _>>(),
    })
}

/// Host ports of the loopback by the port inside.
fn port(inspected: &Value, inside: &str) -> Option<u16> {
    let binding = &inspected["HostConfig"]["PortBindings"][inside][0];
    assert_eq!(binding["HostIp"], "127.0.0.1", "{binding}");
    binding["HostPort"].as_str()?.parse().ok()
}

fn assert_json_events(lines: &[Value], last: &str) {
    assert!(lines.len() > 30, "{}", lines.len());
    assert!(
        lines.iter().all(|line| line["kind"].is_string()),
        "{lines:?}"
    );
    let end = &lines[lines.len() - 1];
    assert_eq!(
        (&end["kind"], &end["state"]),
        (&"summary".into(), &last.into())
    );
}

#[test]
fn a_used_server_crosses_whole_and_comes_back_whole() -> Result<()> {
    let server = TestServer::used(Options {
        seed: Seed {
            odd: true,
            ..Seed::default()
        },
        env: vec![
            ("WEIRD".into(), WEIRD.into()),
            ("DATA_RETENTION".into(), "480h".into()),
        ],
        labels: vec![("org.example.team".into(), "data $base".into())],
        networks: vec!["front".into(), "back".into()],
        publish: true,
        md5_roles: true,
        docker: [
            "--network-alias",
            "metrics",
            "--memory",
            "2g",
            "--hostname",
            "pmm",
            "--ulimit",
            "nofile=10000:10000",
            "--pids-limit",
            "4000",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Options::default()
    })?;
    fs_err::write(server.mountpoint()?.join(RULES_PATH), RULES)?;
    // At rest, to have something to compare with to the byte.
    let tree = server.snapshot_between()?;
    let before = Seen::of(&server)?;
    assert_eq!(before.inventory.len(), 5 + 12, "{before:?}");
    let was = server.inspect()?;

    let tool = Ferryctl::new()?;
    let done = tool.run(&[
        "migrate",
        &server.address(),
        "--to",
        TO,
        "--yes",
        "--output",
        "json",
    ])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_json_events(&done.json()?, "done");
    // The one that is scheduled names its service as PMM 2 called it.
    let astray = "the scheduled backup `";
    assert!(done.shown().contains(astray), "{}", done.shown());

    // The same server, one major later.
    let run = tool.only_run()?;
    let is = server.inspect()?;
    assert!(server.is_v3()?);
    assert_ne!(was["Id"], is["Id"]);
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    assert_eq!(
        witness::strangers(&server.mountpoint()?, (1000, 0))?,
        [""; 0]
    );
    assert_eq!(settings(&was), settings(&is));
    for (old, new) in [("80/tcp", "8080/tcp"), ("443/tcp", "8443/tcp")] {
        assert_eq!(port(&was, old), port(&is, new));
    }
    let env = is["Config"]["Env"].to_string();
    assert!(
        env.contains("PMM_DATA_RETENTION=480h") && !env.contains("\"DATA_RETENTION"),
        "{env}"
    );
    assert!(!server.mountpoint()?.join(RULES_PATH).exists());

    // The old one is kept and cannot start by itself; of the agents nothing is left.
    let old = Container {
        name: format!("{}-2.44.1-{run}", server.name),
    };
    let kept = old.inspect()?;
    assert_eq!(kept["Id"], was["Id"]);
    assert_eq!(kept["State"]["Running"], false);
    assert_eq!(kept["State"]["ExitCode"], 0, "stopped, not killed");
    assert_eq!(kept["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(
        witness::beside(&server.name)?,
        [
            format!("container {}", old.name),
            format!("volume {}-data-ferry-{run}", server.name)
        ]
    );

    // PMM 3's own key is with the backup, which was made before there was one.
    let backup = format!("{}-data-ferry-{run}", server.name);
    let backup = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &backup])?;
    let kept_key = Path::new(&backup).join("keys/pmm-encryption.key");
    let key = fs_err::read(server.mountpoint()?.join("pmm-encryption.key"))?;
    assert_eq!(fs_err::read(&kept_key)?, key);
    assert_eq!(witness::strangers(&kept_key, (0, 0))?, [""; 0]);
    assert_exported(&Path::new(&backup).join("run"))?;

    // Not even somebody's hand brings it up beside the new one.
    assert_eq!(kept["HostConfig"]["PidsLimit"], 1);
    old.assert_start_is_fruitless()?;
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);

    // And all the way back.
    let back = tool.run(&["rollback", &run, "--yes", "--output", "json"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    assert_json_events(&back.json()?, "rolled-back");
    server.wait_ready()?;
    assert_eq!(witness::version(&server)?, "2.44.1");
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    assert_eq!(server.unclean()?, [""; 0]);
    let again = server.inspect()?;
    assert_eq!(again["Id"], was["Id"]);
    assert_eq!(again["HostConfig"], was["HostConfig"]);
    assert_eq!(again["Config"], was["Config"]);
    assert_eq!(settings(&again), settings(&was));
    server.stop(60)?;
    assert_eq!(
        witness::not_as_before(&tree, &server.tree_snapshot()?, 2),
        [""; 0]
    );
    Ok(())
}

/// What `ferryctl clients` tells programs.
fn clients(tool: &Ferryctl, server: &TestServer) -> Result<Vec<Value>> {
    let told = tool.run(&["clients", &server.address(), "--output", "json"])?;
    assert_eq!(told.code, 0, "{}", told.shown());
    let lines = told.json()?;
    assert!(lines.iter().all(|line| line["kind"] == "client"));
    Ok(lines)
}

#[test]
fn the_first_pmm3_gets_its_own_owner_and_its_keys_stay_good() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let before = Seen::of(&server)?;
    let tool = Ferryctl::new()?;
    let listed = clients(&tool, &server)?;
    assert!(listed.len() > 3, "{listed:?}");
    let all = |word: &str| listed.iter().all(|it| it["severity"] == word);
    assert!(all("up-to-date"), "{listed:?}");
    let done = tool.run(&[
        "migrate",
        &server.address(),
        "--to",
        "ferry-test/pmm-server:3.0.0",
        "--yes",
    ])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(witness::version(&server)?, "3.0.0");
    assert_eq!(
        witness::strangers(&server.mountpoint()?, (1000, 1000))?,
        [""; 0]
    );
    assert_eq!(before.lost(&Seen::of(&server)?), [""; 0]);
    // Its clients stayed behind, the same ones.
    let left_behind = clients(&tool, &server)?;
    let names = |list: &[Value]| Vec::from_iter(list.iter().map(|it| it["node"].clone()));
    assert_eq!(names(&left_behind), names(&listed));
    for client in &left_behind {
        assert_eq!(client["severity"], "critical", "{client}");
        assert_eq!(client["version"], "2.44.1", "{client}");
    }
    assert!(left_behind.iter().any(|it| it["services"] != 0));
    // This version turns keys into service accounts only for a Grafana administrator, whose password the tool does not ask for.
    // The keys are good all the same, as was just seen, and the operator is told.
    let left = "SELECT count(*) FROM api_key WHERE service_account_id IS NULL";
    assert_ne!(server.psql("grafana", left)?, "0");
    assert!(
        done.stdout.contains("log in once as an administrator"),
        "{}",
        done.shown()
    );
    Ok(())
}
