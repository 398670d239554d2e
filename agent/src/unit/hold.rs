//! A unit in the hands of a run: stopped, kept from starting, started by nobody but the run, and let go.
//!
//! Why a drop-in: it is the one thing that keeps a unit from being started by hand, by a timer and at the next boot, that does so for a
//! quadlet's unit too, whose own file is made anew at each boot, and that is taken away whole. The unit's own files are
//! not touched by it. As long as a run has a unit, systemd does not start it again by itself either: what fails shows itself.
//!
//! Rejected: `systemctl mask`, which cannot mask a unit of `/etc` for one boot alone, and where it can, puts a link in the place of the file;
//! `disable`, which holds back the next boot and nothing else.

use std::path::PathBuf;

use crate::{
    error::StepError,
    server::programs::unit::{Manager, Verb, systemctl},
    state_dir::StateDir,
};

/// A file that is never there: an assertion that fails says to whoever starts the unit why.
const NEVER: &str = "/nonexistent/held-by-ferry-run";

/// A unit, and whose service manager has it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    name: String,
    manager: Manager,
    /// Where the caller's own units are; of the machine's manager it is not asked for.
    home: Option<PathBuf>,
}

/// How a unit stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) load: String,
    pub(crate) active: String,
    fragment: String,
    source: String,
    pub(crate) drop_ins: Vec<String>,
    /// Its files were changed since they were read.
    pub(crate) unread: bool,
}

impl State {
    fn read(text: &str) -> Self {
        let mut state = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().to_owned();
            match key {
                "LoadState" => state.load = value,
                "ActiveState" => state.active = value,
                "FragmentPath" => state.fragment = value,
                "SourcePath" => state.source = value,
                "DropInPaths" => {
                    state.drop_ins = value.split_whitespace().map(str::to_owned).collect();
                }
                "NeedDaemonReload" => state.unread = value == "yes",
                _ => {}
            }
        }
        state
    }

    /// The file that a person writes: a quadlet, where the unit is made of one.
    pub(crate) fn file(&self) -> &std::path::Path {
        let quadlet = self.source.ends_with(".container");
        std::path::Path::new(if quadlet {
            &self.source
        } else {
            &self.fragment
        })
    }

    /// Whether it runs, or is about to.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading")
    }
}

/// How a run has a unit in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody starts it.
    Closed,
    /// The run is about to start it.
    Open,
}

impl Service {
    /// `None`: that is no name of a service.
    pub(crate) fn of(name: &str, user: bool) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
        let stem = name.strip_suffix(".service")?;
        if stem.is_empty() || stem.starts_with(['-', '.']) || !name.chars().all(plain) {
            return None;
        }
        let set = |name| std::env::var(name).ok().filter(|it| !it.is_empty());
        let own = rustix::process::geteuid().as_raw();
        let runtime = || set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{own}"));
        Some(Self {
            name: name.to_owned(),
            manager: if user {
                Manager::User { runtime: runtime() }
            } else {
                Manager::System
            },
            home: set("HOME").filter(|_| user).map(PathBuf::from),
        })
    }

    /// The unit that a step names.
    ///
    /// # Errors
    /// `bad-parameter`.
    pub(crate) fn named(unit: &ferry_proto::v1::ServiceUnit) -> Result<Self, StepError> {
        Self::of(&unit.name, unit.user).ok_or_else(|| {
            StepError::new(
                "bad-parameter",
                format!("`{}` is no name of a unit", unit.name),
            )
        })
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the service manager cannot be asked.
    pub(crate) async fn state(&self) -> Result<State, StepError> {
        let text = systemctl(&self.manager, Verb::Show, &self.name).await?;
        Ok(State::read(&text))
    }

    /// Starts it, and waits until it has.
    ///
    /// # Errors
    /// With what the service manager says.
    pub(crate) async fn start(&self) -> Result<(), StepError> {
        systemctl(&self.manager, Verb::Start, &self.name)
            .await
            .map(drop)
    }

    /// Stops it, and waits until it has.
    ///
    /// # Errors
    /// With what the service manager says.
    pub(crate) async fn stop(&self) -> Result<(), StepError> {
        systemctl(&self.manager, Verb::Stop, &self.name)
            .await
            .map(drop)
    }

    /// Takes it into the hands of a run, or loosens the grip for the run's own start.
    ///
    /// # Errors
    /// When the drop-in cannot be written, or the service manager does not read it.
    pub(crate) async fn hold(&self, run: &str, how: Hold) -> Result<(), StepError> {
        let folder = self.folder()?;
        let folder = folder.sub(&self.drop_ins()).map_err(unwritable)?;
        folder
            .replace(&file(run), text(run, how).as_bytes())
            .map_err(unwritable)?;
        self.reload().await
    }

    /// Lets it go. It need not be held.
    ///
    /// # Errors
    /// As of [`Self::hold`].
    pub(crate) async fn release(&self, run: &str) -> Result<(), StepError> {
        let outer = self.folder()?;
        let name = self.drop_ins();
        if outer.names().map_err(unwritable)?.contains(&name) {
            let folder = outer.sub(&name).map_err(unwritable)?;
            folder.remove(&file(run)).map_err(unwritable)?;
            folder
                .remove(&format!("{}.new", file(run)))
                .map_err(unwritable)?;
            if folder.names().map_err(unwritable)?.is_empty() {
                // Somebody else's drop-in that comes in this moment keeps it.
                let _kept =
                    rustix::fs::unlinkat(outer.fd(), &*name, rustix::fs::AtFlags::REMOVEDIR);
            }
        }
        // Also where nothing was held: the files may have been put back.
        self.reload().await
    }

    async fn reload(&self) -> Result<(), StepError> {
        systemctl(&self.manager, Verb::Reload, &self.name)
            .await
            .map(drop)
    }

    fn drop_ins(&self) -> String {
        format!("{}.d", self.name)
    }

    /// Where drop-ins of a person are.
    fn folder(&self) -> Result<StateDir, StepError> {
        let (above, name) = match (&self.manager, &self.home) {
            (Manager::System, _) => (PathBuf::from("/etc/systemd"), "system"),
            (Manager::User { .. }, Some(home)) => (home.join(".config/systemd"), "user"),
            (Manager::User { .. }, None) => {
                return Err(StepError::new(
                    "unit-held-nowhere",
                    "`HOME` is not set, so where this user's units are is not known",
                ));
            }
        };
        StateDir::open(&above, name).map_err(unwritable)
    }
}

fn unwritable(error: std::io::Error) -> StepError {
    StepError::new(
        "unit-hold",
        format!("the drop-in that holds the unit cannot be written or removed: {error}"),
    )
    .hint("run as the user that the unit is of, where its drop-ins can be written")
}

fn file(run: &str) -> String {
    format!("90-ferry-{run}.conf")
}

fn text(run: &str, how: Hold) -> String {
    let mut text = format!(
        "# Run {run} of Ferry has this unit, and takes this file away when it is over: `ferryctl status`.\n"
    );
    if how == Hold::Closed {
        text.push_str(&format!("[Unit]\nAssertPathExists={NEVER}-{run}\n"));
    }
    text.push_str("[Service]\nRestart=no\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_services_are_asked_about() {
        for name in [
            "pmm-server.service",
            "container-pmm@1.service",
            "a\\x2db.service",
        ] {
            assert!(Service::of(name, false).is_some(), "{name}");
        }
        for name in [
            "",
            ".service",
            "-H.service",
            "pmm",
            "../a.service",
            "a b.service",
            "a.timer",
        ] {
            assert!(Service::of(name, false).is_none(), "{name}");
        }
    }

    #[test]
    fn the_answer_of_the_service_manager_is_read_by_its_keys() {
        let text = "LoadState=loaded\nActiveState=active\nFragmentPath=/run/systemd/generator/pmm.service\n\
                    SourcePath=/etc/containers/systemd/pmm.container\nDropInPaths=/a.conf /b.conf\nNeedDaemonReload=no\n";
        let state = State::read(text);
        assert_eq!(
            state.file().to_str(),
            Some("/etc/containers/systemd/pmm.container")
        );
        assert_eq!(state.drop_ins, ["/a.conf", "/b.conf"]);
        assert!(state.runs() && !state.unread);
        let other = State::read(
            "FragmentPath=/etc/systemd/system/pmm.service\nSourcePath=\nActiveState=failed\nNeedDaemonReload=yes\n",
        );
        assert_eq!(
            other.file().to_str(),
            Some("/etc/systemd/system/pmm.service")
        );
        assert!(!other.runs() && other.unread);
    }

    #[test]
    fn held_it_starts_for_nobody_and_never_by_itself() {
        let closed = text("7f3a", Hold::Closed);
        assert!(closed.contains("AssertPathExists=/nonexistent/held-by-ferry-run-7f3a\n"));
        let open = text("7f3a", Hold::Open);
        assert!(!open.contains("Assert"));
        for text in [closed, open] {
            assert!(text.contains("[Service]\nRestart=no\n"), "{text}");
        }
    }
}
