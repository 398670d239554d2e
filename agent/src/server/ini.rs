//! The supervisor's configuration files, read the way the supervisor reads them.
//!
//! Why: the socket's path, its user name and password, and how long each program is given to stop stand there and
//! nowhere else. Python's `ConfigParser` rules hold: `;` after white space starts a comment, a line that begins with
//! white space continues the value before, keys are lower-cased, a later section adds to an earlier one.

use std::collections::BTreeMap;

/// Section → key → value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini(pub BTreeMap<String, BTreeMap<String, String>>);

impl Ini {
    /// Adds the content of one file. Lines that mean nothing are passed over: the supervisor has accepted the file
    /// already, and what it started from it is observed elsewhere.
    pub fn add(&mut self, text: &str) {
        let mut section: Option<String> = None;
        let mut key: Option<String> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let continues = line.starts_with([' ', '\t']);
            if let (true, Some(section), Some(key)) = (continues, &section, &key) {
                let value = self
                    .0
                    .entry(section.clone())
                    .or_default()
                    .entry(key.clone())
                    .or_default();
                value.push('\n');
                value.push_str(without_comment(trimmed));
                continue;
            }
            if let Some(name) = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.split(']').next())
            {
                self.0.entry(name.to_owned()).or_default();
                section = Some(name.to_owned());
                key = None;
                continue;
            }
            let (Some(section), Some(at)) = (&section, trimmed.find(['=', ':'])) else {
                continue;
            };
            let name = trimmed[..at].trim().to_lowercase();
            let value = without_comment(trimmed[at + 1..].trim()).to_owned();
            self.0
                .entry(section.clone())
                .or_default()
                .insert(name.clone(), value);
            key = Some(name);
        }
    }

    /// One value.
    #[must_use]
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(section)?.get(key).map(String::as_str)
    }
}

/// Cuts a comment that follows a value.
fn without_comment(value: &str) -> &str {
    let cut = value
        .char_indices()
        .zip(std::iter::once(' ').chain(value.chars()))
        .find(|((_, letter), before)| *letter == ';' && before.is_whitespace())
        .map_or(value.len(), |((at, _), _)| at);
    value[..cut].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_python_reads() {
        let mut ini = Ini::default();
        ini.add("; head\n[program:a]\ncommand = /bin/x --y=1;2 ; why\n  --more\nUser: me\n\n[unix_http_server]\nfile=/a.sock\n");
        ini.add("[program:a]\nstopwaitsecs=300\nlonely\n");
        assert_eq!(
            ini.get("program:a", "command"),
            Some("/bin/x --y=1;2\n--more")
        );
        assert_eq!(ini.get("program:a", "user"), Some("me"));
        assert_eq!(ini.get("program:a", "stopwaitsecs"), Some("300"));
        assert_eq!(ini.get("unix_http_server", "file"), Some("/a.sock"));
        assert_eq!(ini.get("unix_http_server", "lonely"), None);
    }

    #[test]
    fn comments_need_white_space() {
        assert_eq!(without_comment("a;b"), "a;b");
        assert_eq!(without_comment("a ;b"), "a");
        assert_eq!(without_comment(";b"), "");
        assert_eq!(without_comment("ä ö ;ü"), "ä ö");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            Ini::default().add(&text);
        }
    }
}
