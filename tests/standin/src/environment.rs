//! pmm-managed-init: looks at the environment before anything starts, and writes the supervisor's main file.
//!
//! A value that is wrong stops the server. A name that is unknown does not: it is ignored with one line in the log, so a setting
//! whose name changed between the majors is lost without anybody noticing (facts/pmm.md 1.4, 1.9).

use crate::Result;
use crate::product::Product;

/// What Go's `strconv.ParseBool` takes, and nothing else.
pub(crate) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A Go duration such as `720h` or `1h30m`, in nanoseconds.
pub(crate) fn duration_ns(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let unit = match &tail[..unit_len] {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &tail[unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

const BOOLS_V2: &[&str] = &[
    "DISABLE_UPDATES",
    "DISABLE_TELEMETRY",
    "DISABLE_ALERTING",
    "DISABLE_BACKUP_MANAGEMENT",
    "ENABLE_AZUREDISCOVER",
    "ENABLE_RBAC",
    "ENABLE_VM_CACHE",
    "ENABLE_DBAAS",
    "PERCONA_TEST_PMM_DISABLE_BUILTIN_CLICKHOUSE",
    "PERCONA_TEST_PMM_DISABLE_BUILTIN_POSTGRES",
];
const BOOLS_V3: &[&str] = &[
    "PMM_ENABLE_UPDATES",
    "PMM_ENABLE_TELEMETRY",
    "PMM_ENABLE_ALERTING",
    "PMM_ENABLE_BACKUP_MANAGEMENT",
    "PMM_ENABLE_AZURE_DISCOVER",
    "PMM_ENABLE_ACCESS_CONTROL",
    "PMM_ENABLE_VM_CACHE",
    "PMM_ENABLE_NOMAD",
    "PMM_ENABLE_INTERNAL_PG_QAN",
    "PMM_DISABLE_BUILTIN_CLICKHOUSE",
    "PMM_DISABLE_BUILTIN_POSTGRES",
];
const DURATIONS_V2: &[&str] = &[
    "DATA_RETENTION",
    "METRICS_RESOLUTION",
    "METRICS_RESOLUTION_HR",
    "METRICS_RESOLUTION_MR",
    "METRICS_RESOLUTION_LR",
    "PERCONA_PLATFORM_API_TIMEOUT",
];
const DURATIONS_V3: &[&str] = &[
    "PMM_DATA_RETENTION",
    "PMM_METRICS_RESOLUTION",
    "PMM_METRICS_RESOLUTION_HR",
    "PMM_METRICS_RESOLUTION_MR",
    "PMM_METRICS_RESOLUTION_LR",
    "PMM_DEV_PERCONA_PLATFORM_API_TIMEOUT",
];
/// Names that belong to the system, or to somebody else who reads them.
const OTHERS: &[&str] = &[
    "PATH",
    "HOME",
    "HOSTNAME",
    "TERM",
    "LANG",
    "LC_ALL",
    "PS1",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "USER",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LD_PRELOAD",
    "LESS_LOG_NOISE",
    "PERCONA_TELEMETRY_DISABLE",
    "container",
];
const OTHER_PREFIXES: &[&str] = &[
    "GF_",
    "VM_",
    "VMAGENT_",
    "VMALERT_",
    "SUPERVISOR_",
    "KUBERNETES_",
    "MONITORING_SERVICE_",
    "NSS_WRAPPER_",
    "STANDIN_",
];

/// What a look at the environment found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Looks at all variables.
pub(crate) fn check(v3: bool, variables: impl Iterator<Item = (String, String)>) -> Verdict {
    let (bools, durations) = if v3 {
        (BOOLS_V3, DURATIONS_V3)
    } else {
        (BOOLS_V2, DURATIONS_V2)
    };
    let mut verdict = Verdict::default();
    for (name, value) in variables {
        if bools.contains(&name.as_str()) {
            if go_bool(&value).is_none() {
                verdict.errors.push(format!(
                    "invalid value \"{value}\" for environment variable \"{name}\""
                ));
            }
        } else if durations.contains(&name.as_str()) {
            if duration_ns(&value).is_none() {
                verdict.errors.push(format!(
                    "environment variable \"{name}={value}\" has invalid duration {value}"
                ));
            }
        } else if OTHERS.contains(&name.as_str())
            || OTHER_PREFIXES.iter().any(|p| name.starts_with(p))
            || (name.starts_with("PMM_") && (v3 || !name.starts_with("PMM_ENABLE_")))
            || (!v3 && name.starts_with("PERCONA_TEST_"))
        {
        } else if name.starts_with("PERCONA_") && v3 {
            verdict.warnings.push(format!(
                "PERCONA_* env variables are NOT SUPPORTED, please use PMM_* env variables, for details please check our documentation: {name}"
            ));
        } else {
            verdict
                .warnings
                .push(format!("unknown environment variable \"{name}={value}\""));
        }
    }
    verdict
}

/// Checks the environment and writes `/etc/supervisord.d/pmm.ini` anew.
pub(crate) fn main() -> Result<()> {
    let product = Product::of_image()?;
    let verdict = check(product.is_v3(), std::env::vars());
    for warning in &verdict.warnings {
        println!(
            "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"Configuration warning: {warning}.\""
        );
    }
    for error in &verdict.errors {
        println!("time=\"2026-01-01T00:00:00Z\" level=error msg=\"Configuration error: {error}.\"");
    }
    if !verdict.errors.is_empty() {
        std::process::exit(1);
    }
    let (template, prefix) = if product.is_v3() {
        (
            include_str!("../templates/pmm3.ini"),
            "PMM_DISABLE_BUILTIN_",
        )
    } else {
        (
            include_str!("../templates/pmm2.ini"),
            "PERCONA_TEST_PMM_DISABLE_BUILTIN_",
        )
    };
    let mut ini = String::new();
    for section in template.split_inclusive("\n\n") {
        let off = [("postgresql", "POSTGRES"), ("clickhouse", "CLICKHOUSE")]
            .iter()
            .any(|(p, v)| {
                section.starts_with(&format!("[program:{p}]"))
                    && std::env::var(format!("{prefix}{v}"))
                        .ok()
                        .and_then(|v| go_bool(&v))
                        == Some(true)
            });
        if !off {
            ini.push_str(section);
        }
    }
    fs_err::write("/etc/supervisord.d/pmm.ini", ini)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, duration_ns, go_bool};

    fn verdict(v3: bool, name: &str, value: &str) -> (usize, usize) {
        let v = check(v3, std::iter::once((name.to_owned(), value.to_owned())));
        (v.errors.len(), v.warnings.len())
    }

    #[test]
    fn a_wrong_value_is_an_error_and_an_old_name_only_a_warning() {
        assert_eq!(verdict(false, "DISABLE_UPDATES", "true"), (0, 0));
        assert_eq!(verdict(false, "DISABLE_UPDATES", "yes"), (1, 0));
        assert_eq!(verdict(true, "DISABLE_UPDATES", "yes"), (0, 1));
        assert_eq!(verdict(true, "PERCONA_TEST_DBAAS", "1"), (0, 1));
        assert_eq!(verdict(true, "PMM_DATA_RETENTION", "soon"), (1, 0));
        assert_eq!(verdict(true, "GF_SECURITY_ADMIN_PASSWORD", "x"), (0, 0));
    }

    #[test]
    fn values_are_read_as_go_reads_them() {
        assert_eq!(duration_ns("720h"), Some(2_592_000_000_000_000));
        assert_eq!(duration_ns("1h30m"), Some(5_400_000_000_000));
        assert_eq!(duration_ns("30"), None);
        assert_eq!(go_bool("True"), Some(true));
        assert_eq!(go_bool("on"), None);
    }
}
