//! `pmm-agent.yaml`, as far as it has to be read. `pmm-agent` writes it itself, key by key, so its lines can be relied upon.
//!
//! Rejected: reading it as YAML and writing it anew. The configuration is carried over byte by byte.

/// The id of the agent, without the prefix that PMM 2 writes before it.
pub(crate) fn agent_id(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("id:"))?;
    let id = line.trim().trim_matches(['"', '\'']);
    let id = id.strip_prefix("/agent_id/").unwrap_or(id);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!id.is_empty() && id.len() <= 80 && id.bytes().all(plain)).then(|| id.to_owned())
}

/// The configuration without the block `paths:`, which names files of the version that wrote it (`facts/pmm.md` 5.1).
pub(crate) fn without_paths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let own = line.starts_with(|c: char| !c.is_whitespace());
        if own {
            inside = line.trim_end() == "paths:";
        }
        if !inside {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Updated by `pmm-agent setup`.\n---\nid: /agent_id/8c2a-1\nlisten-address: 127.0.0.1\nserver:\n    address: pmm:443\n    \
                        password: \"geheim\"\npaths:\n    paths_base: /usr/local/percona/pmm2\n    exporters_base: x\nports:\n    min: 42000\n";

    #[test]
    fn the_id_has_no_prefix_of_pmm_2() {
        assert_eq!(agent_id(TEXT).as_deref(), Some("8c2a-1"));
        assert_eq!(agent_id("id: \"8c2a-1\"\n").as_deref(), Some("8c2a-1"));
        assert_eq!(agent_id("server:\n    id: x\n"), None);
        assert_eq!(agent_id("id: a b\n"), None);
        assert_eq!(agent_id("id:\n"), None);
    }

    #[test]
    fn nothing_but_the_paths_goes() {
        let rest = without_paths(TEXT);
        assert!(!rest.contains("paths"), "{rest}");
        let whole = TEXT.replace(
            "paths:\n    paths_base: /usr/local/percona/pmm2\n    exporters_base: x\n",
            "",
        );
        assert_eq!(rest, whole);
        assert_eq!(without_paths(&rest), rest);
        assert_eq!(without_paths("paths:\n  a: b"), "");
        assert_eq!(without_paths(""), "");
    }
}
