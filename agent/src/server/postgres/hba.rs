//! Who may connect to the cluster, and how: `pg_hba.conf`.
//!
//! Why: PMM 3 sets the superuser's password at its first boot over the local socket, and needs `trust` there. On a
//! volume whose file was hardened by hand its container ends instead (`facts/pmm.md` 1.4).

use std::path::Path;

use super::super::{Result, ServerError, ServerRoot};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaRule {
    /// `local`, `host`, `hostssl`, …
    pub kind: String,
    /// The databases that it is about.
    pub databases: Vec<String>,
    /// The users that it is about.
    pub users: Vec<String>,
    /// The addresses that it is about; none for `local`.
    pub address: Option<String>,
    /// `trust`, `md5`, `scram-sha-256`, `peer`, …
    pub method: String,
}

/// The rules, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hba(pub Vec<HbaRule>);

impl Hba {
    /// Reads `pg_hba.conf` of a data directory, which is given in the server's names.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(root: &ServerRoot, data_dir: &Path) -> Result<Self> {
        let text = root.read_text(data_dir.join("pg_hba.conf"), MAX_FILE)?;
        text.map(|text| Self::parse(&text))
            .ok_or_else(|| ServerError::Missing {
                what: "pg_hba.conf",
                why: format!("`{}` has none", data_dir.display()),
            })
    }

    /// Reads the file's text; lines that are no rules are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(rule).collect())
    }

    /// How `user` gets into `database` over the local socket: the method of the first rule that fits, as the server
    /// takes it; `None` when no rule fits, which means not at all.
    #[must_use]
    pub fn local_method(&self, database: &str, user: &str) -> Option<&str> {
        self.0
            .iter()
            .filter(|rule| rule.kind == "local")
            .find(|rule| {
                let any = |list: &[String], name: &str, same: &str| {
                    list.iter().any(|item| {
                        item == "all" || item == name || (item == same && database == user)
                    })
                };
                any(&rule.databases, database, "sameuser") && any(&rule.users, user, "")
            })
            .map(|rule| rule.method.as_str())
    }

    /// Whether PMM 3 can get in over the local socket to set the superuser's password.
    #[must_use]
    pub fn trusts_local_superuser(&self) -> bool {
        self.local_method("postgres", "postgres") == Some("trust")
    }
}

fn rule(line: &str) -> Option<HbaRule> {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    let kind = words.next()?.to_owned();
    if !matches!(
        kind.as_str(),
        "local" | "host" | "hostssl" | "hostnossl" | "hostgssenc" | "hostnogssenc"
    ) {
        return None;
    }
    let list = |text: &str| {
        text.split(',')
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let databases = list(words.next()?);
    let users = list(words.next()?);
    let mut address = None;
    if kind != "local" {
        address = Some(words.next()?.to_owned());
    }
    let mut method = words.next()?;
    let is_mask = |word: &str| word.parse::<std::net::IpAddr>().is_ok();
    if let (Some(network), true) = (&address, is_mask(method)) {
        address = Some(format!("{network} {method}"));
        method = words.next()?;
    }
    Some(HbaRule {
        kind,
        databases,
        users,
        address,
        method: method.to_owned(),
    })
}

/// The words of a line; quotes hold words together, `#` begins a comment, and white space after a comma is nothing.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted => break,
            _ if letter.is_whitespace() && !quoted => {
                if word.as_ref().is_some_and(|word| !word.ends_with(',')) {
                    words.extend(word.take());
                }
            }
            ',' if !quoted && word.is_none() && !words.is_empty() => {
                word = words.pop().map(|before: String| before + ",");
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let hba = Hba::parse(
            "# TYPE\nlocal replication all peer\nlocal \"a b\", c grafana md5 # x\nlocal all all trust\n\
             host all all 127.0.0.1 255.255.255.255 md5\nhost all all ::1/128 scram-sha-256\nnonsense\n",
        );
        assert!(hba.trusts_local_superuser());
        assert_eq!(hba.0[1].databases, ["a b", "c"]);
        assert_eq!(hba.local_method("c", "grafana"), Some("md5"));
        assert_eq!(
            hba.0[3].address.as_deref(),
            Some("127.0.0.1 255.255.255.255")
        );
        assert_eq!(hba.0[3].method, "md5");
        assert_eq!(hba.0[4].method, "scram-sha-256");
        assert_eq!(hba.0.len(), 5);
    }

    #[test]
    fn a_hardened_file_is_seen() {
        assert!(
            !Hba::parse("local all postgres peer\nlocal all all trust\n").trusts_local_superuser()
        );
        assert!(!Hba::parse("host all all 127.0.0.1/32 trust\n").trusts_local_superuser());
        assert_eq!(
            Hba::parse("local sameuser all md5").local_method("a", "a"),
            Some("md5")
        );
        assert_eq!(
            Hba::parse("local sameuser all md5").local_method("a", "b"),
            None
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,120}") {
            let _ = Hba::parse(&text);
        }
    }
}
