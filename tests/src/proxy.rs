//! An engine that answers badly, in front of one that is well: the tool talks to a socket of the test's own, which passes on what no
//! rule is about.
//!
//! Every request but those that turn the connection into a stream gets a connection of its own, so that none goes by unread.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;
use crate::command::Elsewhere;

/// Where the machine's own engine listens.
pub(crate) const ENGINE: &str = "/var/run/docker.sock";
/// No request line and headers of ours are longer.
const LONGEST_HEAD: usize = 64 * 1024;

/// What becomes of requests whose first line has all of these words in this order.
#[derive(Debug)]
pub struct Rule {
    words: Vec<String>,
    answer: Answer,
    /// How many of them are passed on before it holds.
    after: usize,
    /// How many it holds for.
    times: usize,
    seen: AtomicUsize,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 500 with a message.
    Error,
    /// The connection is closed without a word.
    Nothing,
}

impl Rule {
    /// For requests such as `["POST", "/containers/", "/stop"]`, each time.
    #[must_use]
    pub fn on(words: &[&str], answer: Answer) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            answer,
            after: 0,
            times: usize::MAX,
            seen: AtomicUsize::new(0),
        }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not before so many were passed on.
    #[must_use]
    pub fn after(mut self, after: usize) -> Self {
        self.after = after;
        self
    }

    fn holds(&self, line: &str) -> bool {
        let mut rest = line;
        for word in &self.words {
            let Some((_, behind)) = rest.split_once(word.as_str()) else {
                return false;
            };
            rest = behind;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        (self.after..self.after.saturating_add(self.times)).contains(&seen)
    }
}

/// A socket that stands for the engine.
#[derive(Debug)]
pub struct EngineProxy {
    folder: tempfile::TempDir,
    rules: Arc<Mutex<Vec<Arc<Rule>>>>,
    hits: Arc<AtomicUsize>,
    /// When each came.
    requests: Arc<Mutex<Vec<Instant>>>,
    /// How many milliseconds each request waits before a rule is looked for.
    wait: Arc<AtomicU64>,
}

impl EngineProxy {
    /// Begins to listen, without a rule.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("engine.sock"))?;
        let proxy = Self {
            folder,
            rules: Arc::default(),
            hits: Arc::default(),
            requests: Arc::default(),
            wait: Arc::default(),
        };
        let (rules, hits) = (Arc::clone(&proxy.rules), Arc::clone(&proxy.hits));
        let (requests, wait) = (Arc::clone(&proxy.requests), Arc::clone(&proxy.wait));
        // It ends with the test's process: a socket that is gone has no callers.
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(|caller| caller.ok()) {
                let (rules, hits) = (Arc::clone(&rules), Arc::clone(&hits));
                came(&requests).push(Instant::now());
                let wait = Duration::from_millis(wait.load(Ordering::Relaxed));
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    // A caller that goes away is no failure of the proxy.
                    let _gone = serve(caller, &rules, &hits);
                });
            }
        });
        Ok(proxy)
    }

    /// From now on this rule holds too.
    pub fn add(&self, rule: Rule) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push(Arc::new(rule));
    }

    /// Each request waits for so many milliseconds: who makes a rule for what a tool is about to ask is not too late.
    pub fn wait(&self, milliseconds: u64) {
        self.wait.store(milliseconds, Ordering::Relaxed);
    }

    /// From now on the engine is well.
    pub fn heal(&self) {
        self.wait(0);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.clear();
    }

    /// How many requests were answered by a rule. A fault that was never met proves nothing.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// How many requests there were until then, each of which has a connection of its own.
    #[must_use]
    pub fn requests(&self, until: Instant) -> usize {
        came(&self.requests)
            .iter()
            .filter(|at| **at < until)
            .count()
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

fn came(requests: &Mutex<Vec<Instant>>) -> MutexGuard<'_, Vec<Instant>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    mut caller: UnixStream,
    rules: &Mutex<Vec<Arc<Rule>>>,
    hits: &AtomicUsize,
) -> std::io::Result<()> {
    let Some((head, behind)) = read_head(&mut caller)? else {
        return Ok(());
    };
    let line = head.lines().next().unwrap_or_default();
    let rules = rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Each counts what it sees, also when another one answers.
    let holding: Vec<_> = rules.iter().filter(|rule| rule.holds(line)).collect();
    if let Some(rule) = holding.first() {
        hits.fetch_add(1, Ordering::Relaxed);
        if rule.answer == Answer::Error {
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
    fn a_rule_is_about_its_requests_alone_and_so_many_of_them() {
        let rule = Rule::on(&["POST", "/stop"], Answer::Error)
            .after(1)
            .times(1);
        assert!(!rule.holds("GET /v1.41/containers/json HTTP/1.1"));
        let stop = "POST /v1.41/containers/a/stop?t=3 HTTP/1.1";
        assert_eq!([(); 3].map(|()| rule.holds(stop)), [false, true, false]);
    }

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
