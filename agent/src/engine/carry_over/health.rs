//! A health check of the operator's own, pointed at where PMM 3 listens.
//!
//! Why: PMM 3 listens on 8080 and 8443 and answers readiness under another path; a check that was carried over unchanged would call
//! a good server unhealthy, and whoever watches it would restart it.

use serde_json::Value;

/// Names by which a check inside the container calls its own server.
const SELF: &[&str] = &["127.0.0.1", "localhost", "[::1]", "0.0.0.0"];

/// The check with PMM 3's ports and path, and whether anything differs.
pub(super) fn rewrite(check: &Value) -> (Value, bool) {
    let mut new = check.clone();
    let mut changed = false;
    for word in new["Test"].as_array_mut().into_iter().flatten() {
        if let Some(text) = word.as_str() {
            let rewritten = rewrite_text(text);
            changed |= rewritten != text;
            *word = Value::String(rewritten);
        }
    }
    (new, changed)
}

/// Whether a check, after [`rewrite`], names a port that PMM 3 does not listen on. Only a whole number counts, and none
/// behind a host that may be another one.
pub(super) fn names_old_port(check: &Value) -> bool {
    let words = check["Test"].as_array().into_iter().flatten();
    words.filter_map(Value::as_str).any(|text| {
        text.split(|c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '|' | '&' | '(' | ')')
        })
        .any(is_old_port)
    })
}

/// `80`, `localhost:443`, `/dev/tcp/127.0.0.1/80`. What is left of URLs names other hosts.
fn is_old_port(word: &str) -> bool {
    if word.contains("://") {
        return false;
    }
    let mut parts = word.rsplitn(2, [':', '/']);
    let port = parts.next().unwrap_or_default();
    let host = parts.next();
    let own = host.is_none_or(|host| {
        let host = host.rsplit_once('/').map_or(host, |(_, host)| host);
        host.is_empty() || SELF.contains(&host)
    });
    matches!(port, "80" | "443") && own
}

fn rewrite_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some((at, scheme)) = next_scheme(rest) {
        let after = at + scheme.len();
        out.push_str(&rest[..after]);
        rest = &rest[after..];
        let Some(host) = SELF.iter().find(|host| rest.starts_with(**host)) else {
            continue;
        };
        let tail = &rest[host.len()..];
        let (port, tail) = match tail.strip_prefix(':') {
            Some(port) => {
                let digits = port
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(port.len());
                (Some(&port[..digits]), &port[digits..])
            }
            None => (None, tail),
        };
        // `localhost.example` is another host.
        if tail.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-')) {
            continue;
        }
        out.push_str(host);
        match (scheme, port) {
            (_, Some("80")) | ("http://", None) => out.push_str(":8080"),
            (_, Some("443")) | ("https://", None) => out.push_str(":8443"),
            (_, Some(port)) => {
                out.push(':');
                out.push_str(port);
            }
            (_, None) => {}
        }
        rest = tail;
    }
    out.push_str(rest);
    out.replace("/v1/readyz", "/v1/server/readyz")
}

fn next_scheme(text: &str) -> Option<(usize, &'static str)> {
    ["http://", "https://"]
        .into_iter()
        .filter_map(|scheme| Some((text.find(scheme)?, scheme)))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_path_follow_pmm_3() {
        for (old, new) in [
            (
                "curl -f http://127.0.0.1/v1/readyz",
                "curl -f http://127.0.0.1:8080/v1/server/readyz",
            ),
            (
                "curl -k https://localhost/ping",
                "curl -k https://localhost:8443/ping",
            ),
            (
                "curl http://127.0.0.1:80/v1/readyz || exit 1",
                "curl http://127.0.0.1:8080/v1/server/readyz || exit 1",
            ),
            ("curl https://localhost:443", "curl https://localhost:8443"),
            ("curl http://localhost", "curl http://localhost:8080"),
            (
                "curl http://127.0.0.1:3000/api/health",
                "curl http://127.0.0.1:3000/api/health",
            ),
            (
                "curl http://example.com/x http://[::1]/y",
                "curl http://example.com/x http://[::1]:8080/y",
            ),
            (
                "curl http://localhost.example/x",
                "curl http://localhost.example/x",
            ),
            (
                "curl http://127.0.0.1:8080/v1/server/readyz",
                "curl http://127.0.0.1:8080/v1/server/readyz",
            ),
            ("true", "true"),
        ] {
            assert_eq!(rewrite_text(old), new);
        }
    }

    #[test]
    fn a_port_that_is_not_part_of_a_url_is_told() {
        let names =
            |text: &str| names_old_port(&serde_json::json!({ "Test": ["CMD-SHELL", text] }));
        for text in [
            "nc -z localhost 443",
            "nc -z 127.0.0.1:80 || exit 1",
            "bash -c '</dev/tcp/127.0.0.1/80'",
            "wget --port=x -- :443",
        ] {
            assert!(names(text), "{text}");
        }
        for text in [
            "curl http://127.0.0.1:8080/v1/server/readyz",
            "curl http://example.com:80/x",
            "nc -z other.example:443",
            "sleep 1; test 8080 -gt 8",
            "true",
        ] {
            assert!(!names(text), "{text}");
        }
        assert!(names_old_port(
            &serde_json::json!({ "Test": ["CMD", "nc", "-z", "localhost", "80"] })
        ));
    }
}
