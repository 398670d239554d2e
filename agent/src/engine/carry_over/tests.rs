//! One test a row of the table in facts/pmm.md 7.4.

use serde_json::{Value, json};

use super::*;

mod mounts;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn old_image() -> Value {
    json!({"Id": "sha256:old", "Config": {
        "Cmd": ["/opt/entrypoint.sh"], "WorkingDir": "/opt", "Labels": {"vendor": "Percona", "baked": "1"},
        "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://127.0.0.1/v1/readyz"], "Interval": 3},
    }})
}

fn new_image() -> Value {
    json!({"Id": "sha256:new", "Config": {"User": "1000", "Volumes": {"/srv": {}}, "ExposedPorts": {"8080/tcp": {}, "8443/tcp": {}}}})
}

/// A server as the documentation starts it.
fn old() -> Value {
    json!({
        "Id": ID, "Name": "/pmm-server", "Image": "sha256:old",
        "Config": {
            "Hostname": &ID[..12], "User": "", "Image": "percona/pmm-server:2", "Cmd": ["/opt/entrypoint.sh"], "Entrypoint": null,
            "WorkingDir": "/opt", "Labels": {"vendor": "Percona", "baked": "1"}, "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
            "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://127.0.0.1/v1/readyz"], "Interval": 3},
        },
        "HostConfig": {
            "Binds": ["pmm-data:/srv"], "NetworkMode": "default", "AutoRemove": false,
            "PortBindings": {"443/tcp": [{"HostIp": "", "HostPort": "443"}]},
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
            "LogConfig": {"Type": "json-file", "Config": {}}, "Memory": 0, "CapAdd": null,
        },
        "Mounts": [{"Type": "volume", "Name": "pmm-data", "Source": "/v/pmm-data/_data", "Destination": "/srv",
                    "Driver": "local", "Mode": "z", "RW": true, "Propagation": ""}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAMConfig": null, "Aliases": null, "NetworkID": "n", "IPAddress": "172.17.0.2", "MacAddress": "02:42:ac:11:00:02"}}},
    })
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[key] = new;
}

fn run(old: &Value) -> CarryOver {
    carry_over(
        old,
        &old_image(),
        &new_image(),
        &[],
        &CarryOverOptions::default(),
    )
    .unwrap()
}

fn with(pointer: &str, new: Value) -> CarryOver {
    let mut old = old();
    set(&mut old, pointer, new);
    run(&old)
}

fn codes(done: &CarryOver) -> Vec<&str> {
    done.notes.iter().map(|note| note.code).collect()
}

#[test]
fn the_documented_server() {
    let done = run(&old());
    assert_eq!(done.body["Image"], "sha256:new");
    for key in [
        "User",
        "Cmd",
        "Entrypoint",
        "WorkingDir",
        "Healthcheck",
        "ExposedPorts",
        "StopSignal",
        "Hostname",
        "Volumes",
        "MacAddress",
    ] {
        assert!(done.body.get(key).is_none(), "{key}");
    }
    assert_eq!(done.body["Labels"], json!({}));
    assert_eq!(done.body["StopTimeout"], 300);
    assert_eq!(done.body["HostConfig"]["Binds"], json!(["pmm-data:/srv:z"]));
    assert_eq!(
        done.body["HostConfig"]["PortBindings"],
        json!({"8443/tcp": [{"HostIp": "", "HostPort": "443"}]})
    );
    assert_eq!(
        done.body["NetworkingConfig"],
        json!({"EndpointsConfig": {"bridge": {}}})
    );
    assert!(done.extra_networks.is_empty());
    assert_eq!(codes(&done), ["port-translated"]);
}

#[test]
fn env_is_the_callers_to_the_byte() {
    let env = [
        ("A".to_owned(), "x=\"y\" `z` $(w)\n'".to_owned()),
        ("B".to_owned(), String::new()),
    ];
    let done = carry_over(
        &old(),
        &old_image(),
        &new_image(),
        &env,
        &CarryOverOptions::default(),
    )
    .unwrap();
    assert_eq!(done.body["Env"], json!(["A=x=\"y\" `z` $(w)\n'", "B="]));
    assert!(!format!("{done:?}").contains("$(w)"));
}

#[test]
fn labels_of_the_image_go_and_the_users_stay() {
    let done = with(
        "/Config/Labels",
        json!({"vendor": "Percona", "baked": "changed", "team": "db"}),
    );
    assert_eq!(
        done.body["Labels"],
        json!({"baked": "changed", "team": "db"})
    );
}

#[test]
fn a_user_is_never_carried_over() {
    let done = with("/Config/User", json!("root"));
    assert!(done.body.get("User").is_none());
    assert!(codes(&done).contains(&"user-unset"));
}

#[test]
fn custom_commands_are_kept_and_reported() {
    for (key, value, code) in [
        ("Cmd", json!(["/my.sh"]), "custom-cmd"),
        ("Entrypoint", json!(["/init"]), "custom-entrypoint"),
        ("WorkingDir", json!("/w"), "custom-working-dir"),
        ("StopSignal", json!("SIGINT"), "custom-stop-signal"),
    ] {
        let done = with(&format!("/Config/{key}"), value.clone());
        assert_eq!(done.body[key], value);
        assert!(codes(&done).contains(&code), "{code}");
    }
    assert!(
        with("/Config/StopSignal", json!("15"))
            .body
            .get("StopSignal")
            .is_none()
    );
}

#[test]
fn a_custom_health_check_follows_the_ports() {
    let done = with(
        "/Config/Healthcheck",
        json!({"Test": ["CMD", "curl", "-kf", "https://127.0.0.1:443/v1/readyz"], "Retries": 9}),
    );
    assert_eq!(
        done.body["Healthcheck"]["Test"][3],
        "https://127.0.0.1:8443/v1/server/readyz"
    );
    assert_eq!(done.body["Healthcheck"]["Retries"], 9);
    assert!(codes(&done).contains(&"custom-healthcheck"));
}

#[test]
fn ports_exposed_by_the_user_stay() {
    let done = with(
        "/Config/ExposedPorts",
        json!({"80/tcp": {}, "443/tcp": {}, "9000/udp": {}}),
    );
    assert_eq!(done.body["ExposedPorts"], json!({"9000/udp": {}}));
}

#[test]
fn a_host_name_stays_unless_made_up() {
    let mut old = old();
    set(&mut old, "/Config/Hostname", json!("pmm.example"));
    set(&mut old, "/Config/Domainname", json!("example"));
    let done = run(&old);
    assert_eq!(
        (&done.body["Hostname"], &done.body["Domainname"]),
        (&json!("pmm.example"), &json!("example"))
    );
    set(&mut old, "/Config/Hostname", json!(&ID[..12]));
    let done = run(&old);
    assert!(done.body.get("Hostname").is_none());
    assert_eq!(done.body["Domainname"], "example");
    set(&mut old, "/HostConfig/NetworkMode", json!("host"));
    let done = run(&old);
    assert!(done.body.get("Hostname").is_none() && done.body.get("Domainname").is_none());
}

#[test]
fn the_stop_timeout_only_grows() {
    assert_eq!(
        with("/Config/StopTimeout", json!(10)).body["StopTimeout"],
        300
    );
    assert_eq!(
        with("/Config/StopTimeout", json!(900)).body["StopTimeout"],
        900
    );
}

#[test]
fn ports_keep_their_host_side() {
    let done = with(
        "/HostConfig/PortBindings",
        json!({"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "8000"}, {"HostIp": "::1", "HostPort": "80"}],
               "443/tcp": [{"HostIp": "", "HostPort": "8443"}], "9000/tcp": [{"HostIp": "", "HostPort": ""}],
               "8080/tcp": [{"HostIp": "", "HostPort": "1"}], "443/udp": null}),
    );
    assert_eq!(
        done.body["HostConfig"]["PortBindings"],
        json!({"8080/tcp": [{"HostIp": "10.0.0.1", "HostPort": "8000"}, {"HostIp": "::1", "HostPort": "80"}, {"HostIp": "", "HostPort": "1"}],
               "8443/tcp": [{"HostIp": "", "HostPort": "8443"}], "9000/tcp": [{"HostIp": "", "HostPort": ""}], "443/udp": []})
    );
}

#[test]
fn networks_keep_aliases_addresses_and_order() {
    let mut old = old();
    set(&mut old, "/HostConfig/NetworkMode", json!("pmm-net"));
    set(&mut old, "/Config/MacAddress", json!("02:00:00:00:00:07"));
    set(
        &mut old,
        "/NetworkSettings/Networks",
        json!({
            "alpha": {"Aliases": [&ID[..12]], "IPAMConfig": {}, "NetworkID": "a", "IPAddress": "10.1.0.2"},
            "pmm-net": {"Aliases": ["pmm", &ID[..12]], "IPAMConfig": {"IPv4Address": "10.9.0.9"}, "Links": ["db:db"],
                        "NetworkID": "p", "EndpointID": "e", "Gateway": "10.9.0.1", "IPAddress": "10.9.0.9", "MacAddress": "02:00:00:00:00:07"},
        }),
    );
    let done = run(&old);
    assert_eq!(
        done.body["NetworkingConfig"]["EndpointsConfig"],
        json!({"pmm-net": {"Aliases": ["pmm"], "IPAMConfig": {"IPv4Address": "10.9.0.9"}, "Links": ["db:db"]}})
    );
    assert_eq!(done.extra_networks, [("alpha".to_owned(), json!({}))]);
    assert_eq!(done.body["MacAddress"], "02:00:00:00:00:07");

    let options = CarryOverOptions {
        mac_from_networks: true,
        ..Default::default()
    };
    let done = carry_over(&old, &old_image(), &new_image(), &[], &options).unwrap();
    assert!(done.body.get("MacAddress").is_none());
    assert_eq!(
        done.body["NetworkingConfig"]["EndpointsConfig"]["pmm-net"]["MacAddress"],
        "02:00:00:00:00:07"
    );
}

#[test]
fn host_and_shared_networks_have_no_endpoints() {
    for (mode, code) in [
        ("host", "host-network-ports"),
        ("container:abc", "network-of-container"),
    ] {
        let done = with("/HostConfig/NetworkMode", json!(mode));
        assert!(done.body.get("NetworkingConfig").is_none() && done.extra_networks.is_empty());
        assert!(codes(&done).contains(&code));
    }
}

#[test]
fn what_the_table_says_to_keep_is_kept() {
    let kept = json!({
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "ExtraHosts": ["a:1.2.3.4"], "Dns": ["9.9.9.9"],
        "DnsOptions": ["ndots:1"], "DnsSearch": ["x"], "Memory": 1, "MemorySwap": 2, "NanoCpus": 3, "CpuShares": 4, "CpusetCpus": "0",
        "PidsLimit": 5, "BlkioWeight": 6, "OomScoreAdj": 7, "ShmSize": 8, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Sysctls": {"net.core.somaxconn": "1"}, "Tmpfs": {"/t": "size=1"}, "Devices": [{"PathOnHost": "/dev/null"}], "Init": true,
        "Runtime": "runc", "CgroupParent": "/p", "CapAdd": ["SYS_PTRACE"], "CapDrop": ["MKNOD"], "SecurityOpt": ["no-new-privileges"],
        "Privileged": true, "UsernsMode": "host", "GroupAdd": ["7"], "LogConfig": {"Type": "syslog", "Config": {"tag": "x"}},
        "SomethingNew": {"x": 1},
    });
    let mut old = old();
    for (key, value) in kept.as_object().unwrap() {
        set(&mut old, &format!("/HostConfig/{key}"), value.clone());
    }
    let done = run(&old);
    for (key, value) in kept.as_object().unwrap() {
        assert_eq!(&done.body["HostConfig"][key], value, "{key}");
    }
}

#[test]
fn links_are_written_as_create_wants_them() {
    let done = with("/HostConfig/Links", json!(["/db:/pmm-server/mysql"]));
    assert_eq!(done.body["HostConfig"]["Links"], json!(["db:mysql"]));
}

#[test]
fn podmans_words_are_understood() {
    let done = with(
        "/HostConfig/Ulimits",
        json!([{"Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 1}]),
    );
    assert_eq!(done.body["HostConfig"]["Ulimits"][0]["Name"], "nofile");
    assert!(
        with("/HostConfig/PidMode", json!("private")).body["HostConfig"]
            .get("PidMode")
            .is_none()
    );
    let done = with("/HostConfig/LogConfig", json!({"Type": "passthrough"}));
    assert!(done.body["HostConfig"].get("LogConfig").is_none());
    assert!(codes(&done).contains(&"log-driver-dropped"));
}

#[test]
fn a_user_namespace_is_kept_and_one_that_cannot_be_asked_for_is_refused() {
    let mode = json!("keep-id:uid=1000,gid=1000");
    let done = with("/HostConfig/UsernsMode", mode.clone());
    assert_eq!(done.body["HostConfig"]["UsernsMode"], mode);
    let mut old = old();
    set(&mut old, "/HostConfig/UsernsMode", json!("private"));
    let refused = carry_over(
        &old,
        &old_image(),
        &new_image(),
        &[],
        &CarryOverOptions::default(),
    );
    assert_eq!(refused.unwrap_err().code(), "container-user-namespace");
}

#[test]
fn limits_that_the_engine_does_not_take_are_reported() {
    let mut old = old();
    let ulimits = json!([{"Name": "nofile", "Soft": 1, "Hard": 2}]);
    set(&mut old, "/HostConfig/Ulimits", ulimits);
    let options = CarryOverOptions {
        no_ulimits: true,
        ..CarryOverOptions::default()
    };
    let done = carry_over(&old, &old_image(), &new_image(), &[], &options).unwrap();
    assert!(codes(&done).contains(&"ulimits-unset"));
    assert!(done.body["HostConfig"].get("Ulimits").is_none());
    set(&mut old, "/HostConfig/Ulimits", json!([]));
    let done = carry_over(&old, &old_image(), &new_image(), &[], &options).unwrap();
    assert!(!codes(&done).contains(&"ulimits-unset"));
}

#[test]
fn a_read_only_root_is_reported() {
    let done = with("/HostConfig/ReadonlyRootfs", json!(true));
    assert!(codes(&done).contains(&"readonly-rootfs"));
    assert_eq!(done.body["HostConfig"]["ReadonlyRootfs"], true);
}

#[test]
fn a_container_that_deletes_itself_is_refused() {
    let mut old = old();
    set(&mut old, "/HostConfig/AutoRemove", json!(true));
    let error = carry_over(
        &old,
        &old_image(),
        &new_image(),
        &[],
        &CarryOverOptions::default(),
    )
    .unwrap_err();
    assert_eq!(error.code(), "container-auto-remove");
    assert!(error.hint().is_some());
}

#[test]
fn whoever_manages_the_container_is_named() {
    for (label, code) in [
        ("com.docker.compose.project", "orchestrator-compose"),
        ("com.docker.swarm.service.id", "orchestrator-swarm"),
        ("PODMAN_SYSTEMD_UNIT", "orchestrator-podman-systemd"),
        ("io.kubernetes.pod.name", "orchestrator-kubernetes"),
    ] {
        let done = with("/Config/Labels", json!({label: "x"}));
        assert!(codes(&done).contains(&code), "{code}");
        assert_eq!(done.body["Labels"][label], "x");
    }
}

/// Compose 1.29 removes the newer of two containers with one number: that would be the new server.
#[test]
fn compose_keeps_the_new_container_of_the_two() {
    let labels = json!({
        "com.docker.compose.project": "monitoring",
        "com.docker.compose.service": "pmm",
        "com.docker.compose.config-hash": "da78",
        "com.docker.compose.container-number": "1",
    });
    let done = with("/Config/Labels", labels.clone());
    let mut wanted = labels;
    wanted["com.docker.compose.container-number"] = json!("0");
    for (label, value) in wanted.as_object().unwrap() {
        assert_eq!(&done.body["Labels"][label], value, "{label}");
    }
    let plain = with("/Config/Labels", json!({"house": "x"}));
    let number = plain.body["Labels"].get("com.docker.compose.container-number");
    assert_eq!(number, None);
}

#[test]
fn an_incomplete_answer_is_refused() {
    let mut old = old();
    set(&mut old, "/Mounts", Value::Null);
    let error = carry_over(
        &old,
        &old_image(),
        &new_image(),
        &[],
        &CarryOverOptions::default(),
    )
    .unwrap_err();
    assert_eq!(error, CarryOverError::Incomplete { field: "Mounts" });
}

/// A container that is made again from its own image stays what it is, but for the volume.
#[test]
fn the_same_image_keeps_whom_it_runs_as() {
    let mut old = old();
    set(&mut old, "/Config/User", json!("root"));
    set(&mut old, "/Mounts", json!([]));
    let again = |volume: Option<&str>| {
        let options = CarryOverOptions {
            data_volume: volume.map(str::to_owned),
            same_major: true,
            ..CarryOverOptions::default()
        };
        carry_over(&old, &old_image(), &old_image(), &[], &options)
    };
    assert!(matches!(
        again(None),
        Err(CarryOverError::NoDataMount { .. })
    ));
    let done = again(Some("pmm-server-data")).unwrap();
    assert_eq!(done.body["User"], "root");
    assert_eq!(done.body["Image"], "sha256:old");
    assert_eq!(
        done.body["HostConfig"]["Binds"],
        json!(["pmm-server-data:/srv"])
    );
    assert_eq!(codes(&done), [""; 0]);
}
