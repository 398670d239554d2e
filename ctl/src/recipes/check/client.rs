//! What the facts of a client, on its host and at its server, mean for its upgrade (facts/pmm.md 5).

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
mod tests;

use ferry_proto::v1::{ClientFacts, ClientFileFacts, ClientHostFacts, Facts, Finding, Unobserved};

use super::{Notebook, catalogue::client as codes, names};
use crate::recipes::{Version, has_blocker};

/// A package's version that a client could become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As the package manager has it.
    pub package: String,
    /// PMM's own.
    pub version: Version,
}

/// All findings, blockers first.
#[must_use]
pub fn client_findings(facts: &Facts, to: Option<&str>) -> Vec<Finding> {
    let mut notebook = Notebook::default();
    let host = facts.client_host.clone().unwrap_or_default();
    check_installation(&host, &mut notebook);
    if has_blocker(&notebook.findings) {
        return notebook.findings;
    }
    check_at_server(&host, facts, &mut notebook);
    check_target(&host, facts, to, &mut notebook);
    if !host.unit || !host.running {
        let what = if host.unit {
            "does not run"
        } else {
            "is not known to systemd"
        };
        let text = format!("`pmm-agent.service` {what} on `{}`", host.host);
        notebook.blocker(
            codes::CLIENT_UNIT_MISSING,
            text,
            "`systemctl start pmm-agent` there",
        );
    }
    if host.way_back.is_empty() {
        let text = format!(
            "`{} {}` is neither in {}'s cache on `{}` nor in an enabled repository: there would be no way back",
            host.package,
            host.package_version,
            if is_rpm(&host) { "dnf" } else { "apt" },
            host.host
        );
        let hint = if is_rpm(&host) {
            "enable the repository that has it: `percona-release enable pmm2-client`, `dnf makecache`"
        } else {
            "enable the repository that has it (`percona-release enable pmm2-client`, `apt-get update`), or put its file into \
             `/var/cache/apt/archives`"
        };
        notebook.blocker(codes::CLIENT_NO_WAY_BACK, text, hint);
    }
    if host.collectors_count > 0 {
        let all = host.collectors.iter().map(String::as_str);
        let text = format!(
            "collectors of the operator's are carried over: {}",
            names(all, host.collectors_count.into())
        );
        notebook.note(codes::CLIENT_COLLECTORS, text, "");
    }
    let mut findings = notebook.findings;
    findings.sort_by_key(|finding: &Finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// The version that the client shall get: the one asked for, else the newest that is not newer than the server. A tarball has one.
#[must_use]
pub fn client_target(facts: &Facts, to: Option<&str>) -> Option<Target> {
    let host = facts.client_host.as_ref()?;
    let server = server_version(facts);
    let file = host.file.as_ref().map(|it| &it.version);
    let versions = match file {
        Some(version) => std::slice::from_ref(version),
        None => &host.available[..],
    };
    let targets = versions.iter().filter_map(|package| {
        let version = Version::parse(bare(package))?;
        Some(Target {
            package: package.clone(),
            version,
        })
    });
    let fits = |target: &Target| match to {
        Some(wanted) => {
            target.package == wanted
                || bare(&target.package) == wanted
                || Version::parse(wanted) == Some(target.version)
        }
        // A tarball that is newer than the server is refused for that.
        None => file.is_some() || server.is_some_and(|server| target.version <= server),
    };
    // The package manager's order counts among packages of one version.
    targets
        .filter(fits)
        .rev()
        .max_by_key(|target| target.version)
}

/// The version that the client is now: by its package, else by what its server hears.
#[must_use]
pub fn client_version(facts: &Facts) -> Option<Version> {
    let own = facts.client_host.as_ref()?.version.as_str();
    Version::parse(match own {
        "" => client_at_server(facts)?.version.as_str(),
        own => own,
    })
}

/// The client as its server knows it.
fn client_at_server(facts: &Facts) -> Option<&ClientFacts> {
    let host = facts.client_host.as_ref()?;
    let clients = facts.clients.iter().flat_map(|it| &it.clients);
    let mut ours = clients.filter(|it| !host.agent_id.is_empty() && it.agent_id == host.agent_id);
    ours.next()
}

/// Without the epoch of the package manager's.
fn bare(package: &str) -> &str {
    package.split_once(':').map_or(package, |(_, rest)| rest)
}

fn server_version(facts: &Facts) -> Option<Version> {
    facts
        .server
        .as_ref()
        .and_then(|it| Version::parse(&it.version))
}

fn is_rpm(host: &ClientHostFacts) -> bool {
    host.installation == "rpm"
}

fn unobserved<'h>(host: &'h ClientHostFacts, what: &str) -> Option<&'h Unobserved> {
    host.unobserved.iter().find(|it| it.what == what)
}

fn check_installation(host: &ClientHostFacts, notebook: &mut Notebook) {
    let name = &host.host;
    let other = |notebook: &mut Notebook, what: String, hint: &str| {
        let text = format!("the client on `{name}` {what}");
        notebook.blocker(codes::CLIENT_INSTALLATION, text, hint);
    };
    match (host.installation.as_str(), &host.file) {
        ("deb", None) => {}
        ("rpm", None) => {
            if let Some(it) = unobserved(host, "the repositories") {
                let why = &it.why;
                other(
                    notebook,
                    format!("is a package of RPM's whose repositories nothing can ask: {why}"),
                    "upgrade it by hand: docs/clients.md",
                );
            }
        }
        ("tarball", Some(file)) => check_file(file, notebook),
        ("deb" | "rpm", Some(_)) => other(
            notebook,
            "is a package: it comes from a repository, and not from a tarball".to_owned(),
            "leave `--package` out",
        ),
        ("tarball", None) => other(
            notebook,
            format!(
                "was unpacked into `{}`, so that no repository has another",
                host.folder
            ),
            "name a tarball on that host with `--package`",
        ),
        ("", _) => {
            let text = format!("no client of PMM's is installed on `{name}`");
            notebook.blocker(
                codes::CLIENT_NOT_INSTALLED,
                text,
                "name the host that has one",
            );
        }
        (strange, _) => other(
            notebook,
            format!("is installed as `{strange}`, which this ferryctl does not know"),
            "use agent and controller of one release",
        ),
    }
    let usable = matches!(host.installation.as_str(), "deb" | "rpm" | "tarball");
    if usable && (host.agent_id.is_empty() || host.config_digest.is_empty()) {
        let why = unobserved(host, "the configuration");
        let why = why.map_or("it does not say which agent it is", |it| &it.why);
        let text = format!("the client's configuration on `{name}` is of no use: {why}");
        notebook.blocker(codes::CLIENT_CONFIG, text, "see it there");
    }
}

fn check_file(file: &ClientFileFacts, notebook: &mut Notebook) {
    let path = &file.path;
    if !file.failure.is_empty() {
        let text = format!("`{path}` cannot be used: {}", file.failure);
        notebook.blocker(
            codes::CLIENT_FILE,
            text,
            "fetch it again, with the file of its sum",
        );
    } else if !file.confirmed {
        let text = format!(
            "nothing on the client's host says that `{path}` is whole: there is no `{path}.sha256sum`"
        );
        notebook.warning(codes::CLIENT_FILE, text, "fetch that file too");
    }
}

fn check_at_server(host: &ClientHostFacts, facts: &Facts, notebook: &mut Notebook) {
    let Some(client) = client_at_server(facts) else {
        let text = format!(
            "the server knows no agent `{}`, which is that of `{}`",
            host.agent_id, host.host
        );
        let hint = "see that the client belongs to this server";
        notebook.blocker(codes::CLIENT_NOT_KNOWN, text, hint);
        return;
    };
    if client.node_kind == "container" {
        let text = format!(
            "the node `{}` is a container: its client comes with its image",
            client.node
        );
        notebook.blocker(
            codes::CLIENT_IN_CONTAINER,
            text,
            "use the image `percona/pmm-client:3`",
        );
    }
    if !client.connected {
        let text = format!(
            "the server says that the client on `{}` is not connected",
            client.node
        );
        notebook.blocker(
            codes::CLIENT_NOT_CONNECTED,
            text,
            "`pmm-admin status` there says why",
        );
    }
    // A tarball's client says what it is to nobody but its server.
    let differs = match host.version.as_str() {
        "" => client.version.is_empty(),
        own => Version::parse(&client.version) != Version::parse(own),
    };
    if differs {
        let told = match client.version.as_str() {
            "" => "no version".to_owned(),
            told => format!("version {told}"),
        };
        let text = format!("the server hears {told} from `{}`", client.node);
        let text = match host.version.as_str() {
            "" => text,
            own => format!("{text}, where {own} is installed"),
        };
        notebook.blocker(
            codes::CLIENT_VERSION_DIFFERS,
            text,
            "`systemctl restart pmm-agent` there",
        );
    }
}

fn check_target(host: &ClientHostFacts, facts: &Facts, to: Option<&str>, notebook: &mut Notebook) {
    let server = server_version(facts);
    let first = |notebook: &mut Notebook, text: String| {
        let hint = "carry the server over first, or ask for an older version with `--to`";
        notebook.blocker(codes::CLIENT_SERVER_FIRST, text, hint);
    };
    let Some(server) = server else {
        return first(
            notebook,
            "the server does not say which version it is".to_owned(),
        );
    };
    if server.major < 3 {
        return first(notebook, format!("the server is still PMM {server}"));
    }
    let target = client_target(facts, to);
    // What was asked for by a number is refused for that, whether it is there or not.
    let wanted = to
        .and_then(Version::parse)
        .or(target.as_ref().map(|it| it.version));
    if let Some(wanted) = wanted.filter(|wanted| *wanted > server) {
        return first(
            notebook,
            format!("PMM {wanted} would be newer than the server, which is {server}"),
        );
    }
    let now = client_version(facts);
    let newer = |target: &Target| now.is_some_and(|now| target.version > now);
    if target.is_some_and(|target| newer(&target)) {
        return;
    }
    let wanted = match to {
        Some(to) => format!("`pmm-client` {to}"),
        None => format!("newer `pmm-client` up to {server}"),
    };
    if let Some(file) = &host.file {
        let text = format!(
            "`{}` has PMM {}, and not a {wanted}",
            file.path, file.version
        );
        notebook.blocker(codes::CLIENT_PACKAGE_MISSING, text, "name another tarball");
        return;
    }
    let text = format!("no enabled repository on `{}` has a {wanted}", host.host);
    let hint = if is_rpm(host) {
        "`percona-release enable pmm3-client` and `dnf makecache` there"
    } else {
        "`percona-release enable pmm3-client` and `apt-get update` there"
    };
    notebook.blocker(codes::CLIENT_PACKAGE_MISSING, text, hint);
}
