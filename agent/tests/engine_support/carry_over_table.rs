//! The table of facts/pmm.md 7.4, row by row, on a real engine: a container is made that sets what the row is about, its
//! successor is made from what the engine tells of it, and what the engine tells of that one is compared.
//!
//! Each case is data, in the table's order, so that it can be read beside the table. A container with many of these settings
//! at once, which also runs, is the test before this one; here each setting stands alone, so that what fails has a name.

use std::collections::BTreeSet;

use ferry_agent::engine::{
    ContainerInspect, Engine,
    carry_over::{CarryOver, CarryOverError, CarryOverOptions, carry_over},
    environment::{TargetVersion, translate_env, user_env},
};
use serde_json::{Value, json};

use crate::engine_support::{Names, docker, engine};

/// The rows of the table, by its first column.
const ROWS: [&str; 17] = [
    "Env",
    "Labels",
    "User",
    "Cmd/Entrypoint/WorkingDir/Healthcheck/ExposedPorts/StopSignal",
    "Hostname, Domainname",
    "StopTimeout",
    "PortBindings",
    "Binds/Mounts/VolumesFrom",
    "Mount targets needing translation",
    "NetworkMode, Networks",
    "RestartPolicy",
    "ExtraHosts, Dns*, Links",
    "LogConfig",
    "Memory … CgroupParent",
    "CapAdd … ReadonlyRootfs",
    "AutoRemove",
    "Orchestrators",
];

/// What the table says of a setting. Pointers lead into what the engine tells of a container.
#[derive(Debug)]
enum Want {
    /// As it was, and it was what was asked for.
    Kept(&'static str),
    /// This, whatever it was.
    Is(&'static str, Value),
    /// Not there any more, or the engine's own default.
    Gone(&'static str),
    /// Reported under this code.
    Told(&'static str),
    /// Nothing is made; refused with this code.
    Refused(&'static str),
}
use Want::{Gone, Is, Kept, Refused, Told};

struct Case {
    row: &'static str,
    /// What is set, in words.
    what: &'static str,
    /// Merged into the request that makes the old container. `@` stands for the beginning of this test's names.
    set: Value,
    want: Vec<Want>,
}

fn case(row: usize, what: &'static str, set: Value, want: Vec<Want>) -> Case {
    let row = ROWS[row];
    Case {
        row,
        what,
        set,
        want,
    }
}

/// Settings around the container that are kept as they are.
fn kept(row: usize, what: &'static str, host: Value, pointers: &[&'static str]) -> Case {
    let want = pointers.iter().copied().map(Kept).collect();
    case(row, what, json!({ "HostConfig": host }), want)
}

/// Mounts in the short form, beside the data.
fn binds(row: usize, what: &'static str, binds: &[&str], want: Vec<Want>) -> Case {
    let mut all = vec!["@data:/srv"];
    all.extend(binds);
    case(row, what, json!({ "HostConfig": { "Binds": all } }), want)
}

#[rustfmt::skip]
fn inside() -> Vec<Case> {
    vec![
        case(0, "renamed, inverted, unknown, and the image's own",
            json!({ "Env": ["LANG=en", "DATA_RETENTION=72h", "DISABLE_UPDATES=true", "HOUSE_SITE=a b=c \"d\""] }),
            vec![Is("/Config/Env", json!(["HOUSE_SITE=a b=c \"d\"", "PMM_DATA_RETENTION=72h", "PMM_ENABLE_UPDATES=false"]))]),
        case(1, "the user's stay, the image's go",
            json!({ "Labels": { "team": "db", "baked": "1" } }),
            vec![Is("/Config/Labels", json!({ "team": "db" }))]),
        case(1, "the image's with another value is the user's",
            json!({ "Labels": { "baked": "2" } }),
            vec![Kept("/Config/Labels/baked")]),
        case(2, "root", json!({ "User": "root" }), vec![Is("/Config/User", json!("1000")), Told("user-unset")]),
        case(2, "a number", json!({ "User": "0:0" }), vec![Is("/Config/User", json!("1000")), Told("user-unset")]),
        case(3, "all as the image has them",
            json!({}),
            vec![Is("/Config/Cmd", json!(["/ferryd", "new"])), Is("/Config/WorkingDir", json!("/new")),
                 Gone("/Config/Entrypoint"), Gone("/Config/Healthcheck"), Gone("/Config/ExposedPorts/80~1tcp"),
                 Is("/Config/ExposedPorts/8443~1tcp", json!({}))]),
        case(3, "another command", json!({ "Cmd": ["/ferryd", "own"] }), vec![Kept("/Config/Cmd"), Told("custom-cmd")]),
        case(3, "another entry point", json!({ "Entrypoint": ["/ferryd"] }), vec![Kept("/Config/Entrypoint"), Told("custom-entrypoint")]),
        case(3, "another folder", json!({ "WorkingDir": "/own" }), vec![Kept("/Config/WorkingDir"), Told("custom-working-dir")]),
        case(3, "another signal", json!({ "StopSignal": "SIGINT" }), vec![Kept("/Config/StopSignal"), Told("custom-stop-signal")]),
        case(3, "a health check on PMM 2's port",
            json!({ "Healthcheck": { "Test": ["CMD", "curl", "-kf", "https://127.0.0.1:443/v1/readyz"], "Retries": 7 } }),
            vec![Is("/Config/Healthcheck/Test/3", json!("https://127.0.0.1:8443/v1/server/readyz")),
                 Kept("/Config/Healthcheck/Retries"), Told("custom-healthcheck")]),
        case(3, "no health check", json!({ "Healthcheck": { "Test": ["NONE"] } }), vec![Kept("/Config/Healthcheck"), Told("custom-healthcheck")]),
        case(3, "another port", json!({ "ExposedPorts": { "9000/udp": {} } }), vec![Kept("/Config/ExposedPorts/9000~1udp")]),
        case(4, "both", json!({ "Hostname": "pmm.example", "Domainname": "example" }), vec![Kept("/Config/Hostname"), Kept("/Config/Domainname")]),
        case(4, "a domain alone", json!({ "Domainname": "example" }), vec![Kept("/Config/Domainname")]),
        case(5, "shorter", json!({ "StopTimeout": 10 }), vec![Is("/Config/StopTimeout", json!(300))]),
        case(5, "not set", json!({}), vec![Is("/Config/StopTimeout", json!(300))]),
        case(5, "longer", json!({ "StopTimeout": 900 }), vec![Kept("/Config/StopTimeout")]),
    ]
}

#[rustfmt::skip]
fn ports_and_mounts() -> Vec<Case> {
    vec![
        case(6, "addresses, several of one port, and another's",
            json!({ "HostConfig": { "PortBindings": {
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8000" }, { "HostIp": "::1", "HostPort": "8001" }],
                "443/tcp": [{ "HostIp": "", "HostPort": "8443" }],
                "9000/udp": [{ "HostIp": "10.0.0.1", "HostPort": "9000" }] } } }),
            vec![Is("/HostConfig/PortBindings", json!({
                    "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8000" }, { "HostIp": "::1", "HostPort": "8001" }],
                    "8443/tcp": [{ "HostIp": "", "HostPort": "8443" }],
                    "9000/udp": [{ "HostIp": "10.0.0.1", "HostPort": "9000" }] })),
                 Told("port-translated")]),
        case(6, "all of them, on any port", json!({ "HostConfig": { "PublishAllPorts": true } }), vec![Kept("/HostConfig/PublishAllPorts")]),
        binds(7, "a named volume", &[], vec![Kept("/mounts/~1srv/Name"), Is("/mounts/~1srv/RW", json!(true))]),
        binds(7, "an anonymous volume, by its name", &["/extra"], vec![Kept("/mounts/~1extra/Name"), Kept("/mounts/~1srv/Name")]),
        case(7, "an anonymous volume that holds the data",
            json!({ "HostConfig": { "Binds": [] }, "Volumes": { "/srv": {} } }),
            vec![Kept("/mounts/~1srv/Name")]),
        case(7, "a data container",
            json!({ "HostConfig": { "Binds": [], "VolumesFrom": ["@holder"] } }),
            vec![Kept("/mounts/~1srv/Name"), Gone("/HostConfig/VolumesFrom")]),
        case(7, "a data container, to be read only",
            json!({ "HostConfig": { "VolumesFrom": ["@certs:ro"] } }),
            vec![Kept("/mounts/~1certs/Name"), Is("/mounts/~1certs/RW", json!(false)), Gone("/HostConfig/VolumesFrom")]),
        binds(7, "a folder of the host", &["/tmp:/host"], vec![Kept("/mounts/~1host/Source"), Is("/mounts/~1host/RW", json!(true))]),
        binds(7, "to be read only", &["/tmp:/host:ro"], vec![Is("/mounts/~1host/RW", json!(false))]),
        binds(7, "with a shared label", &["/tmp:/host:z"], vec![Is("/mounts/~1host/Mode", json!("z"))]),
        binds(7, "with an own label, to be read only", &["@more:/host:Z,ro"], vec![Is("/mounts/~1host/RW", json!(false)), Is("/mounts/~1host/Mode", json!("Z,ro"))]),
        binds(7, "with propagation", &["/tmp:/host:rslave"], vec![Is("/mounts/~1host/Propagation", json!("rslave"))]),
        binds(7, "a volume without the image's files", &["@more:/host:nocopy"], vec![Kept("/mounts/~1host/Mode")]),
        case(7, "in the long form",
            json!({ "HostConfig": { "Mounts": [
                { "Type": "bind", "Source": "/tmp", "Target": "/host", "ReadOnly": true, "BindOptions": { "Propagation": "rprivate" } },
                { "Type": "volume", "Source": "@more", "Target": "/more", "VolumeOptions": { "NoCopy": true, "Labels": { "a": "b" } } },
                { "Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": { "SizeBytes": 1_048_576, "Mode": 448 } }] } }),
            vec![Kept("/HostConfig/Mounts"), Kept("/mounts/~1more/Name"), Is("/mounts/~1host/RW", json!(false))]),
        case(7, "an anonymous volume in the long form, which holds the data",
            json!({ "HostConfig": { "Binds": [], "Mounts": [{ "Type": "volume", "Target": "/srv" }] } }),
            vec![Kept("/mounts/~1srv/Name")]),
        binds(8, "nginx", &["/tmp:/etc/nginx/conf.d:ro"], vec![Kept("/mounts/~1etc~1nginx~1conf.d/Source"), Told("mount-v2-config")]),
        binds(8, "certificates", &["/tmp:/srv/nginx"], vec![Kept("/mounts/~1srv~1nginx/Source"), Told("mount-nginx")]),
        binds(8, "Grafana's settings", &["/etc/hostname:/etc/grafana/grafana.ini"],
            vec![Kept("/mounts/~1etc~1grafana~1grafana.ini/Source"), Told("mount-v2-config")]),
        binds(8, "programs of the supervisor", &["/tmp:/etc/supervisord.d"], vec![Kept("/mounts/~1etc~1supervisord.d/Source"), Told("mount-v2-config")]),
        binds(8, "PMM's own folder", &["/tmp:/usr/local/percona/pmm2/config"],
            vec![Gone("/mounts/~1usr~1local~1percona~1pmm2~1config"), Is("/mounts/~1usr~1local~1percona~1pmm~1config/Source", json!("/tmp")), Told("mount-moved")]),
        binds(8, "ClickHouse's settings", &["/etc/hostname:/etc/clickhouse-server/config.xml"],
            vec![Gone("/mounts/~1etc~1clickhouse-server~1config.xml"),
                 Is("/mounts/~1etc~1clickhouse-server~1default-config.xml/Source", json!("/etc/hostname")), Told("mount-moved")]),
        binds(8, "Alertmanager", &["/tmp:/etc/alertmanager"], vec![Gone("/mounts/~1etc~1alertmanager"), Told("mount-dropped")]),
        case(8, "in memory", json!({ "HostConfig": { "Tmpfs": { "/etc/alertmanager": "", "/usr/local/percona/pmm2/tmp": "size=1m" } } }),
            vec![Is("/HostConfig/Tmpfs", json!({ "/usr/local/percona/pmm/tmp": "size=1m" })), Told("mount-moved"), Told("mount-dropped")]),
    ]
}

#[rustfmt::skip]
fn network_and_restart() -> Vec<Case> {
    let two = "/NetworkSettings/Networks/@second";
    vec![
        case(9, "the default", json!({}), vec![Kept("/NetworkSettings/Networks/bridge")]),
        case(9, "one with alias and address",
            json!({ "HostConfig": { "NetworkMode": "@first" }, "NetworkingConfig": { "EndpointsConfig": { "@first": {
                "Aliases": ["pmm"], "IPAMConfig": { "IPv4Address": "10.231.78.9" } } } } }),
            vec![Kept("/NetworkSettings/Networks/@first/IPAMConfig"), Kept("/aliases/@first"), Gone("/NetworkSettings/Networks/bridge")]),
        case(9, "several, each with its aliases",
            json!({ "HostConfig": { "NetworkMode": "@first" }, "connect": { "@second": { "Aliases": ["two", "deux"] } } }),
            vec![Kept(two), Kept("/aliases/@second"), Kept("/NetworkSettings/Networks/@first")]),
        case(9, "the default and another",
            json!({ "connect": { "@second": { "IPAMConfig": { "IPv4Address": "10.231.79.9" } } } }),
            vec![Kept("/NetworkSettings/Networks/@second/IPAMConfig"), Kept("/NetworkSettings/Networks/bridge")]),
        case(9, "a hardware address", json!({ "MacAddress": "02:42:0a:e7:4e:07" }), vec![Kept("/mac")]),
        case(9, "the host's", json!({ "HostConfig": { "NetworkMode": "host" } }), vec![Kept("/HostConfig/NetworkMode"), Told("host-network-ports")]),
        case(9, "none", json!({ "HostConfig": { "NetworkMode": "none" } }), vec![Kept("/HostConfig/NetworkMode")]),
        case(9, "another container's", json!({ "HostConfig": { "NetworkMode": "container:@certs" } }),
            vec![Kept("/HostConfig/NetworkMode"), Told("network-of-container")]),
        kept(10, "always", json!({ "RestartPolicy": { "Name": "always" } }), &["/HostConfig/RestartPolicy"]),
        kept(10, "unless stopped", json!({ "RestartPolicy": { "Name": "unless-stopped" } }), &["/HostConfig/RestartPolicy"]),
        kept(10, "on failure", json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 } }), &["/HostConfig/RestartPolicy"]),
        kept(10, "no", json!({ "RestartPolicy": { "Name": "no" } }), &["/HostConfig/RestartPolicy"]),
        kept(11, "hosts", json!({ "ExtraHosts": ["far:10.0.0.1", "near:host-gateway"] }), &["/HostConfig/ExtraHosts"]),
        kept(11, "names", json!({ "Dns": ["9.9.9.9"], "DnsSearch": ["example"], "DnsOptions": ["ndots:2"] }),
            &["/HostConfig/Dns", "/HostConfig/DnsSearch", "/HostConfig/DnsOptions"]),
        case(11, "links", json!({ "HostConfig": { "Links": ["@certs:mysql"] } }), vec![Kept("/links")]),
        kept(12, "a driver with options", json!({ "LogConfig": { "Type": "json-file", "Config": { "max-size": "5m", "max-file": "2" } } }), &["/HostConfig/LogConfig"]),
        kept(12, "another driver", json!({ "LogConfig": { "Type": "syslog", "Config": { "tag": "pmm" } } }), &["/HostConfig/LogConfig"]),
        kept(12, "none", json!({ "LogConfig": { "Type": "none" } }), &["/HostConfig/LogConfig"]),
    ]
}

#[rustfmt::skip]
fn limits_and_rights() -> Vec<Case> {
    vec![
        kept(13, "memory", json!({ "Memory": 268_435_456, "MemorySwap": 536_870_912, "MemoryReservation": 134_217_728 }),
            &["/HostConfig/Memory", "/HostConfig/MemorySwap", "/HostConfig/MemoryReservation"]),
        kept(13, "processors", json!({ "NanoCpus": 1_500_000_000 }), &["/HostConfig/NanoCpus"]),
        kept(13, "shares of processors", json!({ "CpuShares": 512, "CpuPeriod": 50_000, "CpuQuota": 25_000 }),
            &["/HostConfig/CpuShares", "/HostConfig/CpuPeriod", "/HostConfig/CpuQuota"]),
        kept(13, "which processors", json!({ "CpusetCpus": "0", "CpusetMems": "0" }), &["/HostConfig/CpusetCpus", "/HostConfig/CpusetMems"]),
        kept(13, "processes", json!({ "PidsLimit": 300 }), &["/HostConfig/PidsLimit"]),
        kept(13, "weight of disks", json!({ "BlkioWeight": 300 }), &["/HostConfig/BlkioWeight"]),
        kept(13, "want of memory", json!({ "OomScoreAdj": 100 }), &["/HostConfig/OomScoreAdj"]),
        kept(13, "shared memory", json!({ "ShmSize": 33_554_432 }), &["/HostConfig/ShmSize"]),
        kept(13, "limits of files", json!({ "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 }] }), &["/HostConfig/Ulimits"]),
        kept(13, "the kernel's settings", json!({ "Sysctls": { "net.core.somaxconn": "256" } }), &["/HostConfig/Sysctls"]),
        kept(13, "in memory", json!({ "Tmpfs": { "/t": "size=1m" } }), &["/HostConfig/Tmpfs"]),
        kept(13, "devices", json!({ "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/xnull", "CgroupPermissions": "r" }], "DeviceCgroupRules": ["c 1:3 r"] }),
            &["/HostConfig/Devices", "/HostConfig/DeviceCgroupRules"]),
        kept(13, "a first process", json!({ "Init": true }), &["/HostConfig/Init"]),
        kept(13, "a runtime", json!({ "Runtime": "runc" }), &["/HostConfig/Runtime"]),
        kept(13, "a parent", json!({ "CgroupParent": "/ferry-test" }), &["/HostConfig/CgroupParent"]),
        kept(13, "namespaces", json!({ "IpcMode": "shareable", "PidMode": "host", "UTSMode": "host" }),
            &["/HostConfig/IpcMode", "/HostConfig/PidMode", "/HostConfig/UTSMode"]),
        kept(14, "capabilities", json!({ "CapAdd": ["SYS_PTRACE"], "CapDrop": ["MKNOD"] }), &["/HostConfig/CapAdd", "/HostConfig/CapDrop"]),
        kept(14, "options", json!({ "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"] }), &["/HostConfig/SecurityOpt"]),
        case(14, "privileged", json!({ "HostConfig": { "Privileged": true } }), vec![Kept("/HostConfig/Privileged"), Told("privileged")]),
        kept(14, "users", json!({ "UsernsMode": "host" }), &["/HostConfig/UsernsMode"]),
        kept(14, "groups", json!({ "GroupAdd": ["77"] }), &["/HostConfig/GroupAdd"]),
        case(14, "read-only", json!({ "HostConfig": { "ReadonlyRootfs": true } }), vec![Kept("/HostConfig/ReadonlyRootfs"), Told("readonly-rootfs")]),
        case(15, "it goes when it stops", json!({ "HostConfig": { "AutoRemove": true } }), vec![Refused("container-auto-remove")]),
        case(16, "Compose", json!({ "Labels": { "com.docker.compose.project": "x" } }), vec![Told("orchestrator-compose")]),
        case(16, "Swarm", json!({ "Labels": { "com.docker.swarm.service.id": "x" } }), vec![Told("orchestrator-swarm")]),
        case(16, "systemd", json!({ "Labels": { "PODMAN_SYSTEMD_UNIT": "x.service" } }), vec![Told("orchestrator-podman-systemd")]),
        case(16, "Kubernetes", json!({ "Labels": { "io.kubernetes.pod.name": "x" } }), vec![Told("orchestrator-kubernetes")]),
    ]
}

/// What a container is changed in by the table whatever it sets.
const ALWAYS_OTHER: [&str; 5] = ["PortBindings", "Binds", "Mounts", "VolumesFrom", "Tmpfs"];

/// The images, volumes, networks and containers that the cases refer to.
struct Ground {
    names: Names,
    prefix: String,
    images: [ContainerImage; 2],
}

type ContainerImage = ferry_agent::engine::ImageInspect;

impl Ground {
    async fn make(engine: &Engine) -> Self {
        let names = Names::new("table");
        let passwd = [("etc/passwd", "pmm:x:1000:0::/:/\n")];
        let old = names.image(
            "old",
            &passwd,
            &[
                r#"CMD ["/ferryd","hold"]"#,
                "WORKDIR /old",
                "EXPOSE 80 443",
                "ENV LANG=en",
                "LABEL baked=1",
            ],
        );
        let new = names.image(
            "new",
            &passwd,
            &[
                r#"CMD ["/ferryd","new"]"#,
                "WORKDIR /new",
                "USER 1000",
                "VOLUME /srv",
                "EXPOSE 8080 8443",
            ],
        );
        let data = names.volume("data");
        let prefix = data.strip_suffix("data").unwrap().to_owned();
        names.volume("more");
        for (network, subnet) in [("first", "10.231.78.0/24"), ("second", "10.231.79.0/24")] {
            let name = names.network(network);
            docker(&["network", "create", "--subnet", subnet, &name]);
        }
        for (name, path) in [("holder", "/srv"), ("certs", "/certs")] {
            let name = names.container(name);
            docker(&["create", "--name", &name, "-v", path, &old]);
            let format = "{{range .Mounts}}{{.Name}}{{end}}";
            names.also("volume", &docker(&["inspect", "-f", format, &name]));
        }
        let images = [
            engine.inspect_image(&old).await.unwrap(),
            engine.inspect_image(&new).await.unwrap(),
        ];
        Self {
            names,
            prefix,
            images,
        }
    }

    fn named(&self, text: &str) -> String {
        text.replace('@', &self.prefix)
    }

    /// What the case asks for, with names in the place of `@`.
    fn request(&self, set: &Value) -> Value {
        let mut body = json!({
            "Image": self.images[0].id(),
            "HostConfig": { "Binds": ["@data:/srv"] },
        });
        merge(&mut body, set);
        serde_json::from_str(&self.named(&body.to_string())).unwrap()
    }

    /// Anonymous volumes go with the test like all else.
    fn note_volumes(&self, container: &ContainerInspect) {
        for mount in container.mounts() {
            if !mount.name.is_empty() {
                self.names.also("volume", &mount.name);
            }
        }
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// What the engine tells, with what has no order in one, and by name what stands in lists.
fn told(container: &ContainerInspect) -> Value {
    let mut told = container.raw().clone();
    let id = container.id().to_owned();
    let own = |text: &str| text.len() == 12 && id.starts_with(text);
    let mut env: Vec<String> = container
        .env()
        .into_iter()
        .filter(|(name, _)| name != "PATH")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    env.sort();
    told["Config"]["Env"] = json!(env);
    let mounts = told["Mounts"].as_array().cloned().unwrap_or_default();
    told["mounts"] = mounts
        .into_iter()
        .map(|mount| (mount["Destination"].as_str().unwrap().to_owned(), mount))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let networks = told["NetworkSettings"]["Networks"].as_object().cloned();
    let mut aliases = json!({});
    for (name, settings) in networks.into_iter().flatten() {
        let list = settings["Aliases"].as_array().into_iter().flatten();
        let names = list.filter_map(Value::as_str).filter(|name| !own(name));
        aliases[name] = json!(names.collect::<BTreeSet<_>>());
    }
    told["aliases"] = aliases;
    // Where it is told depends on the engine's age.
    told["mac"] = match &told["Config"]["MacAddress"] {
        Value::String(mac) if !mac.is_empty() => json!(mac),
        _ => told["NetworkSettings"]["Networks"]["bridge"]["MacAddress"].clone(),
    };
    let links = told["HostConfig"]["Links"].as_array().cloned();
    let links = links.into_iter().flatten().filter_map(|link| {
        let link = link.as_str()?.to_owned();
        let (target, alias) = link.split_once(':')?;
        Some(json!(format!("{target}:{}", alias.rsplit('/').next()?)))
    });
    told["links"] = links.collect();
    if told["HostConfig"]["PidsLimit"].is_null() {
        told["HostConfig"]["PidsLimit"] = json!(0);
    }
    told
}

/// What a kernel without a scheduler that weighs disks takes away, with a warning of the engine's. Units see that it is carried over.
const NOT_EVERYWHERE: &str = "/HostConfig/BlkioWeight";

/// Whether the engine has made what was asked for, and filled in the rest.
fn holds(made: Option<&Value>, asked: &Value) -> bool {
    match (made, asked) {
        (Some(Value::Object(made)), Value::Object(asked)) => {
            asked.iter().all(|(key, asked)| holds(made.get(key), asked))
        }
        // It knows other containers by their ids.
        (Some(Value::String(made)), Value::String(asked)) if asked.starts_with("container:") => {
            made.starts_with("container:")
        }
        (made, asked) => made == Some(asked),
    }
}

fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::Bool(flag)) => !flag,
    }
}

/// Endpoints of networks have ids and addresses of their own beside what was asked for.
fn is_endpoint(pointer: &str) -> bool {
    pointer.starts_with("/NetworkSettings/Networks/") && pointer.matches('/').count() == 3
}

/// What is wrong, a sentence each.
fn wrong(
    ground: &Ground,
    case: &Case,
    request: &Value,
    [old, new]: [&Value; 2],
    over: &CarryOver,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let codes: BTreeSet<&str> = over.notes.iter().map(|note| note.code).collect();
    let mut expected = BTreeSet::new();
    for want in &case.want {
        let fine = match want {
            Kept(pointer) => {
                let pointer = ground.named(pointer);
                let (was, is) = (old.pointer(&pointer), new.pointer(&pointer));
                let same = was == is || (is_endpoint(&pointer) && is.is_some());
                // What the engine itself drops is the same on both sides, too, and proves nothing.
                let asked = request.pointer(&pointer);
                same && was.is_some()
                    && asked.is_none_or(|asked| {
                        holds(was, asked) || (is_nothing(was) && pointer == NOT_EVERYWHERE)
                    })
            }
            Is(pointer, value) => new.pointer(&ground.named(pointer)) == Some(value),
            Gone(pointer) => is_nothing(new.pointer(&ground.named(pointer))),
            Told(code) => {
                expected.insert(*code);
                codes.contains(code)
            }
            Refused(_) => false,
        };
        if !fine {
            let at = |told: &Value, pointer: &str| match told.pointer(&ground.named(pointer)) {
                Some(value) => value.to_string(),
                None => "nothing".to_owned(),
            };
            let seen = match want {
                Kept(pointer) | Is(pointer, _) | Gone(pointer) => {
                    format!("was {}, is {}", at(old, pointer), at(new, pointer))
                }
                Told(_) | Refused(_) => format!("told {codes:?}"),
            };
            wrong.push(format!("{want:?}: {seen}"));
        }
    }
    if codes != expected {
        wrong.push(format!("told {codes:?} and not {expected:?}"));
    }
    // Whatever a case is about, nothing else around the container may change.
    let host = |told: &Value| told["HostConfig"].as_object().cloned().unwrap();
    let (was, mut is) = (host(old), host(new));
    for (key, value) in &was {
        let now = is.remove(key);
        let same =
            now.as_ref() == Some(value) || (is_nothing(Some(value)) && is_nothing(now.as_ref()));
        if !same && key != "Links" && !ALWAYS_OTHER.contains(&key.as_str()) {
            wrong.push(format!("{key} was {value}, is {now:?}"));
        }
    }
    let mounts = |told: &Value| told["Mounts"].as_array().map_or(0, Vec::len);
    let dropped = usize::from(codes.contains("mount-dropped"));
    if is_nothing(old.pointer("/HostConfig/Tmpfs")) && mounts(new) + dropped != mounts(old) {
        wrong.push(format!("{} mounts, {} before", mounts(new), mounts(old)));
    }
    wrong
}

async fn make_again(
    engine: &Engine,
    ground: &Ground,
    number: usize,
    case: &Case,
) -> Result<Vec<String>, ferry_agent::engine::EngineError> {
    let names = &ground.names;
    let mut request = ground.request(&case.set);
    let connect = request.as_object_mut().unwrap().remove("connect");
    // Where the engine tells what it was asked for: beside the settings around the container, not among them.
    let mut asked = json!({ "HostConfig": request["HostConfig"], "Config": request });
    asked["Config"]["Env"] = Value::Null;
    let name = names.container(&format!("old-{number}"));
    engine.create(&name, &request).await?;
    for (network, settings) in connect.iter().flat_map(|it| it.as_object().unwrap()) {
        engine.connect_network(network, &name, settings).await?;
    }
    let old = engine.inspect_container(&name).await?;
    ground.note_volumes(&old);

    let [old_image, new_image] = &ground.images;
    let user = user_env(&old.env(), &old_image.env());
    let env = translate_env(&user, TargetVersion { major: 3, minor: 8 }).env;
    let options = CarryOverOptions {
        mac_from_networks: engine.hides_configured_mac(),
        ..CarryOverOptions::default()
    };
    let over = carry_over(old.raw(), old_image.raw(), new_image.raw(), &env, &options);
    let over = match (over, case.want.as_slice()) {
        (Err(error), [Refused(code)]) if error.code() == *code => return Ok(Vec::new()),
        (Ok(over), _) => over,
        (Err(error), _) => return Ok(vec![error_of(&error)]),
    };
    let name = names.container(&format!("new-{number}"));
    let created = engine.create(&name, &over.body).await?;
    for (network, settings) in &over.extra_networks {
        engine
            .connect_network(network, &created.id, settings)
            .await?;
    }
    let new = engine.inspect_container(&name).await?;
    ground.note_volumes(&new);
    let both = [&told(&old), &told(&new)];
    Ok(wrong(ground, case, &asked, both, &over))
}

fn error_of(error: &CarryOverError) -> String {
    format!("refused: {error}")
}

#[tokio::test]
async fn each_row_of_the_table_is_carried_over_as_it_says() {
    let Some(engine) = engine("each_row_of_the_table").await else {
        return;
    };
    let ground = Ground::make(&engine).await;
    let mut cases = inside();
    cases.extend(ports_and_mounts());
    cases.extend(network_and_restart());
    cases.extend(limits_and_rights());
    let rows: BTreeSet<&str> = cases.iter().map(|case| case.row).collect();
    assert_eq!(rows, BTreeSet::from(ROWS), "a row without a case");

    let mut failed = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let found = match make_again(&engine, &ground, number, case).await {
            Ok(found) => found,
            Err(error) => vec![format!("the engine refuses: {error}")],
        };
        let told = |line| format!("{}: {}: {line}", case.row, case.what);
        failed.extend(found.into_iter().map(told));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
