//! Units of an ordinary user's own service manager: in that user's home, run by that user, whose Podman makes the containers.

use std::path::Path;

use super::{Unit, Units, Whose};
use crate::command::run;
use crate::podman::{PrivatePodman, User};
use crate::server::TestServer;
use crate::{Error, Result};

impl Units {
    /// The user's of a Podman, without units. `double` is the program that stands for `systemctl`.
    ///
    /// # Errors
    /// When the Podman is root's, or a folder cannot be made.
    pub fn of_user(double: &Path, podman: &PrivatePodman) -> Result<Self> {
        let user = user_of(podman)?;
        user.put(double, "/usr/bin/systemctl")?;
        let below = |path: &str| user.home().join(".config").join(path);
        let units = Self {
            units: below("systemd/user"),
            quadlets: below("containers/systemd"),
            whose: Whose::User(user.entry()),
        };
        for part in [
            "",
            "systemd",
            "systemd/user",
            "containers",
            "containers/systemd",
        ] {
            fs_err::create_dir_all(below(part))?;
            units.give(&below(part))?;
        }
        units.set_environment(&podman.client_variables(user)?)?;
        Ok(units)
    }
}

fn user_of(podman: &PrivatePodman) -> Result<&User> {
    let user = podman.user();
    user.ok_or_else(|| Error::of("that Podman is root's".to_owned()))
}

impl Unit {
    /// As PMM 2's documentation has it (facts/pmm.md 7.2). `variables` are the lines of its file with variables.
    ///
    /// # Errors
    /// As [`Unit::of`].
    pub fn of_documentation(server: &TestServer, units: Units, variables: &str) -> Result<Self> {
        let container = &server.name;
        units.write(&format!("{container}.env"), variables)?;
        Self::made(
            server,
            units,
            format!("{container}.service"),
            |volume, image| {
                let (image, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
                format!(
                    "[Unit]\nDescription=pmm-server\nWants=network-online.target\n\n[Service]\nType=simple\n\
                     # set environment for this unit\nEnvironment=PMM_PUBLIC_PORT=127.0.0.1:\nEnvironment=PMM_VOLUME_NAME={volume}\n\
                     Environment=PMM_TAG={tag}\nEnvironment=PMM_IMAGE={image}\n\
                     Environment=PMM_ENV_FILE=%h/.config/systemd/user/%N.env\n\
                     # optional env file that could override previous env settings for this unit\n\
                     EnvironmentFile=-%h/.config/pmm-server/env\n\
                     ExecStart=/usr/bin/podman run --rm --replace=true --name=%N -p ${{PMM_PUBLIC_PORT}}:443/tcp --ulimit=host \
                     --volume=${{PMM_VOLUME_NAME}}:/srv --env-file=${{PMM_ENV_FILE}} --health-cmd=none --health-interval=disable \
                     ${{PMM_IMAGE}}:${{PMM_TAG}}\nExecStop=/usr/bin/podman stop -t 10 %N\nRestart=on-failure\nRestartSec=20\n\n\
                     [Install]\nWantedBy=default.target\n"
                )
            },
        )
    }

    /// As `podman generate systemd --new` writes it for a server's container, which is the user's.
    ///
    /// # Errors
    /// As [`Unit::of`].
    pub fn of_generated(
        server: &TestServer,
        units: Units,
        podman: &PrivatePodman,
        words: &[&str],
    ) -> Result<Self> {
        let user = user_of(podman)?;
        let (container, volume) = (&server.name, format!("{}:/srv", server.volume));
        let example = format!("{container}-example");
        let create = ["create", "--name", &example, "--volume", &volume];
        run(podman.client(user).args(create).args(words))?;
        let generate = ["generate", "systemd", "--new", "--name", &example];
        let text = run(podman.client(user).args(generate))?;
        run(podman.client(user).args(["rm", &example]))?;
        Self::made(server, units, format!("{container}.service"), |_, _| {
            text.replace(&example, container)
        })
    }
}
