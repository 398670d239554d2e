//! Nodes and services before and after: told apart by all that they are, because their ids are new in another major (`facts/pmm.md` 3.3).

use super::{
    super::pmm::{Node, PMM_SERVER, Service},
    compare::{CompareMode, Found},
};

/// How things that have a name are looked at.
struct Named<T> {
    name: fn(&T) -> String,
    id: fn(&T) -> String,
    without_id: fn(&T) -> T,
    told: fn(&T) -> String,
    /// Belongs to the server itself, which another major may describe in another way.
    of_server: fn(&T) -> bool,
}

impl Found {
    /// Compares things that have a name, an id and other properties.
    fn named<T: Clone + Ord>(&mut self, kind: &str, before: &[T], after: &[T], by: &Named<T>) {
        // Without ids, which may be new, and so that two of the same are two.
        let mut left: Vec<&T> = after.iter().collect();
        let mut changed: Vec<&T> = Vec::new();
        for old in before {
            let same = |new: &&T| (by.without_id)(new) == (by.without_id)(old);
            // The same id first, where several are equal in everything else.
            let at = left
                .iter()
                .position(|new| same(new) && (by.id)(new) == (by.id)(old))
                .or_else(|| left.iter().position(same));
            match at {
                Some(at) => {
                    let new = left.remove(at);
                    if (by.id)(new) != (by.id)(old) {
                        let what = format!("the id of {kind} `{}`", (by.name)(old));
                        self.warn(&format!("{kind}-id"), &what, (by.id)(old), (by.id)(new));
                    }
                }
                None => changed.push(old),
            }
        }
        for old in changed {
            let what = format!("{kind} `{}`", (by.name)(old));
            match left.iter().position(|new| (by.name)(new) == (by.name)(old)) {
                Some(at) if self.mode == CompareMode::AcrossMajors && (by.of_server)(old) => {
                    let new = left.remove(at);
                    let code = format!("{kind}-of-server-changed");
                    self.warn(&code, &what, (by.told)(old), (by.told)(new));
                }
                Some(at) => {
                    let new = left.remove(at);
                    self.fail(
                        &format!("{kind}-changed"),
                        &what,
                        (by.told)(old),
                        (by.told)(new),
                    );
                }
                None => self.fail(&format!("{kind}-missing"), &what, (by.told)(old), "missing"),
            }
        }
        for new in left {
            let what = format!("{kind} `{}`", (by.name)(new));
            self.warn(&format!("{kind}-new"), &what, "not there", (by.told)(new));
        }
    }

    pub(super) fn nodes(&mut self, before: &[Node], after: &[Node]) {
        let by = Named {
            name: |node: &Node| node.name.clone(),
            id: |node| node.id.clone(),
            without_id: |node| Node {
                id: String::new(),
                ..node.clone()
            },
            told: |node| format!("{} at `{}`", node.kind, node.address),
            of_server: |node| node.name == PMM_SERVER,
        };
        self.named("node", before, after, &by);
    }

    pub(super) fn services(&mut self, before: &[Service], after: &[Service]) {
        let by = Named {
            name: |service: &Service| service.name.clone(),
            id: |service| service.id.clone(),
            without_id: |service| Service {
                id: String::new(),
                ..service.clone()
            },
            told: |s| {
                let place = if s.socket.is_empty() {
                    format!("{}:{}", s.address, s.port)
                } else {
                    s.socket.clone()
                };
                let mut told = format!("{} on `{}` at `{place}`", s.kind, s.node_name);
                for (word, value) in [
                    ("environment", &s.environment),
                    ("cluster", &s.cluster),
                    ("replication set", &s.replication_set),
                ] {
                    if !value.is_empty() {
                        told.push_str(&format!(", {word} `{value}`"));
                    }
                }
                told
            },
            of_server: |service| service.node_name == PMM_SERVER,
        };
        self.named("service", before, after, &by);
    }
}
