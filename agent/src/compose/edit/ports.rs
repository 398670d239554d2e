//! The published ports of a service: the container's side of each.

use super::{
    Refusal, form, interpolated, merges_nothing, own,
    tree::{Kind, Node},
};
use crate::text_edit::Splice;

pub(super) fn splices(text: &str, service: &Node) -> Result<Vec<Splice>, Refusal> {
    let Some((key, node)) = service.entry("ports")? else {
        return Ok(Vec::new());
    };
    let items = match &node.kind {
        Kind::Sequence(items) => items,
        _ if node.is_null() => return Ok(Vec::new()),
        _ => return Err(form("ports", node)),
    };
    let mut made = Vec::new();
    for item in items {
        let splice = match &item.kind {
            Kind::Scalar(words, _) => short(text, item, words),
            Kind::Mapping(_) => long(text, item),
            Kind::Sequence(_) | Kind::Alias(_) => Err(form("ports", item)),
        };
        if !matches!(splice, Ok(None)) {
            own(item, "ports")?;
        }
        made.extend(splice?);
    }
    if !made.is_empty() {
        own(key, "ports")?;
        own(node, "ports")?;
    }
    Ok(made)
}

/// Where PMM 3 has what PMM 2 has there.
fn moved(port: &str) -> Option<&'static str> {
    match port {
        "80" => Some("8080"),
        "443" => Some("8443"),
        _ => None,
    }
}

/// `[address:][host:]container[/protocol]`.
fn short(text: &str, item: &Node, words: &str) -> Result<Option<Splice>, Refusal> {
    let (ports, protocol) = words.rsplit_once('/').unwrap_or((words, "tcp"));
    if matches!(protocol, "udp" | "sctp") {
        return Ok(None);
    }
    let from = ports.rfind(':').map_or(0, |at| at + 1);
    let port = &ports[from..];
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    if let Some((first, last)) = port.split_once('-')
        && let (Some(first), Some(last)) = (number(first), number(last))
    {
        let has = |port| (first..=last).contains(&port);
        return if has(80) || has(443) {
            Err(Refusal::Range { line: item.line })
        } else {
            Ok(None)
        };
    }
    match number(port) {
        Some(80 | 443) => {}
        Some(_) if protocol == "tcp" => return Ok(None),
        _ if words.contains('$') => return Err(interpolated("ports", item)),
        _ => return Err(form("ports", item)),
    }
    if words.contains('$') {
        return Err(interpolated("ports", item));
    }
    let refused = || form("ports", item);
    let new = moved(port)
        .filter(|_| protocol == "tcp")
        .ok_or_else(refused)?;
    let start = item.literal(text).ok_or_else(refused)?.start + from;
    let shown = |port: &str| {
        format!(
            "- {}{port}{}",
            &words[..from],
            &words[from + port_len(words, from)..]
        )
    };
    Ok(Some(Splice {
        before: shown(port),
        after: shown(new),
        range: start..start + port.len(),
        with: new.to_owned(),
        line: item.line,
    }))
}

/// How long the container's port is that begins there.
fn port_len(words: &str, from: usize) -> usize {
    let rest = &words[from..];
    rest.find('/').unwrap_or(rest.len())
}

/// A mapping with `target`.
fn long(text: &str, item: &Node) -> Result<Option<Splice>, Refusal> {
    merges_nothing(item)?;
    let protocol = item.entry("protocol")?;
    if let Some((_, protocol)) = protocol {
        match protocol.text() {
            Some("udp" | "sctp") => return Ok(None),
            Some("tcp") => {}
            _ => return Err(form("protocol", protocol)),
        }
    }
    let Some((_, target)) = item.entry("target")? else {
        return Err(form("ports", item));
    };
    own(target, "target")?;
    let words = target.text().unwrap_or_default();
    let Some(new) = moved(words) else {
        return match words.parse::<u16>() {
            Ok(80 | 443) => Err(form("target", target)),
            Ok(_) => Ok(None),
            Err(_) if words.contains('$') => Err(interpolated("target", target)),
            Err(_) => Err(form("target", target)),
        };
    };
    let range = target.literal(text).ok_or_else(|| form("target", target))?;
    Ok(Some(Splice {
        range,
        with: new.to_owned(),
        line: target.line,
        before: format!("target: {words}"),
        after: format!("target: {new}"),
    }))
}
