//! Facts of a client that can be upgraded, and what makes it one that cannot.

use ferry_proto::v1::{ClientsFacts, Facts, Severity, Unobserved};

use super::{ClientFacts, ClientFileFacts, ClientHostFacts};
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

/// As [`facts`], on a host with RPM's packages.
pub(crate) fn from_rpm(facts: &mut Facts) {
    let host = host(facts);
    "rpm".clone_into(&mut host.installation);
    "2.44.1-6.el9".clone_into(&mut host.package_version);
    "x86_64".clone_into(&mut host.architecture);
    host.available = ["3.9.0-7.el9", "3.8.1-7.el9"].map(str::to_owned).into();
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
        from_rpm(f);
        host(f).unobserved = vec![Unobserved {
            what: "the repositories".into(),
            why: "there is no dnf".into(),
        }];
    }),
    ("client-installation", Severity::Blocker, |f| {
        file(f);
        host(f).installation = "rpm".into();
    }),
    ("client-installation", Severity::Blocker, |f| {
        host(f).installation = "snap".into()
    }),
    ("client-no-way-back", Severity::Blocker, |f| {
        from_rpm(f);
        host(f).way_back.clear();
    }),
    ("client-package-missing", Severity::Blocker, |f| {
        from_rpm(f);
        host(f).available.clear();
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
