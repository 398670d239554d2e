//! The StatefulSet's template for the target, and what goes with it: data of ConfigMaps, ports of services. A function without side
//! effects: what it would do is known, and refused, before anything is done.
//!
//! Who owns the data is not left to the kubelet. With an `fsGroup` it gives all files to a group and lets it write, at whose sight
//! PostgreSQL does not start (facts/pmm.md 6, row 2); so the target gets none, as upstream's own steps for the chart have it
//! (facts/pmm.md 2.2), and the transfer of ownership alone decides.

use std::collections::{BTreeMap, BTreeSet};

use ferry_agent::{
    engine::environment::{ChangeKind, EnvChange, EnvTranslation, TargetVersion, translate_env},
    facts::environment_changes,
};
use ferry_proto::v1::{CarryOverNote, EnvironmentChange};
use serde_json::{Map, Value, json};

use crate::{
    api::{entries, text},
    pod,
};

/// What the StatefulSet shall become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The image, as the template says it.
    pub(crate) reference: &'a str,
    /// Its version of PMM.
    pub(crate) version: &'a str,
    /// Whom its processes run as.
    pub(crate) uid: u32,
}

/// What goes with a StatefulSet, as the cluster has it.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// The data of each ConfigMap that the server's variables come from, by name.
    pub(crate) config_maps: BTreeMap<String, Value>,
    /// The names in each secret that they come from; without those that could not be read.
    pub(crate) secrets: BTreeMap<String, Vec<String>>,
    /// The services that lead to the server's pod.
    pub(crate) services: Vec<Value>,
}

/// What is to be.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) template: Value,
    /// Those that change.
    pub(crate) config_maps: BTreeMap<String, Value>,
    /// Those that change, whole.
    pub(crate) services: Vec<Value>,
    /// What becomes of each variable; no values.
    pub(crate) environment: Vec<EnvironmentChange>,
    /// The variables that a ConfigMap of the chart's has then, for `pmmEnv`.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) notes: Vec<CarryOverNote>,
}

/// Where PMM 2 and 3 listen in their pod (facts/pmm.md 1.1, 1.4).
const PORTS: [(i64, i64); 2] = [(80, 8080), (443, 8443)];
/// The folder of the client's own configuration, which the chart for PMM 3 mounts from memory (facts/pmm.md 7.3).
const CONFIG: (&str, &str) = ("pmm-config", "/usr/local/percona/pmm/config");
const OLD_FOLDER: &str = "/usr/local/percona/pmm2";
const NEW_FOLDER: &str = "/usr/local/percona/pmm";

fn new_port(port: &Value) -> Option<i64> {
    let port = port.as_i64()?;
    PORTS
        .iter()
        .find(|(old, _)| *old == port)
        .map(|(_, new)| *new)
}

/// What `set` becomes.
///
/// # Errors
/// A clause that says which setting does not carry over.
pub(crate) fn carry(set: &Value, around: &Around, target: &Target<'_>) -> Result<Carried, String> {
    let mut template = set["spec"]["template"].clone();
    let server = text(&pod::server_container(&template["spec"])["name"]).to_owned();
    let containers = template["spec"]["containers"].as_array_mut();
    let container = containers
        .into_iter()
        .flatten()
        .find(|it| it["name"] == *server);
    let container = container.ok_or("its template has no container")?;
    container["image"] = json!(target.reference);
    let environment = Variables::of(container, around)?;
    let mut carried = Carried {
        template: Value::Null,
        config_maps: BTreeMap::new(),
        services: Vec::new(),
        environment: Vec::new(),
        variables: BTreeMap::new(),
        notes: Vec::new(),
    };
    environment.carry(container, around, target.version, &mut carried)?;
    ports(container);
    mounts(container);
    rights(container, &mut carried.notes);
    let spec = &mut template["spec"];
    user(spec, target.uid, &mut carried.notes);
    config_folder(spec, &server);
    for service in &around.services {
        carried.services.extend(with_new_ports(service));
    }
    carried.template = template;
    Ok(carried)
}

fn ports(container: &mut Value) {
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        if let Some(new) = new_port(&port["containerPort"]) {
            port["containerPort"] = json!(new);
        }
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        for how in ["httpGet", "tcpSocket"] {
            // Looked up by pointer: to look by index would make what is not there.
            let port = container.pointer_mut(&format!("/{probe}/{how}/port"));
            if let Some(port) = port
                && let Some(new) = new_port(port)
            {
                *port = json!(new);
            }
        }
    }
}

fn mounts(container: &mut Value) {
    for mount in container["volumeMounts"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let path = text(&mount["mountPath"]);
        if let Some(rest) = path.strip_prefix(OLD_FOLDER)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            mount["mountPath"] = json!(format!("{NEW_FOLDER}{rest}"));
        }
    }
}

/// The chart for PMM 3 takes all capabilities away: nothing in it runs as root (facts/pmm.md 7.3).
fn rights(container: &mut Value, notes: &mut Vec<CarryOverNote>) {
    let mut context = container["securityContext"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for field in ["runAsUser", "runAsGroup", "privileged"] {
        if context.remove(field).is_some() {
            notes.push(note(format!("`{field}` of the server's container is left out: PMM 3 runs as its image's own user")));
        }
    }
    context.insert("capabilities".to_owned(), json!({ "drop": ["ALL"] }));
    container["securityContext"] = Value::Object(context);
}

fn user(spec: &mut Value, uid: u32, notes: &mut Vec<CarryOverNote>) {
    let mut context = spec["securityContext"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    if context.contains_key("fsGroup") {
        notes.push(note(
            "`fsGroup` is left out: with it the kubelet would let a group write in PostgreSQL's folder, which then does not start".to_owned(),
        ));
    }
    for field in ["runAsGroup", "fsGroup", "fsGroupChangePolicy"] {
        context.remove(field);
    }
    context.insert("runAsUser".to_owned(), json!(uid));
    spec["securityContext"] = Value::Object(context);
}

fn note(text: String) -> CarryOverNote {
    CarryOverNote {
        code: "security-context".to_owned(),
        text,
    }
}

fn config_folder(spec: &mut Value, server: &str) {
    let (name, path) = CONFIG;
    let containers = spec["containers"].as_array_mut();
    let Some(container) = containers
        .into_iter()
        .flatten()
        .find(|it| it["name"] == server)
    else {
        return;
    };
    let taken =
        entries(&container["volumeMounts"]).any(|it| text(&it["mountPath"]).starts_with(path));
    if taken {
        return;
    }
    push(
        &mut container["volumeMounts"],
        json!({ "name": name, "mountPath": path }),
    );
    if pod::volume(spec, name).is_none() {
        push(
            &mut spec["volumes"],
            json!({ "name": name, "emptyDir": {} }),
        );
    }
}

fn push(list: &mut Value, entry: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(entry),
        None => *list = json!([entry]),
    }
}

/// The service with the target's ports; `None` where it goes by name and stays as it is.
fn with_new_ports(service: &Value) -> Option<Value> {
    let mut new = service.clone();
    let mut changed = false;
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if let Some(number) = new_port(&port["targetPort"]) {
            port["targetPort"] = json!(number);
            changed = true;
        }
    }
    changed.then_some(new)
}

/// Whether a service leads to pods of a template.
pub(crate) fn leads_to(service: &Value, template: &Value) -> bool {
    let labels = &template["metadata"]["labels"];
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|it| !it.is_empty() && it.iter().all(|(key, value)| &labels[key] == value))
}

/// The server's variables, and where each comes from.
struct Variables {
    /// Those with a value that is told, in their order; of one name the last.
    literal: Vec<(String, String)>,
    /// Those whose value comes from elsewhere.
    foreign: BTreeSet<String>,
}

impl Variables {
    fn of(container: &Value, around: &Around) -> Result<Self, String> {
        let mut literal: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| {
            literal.retain(|(known, _)| known != name);
            literal.push((name.to_owned(), value.to_owned()));
        };
        let mut foreign = BTreeSet::new();
        for source in entries(&container["envFrom"]) {
            if !text(&source["prefix"]).is_empty() {
                return Err(format!(
                    "its variables have a prefix, `{}`",
                    text(&source["prefix"])
                ));
            }
            let map = text(&source["configMapRef"]["name"]);
            if let Some(data) = around.config_maps.get(map).and_then(Value::as_object) {
                for (name, value) in data {
                    set(name, text(value));
                }
            }
            let secret = text(&source["secretRef"]["name"]);
            foreign.extend(around.secrets.get(secret).into_iter().flatten().cloned());
        }
        for entry in entries(&container["env"]) {
            let name = text(&entry["name"]);
            if entry["valueFrom"].is_object() {
                foreign.insert(name.to_owned());
            } else {
                set(name, text(&entry["value"]));
            }
        }
        Ok(Self { literal, foreign })
    }

    fn carry(
        &self,
        container: &mut Value,
        around: &Around,
        version: &str,
        carried: &mut Carried,
    ) -> Result<(), String> {
        let version = TargetVersion::of(version);
        let told = translate_env(&self.literal, version);
        // Without a value: what matters is the name.
        let names: Vec<(String, String)> = self
            .foreign
            .iter()
            .map(|name| (name.clone(), String::new()))
            .collect();
        let mut untold = translate_env(&names, version);
        for change in &mut untold.changes {
            // No value was given, so none can be wrong; what would have to be turned round is refused below.
            if change.kind == ChangeKind::Invalid && !turned_round(change) {
                change.kind = match change.new_name {
                    Some(_) => ChangeKind::Renamed,
                    None => ChangeKind::Kept,
                };
            }
        }
        carried.environment = environment_changes(&told);
        carried.environment.extend(environment_changes(&untold));
        carried.environment.sort_by(|a, b| a.name.cmp(&b.name));
        let new = Names {
            told: &told,
            untold: &untold,
        };

        for (map, data) in &around.config_maps {
            let Some(data) = data.as_object() else {
                continue;
            };
            let mut translated = Map::new();
            for (name, value) in data {
                if let Some((name, value)) = new.told(name, text(value)) {
                    translated.insert(name, json!(value));
                }
            }
            for (name, value) in &translated {
                carried
                    .variables
                    .insert(name.clone(), text(value).to_owned());
            }
            if translated != *data {
                carried
                    .config_maps
                    .insert(map.clone(), Value::Object(translated));
            }
        }
        for (secret, names) in &around.secrets {
            for name in names {
                if new.untold(name)?.as_deref() != Some(name) {
                    return Err(format!(
                        "the variable `{name}` comes from secret `{secret}` as a whole, whose names PMM 3 does not know"
                    ));
                }
            }
        }
        let Some(list) = container["env"].as_array().cloned() else {
            return Ok(());
        };
        let mut kept = Vec::new();
        for mut entry in list {
            let name = text(&entry["name"]).to_owned();
            if entry["valueFrom"].is_object() {
                let Some(name) = new.untold(&name)? else {
                    continue;
                };
                entry["name"] = json!(name);
            } else {
                let Some((name, value)) = new.told(&name, text(&entry["value"])) else {
                    continue;
                };
                entry["name"] = json!(name);
                if !entry["value"].is_null() {
                    entry["value"] = json!(value);
                }
            }
            kept.push(entry);
        }
        container["env"] = Value::Array(kept);
        Ok(())
    }
}

/// The names and values that variables get.
struct Names<'a> {
    told: &'a EnvTranslation,
    untold: &'a EnvTranslation,
}

impl Names<'_> {
    /// `None` for one that is dropped. What is invalid has a finding of its own, and stays as it is.
    fn told(&self, name: &str, value: &str) -> Option<(String, String)> {
        let change = self
            .told
            .changes
            .iter()
            .find(|change| change.name == name)?;
        let new = change.new_name.as_deref().unwrap_or(name);
        match change.kind {
            ChangeKind::Dropped => None,
            ChangeKind::Inverted | ChangeKind::Renamed => {
                let mut env = self.told.env.iter();
                let found = env.find(|(known, _)| known == new);
                Some((
                    new.to_owned(),
                    found.map_or(value, |(_, value)| value).to_owned(),
                ))
            }
            ChangeKind::Kept | ChangeKind::Unknown | ChangeKind::Invalid => {
                Some((name.to_owned(), value.to_owned()))
            }
        }
    }

    fn untold(&self, name: &str) -> Result<Option<String>, String> {
        let Some(change) = self
            .untold
            .changes
            .iter()
            .find(|change| change.name == name)
        else {
            return Ok(Some(name.to_owned()));
        };
        if turned_round(change) {
            let new = change.new_name.as_deref().unwrap_or_default();
            return Err(format!(
                "the value of `{name}` comes from elsewhere, and has to be turned round for `{new}`"
            ));
        }
        if change.kind == ChangeKind::Dropped {
            return Ok(None);
        }
        Ok(Some(change.new_name.as_deref().unwrap_or(name).to_owned()))
    }
}

/// Whether PMM 3 has the opposite of it.
fn turned_round(change: &EnvChange) -> bool {
    let new = change.new_name.as_deref().unwrap_or_default();
    change.name.starts_with("DISABLE_") && new.starts_with("PMM_ENABLE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> = Target {
        reference: "percona/pmm-server:3.8.1",
        version: "3.8.1",
        uid: 1000,
    };

    /// As chart 1.3 makes it.
    fn set() -> Value {
        json!({
            "metadata": { "name": "pmm" },
            "spec": { "template": {
                "metadata": { "labels": { "app.kubernetes.io/instance": "pmm", "app.kubernetes.io/name": "pmm" } },
                "spec": {
                    "securityContext": { "fsGroup": 1000 },
                    "containers": [{
                        "name": "pmm", "image": "percona/pmm-server:2.44.1",
                        "envFrom": [{ "secretRef": { "name": "pmm-secret" } }, { "configMapRef": { "name": "pmm" } }],
                        "env": [
                            { "name": "METRICS_RESOLUTION", "valueFrom": { "configMapKeyRef": { "name": "own", "key": "r" } } },
                            { "name": "DATA_RETENTION", "value": "720h" },
                        ],
                        "ports": [{ "name": "https", "containerPort": 443 }, { "name": "http", "containerPort": 80 }],
                        "readinessProbe": { "httpGet": { "path": "/v1/readyz", "port": 80 } },
                        "volumeMounts": [
                            { "name": "pmm-storage", "mountPath": "/srv" },
                            { "name": "own", "mountPath": "/usr/local/percona/pmm2/collectors" },
                        ],
                    }],
                },
            }},
        })
    }

    fn around() -> Around {
        Around {
            config_maps: [(
                "pmm".to_owned(),
                json!({ "DISABLE_UPDATES": "1", "LESS_LOG_NOISE": "1", "SITE": "a" }),
            )]
            .into(),
            secrets: [(
                "pmm-secret".to_owned(),
                vec!["PMM_ADMIN_PASSWORD".to_owned()],
            )]
            .into(),
            services: vec![json!({ "spec": { "ports": [
                { "port": 443, "targetPort": "https" }, { "port": 80, "targetPort": 80 },
            ]}})],
        }
    }

    #[test]
    fn the_charts_template_becomes_pmm_3s() {
        let carried = carry(&set(), &around(), &TARGET).unwrap();
        let spec = &carried.template["spec"];
        let pmm = &spec["containers"][0];
        assert_eq!(pmm["image"], TARGET.reference);
        assert_eq!(spec["securityContext"], json!({ "runAsUser": 1000 }));
        assert_eq!(
            pmm["securityContext"],
            json!({ "capabilities": { "drop": ["ALL"] } })
        );
        assert_eq!(
            pmm["ports"][0],
            json!({ "name": "https", "containerPort": 8443 })
        );
        assert_eq!(pmm["readinessProbe"]["httpGet"]["port"], 8080);
        // What is not there is not made.
        assert!(pmm.get("livenessProbe").is_none());
        assert_eq!(
            pmm["volumeMounts"][1]["mountPath"],
            "/usr/local/percona/pmm/collectors"
        );
        assert_eq!(
            pmm["volumeMounts"][2]["mountPath"],
            "/usr/local/percona/pmm/config"
        );
        assert_eq!(
            spec["volumes"][0],
            json!({ "name": "pmm-config", "emptyDir": {} })
        );
        let env = entries(&pmm["env"])
            .map(|it| text(&it["name"]))
            .collect::<Vec<_>>();
        assert_eq!(env, ["PMM_METRICS_RESOLUTION", "PMM_DATA_RETENTION"]);
        assert_eq!(
            carried.config_maps["pmm"],
            json!({ "PMM_ENABLE_UPDATES": "false", "SITE": "a" })
        );
        assert_eq!(
            carried.services[0]["spec"]["ports"],
            json!([
                { "port": 443, "targetPort": "https" }, { "port": 80, "targetPort": 8080 },
            ])
        );
        assert_eq!(carried.notes.len(), 1, "{:?}", carried.notes);
    }

    #[test]
    fn what_cannot_be_put_into_pmm_3s_words_is_refused() {
        let mut turned = set();
        turned["spec"]["template"]["spec"]["containers"][0]["env"][0] = json!({ "name": "DISABLE_TELEMETRY", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } });
        let why = carry(&turned, &around(), &TARGET).unwrap_err();
        assert!(why.contains("turned round"), "{why}");
        let mut whole = around();
        whole
            .secrets
            .insert("pmm-secret".to_owned(), vec!["DATA_RETENTION".to_owned()]);
        let why = carry(&set(), &whole, &TARGET).unwrap_err();
        assert!(why.contains("secret `pmm-secret`"), "{why}");
        let mut prefixed = set();
        prefixed["spec"]["template"]["spec"]["containers"][0]["envFrom"][1]["prefix"] = json!("X_");
        assert!(carry(&prefixed, &around(), &TARGET).is_err());
    }

    #[test]
    fn a_service_leads_to_the_pods_that_it_selects() {
        let template = &set()["spec"]["template"];
        let selecting = |selector: Value| json!({ "spec": { "selector": selector } });
        assert!(leads_to(
            &selecting(json!({ "app.kubernetes.io/instance": "pmm" })),
            template
        ));
        assert!(!leads_to(
            &selecting(json!({ "app.kubernetes.io/instance": "other" })),
            template
        ));
        assert!(!leads_to(&selecting(json!({})), template));
    }
}
