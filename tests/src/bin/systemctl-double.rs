//! What stands for `systemctl` and the service manager behind it, on a machine without systemd: it reads units, quadlets and drop-ins from
//! their folders, and runs what they say for real.
//!
//! It keeps to what the tests rest on: what is loaded is what was there at the last `daemon-reload`; `NeedDaemonReload` says that a file
//! is another by now; an assertion that fails keeps a unit from starting; a unit whose first program ends runs `ExecStop` and
//! `ExecStopPost` and is started again by `Restart=`. Of specifiers it knows `%n`, `%N`, `%t` and `%h`, of `Environment=` names and
//! values, of a quadlet the few keys in [`quadlet`]. It knows neither `Type=` nor limits of time: a unit whose first program ends well and
//! leaves a container behind (`--detach`) runs as long as that one does. With `--user` it is the caller's own service manager, who has folders
//! of the user's, and is reached through `XDG_RUNTIME_DIR` alone.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it stands for a program of the machine that starts others and speaks on its streams"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where a service manager has everything.
struct Places {
    units: PathBuf,
    /// The first one counts.
    quadlets: Vec<PathBuf>,
    /// What was loaded, and how each unit stands.
    state: PathBuf,
    /// `%h` and `%t`.
    home: PathBuf,
    runtime: PathBuf,
    user: bool,
}

static PLACES: OnceLock<Places> = OnceLock::new();

fn places() -> &'static Places {
    PLACES.get_or_init(|| Places::of(None).unwrap_or_else(|why| panic!("{why}")))
}

impl Places {
    /// The machine's, or those of a user with this `XDG_RUNTIME_DIR`.
    fn of(user: Option<PathBuf>) -> Result<Self, String> {
        let quadlets = PathBuf::from("/etc/containers/systemd");
        let Some(runtime) = user else {
            let units = PathBuf::from("/etc/systemd/system");
            return Ok(Self {
                state: units.join(".double"),
                units,
                quadlets: vec![quadlets],
                home: "/root".into(),
                runtime: "/run".into(),
                user: false,
            });
        };
        // As systemd does: nobody tells it where the user is at home.
        let uid = rustix::process::getuid().as_raw();
        let accounts = fs_err::read_to_string("/etc/passwd").map_err(words)?;
        let fields = accounts
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        let mut own = fields.filter(|it| it.get(2).is_some_and(|it| *it == uid.to_string()));
        let home = own.next().and_then(|it| it.get(5).map(PathBuf::from));
        let home = home.ok_or("Failed to connect to bus: no such user")?;
        if fs_err::metadata(&runtime).map_err(words)?.uid() != uid {
            return Err("Failed to connect to bus: Operation not permitted".to_owned());
        }
        let units = home.join(".config/systemd/user");
        let users = quadlets.join("users");
        Ok(Self {
            state: units.join(".double"),
            units,
            quadlets: vec![
                home.join(".config/containers/systemd"),
                users.join(uid.to_string()),
                users,
            ],
            home,
            runtime,
            user: true,
        })
    }

    /// What the service manager has in its own environment, and gives to all that it starts: a line each.
    fn environment(&self) -> PathBuf {
        self.state.join("environment")
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|it| it == "--user") {
        words.remove(0);
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
        match Places::of(Some(runtime.into())) {
            Ok(own) => drop(PLACES.set(own)),
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
    }
    let verb = words.first().map_or("", String::as_str);
    let unit = words.last().map_or("", String::as_str);
    let done = match verb {
        "daemon-reload" => reload(),
        "show" => show(unit),
        "start" => start(unit),
        "stop" => stop(unit),
        "restart" => stop(unit).and_then(|()| start(unit)),
        "run-unit" => run(unit),
        _ => Err(format!("no such verb: {verb}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), String>;

/// `SECTION KEY` and its values, as loaded.
type Loaded = BTreeMap<String, Vec<String>>;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The files that a unit is made of: its own or its quadlet, then the drop-ins.
fn files(unit: &str) -> Vec<PathBuf> {
    let stem = unit.trim_end_matches(".service");
    let own = places().units.join(unit);
    let quadlets = places().quadlets.iter();
    let mut all =
        std::iter::once(own).chain(quadlets.map(|it| it.join(format!("{stem}.container"))));
    let mut files = Vec::new();
    match all.find(|it| it.exists()) {
        Some(file) => files.push(file),
        None => return files,
    }
    files.extend(drop_ins(unit));
    files
}

fn drop_ins(unit: &str) -> BTreeSet<PathBuf> {
    let folder = places().units.join(format!("{unit}.d"));
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|it| it.path())
        .filter(|it| it.extension().is_some_and(|it| it == "conf"))
        .collect()
}

fn texts(unit: &str) -> String {
    let texts = files(unit).into_iter().map(|path| {
        let text = fs_err::read_to_string(&path).unwrap_or_default();
        let quadlet = path.extension().is_some_and(|it| it == "container");
        if quadlet {
            self::quadlet(unit, &text)
        } else {
            text
        }
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The unit that Podman's generator makes of a quadlet, as far as the tests need it.
fn quadlet(unit: &str, text: &str) -> String {
    let read = parse(text);
    let all = |key: &str| {
        read.get(&format!("Container {key}"))
            .cloned()
            .unwrap_or_default()
    };
    let stem = unit.trim_end_matches(".service");
    let name = all("ContainerName")
        .first()
        .cloned()
        .unwrap_or_else(|| format!("systemd-{stem}"));
    let mut start = format!("podman run --name={name} --replace --rm");
    for (key, option) in [
        ("PublishPort", "-p"),
        ("Environment", "-e"),
        ("Volume", "-v"),
        ("EnvironmentFile", "--env-file"),
        ("PodmanArgs", ""),
    ] {
        for value in all(key) {
            start.push_str(&format!(" {option} {value}"));
        }
    }
    let image = all("Image").join("");
    format!(
        "{text}\n[Service]\nEnvironment=PODMAN_SYSTEMD_UNIT={unit}\nExecStart={start} {image}\nExecStop=podman rm -f -i {name}\n\
         ExecStopPost=podman rm -f -i {name}\n"
    )
}

fn parse(text: &str) -> Loaded {
    let mut loaded = Loaded::new();
    let mut section = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let comment = |line: &str| line.trim_start().starts_with(['#', ';']);
        if comment(line) {
            continue;
        }
        if line.starts_with('[') {
            section = line.trim().trim_matches(['[', ']']).to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let mut value = value.to_owned();
        while let Some(open) = value.strip_suffix('\\') {
            value = format!("{open} ");
            let more = lines.by_ref().find(|it| !comment(it));
            value.push_str(more.unwrap_or_default());
        }
        let values = loaded
            .entry(format!("{section} {}", key.trim()))
            .or_default();
        // An empty value forgets those before it.
        if value.trim().is_empty() {
            values.clear();
        } else {
            values.push(value.trim().to_owned());
        }
    }
    loaded
}

fn state(unit: &str, what: &str) -> PathBuf {
    places().state.join(format!("{unit}.{what}"))
}

fn read(unit: &str, what: &str) -> String {
    fs_err::read_to_string(state(unit, what)).unwrap_or_default()
}

fn write(unit: &str, what: &str, text: &str) -> Done {
    fs_err::create_dir_all(&places().state).map_err(words)?;
    let fresh = state(unit, &format!("{what}.{}", std::process::id()));
    fs_err::write(&fresh, text).map_err(words)?;
    fs_err::rename(fresh, state(unit, what)).map_err(words)
}

fn reload() -> Done {
    let mut units = BTreeSet::new();
    let quadlets = places().quadlets.iter().map(|it| (it, ".container"));
    for (folder, suffix) in std::iter::once((&places().units, ".service")).chain(quadlets) {
        let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(suffix) {
                units.insert(format!("{stem}.service"));
            }
        }
    }
    units
        .into_iter()
        .try_for_each(|unit| write(&unit, "loaded", &texts(&unit)))
}

/// As systemd does, a unit is loaded when it is first needed.
fn loaded(unit: &str) -> Result<Loaded, String> {
    if files(unit).is_empty() {
        return Err(format!("Unit {unit} not found."));
    }
    if !state(unit, "loaded").exists() {
        write(unit, "loaded", &texts(unit))?;
    }
    Ok(parse(&read(unit, "loaded")))
}

fn active(unit: &str) -> String {
    let word = read(unit, "active");
    if word.is_empty() {
        "inactive".to_owned()
    } else {
        word
    }
}

fn show(unit: &str) -> Done {
    let found = files(unit);
    let Some(own) = found.first() else {
        println!("LoadState=not-found\nActiveState=inactive");
        return Ok(());
    };
    loaded(unit)?;
    let quadlet = own.extension().is_some_and(|it| it == "container");
    let (fragment, source) = if quadlet {
        (
            places()
                .runtime
                .join(format!("systemd/generator/{unit}"))
                .display()
                .to_string(),
            own.display().to_string(),
        )
    } else {
        (own.display().to_string(), String::new())
    };
    let drop_ins: Vec<String> = drop_ins(unit)
        .iter()
        .map(|it| it.display().to_string())
        .collect();
    let unread = if read(unit, "loaded") == texts(unit) {
        "no"
    } else {
        "yes"
    };
    println!(
        "LoadState=loaded\nActiveState={}\nFragmentPath={fragment}\nSourcePath={source}\nDropInPaths={}\nNeedDaemonReload={unread}",
        active(unit),
        drop_ins.join(" ")
    );
    Ok(())
}

/// The assertion that keeps it from starting.
fn assertion(loaded: &Loaded) -> Option<String> {
    let paths = loaded.get("Unit AssertPathExists").into_iter().flatten();
    paths
        .into_iter()
        .find(|it| !Path::new(it).exists())
        .cloned()
}

fn start(unit: &str) -> Done {
    let loaded = loaded(unit)?;
    if active(unit) == "active" {
        return Ok(());
    }
    if assertion(&loaded).is_some() {
        return Err(format!("Assertion failed on job for {unit}."));
    }
    write(unit, "active", "activating")?;
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state(unit, "log"))
        .map_err(words)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(places().user.then_some("--user"))
        .args(["run-unit", unit])
        .stdin(Stdio::null())
        .stdout(log.file().try_clone().map_err(words)?)
        .stderr(log.into_file())
        .process_group(0);
    // Its runner is nobody's child: it outlives this call.
    drop(command.spawn().map_err(words)?);
    wait(unit, |word| word != "activating")?;
    match active(unit).as_str() {
        "active" | "inactive" => Ok(()),
        _ => Err(format!("Job for {unit} failed. {}", read(unit, "log"))),
    }
}

fn stop(unit: &str) -> Done {
    if !matches!(active(unit).as_str(), "active" | "activating") {
        return Ok(());
    }
    write(unit, "stopping", "yes")?;
    let loaded = loaded(unit)?;
    for command in loaded.get("Service ExecStop").into_iter().flatten() {
        let _told = tell(unit, &loaded, command);
    }
    if loaded.get("Service ExecStop").is_none_or(Vec::is_empty)
        && let Ok(pid) = read(unit, "pid").parse::<i32>()
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        let _over = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    wait(unit, |word| matches!(word, "inactive" | "failed"))
}

fn wait(unit: &str, until: impl Fn(&str) -> bool) -> Done {
    let began = Instant::now();
    while !until(&active(unit)) {
        if began.elapsed() > PATIENCE {
            return Err(format!("{unit} is {} for too long", active(unit)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The process that systemd is for one unit, from its start to its end.
fn run(unit: &str) -> Done {
    fs_err::remove_file(state(unit, "stopping")).ok();
    loop {
        let loaded = loaded(unit)?;
        if assertion(&loaded).is_some() {
            return write(unit, "active", "failed");
        }
        for command in loaded.get("Service ExecStartPre").into_iter().flatten() {
            if tell(unit, &loaded, command).is_err() && !command.starts_with('-') {
                return write(unit, "active", "failed");
            }
        }
        let start = loaded.get("Service ExecStart").and_then(|it| it.first());
        let start = start.ok_or("no ExecStart")?;
        let mut child = command(unit, &loaded, start).spawn().map_err(words)?;
        write(unit, "pid", &child.id().to_string())?;
        write(unit, "active", "active")?;
        let mut status = child.wait().map_err(words)?;
        if status.success()
            && let Some(mut left) = left_behind(unit, &loaded, start)
        {
            status = left.status().map_err(words)?;
        }
        // Whatever was loaded meanwhile counts.
        let now = self::loaded(unit)?;
        let stopping = state(unit, "stopping").exists();
        let ends = if stopping {
            &["ExecStopPost"][..]
        } else {
            &["ExecStop", "ExecStopPost"]
        };
        for key in ends {
            for command in now.get(&format!("Service {key}")).into_iter().flatten() {
                let _told = tell(unit, &now, command);
            }
        }
        let restart = now.get("Service Restart").and_then(|it| it.last());
        let again = match restart.map(String::as_str) {
            Some("always") => true,
            Some("on-failure") => !status.success(),
            _ => false,
        };
        if stopping || !again {
            let word = if status.success() || stopping {
                "inactive"
            } else {
                "failed"
            };
            return write(unit, "active", word);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What waits for the container that a command line has left behind.
fn left_behind(unit: &str, loaded: &Loaded, line: &str) -> Option<Command> {
    let words = split(line);
    let ids = words.iter().find_map(|it| it.strip_prefix("--cidfile="));
    let detached = words.iter().any(|it| matches!(&**it, "-d" | "--detach"));
    let id = match ids {
        Some(file) if detached => fs_err::read_to_string(specified(unit, file)).ok()?,
        _ => return None,
    };
    let program = words.first()?;
    let line = format!("{program} wait {}", id.trim());
    Some(command(unit, loaded, &line))
}

fn tell(unit: &str, loaded: &Loaded, line: &str) -> Done {
    let status = command(unit, loaded, line).status().map_err(words)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line} ended with {status}"))
    }
}

/// A command line of the unit's.
fn command(unit: &str, loaded: &Loaded, line: &str) -> Command {
    let mut variables: BTreeMap<String, String> = fs_err::read_to_string(places().environment())
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for line in loaded.get("Service Environment").into_iter().flatten() {
        for word in split(line) {
            if let Some((name, value)) = word.split_once('=') {
                variables.insert(name.to_owned(), specified(unit, value));
            }
        }
    }
    let words = split(line.trim_start_matches('-')).into_iter().map(|word| {
        let mut word = specified(unit, &word);
        for (name, value) in &variables {
            word = word.replace(&format!("${{{name}}}"), value);
        }
        word
    });
    let words: Vec<String> = words.collect();
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.get(1..).unwrap_or_default());
    if places().user {
        command.env("HOME", &places().home);
    }
    command.envs(&variables).stdin(Stdio::null());
    command
}

fn specified(unit: &str, word: &str) -> String {
    word.replace("%n", unit)
        .replace("%N", unit.trim_end_matches(".service"))
        .replace("%t", &places().runtime.to_string_lossy())
        .replace("%h", &places().home.to_string_lossy())
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
