//! The values for `helm upgrade` that describe what a run has made of the StatefulSet: Helm does not know of it, and would put PMM 2 back.

use std::{collections::BTreeMap, fmt::Write as _};

/// What the file says.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub(crate) release: &'a str,
    pub(crate) namespace: &'a str,
    /// The image, as the template has it.
    pub(crate) reference: &'a str,
    pub(crate) version: &'a str,
    pub(crate) uid: u32,
    /// `pmmEnv`.
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// Which chart has which PMM (facts/pmm.md 7.3).
const CHARTS: [(&str, &str); 2] = [("3.0.0", "1.4.0"), ("3.8.1", "1.8.1")];

impl Values<'_> {
    /// The chart that has this version; a placeholder where that is not known.
    fn chart(&self) -> &str {
        let mut charts = CHARTS.iter();
        let found = charts.find(|(version, _)| *version == self.version);
        found.map_or("VERSION", |(_, chart)| chart)
    }

    /// What is to be typed, with the file of this name.
    pub(crate) fn command(&self, file: &str) -> String {
        format!(
            "helm upgrade {} percona/pmm --namespace {} --version {} -f YOUR-VALUES.yaml -f {file}",
            self.release,
            self.namespace,
            self.chart()
        )
    }

    /// As YAML: JSON's strings are YAML's.
    pub(crate) fn yaml(&self, file: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (repository, tag) = split(self.reference);
        let mut out = format!(
            "# What the crossing to PMM {} has made of release {}, for Helm to know. Your own values before it, these last:\n#   {}\n",
            self.version,
            self.release,
            self.command(file)
        );
        let _infallible = write!(
            out,
            "image:\n  repository: {}\n  tag: {}\npodSecurityContext:\n  runAsUser: {}\n  runAsGroup: null\n  fsGroup: null\n  fsGroupChangePolicy: null\n",
            quoted(repository),
            quoted(tag),
            self.uid
        );
        if !self.variables.is_empty() {
            out.push_str("pmmEnv:\n");
            for (name, value) in self.variables {
                let _infallible = writeln!(out, "  {}: {}", quoted(name), quoted(value));
            }
        }
        out
    }
}

/// Repository and tag.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helm_is_told_what_was_made() {
        let variables = [("PMM_ENABLE_UPDATES", "false"), ("ODD", "a: \"b\" #c")];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let values = Values {
            release: "pmm",
            namespace: "monitoring",
            reference: "r.example:5000/pmm-server:3.8.1",
            version: "3.8.1",
            uid: 1000,
            variables: &variables,
        };
        let yaml = values.yaml("values.yaml");
        for line in [
            "#   helm upgrade pmm percona/pmm --namespace monitoring --version 1.8.1 -f YOUR-VALUES.yaml -f values.yaml",
            "  repository: \"r.example:5000/pmm-server\"",
            "  tag: \"3.8.1\"",
            "  fsGroup: null",
            r#"  "ODD": "a: \"b\" #c""#,
        ] {
            assert!(yaml.lines().any(|it| it == line), "{yaml}");
        }
        assert_eq!(
            split("r.example:5000/pmm"),
            ("r.example:5000/pmm", "latest")
        );
    }
}
