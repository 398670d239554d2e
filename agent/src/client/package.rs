//! A client's package, whichever package manager has it.

/// A package of PMM's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// As the package manager writes it, an epoch included.
    pub(crate) version: String,
    pub(crate) architecture: String,
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Where a package can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Cache,
    Repository,
}

impl Source {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Repository => "repository",
        }
    }
}

/// The files of `all` that are not a package's own: added, or changed in place. `all` is from the client's folder on, `listed` has the
/// package's files, and `verified` lines `??5?????? c /PATH` for those whose content is another, as dpkg and rpm both write them.
pub(crate) fn not_the_packages(
    all: Vec<String>,
    folder: &str,
    listed: &str,
    verified: &str,
) -> Vec<String> {
    let changed = |path: &str| {
        verified.lines().any(|line| {
            let marks = line.split_whitespace().next().unwrap_or_default();
            marks.contains('5') && line.ends_with(&format!(" {path}"))
        })
    };
    let own = |relative: &String| {
        let path = format!("{folder}/{relative}");
        !listed.lines().any(|line| line == path) || changed(&path)
    };
    all.into_iter().filter(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_that_were_added_or_changed_are_the_operators() {
        let all = ["a.yml", "b.yml", "own.yml"].map(|it| format!("collectors/{it}"));
        let listed = "/.\n/usr/local/percona/pmm2/collectors/a.yml\n/usr/local/percona/pmm2/collectors/b.yml\n";
        for verified in [
            "??5?????? c /usr/local/percona/pmm2/collectors/b.yml\n??5?????? c /usr/local/percona/pmm2/collectors/xa.yml\n",
            "S.5....T.    /usr/local/percona/pmm2/collectors/b.yml\n.......T.    /usr/local/percona/pmm2/collectors/a.yml\nmissing     /x5\n",
        ] {
            let own = not_the_packages(all.to_vec(), "/usr/local/percona/pmm2", listed, verified);
            assert_eq!(own, ["collectors/b.yml", "collectors/own.yml"]);
        }
    }
}
