//! What kind of server a test wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::images::Images;

/// Which server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// PMM 2.44.1.
    #[default]
    Pmm2,
    /// PMM 3.8.1.
    Pmm3,
    /// PMM 3.0.0.
    Pmm3First,
    /// PMM 3.7.0.
    Pmm3Scram,
}

impl Image {
    pub(crate) fn reference(self, images: &Images) -> &str {
        match self {
            Self::Pmm2 => &images.pmm2,
            Self::Pmm3 => &images.pmm3,
            Self::Pmm3First => &images.pmm3_first,
            Self::Pmm3Scram => &images.pmm3_scram,
        }
    }

    /// Ports inside the container for HTTP and HTTPS.
    #[must_use]
    pub fn ports(self) -> (u16, u16) {
        if self == Self::Pmm2 {
            (80, 443)
        } else {
            (8080, 8443)
        }
    }
}

/// What goes wrong, chosen by an environment variable that only the doubles know. It is set on PMM 2, which ignores those meant for
/// PMM 3, and is carried along with the other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// PMM 3 ends at once with a FATAL line.
    Exit,
    /// PMM 3 ends after two seconds, each time.
    Loop,
    /// PMM 3 is ready and shows the inventory of a fresh server.
    Empty,
    /// PMM 3 is ready and shows half of the inventory.
    Half,
    /// PMM 3 stays on its maintenance page and is never ready.
    Maintenance,
    /// In PMM 3 nothing is scraped any more.
    NoUp,
    /// Programs with data take three seconds each to stop, in both majors.
    SlowStop,
    /// The volume that PMM 2 seeds has a dirty ClickHouse schema.
    ClickhouseDirty,
}

impl Fault {
    /// The value of `STANDIN_FAULT`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Loop => "loop",
            Self::Empty => "empty",
            Self::Half => "half",
            Self::Maintenance => "maintenance",
            Self::NoUp => "no-up",
            Self::SlowStop => "slow-stop",
            Self::ClickhouseDirty => "clickhouse-dirty",
        }
    }
}

/// How much a PMM 2 has been used before the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Nodes with the server's own.
    pub nodes: usize,
    /// Services on them.
    pub services: usize,
    /// Files of ClickHouse and VictoriaMetrics together.
    pub files: usize,
    /// Mebibytes of both together.
    pub mib: usize,
    /// Names, modes, links and attributes that people leave on volumes.
    pub odd: bool,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            nodes: 9,
            services: 40,
            files: 200,
            mib: 8,
            odd: false,
        }
    }
}

/// What a server's data lies on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// A volume with a name, as PMM's documentation has it.
    #[default]
    Volume,
    /// A volume that the engine gave a name to (`--volume /srv`).
    Anonymous,
    /// Such a volume of another container, which never runs (`--volumes-from`).
    Container,
    /// A folder of the host.
    Folder,
    /// The container's own layer: nothing is mounted.
    Layer,
}

/// A server to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which server; PMM 2 unless said otherwise.
    pub image: Image,
    /// An image that was made from it, to be used in its place.
    pub reference: Option<String>,
    /// What a PMM 2 holds at its first start.
    pub seed: Seed,
    /// Variables beside those that the other options set.
    pub env: Vec<(String, String)>,
    /// The restart policy; `always`, as PMM's documentation has it.
    pub restart: String,
    /// Whether ports on the host's loopback lead to it.
    pub publish: bool,
    /// Networks to make for it, by the last part of their names. With none it is on the default bridge.
    pub networks: Vec<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Whether the database roles have passwords of the old kind, as on volumes that began before PMM 2.2x.
    pub md5_roles: bool,
    /// What its data lies on.
    pub data: Data,
    /// An existing volume instead of a fresh one.
    pub volume: Option<String>,
    /// Further words for `docker create`.
    pub docker: Vec<String>,
    /// Whether it is made by `podman create`, as Podman's users do: Docker's interface has other defaults, and cannot say all.
    pub by_podman: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: Image::default(),
            reference: None,
            seed: Seed::default(),
            env: Vec::new(),
            restart: "always".to_owned(),
            publish: false,
            networks: Vec::new(),
            labels: Vec::new(),
            fault: None,
            md5_roles: false,
            data: Data::default(),
            volume: None,
            docker: Vec::new(),
            by_podman: false,
        }
    }
}

impl Options {
    /// All variables for the container.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut all = self.env.clone();
        let Seed {
            nodes,
            services,
            files,
            mib,
            odd,
        } = self.seed;
        all.push((
            "STANDIN_SEED".to_owned(),
            format!("{nodes},{services},{files},{mib}"),
        ));
        if odd {
            all.push(("STANDIN_SEED_ODD".to_owned(), "1".to_owned()));
        }
        if let Some(fault) = self.fault {
            all.push(("STANDIN_FAULT".to_owned(), fault.word().to_owned()));
        }
        if self.md5_roles {
            all.push(("STANDIN_MD5".to_owned(), "1".to_owned()));
        }
        all
    }
}

/// The string of an API key that a PMM 2 was seeded with, as its owner would present it: in organisation 1 `pmm-client` (Admin),
/// `dashboards` (Viewer), `ci` (Editor) and `expired` (Admin, expired), in organisation 2 `second` (Admin).
#[must_use]
pub fn seeded_key(organisation: u32, name: &str) -> String {
    STANDARD.encode(format!(
        r#"{{"k":"seed-{name}","n":"{name}","id":{organisation}}}"#
    ))
}
