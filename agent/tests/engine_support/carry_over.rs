//! A container with many settings, made again by the engine.

use std::collections::BTreeMap;

use ferry_agent::engine::{
    carry_over::{CarryOverOptions, carry_over},
    environment::{TargetVersion, translate_env, user_env},
};
use serde_json::{Value, json};

use crate::{
    NOW,
    engine_support::{Names, docker, engine},
};

/// What may differ between a container and its successor, by pointer.
fn without(value: &Value, pointers: &[&str]) -> Value {
    let mut value = value.clone();
    for pointer in pointers {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        if let Some(object) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(key);
        }
    }
    value
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_container_with_many_settings_is_made_again() {
    let Some(engine) = engine("a_container_with_many_settings").await else {
        return;
    };
    let names = Names::new("carry");
    let old_image = names.image(
        "old",
        &[("etc/passwd", "")],
        &[
            r#"CMD ["/ferryd","hold"]"#,
            "WORKDIR /opt",
            "EXPOSE 80 443",
            "ENV LANG=en",
            "LABEL baked=1",
        ],
    );
    let new_image = names.image(
        "new",
        &[("etc/passwd", "pmm:x:1000:0::/:/\n")],
        &[
            r#"CMD ["/ferryd","hold"]"#,
            "USER 1000",
            "VOLUME /srv",
            "EXPOSE 8080 8443",
        ],
    );
    let (net, extra, volume) = (
        names.network("net"),
        names.network("extra"),
        names.volume("certs"),
    );
    docker(&["network", "create", "--subnet", "10.231.77.0/24", &net]);
    docker(&["network", "create", &extra]);
    let (data, old_name, new_name) = (
        names.container("data"),
        names.container("old"),
        names.container("new"),
    );
    docker(&["create", "--name", &data, "-v", "/srv", &old_image]);
    let anonymous = docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &data]);
    names.also("volume", &anonymous);
    let template = names.container("template");
    let secret = "a=b `id` $(id) \"q\" 'q'\nsecond";
    let secret_arg = format!("GF_SECURITY_ADMIN_PASSWORD={secret}");
    let (certs, tmp) = (format!("{volume}:/certs:ro"), tempfile::tempdir().unwrap());
    let bind = format!("{}:/usr/local/percona/pmm2/config:rw", tmp.path().display());
    let (http, https) = (free_port(), free_port());
    docker(&[
        "create",
        "--name",
        &template,
        "--volumes-from",
        &data,
        "-v",
        &certs,
        "-v",
        &bind,
        "--mount",
        "type=tmpfs,destination=/scratch,tmpfs-size=1m",
        "-p",
        &format!("127.0.0.1:{https}:443"),
        "-p",
        &format!("127.0.0.1:{http}:80"),
        "--hostname",
        "pmm.example",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "example",
        "--dns-opt",
        "ndots:2",
        "--add-host",
        "far:10.0.0.1",
        "--label",
        "team=db",
        "-e",
        "DISABLE_UPDATES=true",
        "-e",
        "DATA_RETENTION=72h",
        "-e",
        &secret_arg,
        "--memory",
        "200m",
        "--memory-reservation",
        "100m",
        "--cpus",
        "1.5",
        "--cpu-shares",
        "512",
        "--pids-limit",
        "300",
        "--shm-size",
        "32m",
        "--ulimit",
        "nofile=1024:2048",
        "--restart",
        "unless-stopped",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=5m",
        "--cap-add",
        "SYS_PTRACE",
        "--cap-drop",
        "MKNOD",
        "--security-opt",
        "no-new-privileges",
        "--group-add",
        "77",
        "--oom-score-adj",
        "100",
        "--sysctl",
        "net.core.somaxconn=256",
        "--tmpfs",
        "/t:size=1m",
        "--init",
        "--device",
        "/dev/null:/dev/xnull",
        "--stop-timeout",
        "20",
        "--user",
        "0",
        &old_image,
    ]);
    // Newer clients refuse to tell an older engine a MAC address.
    let template = engine.inspect_container(&template).await.unwrap();
    let mut body = template.raw()["Config"].clone();
    body["HostConfig"] = template.raw()["HostConfig"].clone();
    body["HostConfig"]["NetworkMode"] = json!(net);
    let mac = "02:42:0a:e7:4d:63";
    let mut settings = json!({"Aliases": ["pmm"], "IPAMConfig": {"IPv4Address": "10.231.77.9"}});
    if engine.hides_configured_mac() {
        settings["MacAddress"] = json!(mac);
    } else {
        body["MacAddress"] = json!(mac);
    }
    body["NetworkingConfig"] = json!({"EndpointsConfig": {&net: settings}});
    engine.create(&old_name, &body).await.unwrap();
    docker(&["network", "connect", "--alias", "second", &extra, &old_name]);
    // Only a container that has run knows its addresses; and the old one is stopped when the new one is made.
    docker(&["start", &old_name]);
    let running = engine.inspect_container(&old_name).await.unwrap();
    engine.stop(&old_name, NOW).await.unwrap();
    let old = engine.inspect_container(&old_name).await.unwrap();
    let (old_image, new_image) = (
        engine.inspect_image(&old_image).await.unwrap(),
        engine.inspect_image(&new_image).await.unwrap(),
    );

    let user = user_env(&old.env(), &old_image.env());
    let env = translate_env(&user, TargetVersion { major: 3, minor: 8 });
    assert_eq!(env.invalid().count(), 0);
    let options = CarryOverOptions {
        mac_from_networks: engine.hides_configured_mac(),
        ..Default::default()
    };
    let carry = |from: &Value| {
        carry_over(from, old_image.raw(), new_image.raw(), &env.env, &options).unwrap()
    };
    let carried = carry(old.raw());
    assert_eq!(
        carried.body,
        carry(running.raw()).body,
        "running or stopped, the settings are the same"
    );
    let created = engine.create(&new_name, &carried.body).await.unwrap();
    for (network, settings) in &carried.extra_networks {
        engine
            .connect_network(network, &created.id, settings)
            .await
            .unwrap();
    }
    engine.start(&created.id).await.unwrap();
    let new = engine.inspect_container(&new_name).await.unwrap();
    assert!(new.running());

    // Around the container: all the same but ports and mounts.
    let changed = ["/PortBindings", "/Binds", "/Mounts", "/VolumesFrom"];
    assert_eq!(
        without(&new.raw()["HostConfig"], &changed),
        without(&old.raw()["HostConfig"], &changed)
    );
    assert_eq!(
        new.raw()["HostConfig"]["PortBindings"],
        json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": http.to_string()}], "8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": https.to_string()}]})
    );
    // Inside: name, address; the rest is the new image's.
    let (old_config, new_config) = (&old.raw()["Config"], &new.raw()["Config"]);
    for key in ["Hostname", "Domainname", "MacAddress"] {
        assert_eq!(new_config[key], old_config[key], "{key}");
    }
    assert_eq!(new_config["User"], "1000");
    assert_eq!(new_config["StopTimeout"], 300);
    assert_eq!(
        new.labels(),
        BTreeMap::from([("team".to_owned(), "db".to_owned())])
    );
    let mut got = new.env();
    // The engine mixes them with the image's in any order.
    got.sort_unstable();
    got.retain(|(name, _)| name != "PATH");
    assert_eq!(
        got,
        [
            ("GF_SECURITY_ADMIN_PASSWORD", secret),
            ("PMM_DATA_RETENTION", "72h"),
            ("PMM_ENABLE_UPDATES", "false"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    // Mounts: the anonymous volume by its name, the moved folder, and no new volume.
    assert_eq!(new.mount_at("/srv").unwrap().name, anonymous);
    assert!(!new.mount_at("/certs").unwrap().writable);
    assert_eq!(
        new.mount_at("/usr/local/percona/pmm/config")
            .unwrap()
            .source,
        tmp.path().to_str().unwrap()
    );
    assert_eq!(new.mounts().len(), old.mounts().len());
    // Networks, while both have run: addresses and aliases.
    let address = |c: &Value, n: &str, key: &str| c["NetworkSettings"]["Networks"][n][key].clone();
    for key in ["IPAddress", "MacAddress", "IPAMConfig"] {
        assert_eq!(
            address(new.raw(), &net, key),
            address(running.raw(), &net, key),
            "{key}"
        );
    }
    assert_eq!(address(new.raw(), &net, "IPAddress"), "10.231.77.9");
    assert_eq!(address(new.raw(), &net, "MacAddress"), mac);
    assert!(
        address(new.raw(), &net, "Aliases")
            .to_string()
            .contains("\"pmm\"")
    );
    assert!(
        address(new.raw(), &extra, "Aliases")
            .to_string()
            .contains("\"second\"")
    );
    let mut codes: Vec<_> = carried.notes.iter().map(|note| note.code).collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "mount-moved",
            "port-translated",
            "port-translated",
            "user-unset"
        ]
    );
    assert!(created.warnings.is_empty(), "{:?}", created.warnings);
}
