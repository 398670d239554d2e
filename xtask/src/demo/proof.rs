//! What a server shows to somebody who asks from outside, and whether that is the same before and after.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::demo::load::FOLDER;
use crate::demo::server::Server;
use crate::error::{Error, Result};
use crate::{docker, http};

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The version that the server's API names.
    pub(crate) version: String,
    /// The services' names, as the inventory lists them.
    pub(crate) services: BTreeSet<String>,
    /// Files that the demo put there.
    pub(crate) files: u64,
    /// A sum over all their names and bytes.
    pub(crate) sum: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = self.sum.get(..12).unwrap_or(&self.sum);
        write!(
            f,
            "version {}, {} services, {} files, sum {sum}",
            self.version,
            self.services.len(),
            self.files
        )
    }
}

impl Seen {
    /// Looks at a running server of this major.
    pub(crate) fn of(server: &Server, major: u32) -> Result<Self> {
        let limit = Duration::from_secs(30);
        let (version, services) = if major == 2 {
            (
                http::get(server.port(), "/v1/version", limit),
                http::post(server.port(), "/v1/inventory/Services/List", limit),
            )
        } else {
            (
                http::get(server.port(), "/v1/server/version", limit),
                http::get(server.port(), "/v1/inventory/services", limit),
            )
        };
        let version = document("version", version)?;
        let version = version
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let mut names = BTreeSet::new();
        collect(&document("services", services)?, "service_name", &mut names);
        let found = docker::script(
            server.name(),
            &format!(
                "cd {FOLDER}; find . -type f | wc -l; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
            ),
        )?;
        let (files, sum) = parse(&found)?;
        Ok(Self {
            version,
            services: names,
            files,
            sum,
        })
    }
}

/// Holds both against each other; the version reached when all is well.
pub(crate) fn prove<'a>(before: &Seen, after: &'a Seen) -> Result<&'a str> {
    if !after.version.starts_with("3.") {
        return Err(Error::new(format!(
            "the server says that it is version {:?}",
            after.version
        )));
    }
    let lost: Vec<&str> = before
        .services
        .difference(&after.services)
        .map(String::as_str)
        .collect();
    if !lost.is_empty() {
        let first = lost.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        return Err(Error::new(format!(
            "{} services are lost, among them {first}",
            lost.len()
        )));
    }
    if (before.files, &before.sum) != (after.files, &after.sum) {
        return Err(Error::new(format!(
            "the files are not the same: {} with sum {} before, {} with sum {} after",
            before.files, before.sum, after.files, after.sum
        )));
    }
    Ok(&after.version)
}

fn document(what: &str, answer: Option<http::Answer>) -> Result<Value> {
    let answer = answer.ok_or_else(|| {
        Error::new(format!(
            "the server did not answer when asked for its {what}"
        ))
    })?;
    if answer.status != 200 {
        return Err(Error::new(format!(
            "asked for its {what}, the server answers {}",
            answer.status
        )));
    }
    serde_json::from_str(&answer.body)
        .map_err(|error| Error::new(format!("the server's {what} are no JSON: {error}")))
}

/// All strings under a key, at any depth: the majors nest their lists differently.
fn collect(value: &Value, key: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => {
                        into.insert(text.clone());
                    }
                    _ => collect(field, key, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, into)),
        _ => {}
    }
}

fn parse(text: &str) -> Result<(u64, String)> {
    let mut words = text.split_whitespace();
    let files = words.next().and_then(|word| word.parse().ok());
    match (files, words.next()) {
        (Some(files), Some(sum)) => Ok((files, sum.to_owned())),
        _ => Err(Error::new(format!("the files were not counted: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Seen, collect, parse, prove};

    fn seen(version: &str, services: &[&str], sum: &str) -> Seen {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        Seen {
            version: version.into(),
            services,
            files: 2,
            sum: sum.into(),
        }
    }

    #[test]
    fn names_are_found_however_deep() {
        let value = serde_json::from_str(
            r#"{"mysql":[{"service_name":"a"},{"service_name":"b","x":{"service_name":"c"}}],"n":1}"#,
        )
        .unwrap();
        let mut names = BTreeSet::new();
        collect(&value, "service_name", &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_lost_service_another_byte_and_the_old_version_are_each_noticed() {
        let before = seen("2.44.1", &["a", "b"], "1");
        assert_eq!(
            prove(&before, &seen("3.8.1", &["a", "b", "c"], "1")).unwrap(),
            "3.8.1"
        );
        assert!(
            prove(&before, &seen("3.8.1", &["a"], "1"))
                .unwrap_err()
                .to_string()
                .contains("among them b")
        );
        assert!(prove(&before, &seen("3.8.1", &["a", "b"], "2")).is_err());
        assert!(prove(&before, &seen("2.44.1", &["a", "b"], "1")).is_err());
    }

    #[test]
    fn the_count_and_the_sum_are_read() {
        assert_eq!(
            parse("50000\nabc  -\n").unwrap(),
            (50_000, "abc".to_owned())
        );
        assert!(parse("").is_err());
    }
}
