//! The few requests that watch a server from outside. A client of forty lines is enough for a ready page and a list, and its
//! connection is new each time, as a prober's has to be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// `admin:admin`, the first login of a PMM server (`facts/pmm.md` 3.5).
const LOGIN: &str = "Basic YWRtaW46YWRtaW4=";

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200, 503 and so on.
    pub(crate) status: u16,
    /// The body, whole.
    pub(crate) body: String,
}

/// One `GET`, with a limit on each wait.
pub(crate) fn get(port: u16, path: &str, limit: Duration) -> Option<Answer> {
    exchange(
        port,
        &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: {LOGIN}\r\n\r\n"),
        limit,
    )
}

/// One `POST` of an empty object, which is how PMM 2 is asked for its lists.
pub(crate) fn post(port: u16, path: &str, limit: Duration) -> Option<Answer> {
    let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: {LOGIN}");
    let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    exchange(port, &format!("{head}\r\n{body}"), limit)
}

/// Waits until a path answers 200.
pub(crate) fn wait_ready(port: u16, path: &str, patience: Duration) -> Result<()> {
    let start = Instant::now();
    let limit = Duration::from_secs(2);
    loop {
        let answer = get(port, path, limit);
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if start.elapsed() > patience {
            let last =
                answer.map_or_else(|| "nothing".to_owned(), |answer| answer.status.to_string());
            return Err(Error::new(format!(
                "port {port} is not ready after {} s: `{path}` answers {last}",
                patience.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// HTTP/1.0 ends the answer with the connection: there is no framing to get wrong.
fn exchange(port: u16, request: &str, limit: Duration) -> Option<Answer> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::{get, parse};

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n<html>").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "<html>"));
        assert_eq!(parse("HTTP/1.1 503"), None);
        assert_eq!(parse("hello\r\n\r\n"), None);
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(get(port, "/", Duration::from_millis(50)), None);
    }

    #[test]
    fn the_path_and_the_login_are_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 512];
            let read = stream.read(&mut bytes).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        });
        let answer = get(port, "/v1/readyz", Duration::from_secs(5)).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        let asked = server.join().unwrap();
        assert!(asked.starts_with("GET /v1/readyz HTTP/1.0\r\n"), "{asked}");
        assert!(asked.contains("Authorization: Basic "), "{asked}");
    }
}
