//! See [`crate::fuzzing`].

use super::{ChangeKind, TargetVersion, table, translate_env};

/// Lines of `NAME=value` behind the minor version of the target.
pub fn environment(bytes: &[u8]) {
    let Some((&minor, text)) = bytes.split_first() else {
        return;
    };
    let target = TargetVersion {
        major: 3,
        minor: (minor % 16).into(),
    };
    let text = String::from_utf8_lossy(text);
    let given: Vec<(String, String)> = text
        .split('\n')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let made = translate_env(&given, target);
    assert!(
        made == translate_env(&given, target),
        "it is not the same each time"
    );

    let accounted: Vec<&str> = made.changes.iter().map(|change| &*change.name).collect();
    let names: Vec<&str> = given.iter().map(|(name, _)| &**name).collect();
    assert_eq!(accounted, names, "each variable is accounted for once");
    let mut left = made.env.iter();
    for ((name, value), change) in given.iter().zip(&made.changes) {
        let is_ours = table::rule(name).is_some()
            || table::shape(name).is_some()
            || name.starts_with("PMM_WATCHTOWER_");
        assert!(
            is_ours || matches!(change.kind, ChangeKind::Kept | ChangeKind::Unknown),
            "{name} is no name of PMM's, and was touched"
        );
        assert!(
            change.kind != ChangeKind::Dropped || !change.note.is_empty(),
            "{name} was left out without a word"
        );
        match change.kind {
            ChangeKind::Dropped | ChangeKind::Invalid => continue,
            ChangeKind::Inverted => {
                let made = left.next();
                assert!(made.is_some_and(|(_, value)| value == "true" || value == "false"));
            }
            ChangeKind::Renamed | ChangeKind::Kept | ChangeKind::Unknown => {
                let new = change.new_name.as_ref().unwrap_or(name);
                let same = |pair: &(String, String)| pair.0 == *new && pair.1 == *value;
                assert!(left.next().is_some_and(same), "{name} is lost or changed");
            }
        }
    }
    assert!(left.next().is_none(), "something was made up");
}
