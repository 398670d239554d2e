//! The official script, and the documentation's commands as a careful person types them (`facts/pmm.md` 2.1, 2.2): what Ferry is measured
//! against.

use std::time::{Duration, Instant};

use crate::demo::server::Server;
use crate::docker::docker;
use crate::error::Result;

/// Whether a copy of the volume is made before anything is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// `cp -a` of the whole volume while everything is stopped, as the official script does.
    Yes,
    /// None, as the documentation's steps go.
    No,
}

/// What nobody can go below: the server's own stop, and its own first start on data whose owners are right already. Returns
/// what the two took; what lies between them is not counted.
pub(crate) fn bare(server: &Server, old_image: &str, new_image: &str) -> Result<Duration> {
    let (name, volume) = (server.name(), server.volume());
    let start = Instant::now();
    docker(["stop", "--time", "330", name]).read()?;
    let stop = start.elapsed();
    let data = format!("{volume}:/srv");
    docker(["run", "--rm", "--user", "0", "--volume", &data])
        .args(["--entrypoint", "chown", old_image, "-R", "1000:0", "/srv"])
        .read()?;
    docker(["rename", name, &format!("{name}-old")]).read()?;
    let start = Instant::now();
    run(server, new_image)?;
    server.wait_ready(3)?;
    Ok(stop + start.elapsed())
}

/// How long the official script sleeps before and after it stops the programs.
const SCRIPT_SLEEPS: Duration = Duration::from_secs(5);

/// Carries the server over as the official script does, without its pull; returns when the new container was started.
pub(crate) fn script(server: &Server, old_image: &str, new_image: &str, copy: Copy) -> Result<()> {
    let name = server.name();
    docker(["stop", name]).read()?;
    if copy == Copy::Yes {
        copy_volume(server, old_image, "-av")?;
    }
    docker(["start", name]).read()?;
    std::thread::sleep(SCRIPT_SLEEPS);
    docker(["exec", name, "supervisorctl", "stop", "all"]).read()?;
    std::thread::sleep(SCRIPT_SLEEPS);
    docker(["exec", name, "chown", "-R", "pmm:pmm", "/srv"]).read()?;
    docker(["stop", name]).read()?;
    docker(["rename", name, &format!("{name}-old")]).read()?;
    run(server, new_image)
}

/// A copy of the whole volume, by `cp` in a container.
fn copy_volume(server: &Server, image: &str, how: &str) -> Result<()> {
    let (name, volume) = (server.name(), server.volume());
    let from = format!("{volume}:/from:ro");
    let to = format!("{volume}-copy:/to");
    let copier = format!("{name}-copy");
    docker(["run", "--rm", "--name", &copier, "--user", "0"])
        .args(["--volume", &from, "--volume", &to, "--entrypoint", "cp"])
        .args([image, how, "/from/.", "/to/"])
        .read()?;
    Ok(())
}

/// Carries the server over by hand; returns when the new container was started.
pub(crate) fn cross(server: &Server, old_image: &str, new_image: &str, copy: Copy) -> Result<()> {
    let name = server.name();
    docker(["exec", name, "supervisorctl", "stop", "all"]).read()?;
    if copy == Copy::Yes {
        copy_volume(server, old_image, "-a")?;
    }
    docker(["exec", name, "chown", "-R", "1000:0", "/srv"]).read()?;
    docker(["stop", name]).read()?;
    docker(["rename", name, &format!("{name}-old")]).read()?;
    run(server, new_image)
}

/// Starts the new version in the place of the old one.
fn run(server: &Server, new_image: &str) -> Result<()> {
    let (name, volume) = (server.name(), server.volume());
    let publish = format!("127.0.0.1:{}:8080", server.port());
    docker([
        "run",
        "--detach",
        "--name",
        name,
        "--restart",
        "unless-stopped",
    ])
    .args(["--publish", &publish, "--volume", &format!("{volume}:/srv")])
    .args([
        "--env",
        "PMM_DATA_RETENTION=720h",
        "--env",
        "PMM_ENABLE_UPDATES=false",
        new_image,
    ])
    .read()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Copy, cross};
    use crate::bench::prober::Prober;
    use crate::demo::load::Load;
    use crate::demo::proof::{Seen, prove};
    use crate::demo::server::Server;
    use crate::docker::Named;

    /// The proof of the demo and the prober, held against a migration that Ferry has no part in.
    #[test]
    #[ignore = "starts two servers"]
    fn what_is_carried_over_by_hand_is_found_again() {
        let images = crate::doubles::ensure().unwrap();
        let named = Named::claim("ferry-by-hand").unwrap();
        let server = Server::start("ferry-by-hand", &images.pmm2).unwrap();
        Load {
            files: 300,
            mebibytes: 8,
            services: 40,
        }
        .put(&server)
        .unwrap();
        let before = Seen::of(&server, 2).unwrap();
        assert!(
            before.services.len() >= 40 && before.files == 300,
            "{before}"
        );
        let prober = Prober::start(server.port());
        std::thread::sleep(std::time::Duration::from_millis(200));
        cross(&server, &images.pmm2, &images.pmm3, Copy::Yes).unwrap();
        server.wait_ready(3).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert!(prober.downtime().unwrap().as_millis() > 100);
        prove(&before, &Seen::of(&server, 3).unwrap()).unwrap();
        named.remove().unwrap();
    }
}
