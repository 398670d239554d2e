//! The images of the doubles, made when they are missing or when what they are made of has changed.
//!
//! Debian's base image is used where it can be pulled. Where it cannot, the base is made with debootstrap from the mirror that the
//! machine itself uses, with every package already in it, so that building needs no network inside containers.
//!
//! Rejected: one image for both majors with a switch. What differs (users, ports, the declared volume, the entrypoint's refusals) is
//! exactly what a migration trips over, and is read from image metadata.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::command::{docker, output, run};
use crate::{Error, Result};

/// The label that holds the digest of what an image was made of.
const LABEL: &str = "ferry.test.inputs";
/// The release whose PostgreSQL and supervisord the doubles are written for.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "supervisor,postgresql-15,nginx-light,curl,procps,openssl,ca-certificates,locales,libnss-wrapper";

/// What the host of a client with packages of RPM's has.
const RPM_PACKAGES: &str = "rpm,dnf,createrepo-c,curl,procps,ca-certificates";

/// What a machine with systemd has.
const SYSTEMD_PACKAGES: &str = "systemd,systemd-sysv,dbus,curl,procps,ca-certificates";

/// References of the images, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// PMM 2.44.1.
    pub pmm2: String,
    /// PMM 3.8.1: uid 1000, group 0, API keys turned at the start, the old addresses gone.
    pub pmm3: String,
    /// PMM 3.0.0: uid 1000, group 1000, API keys turned on request only.
    pub pmm3_first: String,
    /// PMM 3.7.0: the release that does not heal the role of pmm-managed.
    pub pmm3_scram: String,
}

/// Makes what is missing. Processes take turns, by a lock in the machine's temporary folder.
///
/// # Errors
/// When Docker, Cargo or debootstrap fail, with what they said.
pub fn ensure() -> Result<Images> {
    static MADE: Mutex<Option<Images>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(images) = &*made {
        return Ok(images.clone());
    }
    let _turn = turn()?;
    let standin = standin()?;
    let base = base()?;
    let double = |context: &str, version: &str, arguments: &[(&str, &str)]| {
        build(context, version, arguments, &base, &standin)
    };
    let old_user = [("PMM_GID", "1000"), ("PMM_USER", "pmm")];
    let images = Images {
        pmm2: double("pmm2", "2.44.1", &[])?,
        pmm3: double("pmm3", "3.8.1", &[])?,
        pmm3_first: double("pmm3", "3.0.0", &old_user)?,
        pmm3_scram: double("pmm3", "3.7.0", &[])?,
    };
    *made = Some(images.clone());
    Ok(images)
}

/// One process at a time makes images, as long as it holds this.
fn turn() -> Result<fs_err::File> {
    let lock = fs_err::File::create(std::env::temp_dir().join("ferry-test-images.lock"))?;
    flock(lock.file(), FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    Ok(lock)
}

fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

fn context(name: &str) -> PathBuf {
    workspace().join("tests/images").join(name)
}

/// The stand-in as one static file, in a target folder of its own: other flags in the usual one would rebuild everything each time.
fn standin() -> Result<PathBuf> {
    const TRIPLE: &str = "x86_64-unknown-linux-gnu";
    let target = workspace().join("target/static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(workspace())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args([
            "build",
            "--quiet",
            "--profile",
            "standin",
            "--target",
            TRIPLE,
        ])
        .args(["--package", "ferry-standin", "--target-dir"])
        .arg(&target))?;
    Ok(target.join(TRIPLE).join("standin/standin"))
}

/// The image both doubles stand on.
fn base() -> Result<String> {
    foundation(
        "base",
        "ferry-test/base:latest",
        PACKAGES,
        "ferry-test/debian:12",
    )
}

/// The image of a client's host that has packages of RPM's: Debian, with rpm and dnf of its own. Made when it is asked for, because few tests need it.
///
/// # Errors
/// When Docker or debootstrap fail, with what they said.
pub fn rpm_host() -> Result<String> {
    let _turn = turn()?;
    foundation(
        "rpm-host",
        "ferry-test/rpm-host:latest",
        RPM_PACKAGES,
        "ferry-test/debian-rpm:12",
    )
}

/// The image of a machine whose first process is systemd. Made when it is asked for, because few tests need it.
///
/// # Errors
/// When Docker or debootstrap fail, with what they said.
pub fn systemd() -> Result<String> {
    let _turn = turn()?;
    foundation(
        "systemd",
        "ferry-test/systemd:latest",
        SYSTEMD_PACKAGES,
        "ferry-test/debian-systemd:12",
    )
}

/// An image of Debian's with these packages; `own` is what it is made from where Debian's own image cannot be pulled.
fn foundation(name: &str, tag: &str, packages: &str, own: &str) -> Result<String> {
    let digest = Inputs::new()
        .folder(&context(name))?
        .text(packages)
        .digest();
    if is_made_of(tag, &digest)? {
        return Ok(tag.to_owned());
    }
    let debian = debian(packages, own)?;
    let debian = format!("DEBIAN={debian}");
    let label = format!("{LABEL}={digest}");
    replace(tag, || {
        docker(&[
            "build",
            "--quiet",
            "--tag",
            tag,
            "--build-arg",
            &debian,
            "--label",
            &label,
            &context(name).to_string_lossy(),
        ])
    })?;
    Ok(tag.to_owned())
}

/// Debian's own image, or one made here with all packages in it.
fn debian(packages: &str, own: &str) -> Result<String> {
    const OFFICIAL: &str = "debian:12-slim";
    if exists(OFFICIAL)? || docker(&["pull", "--quiet", OFFICIAL]).is_ok() {
        return Ok(OFFICIAL.to_owned());
    }
    let digest = Inputs::new().text(packages).text(SUITE).digest();
    if is_made_of(own, &digest)? {
        return Ok(own.to_owned());
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    run(Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={packages}"), SUITE])
        .arg(&root)
        .arg(mirror()))?;
    let archive = folder.path().join("root.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(&root)
        .args([
            "--exclude=./var/cache/apt/archives/*.deb",
            "--exclude=./var/lib/apt/lists/*",
        ])
        .args([
            "--exclude=./var/lib/postgresql/*",
            "--exclude=./usr/share/doc/*",
            "-cf",
        ])
        .arg(&archive)
        .arg("."))?;
    let change = format!("LABEL {LABEL}={digest}");
    docker(&[
        "import",
        "--change",
        &change,
        &archive.to_string_lossy(),
        own,
    ])?;
    Ok(own.to_owned())
}

/// The Debian mirror of this machine's own apt configuration, else the public one.
fn mirror() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs_err::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|e| e.ok().map(|e| e.path())));
    }
    let texts = files.iter().filter_map(|f| fs_err::read_to_string(f).ok());
    texts
        .filter_map(|text| mirror_in(&text))
        .next()
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// The first address that a sources file names for the suite, in either of apt's formats.
fn mirror_in(text: &str) -> Option<String> {
    let one_line = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().filter(|w| !w.starts_with('['));
        (words.next()? == "deb").then_some(())?;
        let address = words.next()?;
        (words.next()? == SUITE).then(|| address.to_owned())
    });
    one_line.or_else(|| {
        text.split("\n\n").find_map(|stanza| {
            let field = |name: &str| {
                stanza
                    .lines()
                    .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
                    .map(str::trim)
            };
            let named = field("Suites")?.split_whitespace().any(|s| s == SUITE);
            let address = field("URIs")?.split_whitespace().next()?;
            named.then(|| address.to_owned())
        })
    })
}

/// One double.
fn build(
    name: &str,
    version: &str,
    arguments: &[(&str, &str)],
    base: &str,
    standin: &Path,
) -> Result<String> {
    let base_id = docker(&["image", "inspect", "--format", "{{.Id}}", base])?;
    let mut inputs = Inputs::new()
        .folder(&context(name))?
        .file(standin)?
        .text(&base_id)
        .text(version);
    for (key, value) in arguments {
        inputs = inputs.text(key).text(value);
    }
    let digest = inputs.digest();
    let tag = format!("ferry-test/pmm-server:{version}");
    if is_made_of(&tag, &digest)? {
        return Ok(tag);
    }
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("context");
    run(Command::new("cp").arg("-r").arg(context(name)).arg(&files))?;
    fs_err::copy(standin, files.join("standin"))?;
    let mut command = Command::new("docker");
    command.args([
        "build",
        "--quiet",
        "--tag",
        &tag,
        "--label",
        &format!("{LABEL}={digest}"),
    ]);
    command.args(["--build-arg", &format!("BASE={base}")]);
    command.args(["--build-arg", &format!("PMM_VERSION={version}")]);
    for (key, value) in arguments {
        command.args(["--build-arg", &format!("{key}={value}")]);
    }
    command.arg(&files);
    replace(&tag, || run(&mut command))?;
    Ok(tag)
}

/// Builds a tag anew and lets go of what it named before, unless something still runs on that.
fn replace(tag: &str, build: impl FnOnce() -> Result<String>) -> Result<()> {
    let before = docker(&["image", "inspect", "--format", "{{.Id}}", tag]).ok();
    build()?;
    if let Some(before) = before {
        // Refused while a container uses it, which is right.
        let _ = output(Command::new("docker").args(["rmi", &before]))?;
    }
    Ok(())
}

fn exists(image: &str) -> Result<bool> {
    Ok(
        output(Command::new("docker").args(["image", "inspect", image]))?
            .status
            .success(),
    )
}

fn is_made_of(tag: &str, digest: &str) -> Result<bool> {
    let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    match docker(&["image", "inspect", "--format", &format, tag]) {
        Ok(found) => Ok(found == digest),
        Err(Error::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What an image is made of, as one digest.
struct Inputs(blake3::Hasher);

impl Inputs {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    fn text(mut self, text: &str) -> Self {
        self.0
            .update(&text.len().to_le_bytes())
            .update(text.as_bytes());
        self
    }

    fn file(self, path: &Path) -> Result<Self> {
        let content = blake3::hash(&fs_err::read(path)?);
        Ok(self.text(content.to_hex().as_str()))
    }

    fn folder(mut self, folder: &Path) -> Result<Self> {
        let mut entries: Vec<_> = fs_err::read_dir(folder)?
            .map(|e| e.map(|e| e.path()))
            .collect::<std::io::Result<_>>()?;
        entries.sort();
        for path in entries {
            self = self.text(&path.file_name().unwrap_or_default().to_string_lossy());
            self = if path.is_dir() {
                self.folder(&path)?
            } else {
                self.file(&path)?
            };
        }
        Ok(self)
    }

    fn digest(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn the_mirror_is_found_in_both_of_apts_formats() {
        let line = "# comment\ndeb [signed-by=/k] http://mirror.example/debian bookworm main\n";
        assert_eq!(
            mirror_in(line).as_deref(),
            Some("http://mirror.example/debian")
        );
        let stanza = "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(
            mirror_in(stanza).as_deref(),
            Some("http://a.example/debian")
        );
        assert_eq!(mirror_in("deb http://x.example/node nodistro main\n"), None);
    }
}
