//! A unit in the hands of a run: stopped, kept from starting, started by nobody but the run, and let go.
//!
//! Why a drop-in: it is the one thing that keeps a unit from being started by hand, by a timer and at the next boot, that does so for a
//! quadlet's unit too, whose own file is made anew at each boot, and that is taken away whole. The unit's own files are
//! not touched by it. As long as a run has a unit, systemd does not start it again by itself either: what fails shows itself.
//!
//! Rejected: `systemctl mask`, which cannot mask a unit of `/etc` for one boot alone, and where it can, puts a link in the place of the file;
//! `disable`, which holds back the next boot and nothing else.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::whose::Whose;
use crate::{
    engine::Engine,
    error::StepError,
    server::{
        programs::unit::{Manager, Verb, systemctl},
        users::own_uid,
    },
    state_dir::StateDir,
};

/// A file that is never there: an assertion that fails says to whoever starts the unit why.
const NEVER: &str = "/nonexistent/held-by-ferry-run";

/// A unit, and whose service manager has it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    name: String,
    manager: Manager,
    /// Where the caller has settings; of the machine's manager it is not asked for.
    settings: Option<PathBuf>,
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
    /// Nobody starts it, and its end does nothing to the container that has the name by then.
    Aside,
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
        Some(Self {
            name: name.to_owned(),
            manager: if user {
                Manager::User { runtime: runtime() }
            } else {
                Manager::System
            },
            settings: settings().filter(|_| user),
        })
    }

    /// The unit that a step names, of this engine's.
    ///
    /// # Errors
    /// `bad-parameter`; `unit-of-another` where it is another user's than the plan's, who has the files.
    pub(crate) fn named(
        engine: &Engine,
        unit: &ferry_proto::v1::ServiceUnit,
    ) -> Result<Self, StepError> {
        let another = Whose::of(engine, unit.user).another();
        if !another.is_empty() {
            return Err(StepError::new(
                "unit-of-another",
                format!(
                    "`{}` is a unit of user `{another}`, whose files nobody else touches",
                    unit.name
                ),
            )
            .hint(format!("call `ferryctl` as `{another}`")));
        }
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

    /// What a person calls its service manager by.
    pub(crate) fn systemctl(&self) -> &'static str {
        self.manager.words()
    }

    /// Where the user that it is of has settings; of the machine's manager nobody asks for it.
    pub(crate) fn settings(&self) -> Option<&std::path::Path> {
        self.settings.as_deref()
    }

    /// The command that shows a person what became of it.
    pub(crate) fn journal(&self) -> String {
        self.manager.journal(&self.name)
    }

    /// What would keep a drop-in from the folder that it has to be in; `None`: nothing.
    pub(crate) fn obstacle(&self) -> Option<PathBuf> {
        if self.manager == Manager::System {
            return None;
        }
        let Some(mut folder) = self.settings.clone() else {
            return Some("$HOME".into());
        };
        let drop_ins = self.drop_ins();
        let mut below = ["systemd", "user", &drop_ins].into_iter();
        loop {
            match fs_err::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() && found.uid() == own_uid() => {}
                // It would be made.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
                _ => return Some(folder),
            }
            folder.push(below.next()?);
        }
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
    /// When the drop-in cannot be written, or the service manager does not read it: `unit-hold`.
    pub(crate) async fn hold(&self, run: &str, how: Hold) -> Result<(), StepError> {
        let folder = self.folder()?;
        let folder = folder.sub(&self.drop_ins()).map_err(unwritable)?;
        folder
            .replace(&file(run), text(run, how).as_bytes())
            .map_err(unwritable)?;
        self.reload().await?;
        // A user's manager may have been started with other folders than this program knows of.
        let read = self.state().await?.drop_ins;
        if read.iter().any(|it| it.ends_with(&file(run))) {
            return Ok(());
        }
        Err(StepError::new(
            "unit-hold",
            format!(
                "the service manager does not look in `{}`, so nothing there holds `{}`",
                folder.path().display(),
                self.name
            ),
        )
        .hint("say where it looks by `XDG_CONFIG_HOME`, as the service manager has it"))
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
        let own = match (&self.manager, &self.settings) {
            (Manager::System, _) => {
                return StateDir::open("/etc/systemd".as_ref(), "system").map_err(unwritable);
            }
            (Manager::User { .. }, own) => own.as_deref(),
        };
        let parts = own.and_then(|it| it.parent().zip(it.file_name()?.to_str()));
        let (home, name) = parts.ok_or_else(|| {
            StepError::new(
                "unit-held-nowhere",
                "`HOME` is not set, so where this user's units are is not known",
            )
        })?;
        StateDir::open(home, name)
            .and_then(|it| it.sub("systemd"))
            .and_then(|it| it.sub("user"))
            .map_err(unwritable)
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

/// Through what the caller's own manager is reached.
pub(super) fn runtime() -> String {
    set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{}", own_uid()))
}

/// Where the caller has settings, units among them.
pub(super) fn settings() -> Option<PathBuf> {
    let told = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let absolute = told.filter(|it| it.is_absolute());
    absolute.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))
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
    if how != Hold::Open {
        text.push_str(&format!("[Unit]\nAssertPathExists={NEVER}-{run}\n"));
    }
    text.push_str("[Service]\nRestart=no\n");
    if how == Hold::Aside {
        text.push_str("ExecStop=\nExecStopPost=\n");
    }
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
        let aside = text("7f3a", Hold::Aside);
        assert!(aside.starts_with(&closed) && aside.ends_with("\nExecStop=\nExecStopPost=\n"));
        for text in [closed, open] {
            assert!(text.contains("[Service]\nRestart=no\n"), "{text}");
        }
    }
}
