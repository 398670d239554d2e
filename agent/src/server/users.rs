//! The server's users and groups, from its own files.
//!
//! Why not the system's look-up: a static binary has none that works, and in a sidecar it would answer for the sidecar.
//! Names and numbers differ between images, so nothing is assumed about either (`facts/pmm.md` 1.1).

use super::{Result, ServerRoot};

/// The largest user or group file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Where it is at home; empty where nothing is said.
    pub home: String,
}

/// A group of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The users that are in it beside those whose primary group it is.
    pub members: Vec<String>,
}

/// The users and groups of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Users {
    /// Reads `/etc/passwd` and `/etc/group` of the server.
    ///
    /// # Errors
    /// One of them exists and cannot be read.
    pub fn of(root: &ServerRoot) -> Result<Self> {
        let passwd = root.read_text("etc/passwd", MAX_FILE)?.unwrap_or_default();
        let group = root.read_text("etc/group", MAX_FILE)?.unwrap_or_default();
        Ok(Self::parse(&passwd, &group))
    }

    /// Reads the two files' text; lines that are none are passed over, as the system does.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ref rest @ ..] = fields[..] else {
                return None;
            };
            let user = User {
                name: name.into(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: rest.get(1).map(|&it| it.to_owned()).unwrap_or_default(),
            };
            (!name.is_empty()).then_some(user)
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else {
                return None;
            };
            let members = members
                .split(',')
                .filter(|m| !m.is_empty())
                .map(str::to_owned)
                .collect();
            (!name.is_empty()).then_some(Group {
                name: name.into(),
                gid: gid.parse().ok()?,
                members,
            })
        });
        Self {
            users: users.collect(),
            groups: groups.collect(),
        }
    }

    /// All users, in the file's order.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// All groups, in the file's order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The user of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The first user with that number.
    #[must_use]
    pub fn by_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    /// The group of that name.
    #[must_use]
    pub fn group_by_name(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The first group with that number.
    #[must_use]
    pub fn group_by_gid(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// The name of a user, or its number where it has none.
    #[must_use]
    pub fn name_of(&self, uid: u32) -> String {
        self.by_uid(uid)
            .map_or_else(|| uid.to_string(), |user| user.name.clone())
    }
}

/// The user that this process acts as.
#[must_use]
pub fn own_uid() -> u32 {
    ::users::get_effective_uid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_lines_are_taken_and_others_passed_over() {
        let users = Users::parse(
            "root:x:0:0:root:/root:/bin/sh\n\nbroken\n+::::::\npmm:x:1000:0::/home/pmm:/bin/false\nneg:x:-1:0:::\n",
            "root:x:0:\npmm:x:1000:postgres,nginx\nodd:x:y:\n",
        );
        assert_eq!(
            users.by_name("pmm"),
            Some(&User {
                name: "pmm".into(),
                uid: 1000,
                gid: 0,
                home: "/home/pmm".into(),
            })
        );
        assert_eq!(users.by_uid(0).unwrap().name, "root");
        assert_eq!(
            users.group_by_name("pmm").unwrap().members,
            ["postgres", "nginx"]
        );
        assert_eq!(users.group_by_gid(1000).unwrap().name, "pmm");
        assert_eq!(users.by_name("neg"), None);
        assert_eq!(users.name_of(77), "77");
    }

    proptest! {
        #[test]
        fn no_text_panics(a in "(?s).{0,100}", b in "(?s).{0,100}") {
            let _ = Users::parse(&a, &b);
        }
    }
}
