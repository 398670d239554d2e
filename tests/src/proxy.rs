//! An engine that answers badly, in front of one that is well: the tool talks to a socket of the test's own, which passes on what no
//! rule is about.
//!
//! Every request but those that turn the connection into a stream gets a connection of its own, so that none goes by unread.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::Result;
use crate::answers::{Answer, Answers};
use crate::command::Elsewhere;

/// Where the machine's own engine listens.
pub(crate) const ENGINE: &str = "/var/run/docker.sock";
/// No request line and headers of ours are longer.
const LONGEST_HEAD: usize = 64 * 1024;

/// A socket that stands for the engine.
#[derive(Debug)]
pub struct EngineProxy {
    folder: tempfile::TempDir,
    /// What it answers itself.
    pub answers: Answers,
}

impl EngineProxy {
    /// Begins to listen, without a rule.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("engine.sock"))?;
        let answers = Answers::default();
        let own = answers.clone();
        // It ends with the test's process: a socket that is gone has no callers.
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(|caller| caller.ok()) {
                let (own, wait) = (own.clone(), own.came());
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    // A caller that goes away is no failure of the proxy.
                    let _gone = serve(caller, &own);
                });
            }
        });
        Ok(Self { folder, answers })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// While the result lives, this thread's tools mean this engine.
    #[must_use]
    pub fn enter(&self) -> Elsewhere {
        Elsewhere::at(&format!("unix://{}", self.socket().display()))
    }
}

fn serve(mut caller: UnixStream, answers: &Answers) -> std::io::Result<()> {
    let Some((head, behind)) = read_head(&mut caller)? else {
        return Ok(());
    };
    let line = head.lines().next().unwrap_or_default();
    if let Some(answer) = answers.to(line) {
        if answer == Answer::Error {
            let body = r#"{"message":"the test's engine is ill"}"#;
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            caller.write_all(answer.as_bytes())?;
        }
        return caller.shutdown(std::net::Shutdown::Both);
    }
    let mut engine = UnixStream::connect(ENGINE)?;
    engine.write_all(alone(&head).as_bytes())?;
    engine.write_all(&behind)?;
    let (mut up, mut down) = (caller.try_clone()?, engine.try_clone()?);
    let upwards = std::thread::spawn(move || {
        let _gone = std::io::copy(&mut up, &mut down);
        let _gone = down.shutdown(std::net::Shutdown::Write);
    });
    let _gone = std::io::copy(&mut engine, &mut caller);
    let _gone = caller.shutdown(std::net::Shutdown::Both);
    let _over = upwards.join();
    Ok(())
}

/// The request's line and headers, and what came with them of its body. `None` when the caller went without one.
fn read_head(caller: &mut UnixStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let behind = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), behind)));
        }
        let read = caller.read(&mut buffer)?;
        if read == 0 || bytes.len() > LONGEST_HEAD {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// The same request, and the connection is closed after its answer; unless it becomes a stream.
fn alone(head: &str) -> String {
    if head.to_ascii_lowercase().contains("\r\nupgrade:") {
        return head.to_owned();
    }
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    format!("{first}\r\nConnection: close\r\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_its_connection_and_nothing_else_does() {
        let attach = "POST /attach HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        assert_eq!(alone(attach), attach);
        assert_eq!(
            alone("GET /info HTTP/1.1\r\nHost: d\r\n\r\n"),
            "GET /info HTTP/1.1\r\nConnection: close\r\nHost: d\r\n\r\n"
        );
    }
}
