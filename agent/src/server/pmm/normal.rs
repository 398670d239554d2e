//! What the two majors write differently, made the same.

/// An id without the prefix that PMM 2 gives it: `/service_id/x` is `x` (`facts/pmm.md` 3.3).
#[must_use]
pub fn normal_id(id: &str) -> &str {
    let Some((prefix, rest)) = id.strip_prefix('/').and_then(|id| id.split_once('/')) else {
        return id;
    };
    let is_prefix = !prefix.is_empty()
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_prefix { rest } else { id }
}

/// An enum's name without the prefix that PMM 3 gives it: `NODE_TYPE_GENERIC_NODE` is `GENERIC_NODE`
/// (`facts/pmm.md` 3.2).
#[must_use]
pub fn normal_enum(name: &str) -> &str {
    const PREFIXES: [&str; 5] = [
        "NODE_TYPE_",
        "SERVICE_TYPE_",
        "AGENT_TYPE_",
        "AGENT_STATUS_",
        "DISTRIBUTION_METHOD_",
    ];
    PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

/// The family of a scrape job: its name without ids and intervals, which change with the majors and with settings.
///
/// `node_exporter_agent_id_7f3…_hr-5s` of PMM 2, and `node_exporter7f3…_hr-5s` and `node_exporter_7f3…_hr` of different
/// releases of PMM 3, are all `node_exporter_hr`.
#[must_use]
pub fn normal_job(job: &str) -> String {
    let without_interval = match job.rsplit_once('-') {
        Some((rest, interval)) if is_interval(interval) => rest,
        _ => job,
    };
    let Some(at) = find_uuid(without_interval) else {
        return without_interval.to_owned();
    };
    let (before, after) = (&without_interval[..at], &without_interval[at + UUID..]);
    let before = before.trim_end_matches(['_', '/']);
    let before = before
        .strip_suffix("agent_id")
        .unwrap_or(before)
        .trim_end_matches(['_', '/']);
    format!("{before}{after}")
}

fn is_interval(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

/// The length of a UUID as text.
const UUID: usize = 36;

/// Where the first UUID in a text begins.
fn find_uuid(text: &str) -> Option<usize> {
    text.as_bytes().windows(UUID).position(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_majors_give_the_same() {
        assert_eq!(normal_id("/service_id/abc"), "abc");
        assert_eq!(normal_id("abc"), "abc");
        assert_eq!(normal_id("/rds/x/y"), "x/y");
        assert_eq!(normal_id("/Odd/x"), "/Odd/x");
        assert_eq!(
            normal_enum("NODE_TYPE_GENERIC_NODE"),
            normal_enum("GENERIC_NODE")
        );
        assert_eq!(normal_enum("AGENT_STATUS_RUNNING"), "RUNNING");
        let uuid = "0a1b2c3d-0000-1111-2222-333344445555";
        for job in [
            format!("node_exporter_agent_id_{uuid}_hr-5s"),
            format!("node_exporter{uuid}_hr-10s"),
            format!("node_exporter_{uuid}_hr"),
            format!("node_exporter_/agent_id/{uuid}_hr-1m0s"),
        ] {
            assert_eq!(normal_job(&job), "node_exporter_hr", "{job}");
        }
        assert_eq!(normal_job("pmm-managed"), "pmm-managed");
        assert_eq!(normal_job("qan-api2"), "qan-api2");
    }

    proptest! {
        #[test]
        fn normal_is_normal(text in "[a-z_/ä0-9-]{0,20}([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?[a-z_/ä0-9-]{0,20}") {
            let once = normal_job(&text);
            let _ = normal_id(&text);
            // Nothing is ever added.
            prop_assert!(once.len() <= text.len());
        }
    }
}
