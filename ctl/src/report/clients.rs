//! A server's clients as a table, and below it what is to be done with each kind.

use super::text::{Look, Tone, clean, columns, fit, hang, pad, push_line};
use crate::{
    clients::{Client, Severity, upgrade_command},
    units::{count, counted},
};

/// How many are named in one command.
const NAMED: usize = 3;

/// What `ferryctl clients` prints of a server, by its address and version. `unobserved` is why the versions could not be had; empty when they could.
#[must_use]
pub fn clients(
    clients: &[Client],
    (address, server_version): (&str, &str),
    unobserved: &str,
    look: Look,
) -> String {
    let mut out = String::new();
    let many = counted(clients.len() as u64, "client");
    let server = format!("{many}; the server is PMM {}", clean(server_version));
    hang(&mut out, "", 0, &server, look.width);
    if !unobserved.is_empty() {
        let start = format!("  {}  ", look.paint(Tone::Careful, "versions"));
        let text = format!("are not known: {unobserved}");
        hang(&mut out, &start, 12, &text, look.width);
    }
    if clients.is_empty() {
        return out;
    }
    out.push('\n');
    if look.is_narrow() {
        for client in clients {
            narrow(&mut out, client, look);
        }
    } else {
        table(&mut out, clients, look);
    }
    for severity in Severity::ALL {
        remedy(&mut out, severity, clients, look);
    }
    next(&mut out, clients, address, look);
    out
}

/// The command for those that Ferry can upgrade.
fn next(out: &mut String, clients: &[Client], address: &str, look: Look) {
    let able = clients.iter().filter(|it| !it.command.is_empty());
    let nodes: Vec<&str> = able.map(|it| it.node.as_str()).collect();
    if nodes.is_empty() {
        return;
    }
    let named = nodes.iter().copied().take(NAMED);
    let more = match nodes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and the {} others in the same way,", count(more as u64)),
    };
    let text = format!(
        "`{}`{more} where `ferryd client` serves on their hosts",
        upgrade_command(named, &clean(address))
    );
    out.push('\n');
    let start = format!("{}  ", look.paint(Tone::Heading, "next"));
    hang(out, &start, 6, &text, look.width);
}

fn table(out: &mut String, clients: &[Client], look: Look) {
    let heads = [
        "NODE",
        "VERSION",
        "STATE",
        "CONNECTED",
        "SERVICES",
        "ADDRESS",
    ];
    let cells: Vec<[String; 6]> = clients.iter().map(cells).collect();
    let mut widths = heads.map(columns);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    // A node's name is the one that can be long, and is still known when it is cut; the JSON has it whole.
    let others: usize = widths.iter().sum::<usize>() - widths[0] + 2 * (widths.len() - 1);
    widths[0] = widths[0].min(look.width.saturating_sub(others)).max(12);
    let line = |cells: &[String; 6]| {
        let padded = cells.iter().zip(widths);
        let padded = padded.map(|(cell, width)| pad(&fit(cell, width), width));
        fit(padded.collect::<Vec<_>>().join("  ").trim_end(), look.width)
    };
    let head = line(&heads.map(str::to_owned));
    push_line(out, &look.paint(Tone::Heading, &head));
    for row in &cells {
        push_line(out, &line(row));
    }
}

fn cells(client: &Client) -> [String; 6] {
    [
        clean(&client.node).into_owned(),
        version(client),
        client.severity.word().to_owned(),
        if client.connected { "yes" } else { "no" }.to_owned(),
        count(client.services.into()),
        clean(&client.address).into_owned(),
    ]
}

fn version(client: &Client) -> String {
    match client.version.as_str() {
        "" => "not known".to_owned(),
        version => clean(version).into_owned(),
    }
}

fn narrow(out: &mut String, client: &Client, look: Look) {
    let head = format!("{}  {}", clean(&client.node), client.severity.word());
    hang(out, "", 0, &head, look.width);
    let connected = if client.connected {
        ""
    } else {
        ", not connected"
    };
    let services = counted(client.services.into(), "service");
    let text = format!("version {}, {services}{connected}", version(client));
    hang(out, "  ", 2, &text, look.width);
}

/// What is to be done, once for all of a kind.
fn remedy(out: &mut String, severity: Severity, clients: &[Client], look: Look) {
    let many = clients.iter().filter(|it| it.severity == severity).count();
    if many == 0 || severity.remedy().is_empty() {
        return;
    }
    out.push('\n');
    let tone = match severity {
        Severity::Critical | Severity::Unsupported => Tone::Bad,
        Severity::Required | Severity::Unknown => Tone::Careful,
        Severity::UpToDate => Tone::Good,
    };
    let start = format!("{}  ", look.paint(tone, severity.word()));
    let text = format!("{}: {}", count(many as u64), severity.remedy());
    hang(out, &start, columns(severity.word()) + 2, &text, look.width);
}
