//! A real PostgreSQL to try things on.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferry_agent::server::ServerRoot;
use ferry_agent::server::postgres::Postgres;

/// A cluster of PostgreSQL in a folder of its own, run by an unprivileged user.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub bin: PathBuf,
    pub uid: u32,
    pub gid: u32,
}

impl Cluster {
    pub fn start() -> Option<Self> {
        let bin = ["15", "16", "17", "14"]
            .iter()
            .map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")))
            .find(|bin| bin.join("initdb").exists());
        let Some(bin) = bin else {
            eprintln!("PostgreSQL is not installed: not tried");
            return None;
        };
        if !nix::unistd::geteuid().is_root() {
            eprintln!("only root can start PostgreSQL as another user: not tried");
            return None;
        }
        // `nobody`, which needs no entry beyond every system's own.
        let (uid, gid) = (65534, 65534);
        let dir = tempfile::Builder::new()
            .prefix("ferry-pg")
            .tempdir_in("/tmp")
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        let cluster = Self { dir, bin, uid, gid };
        let data = cluster.data();
        cluster.tool(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-N",
                "--no-locale",
            ],
        );
        let base = cluster.dir.path().display().to_string();
        let conf = format!(
            "unix_socket_directories = '{base}'\nlisten_addresses = ''\nport = 5499\nfsync = off\n\
             log_statement = 'all'\nlog_min_duration_statement = 0\nshared_preload_libraries = 'pg_stat_statements'\n"
        );
        std::fs::write(cluster.dir.path().join("data/postgresql.auto.conf"), conf).unwrap();
        let log = format!("{base}/log");
        cluster.tool("pg_ctl", &["-D", &data, "-w", "-l", &log, "start"]);
        Some(cluster)
    }

    pub fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    pub fn tool(&self, name: &str, args: &[&str]) {
        let output = Command::new(self.bin.join(name))
            .args(args)
            .env("LC_ALL", "C")
            .current_dir("/")
            .uid(self.uid)
            .gid(self.gid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(output.success(), "{name} {args:?}");
    }

    pub fn sql(&self, database: &str, sql: &str) {
        let base = self.dir.path().display().to_string();
        let args = [
            "-X", "-h", &base, "-p", "5499", "-U", "postgres", "-d", database,
        ];
        self.tool(
            "psql",
            &[&args[..], &["-v", "ON_ERROR_STOP=1", "-c", sql]].concat(),
        );
    }

    pub fn find(&self) -> Postgres {
        Postgres::in_dir(&ServerRoot::new("/"), Path::new(&self.data())).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(self.bin.join("pg_ctl"))
            .args(["-D", &self.data(), "-m", "immediate", "-w", "stop"])
            .current_dir("/")
            .uid(self.uid)
            .gid(self.gid)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Copies a program and the libraries that it needs into another root.
pub fn transplant(program: &Path, root: &Path) {
    let copy = |from: &Path| {
        let to = root.join(from.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    copy(program);
    let output = Command::new("ldd").arg(program).output().unwrap();
    for word in String::from_utf8(output.stdout).unwrap().split_whitespace() {
        if word.starts_with('/') {
            copy(Path::new(word));
        }
    }
}
