//! What the facts mean for a migration. Every way in which a server can be unfit is said here,
//! before a plan exists, so that no run ever finds it out with the server stopped.
//!
//! Which there are is listed in [`catalogue`].

mod arrival;
mod backup;
pub mod catalogue;
mod client;
mod cluster;
mod compose;
mod container;
mod data;
mod environment;
mod hops;
mod image;
mod layer;
mod server;
mod unit;
mod uses;

use ferry_proto::v1::{Facts, Finding, MountFact, Severity};

use super::{Version, Wishes, policy::Hops};
pub use arrival::arrival_findings;
pub(super) use arrival::renumbered;
use catalogue::Code;
#[cfg(test)]
pub(super) use client::cases as client_cases;
pub use client::{client_findings, client_target, client_version};

/// All findings, blockers first, then warnings, then notes; within one severity in the order in
/// which a person would look: engine and container, images, server, data.
#[must_use]
pub fn findings(facts: &Facts, wishes: &Wishes) -> Vec<Finding> {
    let subject = Subject::new(facts);
    let mut notebook = Notebook::default();
    container::check(facts, wishes, &subject, &mut notebook);
    // Within a major version names, features and rights stay what they are.
    let update = subject.is_update();
    if !update {
        environment::check(facts, &subject, &mut notebook);
    }
    image::check(facts, wishes, &subject, &mut notebook);
    server::check(facts, &subject, &mut notebook);
    if !update {
        uses::check(facts, &subject, &mut notebook);
    }
    data::check(facts, wishes, &subject, &mut notebook);
    let mut findings = notebook.findings;
    // Where no agent may look, what it would have seen is not known; that is no news beside it.
    let shut = |finding: &Finding| {
        matches!(
            finding.code.as_str(),
            "cluster-forbidden" | "cluster-agent-refused"
        )
    };
    if facts.server.is_none() && findings.iter().any(shut) {
        findings.retain(|finding| finding.code.starts_with("cluster-"));
    } else if findings.iter().any(|finding| finding.code == "not-pmm") {
        // What PMM lacks in something that is no PMM says nothing; the one sentence that counts must not drown in it.
        let counts = |code: &str| {
            code == "not-pmm" || code.starts_with("container-") || code.starts_with("engine-")
        };
        findings.retain(|finding| counts(&finding.code));
    }
    told(facts, findings)
}

/// As an operator of this engine reads them, the worst first.
fn told(facts: &Facts, mut findings: Vec<Finding>) -> Vec<Finding> {
    if facts.engine.as_ref().is_some_and(|it| it.kind == PODMAN) {
        findings.iter_mut().for_each(say_podman);
    }
    // Stable: the order within a severity stays.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// The engine whose own program is not `docker`, as the facts name it.
const PODMAN: &str = "Podman";

/// Both programs take the same words.
fn say_podman(finding: &mut Finding) {
    for text in [&mut finding.text, &mut finding.hint] {
        *text = text.replace("`docker ", "`podman ");
    }
}

/// The mount that holds the server's data; absent when the data lies in the container itself.
#[must_use]
pub fn data_mount(facts: &Facts) -> Option<&MountFact> {
    let destination = &facts.data.as_ref()?.destination;
    let mounts = &facts.container.as_ref()?.mounts;
    mounts
        .iter()
        .find(|mount| mount.destination.trim_end_matches('/') == destination.trim_end_matches('/'))
}

/// What every check needs to know.
pub(super) struct Subject {
    /// The container's name, for sentences.
    name: String,
    /// What the server is; its own word counts more than its image's, because PMM 2 can be updated
    /// inside its container.
    from: Option<Version>,
    /// What it shall become.
    to: Option<Version>,
}

impl Subject {
    /// Whether it shall become another one of the same major version.
    pub(super) fn is_update(&self) -> bool {
        super::policy::is_update(self.from, self.to)
    }

    /// What the policy puts before the wished image.
    pub(super) fn hops(&self, facts: &Facts, wishes: &Wishes) -> Hops {
        let asked = &wishes.target_image;
        super::policy::hops(facts, self.from, self.to, asked, &wishes.allowed)
    }

    pub(super) fn new(facts: &Facts) -> Self {
        let said = facts
            .server
            .as_ref()
            .and_then(|server| Version::parse(&server.version));
        let baked = facts
            .image
            .as_ref()
            .and_then(|image| Version::parse(&image.version));
        let name = facts
            .container
            .as_ref()
            .map_or("", |container| container.name.as_str());
        Self {
            name: if name.is_empty() {
                "the container".to_owned()
            } else {
                name.to_owned()
            },
            from: said.or(baked),
            to: facts
                .target
                .as_ref()
                .and_then(|target| Version::parse(&target.version)),
        }
    }

    /// The target is this version or a later one. False when the target is not known: a blocker
    /// says so elsewhere.
    fn to_at_least(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.to
            .is_some_and(|to| to >= Version::new(major, minor, patch))
    }
}

#[derive(Default)]
struct Notebook {
    findings: Vec<Finding>,
}

impl Notebook {
    fn add(&mut self, severity: Severity, code: &Code, text: impl Into<String>, hint: &str) {
        debug_assert!(
            code.severities().contains(&severity),
            "`{}` is listed without {severity:?}",
            code.name()
        );
        // What to do is never left unsaid where there is something to do.
        let remedy = Some(code.remedy()).filter(|it| !it.starts_with("nothing"));
        let hint = match hint {
            "" => remedy.unwrap_or_default(),
            hint => hint,
        };
        self.findings.push(Finding {
            severity: severity.into(),
            code: code.name().to_owned(),
            text: text.into(),
            hint: hint.to_owned(),
        });
    }

    fn blocker(&mut self, code: &Code, text: impl Into<String>, hint: &str) {
        self.add(Severity::Blocker, code, text, hint);
    }

    fn warning(&mut self, code: &Code, text: impl Into<String>, hint: &str) {
        self.add(Severity::Warning, code, text, hint);
    }

    fn note(&mut self, code: &Code, text: impl Into<String>, hint: &str) {
        self.add(Severity::Note, code, text, hint);
    }
}

/// The first names, in backticks, and how many more there are.
fn names<'a>(all: impl IntoIterator<Item = &'a str>, total: u64) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = all
        .into_iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = total.saturating_sub(shown.len() as u64);
    let mut text = shown.join(", ");
    if more > 0 {
        let and = if text.is_empty() { "" } else { " and " };
        text.push_str(&format!("{and}{} more", crate::units::count(more)));
    }
    text
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;
