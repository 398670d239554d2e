//! What the server's supervisor was configured with.
//!
//! Why: the agent must know the socket and its password, and give each program its *own* grace (`facts/pmm.md` 1.2:
//! 300 s for the databases, 10 s for nginx). The API tells neither.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ini::Ini;
use super::{Result, ServerRoot};

/// Where the main file may be: PMM's place, then the Debian one.
const MAIN_FILES: [&str; 2] = ["etc/supervisord.conf", "etc/supervisor/supervisord.conf"];
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The supervisor's own default for `stopwaitsecs`.
const DEFAULT_STOP_WAIT: Duration = Duration::from_secs(10);

/// The parts of the configuration that matter here.
#[derive(Debug, Clone, Default)]
pub struct SupervisorConfig {
    ini: Ini,
    here: PathBuf,
}

/// How one program is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramConfig {
    /// The section's name, without `program:`.
    pub name: String,
    /// The command line, as written.
    pub command: String,
    /// The user that it runs as, if it is not the supervisor's.
    pub user: Option<String>,
    /// Whether it starts with the supervisor.
    pub autostart: bool,
    /// The signal that stops it, `TERM` if nothing is said.
    pub stop_signal: String,
    /// How long it has between that signal and being killed by the supervisor.
    pub stop_wait: Duration,
    /// How long it must run to count as started.
    pub start_wait: Duration,
}

impl SupervisorConfig {
    /// Reads the main file and what it includes. Without a main file everything is the default.
    ///
    /// # Errors
    /// A file exists and cannot be read.
    pub fn read(root: &ServerRoot) -> Result<Self> {
        for main in MAIN_FILES {
            let Some(text) = root.read_text(main, MAX_FILE)? else {
                continue;
            };
            let here = Path::new("/")
                .join(main)
                .parent()
                .unwrap_or(Path::new("/"))
                .to_owned();
            let mut config = Self {
                ini: Ini::default(),
                here,
            };
            config.ini.add(&text);
            let patterns = config.value("include", "files").unwrap_or_default();
            for pattern in patterns.split_whitespace() {
                config.include(root, pattern)?;
            }
            return Ok(config);
        }
        Ok(Self {
            ini: Ini::default(),
            here: PathBuf::from("/etc"),
        })
    }

    /// Adds the files that a pattern names: a folder, and `*` in the last part, as PMM has it.
    fn include(&mut self, root: &ServerRoot, pattern: &str) -> Result<()> {
        let pattern = self.here.join(pattern);
        let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name()) else {
            return Ok(());
        };
        let name = name.to_string_lossy().into_owned();
        for file in root.list(dir)? {
            if !matches(&name, &file.to_string_lossy()) {
                continue;
            }
            if let Some(text) = root.read_text(dir.join(&file), MAX_FILE)? {
                self.ini.add(&text);
            }
        }
        Ok(())
    }

    fn value(&self, section: &str, key: &str) -> Option<String> {
        let here = self.here.to_string_lossy();
        self.ini
            .get(section, key)
            .map(|value| value.replace("%(here)s", &here).replace("%%", "%"))
    }

    /// Where the socket is, in the server's names.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let path = self
            .value("unix_http_server", "file")
            .unwrap_or_else(|| "/run/supervisor/supervisor.sock".into());
        self.here.join(path)
    }

    /// The user name and password of the socket; `dummy` and `dummy` if nothing is said (`facts/pmm.md` 1.2).
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        let read = |key| {
            self.value("unix_http_server", key)
                .unwrap_or_else(|| "dummy".into())
        };
        (read("username"), read("password"))
    }

    /// How the process `name` of `group` is run; `None` when no file tells.
    #[must_use]
    pub fn program(&self, group: &str, name: &str) -> Option<ProgramConfig> {
        // A program with one process has its own name; with several, the group has the program's.
        let kinds = ["program", "fcgi-program", "eventlistener"];
        let (section, program) = [name, group].into_iter().find_map(|program| {
            kinds
                .iter()
                .map(|kind| format!("{kind}:{program}"))
                .find(|section| self.ini.0.contains_key(section))
                .map(|section| (section, program))
        })?;
        let seconds = |key, default| {
            self.value(&section, key)
                .and_then(|text| text.parse().ok())
                .map_or(default, Duration::from_secs)
        };
        Some(ProgramConfig {
            name: program.to_owned(),
            command: self.value(&section, "command").unwrap_or_default(),
            user: self.value(&section, "user"),
            autostart: self
                .value(&section, "autostart")
                .is_none_or(|text| is_true(&text)),
            stop_signal: self
                .value(&section, "stopsignal")
                .unwrap_or_else(|| "TERM".into()),
            stop_wait: seconds("stopwaitsecs", DEFAULT_STOP_WAIT),
            start_wait: seconds("startsecs", Duration::from_secs(1)),
        })
    }

    /// How long the process `name` of `group` is given to stop.
    #[must_use]
    pub fn stop_wait(&self, group: &str, name: &str) -> Duration {
        self.program(group, name)
            .map_or(DEFAULT_STOP_WAIT, |program| program.stop_wait)
    }

    /// How long the process `name` of `group` must run to count as started.
    #[must_use]
    pub fn start_wait(&self, group: &str, name: &str) -> Duration {
        self.program(group, name)
            .map_or(Duration::from_secs(1), |program| program.start_wait)
    }
}

fn is_true(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "true" | "yes" | "on" | "1")
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_include_is_followed_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/supervisord.d")).unwrap();
        std::fs::write(
            dir.path().join("etc/supervisord.conf"),
            "[unix_http_server]\nfile=/tmp/supervisor.sock\n[include]\nfiles = supervisord.d/*.ini\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("etc/supervisord.d/pmm.ini"),
            "[unix_http_server]\nfile = /var/run/supervisor/supervisor.sock\nusername = u\npassword = p%%q\n\
             [program:postgresql]\ncommand =\n    /usr/pgsql-14/bin/postgres\n      -D /srv/postgres14\nuser = postgres\n\
             autostart = false\nstopwaitsecs = 300\nstopsignal = INT\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("etc/supervisord.d/x.bak"), "[program:no]\n").unwrap();
        let config = SupervisorConfig::read(&ServerRoot::new(dir.path())).unwrap();
        assert_eq!(
            config.socket(),
            Path::new("/var/run/supervisor/supervisor.sock")
        );
        assert_eq!(config.credentials(), ("u".into(), "p%q".into()));
        let postgres = config.program("postgresql", "postgresql").unwrap();
        assert_eq!(postgres.stop_wait, Duration::from_secs(300));
        assert_eq!(postgres.user.as_deref(), Some("postgres"));
        assert!(!postgres.autostart);
        assert!(postgres.command.contains("-D /srv/postgres14"));
        assert_eq!(config.program("no", "no"), None);
        assert_eq!(config.stop_wait("x", "x"), DEFAULT_STOP_WAIT);
    }

    #[test]
    fn nothing_configured_means_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let config = SupervisorConfig::read(&ServerRoot::new(dir.path())).unwrap();
        assert_eq!(
            config.socket(),
            Path::new("/run/supervisor/supervisor.sock")
        );
        assert_eq!(config.credentials(), ("dummy".into(), "dummy".into()));
    }

    #[test]
    fn patterns() {
        assert!(matches("*.ini", "a.ini") && matches("a*b*c", "axxbyyc") && matches("x", "x"));
        assert!(!matches("*.ini", "a.ini.bak") && !matches("a*b", "ac") && !matches("x", "xy"));
    }
}
