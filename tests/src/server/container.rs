//! One container, and the ways in which a test looks into it. Looking is all that tests use `exec` for; the tool never does.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{docker, of_engine, output};
use crate::{Error, Result, looks};

/// A container by its name; it belongs to the [`TestServer`](super::TestServer) whose name it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
}

impl Container {
    pub(crate) fn named(name: String) -> Self {
        Self { name }
    }

    /// Runs a program inside and gives its standard output, without the last line's end.
    ///
    /// # Errors
    /// When the program fails or the container does not run.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        let mut all = vec!["exec", &self.name];
        all.extend(words);
        docker(&all)
    }

    /// As that with a program that leaves nothing there.
    ///
    /// # Errors
    /// As of [`Self::exec`].
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String> {
        looks::ask(&self.name, words)
    }

    /// The engine's inspection of it.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn inspect(&self) -> Result<Value> {
        let mut told = looks::inspect(&self.name)?;
        // An engine says "no limit" with nothing at first, and with 0 once there was one.
        if told["HostConfig"]["PidsLimit"].is_null() {
            told["HostConfig"]["PidsLimit"] = 0.into();
        }
        Ok(told)
    }

    /// What is mounted at `/srv`, as the engine tells it; null when nothing is.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn data_mount(&self) -> Result<Value> {
        let inspected = self.inspect()?;
        let mounts = inspected["Mounts"].as_array().into_iter().flatten();
        let mut data = mounts.filter(|mount| mount["Destination"] == "/srv");
        Ok(data.next().cloned().unwrap_or_default())
    }

    /// Its first process and all that it made; none when it does not run. What the engine itself puts beside them, as the command of a
    /// health check, is not of the server and held to no limit of processes.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn processes(&self) -> Result<Vec<String>> {
        let state = self.inspect()?["State"].take();
        if state["Running"] != true {
            return Ok(Vec::new());
        }
        // It may end in between.
        let listed = docker(&["top", &self.name, "-eo", "pid,ppid,args"]).unwrap_or_default();
        Ok(descendants(&state["Pid"].to_string(), &listed))
    }

    /// Starts it as a person would who does not know of Ferry, and looks on for some seconds.
    ///
    /// # Errors
    /// When it has a process beside its first: then it is not fenced.
    pub fn assert_start_is_fruitless(&self) -> Result<()> {
        // An engine may refuse it outright.
        let started = docker(&["start", &self.name]);
        for _ in 0..20 {
            let processes = self.processes()?;
            if processes.len() > 1 {
                return Err(Error::of(format!(
                    "`{}` has more than its first process after {started:?}: {processes:?}",
                    self.name
                )));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Ok(())
    }

    /// That it runs nothing where it is fenced by its limit of processes, looked at for a second.
    ///
    /// # Errors
    /// With what runs.
    pub(crate) fn assert_rests_if_fenced(&self) -> Result<()> {
        for _ in 0..10 {
            let Ok(container) = self.inspect() else {
                return Ok(());
            };
            let is_fenced = container["HostConfig"]["PidsLimit"] == 1;
            let processes = self.processes().unwrap_or_default();
            if is_fenced && processes.len() > 1 {
                return Err(Error::of(format!(
                    "`{}` is fenced and has more than its first process: {processes:?}",
                    self.name
                )));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Ok(())
    }

    /// What somebody does who wants it to run at any price: takes its limit of processes off, and starts it. Waits until it has begun to
    /// write to its data.
    ///
    /// # Errors
    /// When it does not run.
    pub fn unfence_and_start(&self) -> Result<()> {
        docker(&["update", "--pids-limit", "-1", &self.name])?;
        docker(&["start", &self.name])?;
        self.wait_ready()
    }

    /// Both streams of its log.
    ///
    /// # Errors
    /// When Docker cannot be started.
    pub fn logs(&self) -> Result<String> {
        let output = output(of_engine("docker").args(["logs", &self.name]))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// The major that the image says it is.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn is_v3(&self) -> Result<bool> {
        let inspected = self.inspect()?;
        let version = &inspected["Config"]["Labels"]["org.opencontainers.image.version"];
        Ok(version.as_str().is_some_and(|v| v.starts_with('3')))
    }

    /// Waits until the ready page answers 200 through nginx, which says less than it seems to.
    ///
    /// # Errors
    /// When that does not happen within three minutes: a machine that builds beside its tests takes one for a database alone.
    pub fn wait_ready(&self) -> Result<()> {
        let url = if self.is_v3()? {
            "http://127.0.0.1:8080/v1/server/readyz"
        } else {
            "http://127.0.0.1/v1/readyz"
        };
        self.wait_until("the ready page", 180, || {
            self.ask(&["curl", "-sf", "-m", "2", "-o", "/dev/null", url])
                .is_ok()
        })
    }

    /// Waits until `done` says so, looking five times a second.
    ///
    /// # Errors
    /// When it does not within `seconds`; the error carries the end of the container's log.
    pub fn wait_until(
        &self,
        what: &str,
        seconds: u64,
        mut done: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !done() {
            if Instant::now() > deadline {
                let log = self.logs()?;
                let from = log.lines().count().saturating_sub(30);
                let log = log.lines().skip(from).collect::<Vec<_>>().join("\n");
                return Err(Error::TimedOut {
                    what: format!("{}: {what}", self.name),
                    seconds,
                    log,
                });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Whether its first process runs.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.inspect()?["State"]["Running"] == true)
    }

    /// Waits until it ends, and gives its exit code.
    ///
    /// # Errors
    /// When it is still there after 60 seconds.
    pub fn wait_exit(&self) -> Result<i64> {
        self.wait_until("its end", 60, || self.is_running().is_ok_and(|r| !r))?;
        Ok(self.inspect()?["State"]["ExitCode"].as_i64().unwrap_or(-1))
    }

    /// Stops it, with so many seconds of grace before it is killed.
    ///
    /// # Errors
    /// When Docker refuses.
    pub fn stop(&self, grace: u32) -> Result<()> {
        docker(&["stop", "--time", &grace.to_string(), &self.name]).map(drop)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When Docker refuses.
    pub fn restart_after_stop(&self) -> Result<()> {
        docker(&["start", &self.name]).map(drop)
    }

    /// Kills all of it at once.
    ///
    /// # Errors
    /// When Docker refuses.
    pub fn kill(&self) -> Result<()> {
        docker(&["kill", &self.name]).map(drop)
    }

    /// Asks an address inside, with whatever `curl` takes beside it, and reads the answer as JSON.
    ///
    /// # Errors
    /// When nobody answers there or the answer is not JSON.
    pub fn curl(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["curl", "-sS", "-m", "10"];
        all.extend(words);
        Ok(serde_json::from_str(&self.ask(&all)?)?)
    }

    /// Asks pmm-managed itself, past nginx: `nodes`, `services` or `agents` of the inventory.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn inventory(&self, what: &str) -> Result<Value> {
        if self.is_v3()? {
            return self.curl(&[&format!("http://127.0.0.1:7772/v1/inventory/{what}")]);
        }
        let what = what[..1].to_uppercase() + &what[1..];
        self.curl(&[
            "-XPOST",
            &format!("http://127.0.0.1:7772/v1/inventory/{what}/List"),
            "-d",
            "{}",
        ])
    }

    /// How many there are of `nodes`, `services` or `agents`.
    ///
    /// # Errors
    /// When pmm-managed does not answer.
    pub fn count(&self, what: &str) -> Result<usize> {
        let inventory = self.inventory(what)?;
        let groups = inventory.as_object().into_iter().flatten();
        Ok(groups
            .map(|(_, items)| items.as_array().map_or(0, Vec::len))
            .sum())
    }

    /// One number from the metrics; `None` when the answer is empty.
    ///
    /// # Errors
    /// When nobody answers or the query is refused.
    pub fn metric(&self, query: &str) -> Result<Option<f64>> {
        let query = format!("query={query}");
        let address = "http://127.0.0.1:9090/prometheus/api/v1/query";
        let answer = self.curl(&["-f", "-G", address, "--data-urlencode", &query])?;
        let value = &answer["data"]["result"][0]["value"][1];
        Ok(value.as_str().and_then(|v| v.parse().ok()))
    }

    /// What one statement gives in a database, as the superuser over the local socket.
    ///
    /// # Errors
    /// When PostgreSQL does not run or refuses.
    pub fn psql(&self, database: &str, statement: &str) -> Result<String> {
        self.exec(&[
            "/usr/pgsql-14/bin/psql",
            "-h",
            "/run/postgresql",
            "-U",
            "postgres",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-Atc",
            statement,
        ])
    }

    /// What one statement gives in ClickHouse.
    ///
    /// # Errors
    /// When it does not answer or refuses.
    pub fn clickhouse(&self, statement: &str) -> Result<String> {
        self.ask(&[
            "curl",
            "-sS",
            "-f",
            "http://127.0.0.1:8123/",
            "--data-binary",
            statement,
        ])
    }

    /// Programs that were killed while they used their data, as they told at their next start.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn unclean(&self) -> Result<Vec<String>> {
        let found = self.ask(&[
            "find",
            "/srv/logs",
            "/srv/grafana",
            "-maxdepth",
            "1",
            "-name",
            "unclean-*",
        ])?;
        let names = found.lines().filter_map(|l| l.rsplit_once("/unclean-"));
        Ok(names.map(|(_, program)| program.to_owned()).collect())
    }

    /// A program's state by the supervisor's words, such as `RUNNING`.
    ///
    /// # Errors
    /// When Docker cannot be started.
    pub fn program(&self, name: &str) -> Result<String> {
        let found = self.programs_like(&[name])?.pop();
        Ok(found.map(|(_, state)| state).unwrap_or_default())
    }

    /// Each program of the supervisor's, and its state.
    ///
    /// # Errors
    /// When Docker cannot be started.
    pub fn programs(&self) -> Result<Vec<(String, String)>> {
        self.programs_like(&[])
    }

    fn programs_like(&self, names: &[&str]) -> Result<Vec<(String, String)>> {
        // `supervisorctl status` ends with a failure when a program does not run; its words are what counts.
        let words = ["exec", &self.name, "supervisorctl", "status"];
        let output = output(of_engine("docker").args(words).args(names))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let states = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        Ok(states.collect())
    }
}

/// Of lines with a process's number, its parent's and its command: the process `first` and all that came from it, each with its line.
fn descendants(first: &str, listed: &str) -> Vec<String> {
    let mut left: Vec<(&str, &str, &str)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?, line))
        })
        .collect();
    let mut found = Vec::new();
    let mut kin = vec![first];
    loop {
        let (of_it, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|(pid, parent, _)| *pid == first || kin.contains(parent));
        if of_it.is_empty() {
            return found;
        }
        kin = of_it.iter().map(|(pid, ..)| *pid).collect();
        found.extend(of_it.iter().map(|(.., line)| (*line).to_owned()));
        left = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_runs_beside_a_server_is_not_of_it() {
        let listed = "PID PPID COMMAND\n\
            40 9 /bin/bash /opt/entrypoint.sh\n\
            55 9 /bin/sh -c curl -f http://127.0.0.1/v1/readyz || exit 1\n\
            56 55 curl -f http://127.0.0.1/v1/readyz\n\
            39 41 sleep 1\n\
            41 40 /bin/bash /opt/entrypoint.sh\n";
        let of_it = descendants("40", listed);
        assert_eq!(of_it.len(), 3, "{of_it:?}");
        assert!(of_it.iter().all(|line| !line.contains("curl")), "{of_it:?}");
        assert!(descendants("7", listed).is_empty());
    }
}
