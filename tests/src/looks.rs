//! Looks that are taken thousands of times in the crash matrix. A program of the engine's for each of them took most of the machine: on the
//! machine's own engine its socket is asked instead, and questions go into a container's namespaces by themselves.

use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::command::{docker, engine_address, run};
use crate::proxy::ENGINE;
use crate::{Error, Result, http};

/// The engine's inspection of a container.
///
/// # Errors
/// When there is no such container.
pub(crate) fn inspect(container: &str) -> Result<Value> {
    if engine_address().is_some() {
        let text = docker(&["container", "inspect", container])?;
        return Ok(serde_json::from_str::<Value>(&text)?[0].take());
    }
    let engine = UnixStream::connect(ENGINE)?;
    let answer = http::get(engine, &format!("/v1.41/containers/{container}/json"))?;
    if answer.status != 200 {
        let why = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(Error::of(format!("inspecting `{container}`: {why}")));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Runs a program of a container's in it that only asks, and gives its standard output without the last line's end. It is root, in no limit of
/// the container's, and has nothing of its environment: what leaves something there is for [`exec`](crate::server::Container::exec).
///
/// # Errors
/// When the program fails or the container does not run.
pub(crate) fn ask(container: &str, words: &[&str]) -> Result<String> {
    if engine_address().is_some() {
        return docker(&[&["exec", container], words].concat());
    }
    let pid = match inspect(container)?["State"]["Pid"].as_u64() {
        Some(pid) if pid > 0 => pid.to_string(),
        _ => return Err(Error::of(format!("`{container}` does not run"))),
    };
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &pid, "--mount", "--net", "--"]);
    run(enter.args(words)).map(|out| out.trim_end().to_owned())
}
