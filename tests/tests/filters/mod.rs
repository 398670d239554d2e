//! Snapshots of all that a call said, with what differs from one time to the next replaced by what it stands for.
//!
//! Names of servers, runs and folders have the same length each time, so that lines are broken at the same places.

use ferry_tests::ferryctl::Finished;

/// Tried in this order.
const ALWAYS: &[(&str, &str)] = &[
    // What a disk has room for differs in length too, and with it where its lines break.
    (r"(?m)^  note +(data-)?disk-room .*\n(?: {11,}.*\n)*", ""),
    (r"-(ferry|restored|2\.44\.1)-[0-9a-f]{8}\b", "-$1-[short]"),
    (r"ferry-test-\d{7}-", "ferry-test-[process]-"),
    (r"\b[0-9a-f]{64}\b", "[digest]"),
    (r"\b(sha256:)?[0-9a-f]{12}\b", "[id]"),
    (
        r"(digest\s+says|its\s+content|run)(\s+)`?[0-9a-f]{8}\b`?",
        "$1$2[short]",
    ),
    (
        r"\bferryctl(\s+)(resume|rollback|status|watch|finish|backup verify|backup restore)(\s+)[0-9a-f]{8}\b",
        "ferryctl$1$2$3[short]",
    ),
    (r"(?m)^[0-9a-f]{8}  ", "[short]  "),
    (r"/tmp/\.tmp[A-Za-z0-9]+", "[folder]"),
    (r"on Docker [^\s,]+", "on Docker [version]"),
    (r"\b\d+(\.\d+)?\s+(B|[kMGT]B|[KMGT]iB)\b", "[size]"),
    (
        r"\[size\],\s+left\s+to\s+others\s+\[size\]\),\s+\[size\]\s+are\s+free\s+where\s+the\s+engine\s+keeps\s+volumes",
        "[size], left to others [size]), [size] are free where the engine keeps volumes",
    ),
    (r"\b\d[\d,]*\s+(entries|files|inodes)\b", "[number] $1"),
    (
        r"\b(\d+\s+(h|min)\s+)?\d+(\.\d+)?\s+(ms|s|min|h)\b",
        "[time]",
    ),
    // Whether there is one yet depends on the moment.
    (r",\s+last metric \[time\] ago", ""),
    (
        r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?",
        "[moment]",
    ),
    (r"\b\d\d-\d\d \d\d:\d\d\b", "[moment]"),
];

/// Compares a call's exit code and both its streams with the snapshot `name`.
#[track_caller]
pub(crate) fn assert_said(name: &str, finished: &Finished, server: Option<&str>) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.set_omit_expression(true);
    if let Some(server) = server {
        settings.add_filter(server, "[server]");
    }
    for (pattern, word) in ALWAYS.iter().copied() {
        settings.add_filter(pattern, word);
    }
    settings.bind(|| insta::assert_snapshot!(name, finished.shown()));
}
