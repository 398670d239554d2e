//! The engine by its own command line: what these commands do to containers is what a person would type. Ferry itself is not
//! used, so that demo and bench watch it from outside.

use std::net::TcpListener;

use crate::error::{Error, Result};
use crate::say;
use crate::settle;
use crate::sh::Tool;

/// `docker` with these arguments. The classic builder: the other one is a plugin that Debian 12 does not ship.
pub(crate) fn docker<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Tool {
    Tool::new("docker").env("DOCKER_BUILDKIT", "0").args(args)
}

/// Whether an engine answers.
pub(crate) fn answers() -> bool {
    docker(["version", "--format", "{{.Server.Version}}"]).works()
}

/// Whether an engine is there that this user may not talk to.
pub(crate) fn denied() -> bool {
    docker(["version", "--format", "{{.Server.Version}}"])
        .read()
        .is_err_and(|error| error.to_string().contains("permission denied"))
}

/// The engine's version.
pub(crate) fn version() -> Result<String> {
    Ok(docker(["version", "--format", "{{.Server.Version}}"])
        .read()?
        .trim()
        .to_owned())
}

/// Runs a script in a container as root. The demo plays the outside world: Ferry itself never does this.
pub(crate) fn script(container: &str, script: &str) -> Result<String> {
    docker(["exec", "-i", "-u", "0", container, "sh", "-eu"])
        .input(script)
        .read()
}

/// A port of this machine that nobody listens at now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// All containers and volumes whose name starts so. They are removed when this is made, as leftovers of a run that was cut
/// off, and again when it is dropped.
pub(crate) struct Named {
    prefix: String,
    keep: bool,
}

impl Named {
    /// Claims the prefix, and removes what an earlier run left.
    pub(crate) fn claim(prefix: &str) -> Result<Self> {
        let named = Self {
            prefix: prefix.to_owned(),
            keep: false,
        };
        named.remove()?;
        Ok(named)
    }

    /// Leaves everything where it is.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Removes containers first, as they hold the volumes.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_containers()?;
        let volumes = self.volumes()?;
        if !volumes.is_empty() {
            docker(["volume", "rm", "--force"]).args(&volumes).read()?;
            settle::removed()?;
        }
        Ok(())
    }

    /// Leaves the volumes. What uses one of them is part of it, whatever its name.
    pub(crate) fn remove_containers(&self) -> Result<()> {
        let volumes = self.volumes()?;
        let mut containers = self.listed(docker(["ps", "--all", "--format", "{{.Names}}"]))?;
        for volume in &volumes {
            let filter = format!("volume={volume}");
            let users =
                docker(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).read()?;
            containers.extend(users.lines().map(str::to_owned));
        }
        containers.sort_unstable();
        containers.dedup();
        if !containers.is_empty() {
            docker(["rm", "--force", "--volumes"])
                .args(&containers)
                .read()?;
        }
        Ok(())
    }

    fn volumes(&self) -> Result<Vec<String>> {
        self.listed(docker(["volume", "ls", "--format", "{{.Name}}"]))
    }

    fn listed(&self, tool: Tool) -> Result<Vec<String>> {
        let text = tool.read()?;
        Ok(text
            .lines()
            .filter(|name| name.starts_with(&self.prefix))
            .map(str::to_owned)
            .collect())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.remove() {
            say::line(format!(
                "warning: containers and volumes `{}*` are left: {error}",
                self.prefix
            ));
        }
    }
}

/// The numeric user that an image runs as; root when it names none.
pub(crate) fn image_uid(image: &str) -> Result<u32> {
    let text = docker(["image", "inspect", "--format", "{{.Config.User}}", image]).read()?;
    let user = text.trim().split(':').next().unwrap_or_default();
    match user {
        "" | "root" => Ok(0),
        // Every PMM 3 image has its user at 1000, by name or by number.
        "pmm" => Ok(1000),
        number => number.parse().map_err(|_| {
            Error::with_hint(
                format!("image `{image}` runs as `{number}`, and its number is not known here"),
                "say it: --uid NUMBER",
            )
        }),
    }
}
