//! Finding the cluster.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::supervisor::Process;
use super::super::users::Users;
use super::super::{Result, ServerError, ServerRoot};
use super::Postgres;

const DEFAULT_DATA_DIR: &str = "/srv/postgres14";
const DEFAULT_SOCKET_DIR: &str = "/run/postgresql";
const DEFAULT_PORT: u16 = 5432;

impl Postgres {
    /// Finds the cluster: what the running server process says, else PMM's usual places.
    ///
    /// # Errors
    /// There is no data directory, no folder with programs, or the data belongs to root.
    pub fn find(root: &ServerRoot, processes: &[Process]) -> Result<Self> {
        let running = processes
            .iter()
            .filter(|process| process.name.starts_with("postgres"))
            .find_map(|process| Running::observe(process.pid?));
        match running {
            Some(running) => {
                let data_dir = running.data_dir.clone();
                let data_dir = data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
                Self::assemble(root, &data_dir, Some(running))
            }
            None => Self::in_dir(root, Path::new(DEFAULT_DATA_DIR)),
        }
    }

    /// Finds the cluster in the given folder, whether it runs or not.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn in_dir(root: &ServerRoot, data_dir: &Path) -> Result<Self> {
        let pid = postmaster(root, data_dir).and_then(|file| file.pid);
        let seen = pid
            .and_then(Running::observe)
            .filter(|seen| seen.data_dir.as_deref().is_none_or(|dir| dir == data_dir));
        Self::assemble(root, data_dir, seen)
    }

    fn assemble(root: &ServerRoot, data_dir: &Path, running: Option<Running>) -> Result<Self> {
        let missing = |what, why| ServerError::Missing { what, why };
        let host_dir = root.resolve(data_dir)?;
        let version = root.read_text(data_dir.join("PG_VERSION"), 64)?;
        let major = version.map(|text| text.trim().to_owned()).ok_or_else(|| {
            missing(
                "the PostgreSQL cluster",
                format!("`{}` has no PG_VERSION", data_dir.display()),
            )
        })?;
        let meta = std::fs::metadata(&host_dir).map_err(|source| ServerError::File {
            doing: "read",
            path: host_dir.clone(),
            source,
        })?;
        let users = Users::of(root)?;
        let (uid, gid) = match &running {
            Some(running) => (running.uid, running.gid),
            None => {
                let uid = meta.uid();
                (uid, users.by_uid(uid).map_or(meta.gid(), |user| user.gid))
            }
        };
        let seen_dir = running.as_ref().and_then(|r| r.bin_dir.clone());
        let seen_dir = seen_dir.filter(|dir| root.join(dir).join("psql").exists());
        let bin_dir = match seen_dir {
            Some(dir) => dir,
            None => bin_dir(root, &major)?.ok_or_else(|| {
                missing(
                    "PostgreSQL's programs",
                    format!("no folder of version {major} has a psql"),
                )
            })?,
        };
        let file = postmaster(root, data_dir).filter(|_| running.is_some());
        Ok(Self {
            root: root.clone(),
            bin_dir,
            socket_dir: file
                .as_ref()
                .and_then(|file| file.socket_dir.clone())
                .unwrap_or_else(|| DEFAULT_SOCKET_DIR.into()),
            port: file.and_then(|file| file.port).unwrap_or(DEFAULT_PORT),
            data_dir: data_dir.to_owned(),
            user: users.name_of(uid),
            uid,
            gid,
            major,
            running: running.is_some(),
        })
    }
}

/// What a server process shows.
struct Running {
    bin_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    uid: u32,
    gid: u32,
}

impl Running {
    fn observe(pid: u32) -> Option<Self> {
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let id = |key: &str| -> Option<u32> {
            // Real, effective, saved, file system.
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let args: Vec<&OsStr> = cmdline
            .split(|byte| *byte == 0)
            .map(OsStr::from_bytes)
            .collect();
        let program = Path::new(args.first()?);
        let name = program.file_name()?;
        if name != "postgres" && name != "postmaster" {
            return None;
        }
        // The link's target is in the process's own root, which is the server's.
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let program = if program.is_absolute() {
            Some(program.to_owned())
        } else {
            exe
        };
        Some(Self {
            bin_dir: program.and_then(|program| program.parent().map(Path::to_owned)),
            data_dir: data_dir(&args),
            uid: id("Uid:")?,
            gid: id("Gid:")?,
        })
    }
}

/// Whether this process is a PostgreSQL server of that user on exactly that folder.
pub(super) fn serves(pid: u32, data_dir: &Path, uid: u32) -> bool {
    Running::observe(pid)
        .is_some_and(|seen| seen.uid == uid && seen.data_dir.as_deref() == Some(data_dir))
}

/// The value of `-D`, `-Ddir`, `--data-directory=dir` or `-c data_directory=dir`.
fn data_dir(args: &[&OsStr]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        let found = if bytes == b"-D" {
            args.next().map(|next| next.as_bytes())
        } else if let Some(rest) = bytes.strip_prefix(b"--data-directory=") {
            Some(rest)
        } else {
            bytes.strip_prefix(b"-D")
        };
        if let Some(found) = found {
            let path = PathBuf::from(std::ffi::OsString::from_vec(found.to_vec()));
            // Relative to a working directory that is not known here.
            return path.is_absolute().then_some(path);
        }
    }
    None
}

/// What the server wrote about itself into its data directory.
struct Postmaster {
    pid: Option<u32>,
    port: Option<u16>,
    socket_dir: Option<PathBuf>,
}

fn postmaster(root: &ServerRoot, data_dir: &Path) -> Option<Postmaster> {
    let text = root
        .read_text(data_dir.join("postmaster.pid"), 4096)
        .ok()??;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let socket_dir = lines
        .get(4)
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from);
    Some(Postmaster {
        pid: lines.first()?.parse().ok(),
        port: lines.get(3).and_then(|line| line.parse().ok()),
        socket_dir,
    })
}

/// The folder with the programs of that major version, else of the newest one.
fn bin_dir(root: &ServerRoot, major: &str) -> Result<Option<PathBuf>> {
    let mut found: Vec<(bool, u32, PathBuf)> = Vec::new();
    for (parent, prefix) in [("/usr", "pgsql-"), ("/usr/lib/postgresql", "")] {
        for name in root.list(parent)? {
            let name = name.to_string_lossy();
            let Some(version) = name.strip_prefix(prefix) else {
                continue;
            };
            let Ok(number) = version.parse::<u32>() else {
                continue;
            };
            let dir = Path::new(parent).join(&*name).join("bin");
            if root.resolve(dir.join("psql"))?.exists() {
                found.push((version == major, number, dir));
            }
        }
    }
    Ok(found.into_iter().max().map(|(_, _, dir)| dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_directories_in_command_lines() {
        let parse = |line: &str| data_dir(&line.split(' ').map(OsStr::new).collect::<Vec<_>>());
        let expected = Some(PathBuf::from("/srv/pg"));
        assert_eq!(parse("postgres -c a=b -D /srv/pg -p 1"), expected);
        assert_eq!(parse("postgres -D/srv/pg"), expected);
        assert_eq!(parse("postgres --data-directory=/srv/pg"), expected);
        assert_eq!(parse("postgres -D rel"), None);
        assert_eq!(parse("postgres -D"), None);
    }

    #[test]
    fn a_stopped_cluster_is_found_in_the_usual_places() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "srv/postgres14",
            "usr/pgsql-11/bin",
            "usr/pgsql-14/bin",
            "usr/pgsql-9x/bin",
            "etc",
        ] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let root = ServerRoot::new(dir.path());
        assert_eq!(
            Postgres::find(&root, &[]).unwrap_err().code(),
            "server-part-missing"
        );
        std::fs::write(dir.path().join("srv/postgres14/PG_VERSION"), "11\n").unwrap();
        for version in ["11", "14"] {
            std::fs::write(dir.path().join(format!("usr/pgsql-{version}/bin/psql")), "").unwrap();
        }
        let found = Postgres::find(&root, &[]).unwrap();
        assert_eq!(found.bin_dir, Path::new("/usr/pgsql-11/bin"));
        assert_eq!(found.major, "11");
        std::fs::write(dir.path().join("srv/postgres14/PG_VERSION"), "13\n").unwrap();
        assert_eq!(
            Postgres::find(&root, &[]).unwrap().bin_dir,
            Path::new("/usr/pgsql-14/bin")
        );
        assert!(!found.running);
    }
}
