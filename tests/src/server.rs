//! Servers to be migrated, each with a name, a volume and ports of its own, and nothing left of them afterwards.

mod container;
mod options;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

pub use container::Container;
pub use options::{Data, Fault, Image, Options, Seed, seeded_key};

use crate::command::{docker, podman};
use crate::port::free_port;
use crate::snapshot::{self, Entry};
use crate::{Result, images};

/// Enough to lose something of, and quick to start.
const SMALL: Seed = Seed {
    nodes: 5,
    services: 12,
    files: 60,
    mib: 1,
    odd: false,
};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A server under test. Everything whose name begins with its name goes with it: containers, volumes, networks; and containers
/// labelled `ferry.server=<name>`.
#[derive(Debug)]
pub struct TestServer {
    container: Container,
    /// The volume at `/srv`, by whatever name; empty when there is none.
    pub volume: String,
    /// The folder at `/srv`, where it is a folder of the host.
    folder: Option<tempfile::TempDir>,
    /// Ports of the host's loopback for plain HTTP and HTTPS, when they were asked for.
    pub ports: Option<(u16, u16)>,
    /// Networks of its own beside the default one, by full name.
    pub networks: Vec<String>,
}

impl Deref for TestServer {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

impl TestServer {
    /// Makes the images where needed, and starts a server.
    ///
    /// # Errors
    /// When an image cannot be made or the container cannot be started.
    pub fn start(options: &Options) -> Result<Self> {
        let images = images::ensure()?;
        let name = format!(
            "ferry-test-{:07}-{:02}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let volume = match (&options.volume, options.data) {
            (Some(volume), _) => volume.clone(),
            (None, Data::Volume) => format!("{name}-data"),
            // The engine has yet to make it.
            (None, _) => String::new(),
        };
        let folder = match options.data {
            Data::Folder => Some(tempfile::tempdir()?),
            _ => None,
        };
        let ports = if options.publish {
            Some((free_port()?, free_port()?))
        } else {
            None
        };
        let networks: Vec<_> = options
            .networks
            .iter()
            .map(|n| format!("{name}-{n}"))
            .collect();
        // From here on `drop` cleans up, whatever fails.
        let mut server = Self {
            container: Container::named(name.clone()),
            volume,
            folder,
            ports,
            networks,
        };
        for network in &server.networks {
            docker(&["network", "create", network])?;
        }
        let mut words: Vec<String> = vec!["create".into(), "--name".into(), name.clone()];
        let image = options.image.reference(&images);
        let image = options.reference.as_deref().unwrap_or(image);
        words.extend(server.data_words(options.data, image)?);
        words.extend(["--restart".into(), options.restart.clone()]);
        if let Some((http, https)) = ports {
            let (inner_http, inner_https) = options.image.ports();
            words.extend(["--publish".into(), format!("127.0.0.1:{http}:{inner_http}")]);
            words.extend([
                "--publish".into(),
                format!("127.0.0.1:{https}:{inner_https}"),
            ]);
        }
        for (key, value) in options.environment() {
            words.extend(["--env".into(), format!("{key}={value}")]);
        }
        for (key, value) in &options.labels {
            words.extend(["--label".into(), format!("{key}={value}")]);
        }
        if let Some(first) = server.networks.first() {
            words.extend(["--network".into(), first.clone()]);
        }
        words.extend(options.docker.iter().cloned());
        words.push(image.to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if options.by_podman {
            podman(&words)?;
        } else {
            docker(&words)?;
        }
        for network in server.networks.iter().skip(1) {
            docker(&["network", "connect", network, &name])?;
        }
        docker(&["start", &name])?;
        if server.volume.is_empty() {
            server.volume = server.data_mount()?["Name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        Ok(server)
    }

    /// The words of `docker create` that give it its data. A data container is made as PMM's documentation has it.
    fn data_words(&self, data: Data, image: &str) -> Result<Vec<String>> {
        let mount = |source: &str| vec!["--volume".to_owned(), format!("{source}:/srv")];
        Ok(match (data, &self.folder) {
            (Data::Folder, Some(folder)) => mount(&folder.path().join("srv").to_string_lossy()),
            (Data::Anonymous, _) => vec!["--volume".to_owned(), "/srv".to_owned()],
            (Data::Container, _) => {
                let holder = format!("{}-holder", self.name);
                let words = ["create", "--volume", "/srv", "--name", &holder, image];
                docker(&[&words[..], &["/bin/true"]].concat())?;
                vec!["--volumes-from".to_owned(), holder]
            }
            (Data::Layer, _) => Vec::new(),
            _ => mount(&self.volume),
        })
    }

    /// A small PMM 2 that is ready and has something behind it that can be found again.
    ///
    /// # Errors
    /// As [`TestServer::start`], and when it is not ready in time.
    pub fn used(options: Options) -> Result<Self> {
        let seed = Seed {
            odd: options.seed.odd,
            ..SMALL
        };
        let server = Self::start(&Options { seed, ..options })?;
        server.wait_ready()?;
        server.wait_until("targets", 30, || {
            server
                .metric("count(up == 1)")
                .is_ok_and(|n| n > Some(10.0))
        })?;
        Ok(server)
    }

    /// The volume at rest: the server is stopped for it, and is ready again afterwards.
    ///
    /// # Errors
    /// As the parts of it.
    pub fn snapshot_between(&self) -> Result<Vec<Entry>> {
        self.stop(60)?;
        let tree = self.tree_snapshot()?;
        self.restart_after_stop()?;
        self.wait_ready()?;
        Ok(tree)
    }

    /// Its address for the tool.
    #[must_use]
    pub fn address(&self) -> String {
        format!("docker:{}", self.name)
    }

    /// Starts one more container `<name>-<suffix>` with `volume` at `/srv`; further words go to `docker run`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn beside(
        &self,
        suffix: &str,
        image: Image,
        volume: &str,
        words: &[&str],
    ) -> Result<Container> {
        let images = images::ensure()?;
        let name = format!("{}-{suffix}", self.name);
        let mount = format!("{volume}:/srv");
        let mut all = vec!["run", "--detach", "--name", &name, "--volume", &mount];
        all.extend(words);
        all.push(image.reference(&images));
        docker(&all)?;
        Ok(Container::named(name))
    }

    /// That none of its containers, the new and the old one, runs anything while it is fenced.
    ///
    /// # Errors
    /// With what runs.
    pub(crate) fn assert_fenced_rest(&self) -> Result<()> {
        let filter = format!("name=^/?{}", self.name);
        let names = docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
        for name in names.lines() {
            self.named(name).assert_rests_if_fenced()?;
        }
        Ok(())
    }

    /// A container by its full name, which must begin with this server's to go with it.
    #[must_use]
    pub fn named(&self, name: &str) -> Container {
        Container::named(name.to_owned())
    }

    /// Where the data is on this host.
    ///
    /// # Errors
    /// When the volume is gone.
    pub fn mountpoint(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.path().join("srv"));
        }
        if self.volume.is_empty() {
            // It may have been given a volume since.
            if let Some(source) = self.data_mount()?["Source"].as_str() {
                return Ok(source.into());
            }
            // The image has nothing there, so all that is there lies in the container's own layer.
            let layer = &self.inspect()?["GraphDriver"]["Data"]["UpperDir"];
            let layer = layer.as_str().unwrap_or_default();
            return Ok(PathBuf::from(layer).join("srv"));
        }
        let path = docker(&[
            "volume",
            "inspect",
            "--format",
            "{{.Mountpoint}}",
            &self.volume,
        ])?;
        Ok(path.into())
    }

    /// The volume as it is now, without `.ferry`. Needs root, and a server that is stopped.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn tree_snapshot(&self) -> Result<Vec<Entry>> {
        snapshot::take(&self.mountpoint()?)
    }

    /// Hands the whole volume to `owner`, as the documentation of PMM says: programs stopped by the server's own supervisor, then
    /// `chown` in the server's own container, then the container stopped.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn hand_over(&self, owner: &str) -> Result<()> {
        self.exec(&["supervisorctl", "stop", "all"])?;
        self.exec(&["chown", "-hR", owner, "/srv"])?;
        self.stop(60)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A failure here must not hide the test's own; what is left is seen by `docker ps -a`. The tool's own things have the
        // server's name at their end or in their middle.
        let mine = |found: &str| {
            found
                .split_once(&self.name)
                .is_some_and(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let listed = |words: &[&str]| -> Vec<String> {
            docker(words)
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect()
        };
        let label = format!("label=ferry.server={}", self.name);
        let mut containers = listed(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        containers.extend(
            listed(&["ps", "--all", "--format", "{{.Names}}"])
                .into_iter()
                .filter(|n| mine(n)),
        );
        for container in containers {
            let _ = docker(&["rm", "--force", "--volumes", &container]);
        }
        let mut volumes = listed(&["volume", "ls", "--format", "{{.Name}}"]);
        volumes.retain(|name| mine(name));
        // A name that the engine gave says nothing of whose it is, and `rm --volumes` leaves what was mounted by that name.
        volumes.extend(Some(self.volume.clone()).filter(|name| is_made_up(name)));
        for volume in &volumes {
            let _ = docker(&["volume", "rm", "--force", volume]);
        }
        for network in listed(&["network", "ls", "--format", "{{.Name}}"])
            .iter()
            .filter(|n| mine(n))
        {
            let _ = docker(&["network", "rm", network]);
        }
    }
}

/// Whether the engine gave this name to a volume.
fn is_made_up(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
