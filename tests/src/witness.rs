//! What a server shows to somebody who asks it, and whether it is the same one: asked by the tests themselves, because a tool that
//! proves its own success proves little.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::command::{docker, output};
use crate::server::{Container, seeded_key};
use crate::snapshot::{self, Entry};
use crate::{Error, Result};

/// What a server holds that a migration has to bring across.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `kind name id` of each node and service; ids without the prefix that PMM 3 takes off.
    pub inventory: BTreeSet<String>,
    /// How many agents there are.
    pub agents: usize,
    /// Targets that were up a day ago.
    pub history: Option<u64>,
    /// Rows of query analytics that are older than this test.
    pub queries: u64,
    /// What each seeded API key gets from the version page.
    pub keys: Vec<(String, String)>,
}

impl Seen {
    /// Asks a running server.
    ///
    /// # Errors
    /// When it does not answer one of the questions.
    pub fn of(server: &Container) -> Result<Self> {
        let mut inventory = BTreeSet::new();
        for (what, name, id) in [
            ("nodes", "node_name", "node_id"),
            ("services", "service_name", "service_id"),
        ] {
            let groups = server.inventory(what)?;
            for item in groups.as_object().into_iter().flatten() {
                for entry in item.1.as_array().into_iter().flatten() {
                    inventory.insert(format!("{what} {} {}", word(entry, name), word(entry, id)));
                }
            }
        }
        let old = "SELECT count() FROM pmm.metrics WHERE period_start < now() - 3600";
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let history = server
            .metric("count(up offset 1d)")?
            .map(|number| number as u64);
        let keys = ["pmm-client", "dashboards", "ci", "expired"];
        Ok(Self {
            inventory,
            agents: server.count("agents")?,
            history,
            queries: server.clickhouse(old)?.parse().unwrap_or_default(),
            keys: keys
                .into_iter()
                .map(|key| Ok((key.to_owned(), answer_to(server, key)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// What one of them has and the other has not; empty when all was found again. Rows may have become old enough meanwhile.
    #[must_use]
    pub fn lost(&self, now: &Self) -> Vec<String> {
        let mut lost: Vec<String> = self
            .inventory
            .symmetric_difference(&now.inventory)
            .map(|entry| format!("not in both: {entry}"))
            .collect();
        if (self.agents, self.history, &self.keys) != (now.agents, now.history, &now.keys) {
            lost.push(format!("{self:?}\n{now:?}"));
        }
        if now.queries < self.queries {
            lost.push(format!("{} rows, {} now", self.queries, now.queries));
        }
        lost
    }
}

fn word(entry: &Value, field: &str) -> String {
    let text = entry[field].as_str().unwrap_or_default();
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The status that the version page answers a key with.
fn answer_to(server: &Container, key: &str) -> Result<String> {
    let url = if server.is_v3()? {
        "http://127.0.0.1:8080/v1/server/version"
    } else {
        "http://127.0.0.1/v1/version"
    };
    let header = format!("Authorization: Bearer {}", seeded_key(1, key));
    let words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    server.ask(&[&words[..], &["-H", &header, url]].concat())
}

/// The version that the server's own page names.
///
/// # Errors
/// When it does not answer.
pub fn version(server: &Container) -> Result<String> {
    let url = if server.is_v3()? {
        "http://127.0.0.1:8080/v1/server/version"
    } else {
        "http://127.0.0.1/v1/version"
    };
    let answer = server.curl(&["-u", "admin:admin", url])?;
    Ok(answer["version"].as_str().unwrap_or_default().to_owned())
}

/// Entries of a tree that are not `owner`'s (uid, gid), the state folder aside. The tree may be in use.
///
/// # Errors
/// When `find` cannot be started.
pub fn strangers(root: &Path, (uid, gid): (u32, u32)) -> Result<Vec<String>> {
    let state = root.join(".ferry");
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let mut find = Command::new("find");
    find.arg(root)
        .args(["-path".as_ref(), state.as_os_str()])
        .args(["-prune", "-o", "(", "!", "-uid", &uid, "-o", "!", "-gid"])
        .args([&gid, ")", "-print"]);
    // What vanishes on its way makes its status a failure and is nobody's.
    let found = output(&mut find)?;
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Every table of the server's databases, with its number of rows and a hash of them; but those that a test has made for itself, which may be
/// damaged: their names begin with `zz_`.
///
/// # Errors
/// When PostgreSQL does not answer.
pub fn tables(server: &Container) -> Result<BTreeMap<String, (u64, String)>> {
    const EACH: &str = "SELECT n.nspname || '.' || c.relname || ' ' || (xpath('/row/c/text()', query_to_xml(format(\
        'SELECT count(*) || '' '' || md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '''')) AS c FROM %I.%I t', \
        n.nspname, c.relname), false, true, '')))[1]::text \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(c.relname, 'zz_')";
    let mut tables = BTreeMap::new();
    for database in ["pmm-managed", "grafana"] {
        for line in server.psql(database, EACH)?.lines() {
            let mut words = line.rsplitn(3, ' ');
            let hash = words.next().unwrap_or_default().to_owned();
            let rows = words.next().and_then(|it| it.parse().ok());
            let rows = rows.ok_or_else(|| Error::of(format!("no number of rows: {line}")))?;
            let table = words.next().unwrap_or_default();
            tables.insert(format!("{database} {table}"), (rows, hash));
        }
    }
    Ok(tables)
}

/// The engine's networks that are called after a server.
///
/// # Errors
/// When the engine does not answer.
pub fn networks(name: &str) -> Result<Vec<String>> {
    let listed = docker(&["network", "ls", "--format", "{{.Name}}"])?;
    let named = listed.lines().filter(|it| it.contains(name));
    Ok(named.map(|it| format!("network {it}")).collect())
}

/// What the engine holds that has to do with a server, besides the server itself: `container NAME`, `volume NAME`.
///
/// # Errors
/// When the engine does not answer.
pub fn beside(name: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (what, words) in [
        (
            "container",
            &["ps", "--all", "--format", "{{.Names}}"] as &[_],
        ),
        ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
    ] {
        for line in docker(words)?.lines() {
            let of_this = line
                .split_once(name)
                .is_some_and(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit()));
            if of_this && line != name && line != format!("{name}-data") {
                found.push(format!("{what} {line}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Parts of `/srv` in which a running PMM 2 writes, makes and removes by itself: found by comparing a stopped one with itself after
/// one more start and stop.
const ALIVE: [&str; 2] = ["logs", "postgres14"];
/// Folders in which each start of PMM 2 makes something, so that their own times differ.
const GROWING: [&str; 5] = [
    "clickhouse",
    "clickhouse/store/3f1/3f1c0f0e-5a8b-4c8e-9d5e-0000000000aa",
    "grafana",
    "victoriametrics/data",
    "victoriametrics/data/data/small/run",
];
/// What it makes there, by how their paths begin: a part for the rows and samples of each time that it ran.
const GROWN: [&str; 2] = [
    "clickhouse/store/3f1/3f1c0f0e-5a8b-4c8e-9d5e-0000000000aa/run_",
    "victoriametrics/data/data/small/run/",
];

/// All of a server's data but what it writes, makes and removes by itself: comparable while it runs.
///
/// # Errors
/// When something cannot be read.
pub fn at_rest(data: &Path) -> Result<Vec<Entry>> {
    let moves = |path: &Path| {
        let text = path.to_string_lossy();
        ALIVE.iter().any(|it| path.starts_with(it))
            || GROWN.iter().any(|it| text.starts_with(it))
            // Who runs, and who was killed.
            || ["/.running-", "/unclean-"].iter().any(|it| text.contains(it))
    };
    let mut entries = snapshot::take_but(data, &moves)?;
    for entry in &mut entries {
        if GROWING.iter().any(|it| entry.path == Path::new(it)) {
            entry.mtime = (0, 0);
        }
    }
    Ok(entries)
}

/// What a rollback did not bring back, between two snapshots of stopped servers: everywhere an entry's being there, kind, owner and
/// mode; and its bytes, times, links and attributes too, where a running PMM 2 does not write by itself.
///
/// `starts` is how often PMM 2 ran between the two: each time leaves one part, and whatever is more was left by another.
#[must_use]
pub fn not_as_before(before: &[Entry], after: &[Entry], starts: usize) -> Vec<String> {
    let alive = |path: &Path| ALIVE.iter().any(|part| path.starts_with(part));
    let blurred = |entries: &[Entry]| -> Vec<Entry> {
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            if alive(&entry.path) {
                (entry.size, entry.digest) = (0, None);
            }
            if alive(&entry.path) || GROWING.iter().any(|it| entry.path == Path::new(it)) {
                entry.mtime = (0, 0);
            }
        }
        entries
    };
    let mut found = snapshot::differences(&blurred(before), &blurred(after));
    found.retain(|line| {
        let path = line
            .strip_suffix(" is gone")
            .or_else(|| line.strip_suffix(" is new"));
        !path.is_some_and(|path| alive(Path::new(path)))
    });
    for begin in GROWN {
        let parts = found
            .iter()
            .filter(|line| line.starts_with(begin) && line.ends_with("/standin.json is new"))
            .count();
        found.retain(|line| !(line.starts_with(begin) && line.ends_with(" is new")));
        if parts > starts {
            found.push(format!(
                "{parts} new parts {begin}*, and PMM 2 ran {starts} times"
            ));
        }
    }
    found
}

/// That a server was not touched: taken before, asked afterwards.
#[derive(Debug)]
pub struct Untouched {
    name: String,
    inspected: Value,
    beside: Vec<String>,
}

impl Untouched {
    /// Looks at a server as it is, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn before(server: &Container) -> Result<Self> {
        Ok(Self {
            name: server.name.clone(),
            inspected: still(server)?,
            beside: beside(&server.name)?,
        })
    }

    /// What is another way now; empty when nothing is. `volume` is where the engine keeps the server's data.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn changes(&self, server: &Container, volume: Option<&Path>) -> Result<Vec<String>> {
        let mut changes = Vec::new();
        let now = still(server)?;
        if now != self.inspected {
            changes.push(format!("{} was {}, is {now}", self.name, self.inspected));
        }
        let beside = beside(&self.name)?;
        if beside != self.beside {
            changes.push(format!("beside it was {:?}, is {beside:?}", self.beside));
        }
        if volume.is_some_and(|path| path.join(".ferry").exists()) {
            changes.push("a state folder is on its volume".to_owned());
        }
        Ok(changes)
    }
}

/// The inspection without what goes on by itself: the log of health checks, and the processes that tests run inside.
fn still(server: &Container) -> Result<Value> {
    let mut inspected = server.inspect()?;
    inspected["State"]["Health"] = Value::Null;
    inspected["ExecIDs"] = Value::Null;
    Ok(inspected)
}
