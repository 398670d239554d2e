//! In which user namespace a container of Podman's is, in a word that makes another one with the same ids.
//!
//! Why: an ordinary user's Podman has all containers in one user namespace, where owners mean the same to each of them. `--userns=keep-id`
//! puts a container into one more below it, and the same file has another owner in there. Podman tells such a mode as `private` and its
//! map of ids apart from it, in its own interface only (4.3.1; facts/pmm.md 7.2). A container or an agent that shall see the
//! same owners is made with the mode that gives the same map.
//!
//! Only the maps that `keep-id` makes are known again. Others (`--uidmap`, `auto`, `nomap`) cannot be asked for through Docker's interface with
//! the same result, and stay `private`, which nothing is made with.

use serde_json::Value;

/// How Podman tells a namespace that is the container's own.
pub(super) const PRIVATE: &str = "private";
/// What keeps the calling user's id.
const KEEP_ID: &str = "keep-id";

/// Whether a container with this mode has ids of its own, as against the engine's default or another container's.
pub(super) fn is_own(mode: &str) -> bool {
    mode == PRIVATE || mode == KEEP_ID || mode.starts_with("keep-id:")
}

/// The mode that makes these `IDMappings` (`UidMap` and `GidMap`, each of `container:host:count`): `keep-id:uid=1000,gid=1000`. `None`:
/// no `keep-id` does.
pub(super) fn mode(mappings: &Value) -> Option<String> {
    let uid = kept(&mappings["UidMap"])?;
    let gid = kept(&mappings["GidMap"])?;
    Some(format!("{KEEP_ID}:uid={uid},gid={gid}"))
}

/// The id that the calling user has in the container, when all others are as `keep-id` has them: those below it come one later
/// outside, those above it are the same.
fn kept(map: &Value) -> Option<u32> {
    let mut ranges = Vec::new();
    for range in map.as_array()? {
        let mut numbers = range.as_str()?.split(':').map(|it| it.parse::<u32>().ok());
        let mut next = || numbers.next().flatten();
        let (inside, outside, count) = (next()?, next()?, next()?);
        if count > 0 {
            ranges.push((inside, outside, count));
        }
    }
    let user = ranges.iter().find(|(_, outside, _)| *outside == 0)?;
    let id = user.0;
    let as_kept = ranges.iter().all(|&(inside, outside, count)| {
        if outside == 0 {
            count == 1
        } else if inside < id {
            outside == inside.saturating_add(1) && inside.saturating_add(count) <= id
        } else {
            outside == inside
        }
    });
    as_kept.then_some(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Podman 4.3.1 tells it.
    fn told(id: u32, most: u32) -> Value {
        json!([
            format!("0:1:{id}"),
            format!("{id}:0:1"),
            format!("{}:{0}:{}", id + 1, most - id),
        ])
    }

    #[test]
    fn a_kept_id_is_known_by_its_map() {
        let maps = json!({ "UidMap": told(1000, 65536), "GidMap": told(0, 65536) });
        assert_eq!(mode(&maps).as_deref(), Some("keep-id:uid=1000,gid=0"));
        let few = json!({ "UidMap": ["0:1:1000", "1000:0:1"], "GidMap": ["0:1:1000", "1000:0:1"] });
        assert_eq!(mode(&few).as_deref(), Some("keep-id:uid=1000,gid=1000"));
    }

    #[test]
    fn other_maps_have_no_word() {
        let of = |map: Value| mode(&json!({ "UidMap": map, "GidMap": told(1000, 65536) }));
        for map in [
            // `nomap`: the user is nobody in there.
            json!(["0:1:65536"]),
            // `--uidmap 0:100:1000`, and one that starts with the user.
            json!(["0:100:1000"]),
            json!(["0:0:65537"]),
            json!(["0:1:1000", "1000:0:1", "1001:2001:100"]),
            json!(["0:5:1000", "1000:0:1"]),
            json!(["0:1:2000", "1000:0:1"]),
            json!(["0:1"]),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(of(map.clone()), None, "{map}");
        }
    }

    #[test]
    fn only_an_own_namespace_has_ids_of_its_own() {
        for own in ["private", "keep-id", "keep-id:uid=1000,gid=1000"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["", "host", "container:abc", "ns:/proc/1/ns/user"] {
            assert!(!is_own(other), "{other}");
        }
    }
}
