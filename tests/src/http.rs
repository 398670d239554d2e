//! One question over HTTP, for doubles that look many times a second: a program that is started for each look costs more than the look.

use std::io::{Read, Result, Write};

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where it sends the caller to: a path of the same server's.
    pub(crate) moved: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Asks for `path`. In HTTP's first version, where the end of an answer is the end of the connection.
pub(crate) fn get(mut server: impl Read + Write, path: &str) -> Result<Answer> {
    write!(server, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut all = Vec::new();
    server.read_to_end(&mut all)?;
    parse(&all).ok_or_else(|| std::io::Error::other("no answer of HTTP's"))
}

fn parse(all: &[u8]) -> Option<Answer> {
    let end = all.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&all[..end]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let moved = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, address)| path_of(address).to_owned());
    Some(Answer {
        status,
        moved,
        body: all[end + 4..].to_vec(),
    })
}

fn path_of(address: &str) -> &str {
    let Some((_, after)) = address.split_once("://") else {
        return address;
    };
    after.find('/').map_or("/", |slash| &after[slash..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let moved =
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: http://localhost/v1/server/readyz\r\n\r\n<a>\r\n\r\n</a>";
        let answer = parse(moved).unwrap();
        assert_eq!(answer.status, 301);
        assert_eq!(answer.moved.as_deref(), Some("/v1/server/readyz"));
        assert_eq!(answer.body, b"<a>\r\n\r\n</a>");
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_none());
        assert_eq!(path_of("/ping"), "/ping");
    }
}
