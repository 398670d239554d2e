//! Who an image runs as, by the image's own `passwd` and `group`.
//!
//! Why not by name alone: `pmm` is 1000:1000 in one image and 1000:0 in the next (facts/pmm.md 1.4), and a static binary has no
//! name service to ask anyway.

/// A numeric owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Resolves `Config.User` (`""`, `pmm`, `1000`, `1000:0`, `pmm:pmm`) as the engine does: nothing is root; a user without a group
/// gets the primary group of `passwd`; a number that `passwd` does not know gets group 0.
///
/// # Errors
/// A sentence that names the user or group that the files do not know.
pub fn resolve_user(user: &str, passwd: &str, group: &str) -> Result<Owner, String> {
    let (user, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let entry = lines(passwd).find_map(|fields| {
        let [name, _, uid, gid, ..] = fields.as_slice() else {
            return None;
        };
        let matches =
            *name == user || (!user.is_empty() && *uid == user) || (user.is_empty() && *uid == "0");
        matches.then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    });
    let (uid, primary): (u32, u32) = match entry {
        Some(found) => found,
        None if user.is_empty() => (0, 0),
        None => (
            user.parse()
                .map_err(|_| format!("its passwd knows no user `{user}`"))?,
            0,
        ),
    };
    let gid = match group_part {
        None => primary,
        Some(wanted) => {
            let known = lines(group).find_map(|fields| match fields.as_slice() {
                [name, _, gid, ..] if *name == wanted => gid.parse().ok(),
                _ => None,
            });
            match known {
                Some(gid) => gid,
                None => wanted
                    .parse()
                    .map_err(|_| format!("its group file knows no group `{wanted}`"))?,
            }
        }
    };
    Ok(Owner { uid, gid })
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().map(|line| line.trim().split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_30: &str =
        "root:x:0:0:root:/root:/bin/bash\npmm:x:1000:1000::/home/pmm:/bin/false\n";
    const PASSWD_34: &str =
        "root:x:0:0:root:/root:/bin/bash\n\n# note\npmm:x:1000:0::/home/pmm:/bin/false\n";
    const GROUP: &str = "root:x:0:\npmm:x:1000:\nwheel:x:10:\n";

    fn owner(user: &str, passwd: &str) -> (u32, u32) {
        let owner = resolve_user(user, passwd, GROUP).unwrap();
        (owner.uid, owner.gid)
    }

    #[test]
    fn every_form_of_a_user() {
        assert_eq!(owner("", PASSWD_30), (0, 0));
        assert_eq!(owner("pmm", PASSWD_30), (1000, 1000));
        assert_eq!(owner("1000", PASSWD_30), (1000, 1000));
        assert_eq!(owner("pmm", PASSWD_34), (1000, 0));
        assert_eq!(owner("1000", PASSWD_34), (1000, 0));
        assert_eq!(owner("1000:0", PASSWD_30), (1000, 0));
        assert_eq!(owner("pmm:pmm", PASSWD_34), (1000, 1000));
        assert_eq!(owner("pmm:", PASSWD_34), (1000, 0));
        assert_eq!(owner("4242", PASSWD_34), (4242, 0));
        assert_eq!(owner("4242:77", ""), (4242, 77));
        assert_eq!(owner("", ""), (0, 0));
    }

    #[test]
    fn an_unknown_name_is_an_error_and_not_root() {
        assert!(resolve_user("pmm", "", "").unwrap_err().contains("pmm"));
        assert!(
            resolve_user("1000:staff", PASSWD_34, GROUP)
                .unwrap_err()
                .contains("staff")
        );
        assert!(resolve_user("-1", PASSWD_34, GROUP).is_err());
    }
}
