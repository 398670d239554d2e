use super::*;

fn spec(kind: AgentKind) -> AgentSpec {
    AgentSpec {
        server: "pmm".into(),
        container: "abc".into(),
        ids: String::new(),
        run: "r1".into(),
        image: "sha256:i".into(),
        kind,
        args: vec!["--x".into()],
        memory: None,
    }
}

fn server(host: Value) -> ContainerInspect {
    ContainerInspect::new(json!({ "Id": "abc", "Name": "/pmm", "HostConfig": host }))
}

#[test]
fn a_sidecar_shares_and_may_look() {
    let spec = spec(AgentKind::Sidecar);
    let body = body(
        &spec,
        &server(json!({"SecurityOpt": ["label=x"], "UsernsMode": "host"})),
        "ferry-sidecar-pmm",
    );
    let host = &body["HostConfig"];
    assert_eq!(host["PidMode"], "container:abc");
    assert_eq!(host["NetworkMode"], "container:abc");
    assert_eq!(host["VolumesFrom"], json!(["abc"]));
    assert_eq!(host["CapAdd"], json!(["SYS_PTRACE"]));
    assert_eq!(host["SecurityOpt"], json!(["label=x"]));
    assert_eq!(host["UsernsMode"], "host");
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(body["Cmd"], json!(["sidecar", "--x"]));
    assert_eq!(body["Labels"]["ferry.run"], "r1");
}

#[test]
fn a_volume_agent_sees_its_mounts_alone() {
    let mounts = vec![
        AgentMount {
            source: "data".into(),
            destination: "/srv".into(),
            read_only: false,
        },
        AgentMount {
            source: "/host".into(),
            destination: "/backup".into(),
            read_only: true,
        },
    ];
    let body = body(&spec(AgentKind::Volume { mounts }), &server(json!({})), "n");
    let host = &body["HostConfig"];
    assert!(host.get("PidMode").is_none() && host.get("VolumesFrom").is_none());
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert!(!host["CapAdd"].to_string().contains("PTRACE"));
    assert_eq!(host["Mounts"][1]["Type"], "volume");
    assert_eq!(
        host["Mounts"][2],
        json!({"Type": "bind", "Source": "/host", "Target": "/backup", "ReadOnly": true})
    );
}

#[test]
fn an_agent_sees_the_owners_that_its_server_sees() {
    let kept = server(json!({ "UsernsMode": "keep-id:uid=1000,gid=1000" }));
    // It outlives the server's processes: the same ids, in a namespace of its own.
    let volume = body(&spec(AgentKind::Volume { mounts: Vec::new() }), &kept, "n");
    assert_eq!(
        volume["HostConfig"]["UsernsMode"],
        "keep-id:uid=1000,gid=1000"
    );
    let beside = body(&spec(AgentKind::Sidecar), &kept, "n");
    assert_eq!(beside["HostConfig"]["UsernsMode"], "container:abc");
    for body in [volume, beside] {
        assert_eq!(body["User"], "0:0");
        assert_eq!(body["Labels"][IDS_LABEL], "keep-id:uid=1000,gid=1000");
    }
    let plain = body(&spec(AgentKind::Sidecar), &server(json!({})), "n");
    assert_eq!(plain["HostConfig"]["UsernsMode"], "");
    assert!(plain.get("User").is_none() && plain["Labels"].get(IDS_LABEL).is_none());
}

#[test]
fn an_observer_cannot_write_where_it_looks() {
    let kind = AgentKind::Observer {
        state: Some("copy".into()),
    };
    assert_eq!(agent_name("pmm", &kind), "ferry-sidecar-pmm");
    let body = body(&spec(kind), &server(json!({})), "n");
    assert_eq!(body["HostConfig"]["VolumesFrom"], json!(["abc:ro"]));
    assert_eq!(body["Cmd"], json!(["sidecar", "--state", STATE, "--x"]));
    let mounts = &body["HostConfig"]["Mounts"];
    assert_eq!(mounts[1]["Source"], "copy");
    assert_eq!(mounts[1]["Target"], STATE);
}

#[test]
fn a_mover_has_the_new_volume_beside_what_a_sidecar_has() {
    let kind = AgentKind::Mover {
        volume: "pmm-data".into(),
    };
    assert_eq!(agent_name("pmm", &kind), "ferry-sidecar-pmm");
    let body = body(&spec(kind), &server(json!({})), "n");
    let host = &body["HostConfig"];
    assert_eq!(host["PidMode"], "container:abc");
    assert_eq!(host["VolumesFrom"], json!(["abc"]));
    assert_eq!(body["Cmd"], json!(["sidecar", "--state", STATE, "--x"]));
    assert_eq!(host["Mounts"][1]["Source"], "pmm-data");
    assert_eq!(host["Mounts"][1]["Target"], STATE);
    let may: Vec<&str> = host["CapAdd"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(Value::as_str)
        .collect();
    assert!(
        may.contains(&"SYS_PTRACE") && may.contains(&"MKNOD"),
        "{may:?}"
    );
}

#[test]
fn a_workshop_has_the_image_of_the_server_and_nothing_of_it_runs() {
    let kind = AgentKind::Workshop {
        mounts: Vec::new(),
        image: "sha256:server".into(),
        program: "/x".into(),
        copy: "pmm-copy".into(),
    };
    assert_eq!(agent_name("pmm", &kind), "ferry-volume-pmm");
    let body = body(&spec(kind), &server(json!({})), "n");
    assert_eq!(body["Image"], "sha256:server");
    assert_eq!(body["Labels"][AGENT_IMAGE_LABEL], "sha256:i");
    assert_eq!(body["Labels"][COPY_LABEL], "pmm-copy");
    assert_eq!(body["Entrypoint"], json!(["/ferryd"]));
    assert_eq!(body["Cmd"], json!(["workshop", "--x"]));
    assert_eq!(body["HostConfig"]["NetworkMode"], "none");
    assert!(body["HostConfig"].get("PidMode").is_none());
    assert!(body["HostConfig"]["CapAdd"].to_string().contains("SETUID"));
    assert_eq!(body["Healthcheck"]["Test"], json!(["NONE"]));
}

#[test]
fn another_description_has_another_digest() {
    let digest =
        |spec: &AgentSpec, host| body(spec, &server(host), "n")["Labels"]["ferry.spec"].clone();
    let one = spec(AgentKind::Sidecar);
    assert_eq!(digest(&one, json!({})), digest(&one, json!({})));
    let other = AgentSpec {
        image: "sha256:j".into(),
        ..one.clone()
    };
    assert_ne!(digest(&one, json!({})), digest(&other, json!({})));
    assert_ne!(
        digest(&one, json!({})),
        digest(&one, json!({"Privileged": true}))
    );
}

#[test]
fn only_agents_of_the_run_are_ours() {
    let with =
        |labels: Value| ContainerInspect::new(json!({"Name": "/n", "Config": {"Labels": labels}}));
    let ours = with(json!({"ferry.role": "sidecar", "ferry.run": "r1"}));
    assert!(owned(&ours, "sidecar", "r1").is_ok());
    assert!(
        matches!(owned(&ours, "sidecar", "r2"), Err(EngineError::HeldByRun { run, .. }) if run == "r1")
    );
    assert!(matches!(
        owned(&ours, "volume", "r1"),
        Err(EngineError::NotOurs { .. })
    ));
    assert!(matches!(
        owned(&with(Value::Null), "sidecar", "r1"),
        Err(EngineError::NotOurs { .. })
    ));
}
