//! What the facts of a client, on its host and at its server, mean for its upgrade (facts/pmm.md 5).

use ferry_proto::v1::{ClientFacts, ClientFileFacts, ClientHostFacts, Facts, Finding};

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
            "`{} {}` is neither in apt's cache on `{}` nor in an enabled repository: there would be no way back",
            host.package, host.package_version, host.host
        );
        let hint = "enable the repository that has it (`percona-release enable pmm2-client`, `apt-get update`), or put its file into \
                    `/var/cache/apt/archives`";
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

fn check_installation(host: &ClientHostFacts, notebook: &mut Notebook) {
    let name = &host.host;
    let other = |notebook: &mut Notebook, what: String, hint: &str| {
        let text = format!("the client on `{name}` {what}");
        notebook.blocker(codes::CLIENT_INSTALLATION, text, hint);
    };
    match (host.installation.as_str(), &host.file) {
        ("deb", None) => {}
        ("tarball", Some(file)) => check_file(file, notebook),
        ("deb", Some(_)) => other(
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
        ("rpm", _) => other(
            notebook,
            "is a package of RPM's, which Ferry does not exchange yet".to_owned(),
            "upgrade it by hand: docs/clients.md",
        ),
        (strange, _) => other(
            notebook,
            format!("is installed as `{strange}`, which this ferryctl does not know"),
            "use agent and controller of one release",
        ),
    }
    let usable = matches!(host.installation.as_str(), "deb" | "tarball");
    if usable && (host.agent_id.is_empty() || host.config_digest.is_empty()) {
        let why = host
            .unobserved
            .iter()
            .find(|it| it.what == "the configuration");
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
    let hint = "`percona-release enable pmm3-client` and `apt-get update` there";
    notebook.blocker(codes::CLIENT_PACKAGE_MISSING, text, hint);
}

/// Facts of a client that can be upgraded, and what makes it one that cannot.
#[cfg(test)]
pub(crate) mod cases {
    use ferry_proto::v1::{ClientsFacts, Facts, Severity};

    use super::*;
    use crate::samples;

    /// A finding's code, its severity, and how facts come to deserve it.
    pub(crate) type Case = (&'static str, Severity, fn(&mut Facts));

    pub(crate) fn facts() -> Facts {
        let mut facts = samples::facts();
        facts.server.as_mut().unwrap().version = "3.8.1".into();
        facts.clients = Some(ClientsFacts {
            clients: vec![ClientFacts {
                agent_id: "8c2a-1".into(),
                node: "db7".into(),
                node_kind: "generic".into(),
                address: "10.0.0.7".into(),
                version: "2.44.1".into(),
                connected: true,
                services: 2,
            }],
            versions_unobserved: String::new(),
        });
        facts.client_host = Some(ClientHostFacts {
            host: "db7".into(),
            installation: "deb".into(),
            package: "pmm2-client".into(),
            package_version: "2.44.1-6.bookworm".into(),
            architecture: "amd64".into(),
            version: "2.44.1".into(),
            folder: "/usr/local/percona/pmm2".into(),
            agent_id: "8c2a-1".into(),
            config_digest: "ab12".into(),
            unit: true,
            running: true,
            available: ["3.9.0-7.bookworm", "3.8.1-7.bookworm", "3.8.0-7.bookworm"]
                .map(str::to_owned)
                .into(),
            way_back: "cache".into(),
            ..ClientHostFacts::default()
        });
        facts
    }

    fn host(facts: &mut Facts) -> &mut ClientHostFacts {
        facts.client_host.as_mut().unwrap()
    }

    /// As [`facts`], from a tarball.
    pub(crate) fn from_tarball(facts: &mut Facts) {
        let host = host(facts);
        "tarball".clone_into(&mut host.installation);
        host.package.clear();
        host.package_version.clear();
        host.version.clear();
        host.available.clear();
        "folder".clone_into(&mut host.way_back);
        host.file = Some(ClientFileFacts {
            path: "/opt/pmm/pmm-client-3.8.1.tar.gz".into(),
            sha256: "cd34".into(),
            version: "3.8.1".into(),
            confirmed: true,
            failure: String::new(),
        });
    }

    fn file(facts: &mut Facts) -> &mut ClientFileFacts {
        from_tarball(facts);
        host(facts).file.as_mut().unwrap()
    }

    fn client(facts: &mut Facts) -> &mut ClientFacts {
        &mut facts.clients.as_mut().unwrap().clients[0]
    }

    pub(crate) const CASES: &[Case] = &[
        ("client-server-first", Severity::Blocker, |f| {
            f.server.as_mut().unwrap().version = "2.44.1".into();
        }),
        ("client-not-installed", Severity::Blocker, |f| {
            *host(f) = ClientHostFacts::default()
        }),
        ("client-installation", Severity::Blocker, |f| {
            host(f).installation = "rpm".into()
        }),
        ("client-in-container", Severity::Blocker, |f| {
            client(f).node_kind = "container".into()
        }),
        ("client-config", Severity::Blocker, |f| {
            host(f).agent_id.clear()
        }),
        ("client-not-known", Severity::Blocker, |f| {
            client(f).agent_id = "other".into()
        }),
        ("client-not-connected", Severity::Blocker, |f| {
            client(f).connected = false
        }),
        ("client-version-differs", Severity::Blocker, |f| {
            client(f).version = "2.43.0".into()
        }),
        ("client-unit-missing", Severity::Blocker, |f| {
            host(f).unit = false
        }),
        ("client-unit-missing", Severity::Blocker, |f| {
            host(f).running = false
        }),
        ("client-package-missing", Severity::Blocker, |f| {
            host(f).available.clear()
        }),
        ("client-package-missing", Severity::Blocker, |f| {
            host(f).available = vec!["3.9.0-7".into()]
        }),
        ("client-no-way-back", Severity::Blocker, |f| {
            host(f).way_back.clear()
        }),
        ("client-installation", Severity::Blocker, |f| {
            from_tarball(f);
            host(f).file = None;
        }),
        ("client-file", Severity::Blocker, |f| {
            file(f).failure = "it is not there".into()
        }),
        ("client-file", Severity::Warning, |f| {
            file(f).confirmed = false
        }),
        ("client-server-first", Severity::Blocker, |f| {
            file(f).version = "3.9.0".into()
        }),
        ("client-package-missing", Severity::Blocker, |f| {
            file(f).version = "2.44.1".into()
        }),
        ("client-version-differs", Severity::Blocker, |f| {
            from_tarball(f);
            client(f).version.clear();
        }),
        ("client-collectors", Severity::Note, |f| {
            host(f).collectors_count = 1;
            host(f).collectors = vec!["collectors/own.yml".into()];
        }),
    ];
}

#[cfg(test)]
mod tests {
    use ferry_proto::v1::Severity;

    use super::{cases::facts, *};

    #[test]
    fn each_kind_of_bad_client_gets_its_finding() {
        assert_eq!(client_findings(&facts(), None), []);
        let mut tarball = facts();
        cases::from_tarball(&mut tarball);
        assert_eq!(client_findings(&tarball, None), []);
        for (code, severity, spoil) in cases::CASES {
            let mut facts = facts();
            spoil(&mut facts);
            let found = client_findings(&facts, None);
            let hit = |it: &Finding| it.code == *code && it.severity() == *severity;
            assert!(found.iter().any(hit), "{code} is missing in {found:#?}");
            let blocked = crate::recipes::has_blocker(&found);
            assert_eq!(blocked, *severity == Severity::Blocker, "{found:#?}");
        }
    }

    #[test]
    fn the_newest_that_the_server_knows_is_meant() {
        let target = |to: Option<&str>| client_target(&facts(), to).map(|it| it.package);
        assert_eq!(target(None).as_deref(), Some("3.8.1-7.bookworm"));
        assert_eq!(target(Some("3.8.0")).as_deref(), Some("3.8.0-7.bookworm"));
        assert_eq!(
            target(Some("3.9.0-7.bookworm")).as_deref(),
            Some("3.9.0-7.bookworm")
        );
        assert_eq!(target(Some("3.7.0")), None);
    }

    #[test]
    fn a_client_is_never_newer_than_its_server() {
        for (server, to) in [
            ("3.8.1", "3.9.0"),
            ("3.8.1", "3.10.0"),
            ("2.44.1", "3.8.1"),
            ("", "3.8.1"),
        ] {
            let mut facts = facts();
            facts.server.as_mut().unwrap().version = server.into();
            let found = client_findings(&facts, Some(to));
            let first = found.iter().any(|it| it.code == "client-server-first");
            assert!(first, "{to} at {server}: {found:?}");
        }
        assert_eq!(client_findings(&facts(), Some("3.8.1")), []);
        // Backwards is no upgrade.
        let found = client_findings(&facts(), Some("2.40.0"));
        assert!(
            found.iter().any(|it| it.code == "client-package-missing"),
            "{found:?}"
        );
    }
}
