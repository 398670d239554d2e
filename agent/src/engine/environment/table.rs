//! What became of each of PMM 2's variables (facts/pmm.md 1.9).
//!
//! Why a table: upstream's own script, its document and its code each miss some; here each row can be checked against them.

/// What happens to a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The same meaning under a new name.
    Rename(&'static str),
    /// A new name with the opposite meaning.
    Invert(&'static str),
    /// No meaning any more, and why.
    Drop(&'static str),
}

const IMAGE_DEFAULT: &str = "the new image sets its own";
const BY_ENGINE: &str = "the engine makes it for each container";
const NO_EFFECT: &str = "PMM 3 has no such setting";
const DBAAS: &str = "DBaaS was removed in PMM 3";
const PLATFORM_LOGIN: &str = "PMM 3 no longer connects to Percona Platform";

/// Rows by the old name. Where several old names share a new one, the first row wins.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("DATA_RETENTION", Rule::Rename("PMM_DATA_RETENTION")),
    ("DISABLE_ALERTING", Rule::Invert("PMM_ENABLE_ALERTING")),
    ("DISABLE_UPDATES", Rule::Invert("PMM_ENABLE_UPDATES")),
    ("DISABLE_TELEMETRY", Rule::Invert("PMM_ENABLE_TELEMETRY")),
    (
        "DISABLE_BACKUP_MANAGEMENT",
        Rule::Invert("PMM_ENABLE_BACKUP_MANAGEMENT"),
    ),
    (
        "ENABLE_AZUREDISCOVER",
        Rule::Rename("PMM_ENABLE_AZURE_DISCOVER"),
    ),
    ("ENABLE_RBAC", Rule::Rename("PMM_ENABLE_ACCESS_CONTROL")),
    ("ENABLE_VM_CACHE", Rule::Rename("PMM_ENABLE_VM_CACHE")),
    ("METRICS_RESOLUTION", Rule::Rename("PMM_METRICS_RESOLUTION")),
    (
        "METRICS_RESOLUTION_HR",
        Rule::Rename("PMM_METRICS_RESOLUTION_HR"),
    ),
    (
        "METRICS_RESOLUTION_MR",
        Rule::Rename("PMM_METRICS_RESOLUTION_MR"),
    ),
    (
        "METRICS_RESOLUTION_LR",
        Rule::Rename("PMM_METRICS_RESOLUTION_LR"),
    ),
    (
        "PERCONA_PLATFORM_API_TIMEOUT",
        Rule::Rename("PMM_DEV_PERCONA_PLATFORM_API_TIMEOUT"),
    ),
    (
        "PERCONA_TEST_PLATFORM_ADDRESS",
        Rule::Rename("PMM_PERCONA_PLATFORM_ADDRESS"),
    ),
    (
        "PERCONA_TEST_AUTH_HOST",
        Rule::Rename("PMM_PERCONA_PLATFORM_ADDRESS"),
    ),
    (
        "PERCONA_TEST_CHECKS_HOST",
        Rule::Rename("PMM_PERCONA_PLATFORM_ADDRESS"),
    ),
    (
        "PERCONA_TEST_SAAS_HOST",
        Rule::Rename("PMM_PERCONA_PLATFORM_ADDRESS"),
    ),
    (
        "PERCONA_TEST_VERSION_SERVICE_URL",
        Rule::Rename("PMM_PERCONA_PLATFORM_ADDRESS"),
    ),
    (
        "PERCONA_TEST_PLATFORM_INSECURE",
        Rule::Rename("PMM_DEV_PERCONA_PLATFORM_INSECURE"),
    ),
    (
        "PERCONA_TEST_POSTGRES_ADDR",
        Rule::Rename("PMM_POSTGRES_ADDR"),
    ),
    (
        "PERCONA_TEST_POSTGRES_DBNAME",
        Rule::Rename("PMM_POSTGRES_DBNAME"),
    ),
    (
        "PERCONA_TEST_POSTGRES_USERNAME",
        Rule::Rename("PMM_POSTGRES_USERNAME"),
    ),
    (
        "PERCONA_TEST_POSTGRES_DBPASSWORD",
        Rule::Rename("PMM_POSTGRES_DBPASSWORD"),
    ),
    (
        "PERCONA_TEST_POSTGRES_SSL_MODE",
        Rule::Rename("PMM_POSTGRES_SSL_MODE"),
    ),
    (
        "PERCONA_TEST_POSTGRES_SSL_CA_PATH",
        Rule::Rename("PMM_POSTGRES_SSL_CA_PATH"),
    ),
    (
        "PERCONA_TEST_POSTGRES_SSL_CERT_PATH",
        Rule::Rename("PMM_POSTGRES_SSL_CERT_PATH"),
    ),
    (
        "PERCONA_TEST_POSTGRES_SSL_KEY_PATH",
        Rule::Rename("PMM_POSTGRES_SSL_KEY_PATH"),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_ADDR",
        Rule::Rename("PMM_CLICKHOUSE_ADDR"),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_DATABASE",
        Rule::Rename("PMM_CLICKHOUSE_DATABASE"),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_DATASOURCE",
        Rule::Rename("PMM_CLICKHOUSE_DATASOURCE"),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_HOST",
        Rule::Rename("PMM_CLICKHOUSE_HOST"),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_PORT",
        Rule::Rename("PMM_CLICKHOUSE_PORT"),
    ),
    (
        "PERCONA_TEST_PMM_DISABLE_BUILTIN_CLICKHOUSE",
        Rule::Rename("PMM_DISABLE_BUILTIN_CLICKHOUSE"),
    ),
    (
        "PERCONA_TEST_PMM_DISABLE_BUILTIN_POSTGRES",
        Rule::Rename("PMM_DISABLE_BUILTIN_POSTGRES"),
    ),
    (
        "PERCONA_TEST_INTERFACE_TO_BIND",
        Rule::Rename("PMM_INTERFACE_TO_BIND"),
    ),
    (
        "PERCONA_TEST_CHECKS_FILE",
        Rule::Rename("PMM_DEV_ADVISOR_CHECKS_FILE"),
    ),
    (
        "PERCONA_TEST_STARLARK_ALLOW_RECURSION",
        Rule::Rename("PMM_DEV_ADVISOR_STARLARK_ALLOW_RECURSION"),
    ),
    (
        "PERCONA_TEST_TELEMETRY_HOST",
        Rule::Rename("PMM_DEV_TELEMETRY_HOST"),
    ),
    (
        "PERCONA_TEST_TELEMETRY_INTERVAL",
        Rule::Rename("PMM_DEV_TELEMETRY_INTERVAL"),
    ),
    (
        "PERCONA_TEST_TELEMETRY_RETRY_BACKOFF",
        Rule::Rename("PMM_DEV_TELEMETRY_RETRY_BACKOFF"),
    ),
    (
        "PERCONA_TEST_TELEMETRY_DISABLE_START_DELAY",
        Rule::Rename("PMM_DEV_TELEMETRY_DISABLE_START_DELAY"),
    ),
    (
        "PMM_TEST_TELEMETRY_FILE",
        Rule::Rename("PMM_DEV_TELEMETRY_FILE"),
    ),
    (
        "PMM_TEST_TELEMETRY_DISABLE_SEND",
        Rule::Rename("PMM_DEV_TELEMETRY_DISABLE_SEND"),
    ),
    ("PATH", Rule::Drop(IMAGE_DEFAULT)),
    ("LANG", Rule::Drop(IMAGE_DEFAULT)),
    ("LC_ALL", Rule::Drop(IMAGE_DEFAULT)),
    ("GF_PLUGIN_DIR", Rule::Drop(IMAGE_DEFAULT)),
    ("PS1", Rule::Drop(IMAGE_DEFAULT)),
    ("HOSTNAME", Rule::Drop(BY_ENGINE)),
    ("HOME", Rule::Drop(BY_ENGINE)),
    ("TERM", Rule::Drop(BY_ENGINE)),
    ("container", Rule::Drop(BY_ENGINE)),
    ("LESS_LOG_NOISE", Rule::Drop(NO_EFFECT)),
    ("PERCONA_TEST_CHECKS_INTERVAL", Rule::Drop(NO_EFFECT)),
    ("PERCONA_TEST_NICER_API", Rule::Drop(NO_EFFECT)),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_BLOCK_SIZE",
        Rule::Drop(NO_EFFECT),
    ),
    (
        "PERCONA_TEST_PMM_CLICKHOUSE_POOL_SIZE",
        Rule::Drop(NO_EFFECT),
    ),
    ("OAUTH_PMM_CLIENT_ID", Rule::Drop(PLATFORM_LOGIN)),
    ("OAUTH_PMM_CLIENT_SECRET", Rule::Drop(PLATFORM_LOGIN)),
    ("ENABLE_DBAAS", Rule::Drop(DBAAS)),
    ("PERCONA_TEST_DBAAS", Rule::Drop(DBAAS)),
];

/// What a value must be, or PMM 3 exits at its start (facts/pmm.md 1.4, item 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// What Go's `strconv.ParseBool` takes.
    Boolean,
    /// What Go's `time.ParseDuration` takes.
    Duration,
}

/// The names in PMM 3 whose values are looked at before it starts.
const SHAPES: &[(&str, Shape)] = &[
    ("PMM_ENABLE_ALERTING", Shape::Boolean),
    ("PMM_ENABLE_UPDATES", Shape::Boolean),
    ("PMM_ENABLE_TELEMETRY", Shape::Boolean),
    ("PMM_ENABLE_BACKUP_MANAGEMENT", Shape::Boolean),
    ("PMM_ENABLE_AZURE_DISCOVER", Shape::Boolean),
    ("PMM_ENABLE_ACCESS_CONTROL", Shape::Boolean),
    ("PMM_ENABLE_VM_CACHE", Shape::Boolean),
    ("PMM_DATA_RETENTION", Shape::Duration),
    ("PMM_METRICS_RESOLUTION", Shape::Duration),
    ("PMM_METRICS_RESOLUTION_HR", Shape::Duration),
    ("PMM_METRICS_RESOLUTION_MR", Shape::Duration),
    ("PMM_METRICS_RESOLUTION_LR", Shape::Duration),
];

/// What the value of a name in PMM 3 must be; `None`: it is nobody's to judge.
pub(super) fn shape(new_name: &str) -> Option<Shape> {
    let row = SHAPES.iter().find(|(name, _)| *name == new_name);
    row.map(|(_, shape)| *shape)
}

/// Names whose meaning did not change.
const KEPT: &[&str] = &[
    "PMM_DEBUG",
    "PMM_TRACE",
    "PMM_PUBLIC_ADDRESS",
    "PMM_VM_URL",
    "PMM_ENCRYPTION_KEY_PATH",
];

/// Beginnings of names that are handed on to Grafana, VictoriaMetrics and vmagent.
const KEPT_PREFIXES: &[&str] = &["GF_", "VM_", "VMAGENT_", "PMM_HA_"];

/// Known to PMM 3 from a minor version on.
const SINCE: &[(&str, u32)] = &[
    ("PMM_CLICKHOUSE_USER", 2),
    ("PMM_CLICKHOUSE_PASSWORD", 2),
    ("PMM_CLICKHOUSE_IS_CLUSTER", 6),
    ("PMM_CLICKHOUSE_CLUSTER_NAME", 6),
];

/// Known to PMM 3 in all versions, besides the new names of [`RULES`].
const NEW: &[&str] = &[
    "PMM_CLICKHOUSE_CONFIG",
    "PMM_ENABLE_NOMAD",
    "PMM_ENABLE_INTERNAL_PG_QAN",
];

/// What PMM 2's own parser reads, in any case of letters; the other names are read by exact match.
const ANY_CASE: &[&str] = &[
    "DATA_RETENTION",
    "DISABLE_",
    "ENABLE_",
    "METRICS_RESOLUTION",
];

/// The rule for an old name.
pub(super) fn rule(name: &str) -> Option<Rule> {
    let find = |name: &str| {
        RULES
            .iter()
            .find(|(old, _)| *old == name)
            .map(|(_, rule)| *rule)
    };
    let upper = name.to_ascii_uppercase();
    let any_case = ANY_CASE.iter().any(|prefix| upper.starts_with(prefix));
    find(name).or_else(|| any_case.then(|| find(&upper)).flatten())
}

/// Whether the name means the same to PMM 2 and 3, or is one of PMM 3's.
pub(super) fn known(name: &str) -> bool {
    let proxy =
        ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].contains(&name.to_ascii_uppercase().as_str());
    let new_name = RULES
        .iter()
        .any(|(_, rule)| matches!(rule, Rule::Rename(new) | Rule::Invert(new) if *new == name));
    proxy
        || new_name
        || KEPT.contains(&name)
        || NEW.contains(&name)
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || since(name).is_some()
}

/// The minor version of PMM 3 that first knew the name, where it matters.
pub(super) fn since(name: &str) -> Option<u32> {
    SINCE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, minor)| *minor)
}
