//! A server in a container with a volume and a published port, as its user would have started it.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::{docker, http};

/// How long a server may take until it is ready.
const BOOT: Duration = Duration::from_secs(180);

/// The server, by the name that it keeps through a migration.
pub(crate) struct Server {
    name: String,
    port: u16,
}

impl Server {
    /// Starts a PMM 2 and waits until it is ready. Name and volume begin with `name`.
    pub(crate) fn start(name: &str, image: &str) -> Result<Self> {
        let server = Self {
            name: name.to_owned(),
            port: docker::free_port()?,
        };
        let publish = format!("127.0.0.1:{}:80", server.port);
        let volume = format!("{}:/srv", server.volume());
        docker::docker([
            "run",
            "--detach",
            "--name",
            name,
            "--restart",
            "unless-stopped",
        ])
        .args(["--publish", &publish, "--volume", &volume])
        .args([
            "--env",
            "DATA_RETENTION=720h",
            "--env",
            "DISABLE_UPDATES=true",
            image,
        ])
        .read()?;
        server.wait_ready(2)?;
        Ok(server)
    }

    /// The container's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The volume's name.
    pub(crate) fn volume(&self) -> String {
        format!("{}-data", self.name)
    }

    /// Where it is published on the loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the ready page of a major answers 200 (`facts/pmm.md` 3.1).
    pub(crate) fn wait_ready(&self, major: u32) -> Result<()> {
        http::wait_ready(self.port, ready_page(major), BOOT).map_err(|error| {
            let log = docker::docker(["logs", "--tail", "20", &self.name])
                .read()
                .unwrap_or_default();
            Error::new(format!("{} is not up: {error}\n{log}", self.name))
        })
    }
}

/// The ready page of a major.
pub(crate) fn ready_page(major: u32) -> &'static str {
    if major == 2 {
        "/v1/readyz"
    } else {
        "/v1/server/readyz"
    }
}
