//! Databases outside the server, by what the server's own variables say.
//!
//! Why: that a supervisor has no program for a database says so only where somebody has switched the program off as well. Grafana's
//! database alone may be elsewhere, by `GF_DATABASE_*` (`facts/pmm.md` 1.9, and 6 rows 4 and 26), and what is dumped, copied and compared
//! here would then be the wrong one.

use super::super::{Result, ServerError};

/// Variables that name a host of PostgreSQL, under both majors' names.
const POSTGRES: [&str; 4] = [
    "GF_DATABASE_HOST",
    "GF_DATABASE_URL",
    "PERCONA_TEST_POSTGRES_ADDR",
    "PMM_POSTGRES_ADDR",
];
/// Variables that name a host of ClickHouse, under both majors' names.
const CLICKHOUSE: [&str; 5] = [
    "PERCONA_TEST_PMM_CLICKHOUSE_ADDR",
    "PERCONA_TEST_PMM_CLICKHOUSE_DATASOURCE",
    "PERCONA_TEST_PMM_CLICKHOUSE_HOST",
    "PMM_CLICKHOUSE_ADDR",
    "PMM_CLICKHOUSE_HOST",
];

/// Variables that name another machine, by name: a value may hold a password and goes nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// For PostgreSQL.
    pub postgres: Vec<String>,
    /// For ClickHouse.
    pub clickhouse: Vec<String>,
}

/// Of the server's first process.
pub(super) fn elsewhere() -> Result<Elsewhere> {
    let path = "/proc/1/environ";
    let environ = std::fs::read(path).map_err(|source| ServerError::File {
        doing: "read",
        path: path.into(),
        source,
    })?;
    Ok(told(&environ))
}

fn told(environ: &[u8]) -> Elsewhere {
    let mut found = Elsewhere::default();
    for variable in environ.split(|byte| *byte == 0) {
        let variable = String::from_utf8_lossy(variable);
        let Some((name, value)) = variable.split_once('=') else {
            continue;
        };
        if !is_elsewhere(value) {
            continue;
        }
        if POSTGRES.contains(&name) {
            found.postgres.push(name.to_owned());
        } else if CLICKHOUSE.contains(&name) {
            found.clickhouse.push(name.to_owned());
        }
    }
    found.postgres.sort();
    found.clickhouse.sort();
    found
}

/// Whether an address (`host:port`, a path of a socket, or an URL) is not this machine's.
fn is_elsewhere(address: &str) -> bool {
    if address.starts_with('/') {
        return false;
    }
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    !(matches!(host, "" | "localhost" | "0.0.0.0" | "::1") || host.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_its_own_is_told_from_this_one() {
        for here in [
            "",
            "127.0.0.1:5432",
            "localhost",
            "[::1]:5432",
            "/run/postgresql",
            "postgres://grafana:p@ss@127.0.0.1:5432/grafana?sslmode=disable",
            "postgres:///grafana?host=/run/postgresql",
            "tcp://127.0.0.1:9000?database=pmm",
        ] {
            assert!(!is_elsewhere(here), "{here}");
        }
        for there in [
            "db.example.com:5432",
            "db",
            "10.1.2.3",
            "[2001:db8::1]:5432",
            "postgres://grafana:p@ss@db.example.com/grafana",
            "tcp://clickhouse:9000?database=pmm",
        ] {
            assert!(is_elsewhere(there), "{there}");
        }
    }

    #[test]
    fn variables_are_told_by_name_alone() {
        let environ = b"PATH=/bin\0GF_DATABASE_URL=postgres://u:secret@db/g\0PMM_CLICKHOUSE_ADDR=127.0.0.1:9000\0\
            PERCONA_TEST_PMM_CLICKHOUSE_ADDR=ch:9000\0GF_DATABASE_NAME=g\0odd\0";
        let found = told(environ);
        assert_eq!(found.postgres, ["GF_DATABASE_URL"]);
        assert_eq!(found.clickhouse, ["PERCONA_TEST_PMM_CLICKHOUSE_ADDR"]);
        assert!(!format!("{found:?}").contains("secret"));
    }
}
