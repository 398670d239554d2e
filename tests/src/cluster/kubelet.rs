//! The node: pods as containers of the local engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::store::{Store, now};
use super::{LABEL, files, sets};
use crate::command::{docker, output};
use crate::looks::inspect;
use crate::{Result, http};

const NODE: &str = "node-1";
const PAUSE: Duration = Duration::from_millis(100);
/// How long a container that has ended waits to be started again; the real one begins with ten seconds.
const BACK_OFF: Duration = Duration::from_secs(2);
const READINESS: Duration = Duration::from_millis(500);
/// How long a probe waits for an answer. One that does not run refuses at once; one that runs may be slow on a busy machine.
const PROBE: Duration = Duration::from_secs(10);

pub(super) struct Kubelet {
    id: String,
    store: Arc<Store>,
    folder: PathBuf,
}

/// What the node remembers of a pod.
#[derive(Default)]
struct Memory {
    /// Those of its containers that were started, and how often again.
    started: BTreeMap<String, u64>,
    /// Init containers that have ended well.
    initialised: BTreeSet<String>,
    /// When a container was seen to have ended.
    ended: BTreeMap<String, Instant>,
    volumes: Vec<(String, String)>,
    ready: Option<(Instant, bool)>,
    /// Containers that cannot be made, and why.
    hopeless: BTreeMap<String, (String, String)>,
}

impl Kubelet {
    pub(super) fn new(id: String, store: Arc<Store>, folder: PathBuf) -> Self {
        Self { id, store, folder }
    }

    pub(super) fn run(&self, over: &AtomicBool) {
        let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            sets::reconcile(&self.store);
            for pod in self.store.list("pods", "", "") {
                let uid = pod["metadata"]["uid"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let memory = memories.entry(uid).or_default();
                // An engine that refuses is asked again, as the real one does.
                if let Err(error) = self.pod(&pod, memory) {
                    self.say(&error.to_string());
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Where nobody waits for it: into a file that a person can read while a test hangs.
    fn say(&self, words: &str) {
        let mut options = fs_err::OpenOptions::new();
        if let Ok(mut file) = options
            .create(true)
            .append(true)
            .open(self.folder.join("kubelet.log"))
        {
            // There is nobody to tell that it could not be told.
            let _ = writeln!(file, "{words}");
        }
    }

    fn name(&self, pod: &Value, container: &str) -> String {
        format!("{}-{}-{container}", self.id, text(&pod["metadata"]["name"]))
    }

    fn pod(&self, pod: &Value, memory: &mut Memory) -> Result<()> {
        let meta = &pod["metadata"];
        let (namespace, name) = (text(&meta["namespace"]), text(&meta["name"]));
        if !meta["deletionTimestamp"].is_null() {
            return self.end(pod, memory);
        }
        if pod["spec"]["nodeName"].is_null() {
            self.store.place(namespace, name, NODE);
            return Ok(());
        }
        if memory.started.is_empty() && memory.initialised.is_empty() {
            let Some(volumes) = files::sources(&self.store, &self.id, &self.folder, pod)? else {
                let why = json!([{ "type": "PodScheduled", "status": "False", "message": "persistentvolumeclaim not found" }]);
                self.store.set_status(
                    "pods",
                    namespace,
                    name,
                    json!({ "phase": "Pending", "conditions": why }),
                );
                return Ok(());
            };
            for (_, source) in volumes
                .iter()
                .filter(|(_, source)| !source.starts_with('/'))
            {
                files::give_to_group(source, &pod["spec"]["securityContext"])?;
            }
            memory.volumes = volumes;
        }
        let mut waits = false;
        for container in list(&pod["spec"]["initContainers"]) {
            let container_name = text(&container["name"]);
            if waits || memory.initialised.contains(container_name) {
                continue;
            }
            waits = true;
            self.start(pod, container, memory, None)?;
            let ended = inspect(&self.name(pod, container_name))
                .ok()
                .and_then(|it| {
                    (it["State"]["Status"] == "exited")
                        .then(|| it["State"]["ExitCode"].as_i64().unwrap_or(-1))
                });
            if ended == Some(0) {
                memory.initialised.insert(container_name.to_owned());
                waits = false;
            }
        }
        if !waits {
            for container in list(&pod["spec"]["containers"]) {
                self.start(pod, container, memory, None)?;
            }
            for container in list(&pod["spec"]["ephemeralContainers"]) {
                let target = self.name(pod, text(&container["targetContainerName"]));
                self.start(pod, container, memory, Some(&target))?;
            }
        }
        let status = self.status(pod, memory)?;
        self.store.set_status("pods", namespace, name, status);
        Ok(())
    }

    /// Makes a container, once. A pod's only container that has ended is started again where the pod says so.
    fn start(
        &self,
        pod: &Value,
        container: &Value,
        memory: &mut Memory,
        beside: Option<&str>,
    ) -> Result<()> {
        let name = text(&container["name"]);
        if memory.started.contains_key(name) {
            return Ok(());
        }
        let image = text(&container["image"]);
        if docker(&["image", "inspect", "--format", "{{.Id}}", image]).is_err() {
            let why = (
                "ErrImagePull".to_owned(),
                format!("pull access denied for {image}, repository does not exist"),
            );
            memory.hopeless.insert(name.to_owned(), why);
            return Ok(());
        }
        let words = self.words(pod, container, memory, beside)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match docker(&words) {
            Ok(_) => {
                memory.started.insert(name.to_owned(), 0);
            }
            // The container that it shall be beside is on its way.
            Err(_) if beside.is_some() => {
                let _ = docker(&["rm", "--force", &self.name(pod, name)]);
            }
            Err(error) => {
                let _ = docker(&["rm", "--force", &self.name(pod, name)]);
                memory.hopeless.insert(
                    name.to_owned(),
                    ("RunContainerError".to_owned(), error.to_string()),
                );
            }
        }
        Ok(())
    }

    fn words(
        &self,
        pod: &Value,
        container: &Value,
        memory: &Memory,
        beside: Option<&str>,
    ) -> Result<Vec<String>> {
        let name = text(&container["name"]);
        let mut words: Vec<String> = ["run", "--detach", "--pull", "never", "--name"]
            .map(str::to_owned)
            .to_vec();
        words.push(self.name(pod, name));
        words.extend(["--label".to_owned(), format!("{LABEL}={}", self.id)]);
        match beside {
            Some(target) => {
                let namespace = format!("container:{target}");
                words.extend([
                    "--pid".to_owned(),
                    namespace.clone(),
                    "--network".to_owned(),
                    namespace,
                ]);
            }
            None => words.extend([
                "--hostname".to_owned(),
                text(&pod["metadata"]["name"]).to_owned(),
            ]),
        }
        for mount in list(&container["volumeMounts"]) {
            let volume = memory
                .volumes
                .iter()
                .find(|(known, _)| mount["name"] == *known);
            let Some((_, source)) = volume else { continue };
            let fixed = list(&pod["spec"]["volumes"]).any(|it| {
                it["name"] == mount["name"]
                    && (it["secret"].is_object() || it["configMap"].is_object())
            });
            // What an image has at a mount point is not copied into a claim.
            let mode = match (fixed || mount["readOnly"] == true, source.starts_with('/')) {
                (true, _) => ":ro",
                (false, true) => "",
                (false, false) => ":nocopy",
            };
            words.extend([
                "--volume".to_owned(),
                format!("{source}:{}{mode}", text(&mount["mountPath"])),
            ]);
        }
        let namespace = text(&pod["metadata"]["namespace"]);
        for (key, value) in files::variables(&self.store, namespace, container) {
            words.extend(["--env".to_owned(), format!("{key}={value}")]);
        }
        let (own, of_pod) = (
            &container["securityContext"],
            &pod["spec"]["securityContext"],
        );
        let number = |field: &str| own[field].as_u64().or(of_pod[field].as_u64());
        if let Some(user) = number("runAsUser") {
            let group = number("runAsGroup").map_or(String::new(), |group| format!(":{group}"));
            words.extend(["--user".to_owned(), format!("{user}{group}")]);
        }
        if let Some(group) = of_pod["fsGroup"].as_u64() {
            words.extend(["--group-add".to_owned(), group.to_string()]);
        }
        for (field, flag) in [("drop", "--cap-drop"), ("add", "--cap-add")] {
            for capability in list(&own["capabilities"][field]) {
                words.extend([flag.to_owned(), text(capability).to_owned()]);
            }
        }
        if let Some(path) = container["terminationMessagePath"].as_str() {
            let file = self.message(pod, name);
            if let Some(folder) = file.parent() {
                fs_err::create_dir_all(folder)?;
            }
            fs_err::write(&file, "")?;
            fs_err::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            words.extend(["--volume".to_owned(), format!("{}:{path}", file.display())]);
        }
        let command: Vec<&str> = list(&container["command"]).map(text).collect();
        if let Some(first) = command.first() {
            words.extend(["--entrypoint".to_owned(), (*first).to_owned()]);
        }
        words.push(text(&container["image"]).to_owned());
        words.extend(command.iter().skip(1).map(|it| (*it).to_owned()));
        words.extend(list(&container["args"]).map(|it| text(it).to_owned()));
        Ok(words)
    }

    fn message(&self, pod: &Value, container: &str) -> PathBuf {
        let uid = text(&pod["metadata"]["uid"]);
        self.folder
            .join(uid)
            .join(format!("message-of-{container}"))
    }

    fn status(&self, pod: &Value, memory: &mut Memory) -> Result<Value> {
        let again = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always") == "Always";
        let mut statuses = |field: &str, restart: bool| -> Result<Vec<Value>> {
            list(&pod["spec"][field])
                .map(|container| self.container(pod, container, memory, restart && again))
                .collect()
        };
        let init = statuses("initContainers", false)?;
        let containers = statuses("containers", true)?;
        let ephemeral = statuses("ephemeralContainers", false)?;
        let runs = containers
            .iter()
            .all(|it| it["state"]["running"].is_object());
        let over = containers
            .iter()
            .all(|it| it["state"]["terminated"].is_object());
        let ready = runs && self.is_ready(pod, memory);
        let phase = match (runs, over) {
            (true, _) => "Running",
            (_, true) => "Succeeded",
            _ => "Pending",
        };
        Ok(json!({
            "phase": phase,
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "Ready", "status": if ready { "True" } else { "False" } },
            ],
            "initContainerStatuses": init,
            "containerStatuses": containers,
            "ephemeralContainerStatuses": ephemeral,
        }))
    }

    fn container(
        &self,
        pod: &Value,
        container: &Value,
        memory: &mut Memory,
        again: bool,
    ) -> Result<Value> {
        let name = text(&container["name"]);
        let full = self.name(pod, name);
        let restarts = memory.started.get(name).copied().unwrap_or(0);
        let mut status =
            json!({ "name": name, "image": container["image"], "restartCount": restarts });
        if let Some((reason, message)) = memory.hopeless.get(name) {
            status["state"] = json!({ "waiting": { "reason": reason, "message": message } });
            return Ok(status);
        }
        let Some(told) = inspect(&full)
            .ok()
            .filter(|_| memory.started.contains_key(name))
        else {
            status["state"] = json!({ "waiting": { "reason": "ContainerCreating" } });
            return Ok(status);
        };
        status["imageID"] = json!(format!("docker://{}", text(&told["Image"])));
        if told["State"]["Running"] == true {
            memory.ended.remove(name);
            status["state"] = json!({ "running": { "startedAt": told["State"]["StartedAt"] } });
            return Ok(status);
        }
        let message = fs_err::read_to_string(self.message(pod, name)).unwrap_or_default();
        let terminated = json!({ "exitCode": told["State"]["ExitCode"], "message": message, "finishedAt": now() });
        if !again {
            status["state"] = json!({ "terminated": terminated });
            return Ok(status);
        }
        let ended = *memory
            .ended
            .entry(name.to_owned())
            .or_insert_with(Instant::now);
        status["state"] = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting failed container" } });
        status["lastState"] = json!({ "terminated": terminated });
        if ended.elapsed() > BACK_OFF {
            docker(&["start", &full])?;
            memory.started.insert(name.to_owned(), restarts + 1);
        }
        Ok(status)
    }

    /// By the first container's readiness probe, asked from the node.
    fn is_ready(&self, pod: &Value, memory: &mut Memory) -> bool {
        if let Some((when, ready)) = memory.ready
            && when.elapsed() < READINESS
        {
            return ready;
        }
        let container = &pod["spec"]["containers"][0];
        let probe = &container["readinessProbe"]["httpGet"];
        let ready = if probe.is_object() {
            let port = match &probe["port"] {
                Value::String(name) => {
                    let mut ports = list(&container["ports"]);
                    ports
                        .find(|it| it["name"] == *name)
                        .map_or(Value::Null, |it| it["containerPort"].clone())
                }
                number => number.clone(),
            };
            let name = self.name(pod, text(&container["name"]));
            inspect(&name).is_ok_and(|told| {
                let address = format!("{}:{port}", text(&told["NetworkSettings"]["IPAddress"]));
                answers_well(&address, text(&probe["path"]))
            })
        } else {
            true
        };
        memory.ready = Some((Instant::now(), ready));
        ready
    }

    /// Asked to end, given its grace, and gone.
    fn end(&self, pod: &Value, memory: &Memory) -> Result<()> {
        let grace = pod["metadata"]["deletionGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(30)
            .to_string();
        for name in memory.started.keys() {
            let full = self.name(pod, name);
            docker(&["stop", "--time", &grace, &full])?;
        }
        for name in memory.started.keys() {
            docker(&["rm", "--force", "--volumes", &self.name(pod, name)])?;
        }
        let meta = &pod["metadata"];
        self.store
            .gone(text(&meta["namespace"]), text(&meta["name"]), &meta["uid"]);
        Ok(())
    }
}

/// The end of a container's log.
pub(super) fn log(container: &str, lines: &str) -> String {
    let lines = if lines.is_empty() { "all" } else { lines };
    let Ok(said) = output(Command::new("docker").args(["logs", "--tail", lines, container])) else {
        return String::new();
    };
    format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    )
}

/// As a node's probe takes it: what sends the caller elsewhere on the same server is followed.
fn answers_well(address: &str, path: &str) -> bool {
    let ask = |path: &str| -> Result<http::Answer> {
        let address = address.parse().map_err(std::io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, PROBE)?;
        stream.set_read_timeout(Some(PROBE))?;
        Ok(http::get(stream, path)?)
    };
    let mut answer = ask(path);
    if let Ok(http::Answer {
        moved: Some(path), ..
    }) = &answer
    {
        answer = ask(path);
    }
    answer.is_ok_and(|it| (200..300).contains(&it.status))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
