//! What a unit or a quadlet says of the container that it makes: its image, variables, ports and name, each with its place.
//!
//! Why every option of `run` has to be known: which word is the image is told by which options take a value. One that is not known
//! could make the wrong word an image, so such a unit is left alone.

use std::ops::Range;

use super::{
    Refusal,
    text::{Entry, Word, entries, words},
};

/// How the file describes its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A service whose `ExecStart` is `docker run` or `podman run`.
    Service,
    /// A quadlet, of which Podman makes such a service.
    Quadlet,
}

/// A setting: what it says, where that stands, and all that would go with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) text: String,
    /// Absent where quotes or escapes stand in it.
    pub(super) place: Option<Range<usize>>,
    /// With the option's name, and the space before it.
    pub(super) whole: Range<usize>,
    pub(super) line: usize,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) image: Setting,
    pub(super) name: Option<String>,
    pub(super) variables: Vec<Setting>,
    /// Files with variables, as they are named.
    pub(super) env_files: Vec<String>,
    pub(super) ports: Vec<Setting>,
    /// `source:destination…` and `type=…,…`, as they are given.
    pub(super) mounts: Vec<String>,
    pub(super) pull: Option<String>,
    /// Whether each start gets rid of the container of the one before.
    pub(super) makes_anew: bool,
    /// All else that the file says, in its order: an edit leaves it as it is.
    pub(super) rest: Vec<String>,
    pub(super) entries: Vec<Entry>,
}

/// Options without a value; `--NAME=false` is one word too.
const FLAGS: &[&str] = &[
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "http-proxy",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "sig-proxy",
    "tls-verify",
    "tty",
    "use-api-socket",
];

/// Options with a value, which may be the next word.
const VALUES: &[&str] = &[
    "add-host",
    "annotation",
    "arch",
    "attach",
    "authfile",
    "blkio-weight",
    "blkio-weight-device",
    "cap-add",
    "cap-drop",
    "cgroup-conf",
    "cgroup-parent",
    "cgroupns",
    "cgroups",
    "cidfile",
    "conmon-pidfile",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-opt",
    "dns-option",
    "dns-search",
    "domainname",
    "env",
    "env-file",
    "expose",
    "gidmap",
    "gpus",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-on-failure",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "hostname",
    "hostuser",
    "image-volume",
    "ip",
    "ip6",
    "ipc",
    "isolation",
    "kernel-memory",
    "label",
    "label-file",
    "link",
    "link-local-ip",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "name",
    "net",
    "net-alias",
    "network",
    "network-alias",
    "oom-score-adj",
    "os",
    "personality",
    "pid",
    "pidfile",
    "pids-limit",
    "platform",
    "publish",
    "pull",
    "restart",
    "runtime",
    "sdnotify",
    "seccomp-policy",
    "secret",
    "security-opt",
    "shm-size",
    "shm-size-systemd",
    "stop-signal",
    "stop-timeout",
    "storage-opt",
    "subgidname",
    "subuidname",
    "sysctl",
    "systemd",
    "timeout",
    "tmpfs",
    "tz",
    "uidmap",
    "ulimit",
    "umask",
    "unsetenv",
    "userns",
    "uts",
    "variant",
    "volume",
    "volume-driver",
    "volumes-from",
    "workdir",
];

/// Options by which something else than the image decides what runs, or as whom.
const FOREIGN: &[&str] = &[
    "entrypoint",
    "pod",
    "requires",
    "rootfs",
    "unsetenv-all",
    "user",
];

/// The long name of a short option, and whether it takes a value.
fn long(short: char) -> Option<(&'static str, bool)> {
    Some(match short {
        'd' => ("detach", false),
        'i' => ("interactive", false),
        't' => ("tty", false),
        'P' => ("publish-all", false),
        'q' => ("quiet", false),
        'a' => ("attach", true),
        'c' => ("cpu-shares", true),
        'e' => ("env", true),
        'h' => ("hostname", true),
        'l' => ("label", true),
        'm' => ("memory", true),
        'p' => ("publish", true),
        'u' => ("user", true),
        'v' => ("volume", true),
        'w' => ("workdir", true),
        _ => return None,
    })
}

/// Reads a file.
pub(super) fn describe(text: &str, form: Form) -> Result<Described, Refusal> {
    let entries = entries(text).map_err(|line| Refusal::Unreadable { line })?;
    match form {
        Form::Service => service(text, entries),
        Form::Quadlet => quadlet(text, entries),
    }
}

/// The words of the one `ExecStart`; `None` where it runs no container.
pub(super) fn run_words(text: &str, entries: &[Entry]) -> Result<Option<Vec<Word>>, Refusal> {
    let mut starts = entries.iter().filter(|it| it.is("Service", "ExecStart"));
    let Some(start) = starts.next() else {
        return Ok(None);
    };
    let read = words(text, start).ok_or(Refusal::Unreadable { line: start.line })?;
    let program = read.first().map(|word| word.text.trim_start_matches('-'));
    let file = program.and_then(|it| it.rsplit('/').next());
    if !matches!(file, Some("docker" | "podman")) {
        return Ok(None);
    }
    if let Some(second) = starts.next() {
        return Err(Refusal::Twice {
            what: "ExecStart".to_owned(),
            line: second.line,
        });
    }
    Ok(Some(read))
}

fn service(text: &str, entries: Vec<Entry>) -> Result<Described, Refusal> {
    let words = run_words(text, &entries)?.ok_or(Refusal::NoRun)?;
    let mut at = 1;
    if words.get(at).is_some_and(|it| it.text == "container") {
        at += 1;
    }
    match words.get(at) {
        Some(word) if word.text == "run" => at += 1,
        _ => return Err(Refusal::NoRun),
    }
    let mut made = Described {
        makes_anew: entries.iter().any(|it| removes(text, it)),
        rest: words[..at].iter().map(|it| it.text.clone()).collect(),
        ..Described::default()
    };
    while let Some(word) = words.get(at) {
        let before = words[at - 1].span.end;
        let Some(option) = Opt::of(word)? else {
            break;
        };
        at += 1;
        if !option.takes {
            made.makes_anew |= matches!(
                &*word.text,
                "--rm" | "--rm=true" | "--replace" | "--replace=true"
            );
            made.rest.push(word.text.clone());
            continue;
        }
        let (value, end) = match option.value {
            Some(value) => (value, word),
            None => {
                let next = words.get(at).ok_or(Refusal::NoImage)?;
                at += 1;
                let value = (next.text.clone(), next.plain.clone());
                (value, next)
            }
        };
        let setting = Setting {
            text: value.0,
            place: value.1,
            whole: before..end.span.end,
            line: end.line,
        };
        made.take(&option.name, setting);
    }
    let image = words.get(at).ok_or(Refusal::NoImage)?;
    if let Some(command) = words.get(at + 1) {
        return Err(Refusal::Command { line: command.line });
    }
    made.image = Setting {
        text: image.text.clone(),
        place: image.plain.clone(),
        whole: image.span.clone(),
        line: image.line,
    };
    let others = entries.iter().filter(|it| !it.is("Service", "ExecStart"));
    made.rest.extend(others.map(|it| whole(text, it)));
    made.entries = entries;
    Ok(made)
}

/// An option in a word: its long name, and its value if that is in the same word.
struct Opt {
    name: String,
    takes: bool,
    value: Option<(String, Option<Range<usize>>)>,
}

impl Opt {
    /// `None`: the word is no option.
    fn of(word: &Word) -> Result<Option<Self>, Refusal> {
        let unknown = || Refusal::Option {
            option: word.text.split('=').next().unwrap_or_default().to_owned(),
            line: word.line,
        };
        let tail = |from: usize| {
            let place = word.plain.clone().map(|it| it.start + from..it.end);
            (word.text[from..].to_owned(), place)
        };
        if let Some(rest) = word.text.strip_prefix("--") {
            let (name, value) = match rest.find('=') {
                Some(at) => (&rest[..at], Some(tail(2 + at + 1))),
                None => (rest, None),
            };
            let takes = VALUES.contains(&name);
            if FOREIGN.contains(&name) || !(takes || FLAGS.contains(&name)) {
                return Err(unknown());
            }
            return Ok(Some(Self {
                name: name.to_owned(),
                takes,
                value,
            }));
        }
        let Some(rest) = word.text.strip_prefix('-') else {
            return Ok(None);
        };
        for (at, short) in rest.char_indices() {
            let (name, takes) = long(short).ok_or_else(unknown)?;
            if FOREIGN.contains(&name) {
                return Err(unknown());
            }
            if takes {
                let behind = 1 + at + short.len_utf8();
                // `-e=NAME=VALUE` is taken by both programs.
                let behind = behind + usize::from(word.text[behind..].starts_with('='));
                let value = (behind < word.text.len()).then(|| tail(behind));
                return Ok(Some(Self {
                    name: name.to_owned(),
                    takes,
                    value,
                }));
            }
        }
        if rest.is_empty() {
            return Err(unknown());
        }
        Ok(Some(Self {
            name: rest.to_owned(),
            takes: false,
            value: None,
        }))
    }
}

impl Described {
    fn take(&mut self, option: &str, setting: Setting) {
        match option {
            "env" => return self.variables.push(setting),
            "publish" => return self.ports.push(setting),
            "env-file" => self.env_files.push(setting.text.clone()),
            "name" => self.name = Some(setting.text.clone()),
            "volume" | "mount" => self.mounts.push(setting.text.clone()),
            "pull" => self.pull = Some(setting.text.clone()),
            _ => {}
        }
        self.rest.push(format!("{option} {}", setting.text));
    }
}

/// Whether an entry is a command that removes a container, before the start or behind the end.
pub(super) fn removes(text: &str, entry: &Entry) -> bool {
    const COMMANDS: [&str; 3] = ["ExecStartPre", "ExecStop", "ExecStopPost"];
    let words = words(text, entry).unwrap_or_default();
    let mut words = words.iter().map(|it| it.text.as_str());
    let program = words.next().and_then(|it| it.rsplit('/').next());
    COMMANDS.contains(&entry.key.as_str())
        && matches!(program, Some("docker" | "podman"))
        && matches!(words.find(|it| *it != "container"), Some("rm"))
}

fn whole(text: &str, entry: &Entry) -> String {
    format!("{} {}", entry.section, &text[entry.lines.clone()])
}

fn quadlet(text: &str, entries: Vec<Entry>) -> Result<Described, Refusal> {
    const SECTION: &str = "Container";
    let mut image = None;
    let mut made = Described {
        makes_anew: true,
        ..Described::default()
    };
    for entry in &entries {
        let setting = || one(text, entry);
        let value = || text[entry.value.clone()].trim().to_owned();
        let key = if entry.section == SECTION {
            entry.key.as_str()
        } else {
            ""
        };
        match key {
            "Image" => {
                if image.replace(setting()?).is_some() {
                    return Err(Refusal::Twice {
                        what: "Image".to_owned(),
                        line: entry.line,
                    });
                }
                continue;
            }
            "PublishPort" => {
                made.ports.push(setting()?);
                continue;
            }
            "Environment" => {
                made.variables.extend(several(text, entry)?);
                continue;
            }
            "Exec" => return Err(Refusal::Command { line: entry.line }),
            "Entrypoint" | "Pod" | "Rootfs" | "User" | "Group" => {
                return Err(Refusal::Option {
                    option: entry.key.clone(),
                    line: entry.line,
                });
            }
            "PodmanArgs" | "GlobalArgs" => {
                // They may say any of it once more.
                let words = words(text, entry).ok_or(Refusal::Unreadable { line: entry.line })?;
                for word in &words {
                    let option = Opt::of(word)?;
                    let told = [
                        "env", "env-file", "publish", "pull", "volume", "mount", "name",
                    ];
                    if option.is_some_and(|it| told.contains(&it.name.as_str())) {
                        return Err(Refusal::Form {
                            what: entry.key.clone(),
                            line: entry.line,
                        });
                    }
                }
            }
            "ContainerName" => made.name = Some(value()),
            "EnvironmentFile" => made.env_files.push(value()),
            "Volume" | "Mount" => made.mounts.push(value()),
            "Pull" => made.pull = Some(value()),
            _ => {}
        }
        made.rest.push(whole(text, entry));
    }
    made.name.get_or_insert_with(|| "systemd-%N".to_owned());
    made.image = image.ok_or(Refusal::NoImage)?;
    made.entries = entries;
    Ok(made)
}

/// An entry with one value, which is not quoted.
fn one(text: &str, entry: &Entry) -> Result<Setting, Refusal> {
    let value = &text[entry.value.clone()];
    let indent = value.len() - value.trim_start().len();
    let start = entry.value.start + indent;
    let trimmed = value.trim();
    let odd = |c: char| c.is_whitespace() || "\\\"'".contains(c);
    if trimmed.contains(odd) {
        return Err(Refusal::Form {
            what: entry.key.clone(),
            line: entry.line,
        });
    }
    Ok(Setting {
        text: trimmed.to_owned(),
        place: Some(start..start + trimmed.len()),
        whole: entry.lines.clone(),
        line: entry.line,
    })
}

/// The words of an entry, of which the last takes the whole entry with it when all of them go.
fn several(text: &str, entry: &Entry) -> Result<Vec<Setting>, Refusal> {
    let words = words(text, entry).ok_or(Refusal::Unreadable { line: entry.line })?;
    let alone = words.len() == 1;
    let settings = words.iter().enumerate().map(|(index, word)| Setting {
        text: word.text.clone(),
        place: word.plain.clone(),
        whole: match index {
            _ if alone => entry.lines.clone(),
            0 => word.span.start..words[1].span.start,
            _ => words[index - 1].span.end..word.span.end,
        },
        line: word.line,
    });
    Ok(settings.collect())
}
