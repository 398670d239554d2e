//! What the running server said of itself: whether PMM 3 could start on its data, and whether
//! enough is known to prove afterwards that nothing was lost.

use ferry_proto::v1::{Facts, ServerFacts};

use super::{Notebook, Subject, catalogue::server, names};
use crate::units::{age, counted};

/// Parts whose absence is worse than a warning: without them success could not be told from loss,
/// or the first start of PMM 3 could fail unforeseen.
const ESSENTIAL: [&str; 11] = [
    "inventory",
    "nodes",
    "services",
    "agents",
    "pmm's api",
    "postgres",
    "pg_hba",
    "role",
    "query analytics' schema",
    "supervisor",
    "program",
];

/// The newest sample of a healthy server is a few seconds old; five minutes are no hiccup.
const STALE_SECONDS: f64 = 300.0;

pub(super) fn check(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let Some(server) = &facts.server else {
        // A container that does not run has a finding of its own.
        if facts
            .container
            .as_ref()
            .is_some_and(|container| container.running)
        {
            notebook.blocker(
                server::SERVER_UNOBSERVED,
                format!("the server in {} was not observed", subject.name),
                "see why the agent could not start beside it, then check again",
            );
        }
        return;
    };
    check_health(server, subject, notebook);
    check_appliance(server, notebook);
    check_external(server, notebook);
    // What PMM 3 needs of a PMM 2.
    if !subject.is_update() {
        check_roles(server, subject, notebook);
        check_files(server, notebook);
    }
    check_own_key(server, notebook);
    check_unobserved(server, notebook);
}

/// What marks a volume as one of a machine without a container (facts/pmm.md 1.3). Here it is in one, so it was moved.
const APPLIANCES: [&str; 3] = ["ami", "ovf", "digitalocean"];

fn check_appliance(server: &ServerFacts, notebook: &mut Notebook) {
    let distribution = server.distribution.as_str();
    if APPLIANCES.contains(&distribution) {
        notebook.warning(
            server::MOVED_APPLIANCE,
            format!("the data was that of an appliance (`{distribution}`): the old machine must not serve again, and clients must know this one"),
            "`systemctl disable supervisord` on the old machine; change `server.address` in each client's `pmm-agent.yaml` (docs/appliance.md)",
        );
    }
}

fn check_health(server: &ServerFacts, subject: &Subject, notebook: &mut Notebook) {
    let name = &subject.name;
    if server.update_running {
        notebook.blocker(
            server::UPDATE_RUNNING,
            format!("{name} is in the middle of an update of its own"),
            "wait until it is over, then check again",
        );
    }
    if server.start_up_failed && !subject.is_update() {
        notebook.blocker(
            server::START_UP_FAILED,
            format!(
                "what PMM 2 does at each of its starts has not ended well in {name}, or not yet"
            ),
            "",
        );
    }
    if !server.ready {
        notebook.blocker(
            server::SERVER_NOT_READY,
            format!("PMM in {name} does not say that it is ready"),
            "wait until it is, or see its logs in `/srv/logs`, then check again",
        );
    }
    let broken = || {
        let bad = |state: &str| matches!(state, "FATAL" | "BACKOFF");
        server
            .programs
            .iter()
            .filter(move |program| bad(&program.state))
    };
    let number = broken().count() as u64;
    if number > 0 {
        notebook.warning(
            server::PROGRAM_FAILING,
            format!(
                "{} not stay up: {}",
                if number == 1 {
                    "1 program does"
                } else {
                    "some programs do"
                },
                names(broken().map(|program| program.name.as_str()), number)
            ),
            "see its log in `/srv/logs`; what does not work before will not work after",
        );
    }
    // facts/pmm.md 6, row 5.
    if server.clickhouse_dirty {
        notebook.blocker(
            server::CLICKHOUSE_SCHEMA_DIRTY,
            format!(
                "ClickHouse migration {} is marked dirty; PMM 3 would stop at it",
                server.clickhouse_dirty_version
            ),
            "set it right in ClickHouse's table `pmm.schema_migrations`, then check again",
        );
    }
    if server.nodes == 0 {
        notebook.blocker(
            server::INVENTORY_EMPTY,
            format!("no inventory could be read from {name}, not even its own node"),
            "see that the volume is the right one and that PMM answers, then check again",
        );
    }
    if server.last_metric_age_seconds > STALE_SECONDS {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive here, and the cast saturates"
        )]
        let seconds = server.last_metric_age_seconds as u64;
        notebook.warning(
            server::METRICS_STALE,
            format!("the newest metric is {} old", age(seconds)),
            "see whether clients still send; afterwards it could not be told from a loss",
        );
    }
}

/// facts/pmm.md 1.6 and 1.4: what PMM 3.7 and later need of PostgreSQL.
fn check_roles(server: &ServerFacts, subject: &Subject, notebook: &mut Notebook) {
    // A finding of its own says so.
    if server.external_postgres {
        return;
    }
    for role in &server.roles {
        if role.password_kind == "scram" || !matches!(role.name.as_str(), "pmm-managed" | "grafana")
        {
            continue;
        }
        check_role(
            &role.name,
            &role.password_kind,
            role.default_password,
            subject,
            notebook,
        );
    }
    for name in ["pmm-managed", "grafana"] {
        if !server.roles.iter().any(|role| role.name == name) {
            notebook.warning(
                server::ROLE_MISSING,
                format!("role `{name}` is not in PostgreSQL, though PMM uses it"),
                "see whether that database is elsewhere; the plan dumps only what is here",
            );
        }
    }
    let heard = server
        .unobserved
        .iter()
        .any(|part| part.what.contains("pg_hba"));
    if !server.postgres_local_trust && !heard {
        notebook.blocker(
            server::POSTGRES_LOCAL_NOT_TRUSTED,
            "`/srv/postgres14/pg_hba.conf` asks for a password on local connections; PMM 3 would stop at its first start",
            "set `local all all trust` there, reload PostgreSQL, then check again",
        );
    }
}

fn check_role(name: &str, kind: &str, default: bool, subject: &Subject, notebook: &mut Notebook) {
    let has = match kind {
        "none" => "no password".to_owned(),
        "md5" => "an md5 password".to_owned(),
        _ => "a password that is not SCRAM".to_owned(),
    };
    if default {
        notebook.warning(
            server::ROLE_NOT_SCRAM,
            format!("role `{name}` has {has}; the plan heals it while PMM 2 runs"),
            "",
        );
        return;
    }
    let hint = format!(
        "`ALTER ROLE \"{name}\" WITH PASSWORD '…'` with `password_encryption = 'scram-sha-256'` \
         while PMM 2 runs, then check again"
    );
    let own = match kind {
        "none" => format!("role `{name}` has {has}"),
        _ => format!("role `{name}` has {has} that is not the default"),
    };
    // PMM resets its own role from 3.7.1 on; nobody resets Grafana's; before 3.7 the host rule of
    // pg_hba is still `trust`.
    let fatal =
        subject.to_at_least(3, 7, 0) && (name == "grafana" || !subject.to_at_least(3, 7, 1));
    if fatal {
        let text = format!("{own}, so the plan cannot heal it and PMM 3 could not log in");
        notebook.blocker(server::ROLE_CUSTOM_PASSWORD, text, &hint);
    } else if subject.to_at_least(3, 7, 1) {
        let text = format!("{own}; PMM 3 sets it anew at its first start");
        notebook.warning(server::ROLE_CUSTOM_PASSWORD, text, "");
    } else {
        let text = format!("{own}; a later update to 3.7 or above would stop at it");
        notebook.warning(server::ROLE_CUSTOM_PASSWORD, text, &hint);
    }
}

fn check_files(server: &ServerFacts, notebook: &mut Notebook) {
    // facts/pmm.md 6, row 12.
    let rules = server.custom_rule_files.len() as u64;
    if rules > 0 {
        notebook.warning(
            server::CUSTOM_RULE_FILES,
            format!(
                "{} would keep PMM 3 from starting: {}; the plan sets aside what it finds",
                counted(rules, "alert rule file"),
                names(server.custom_rule_files.iter().map(String::as_str), rules),
            ),
            "make the rules again in PMM 3's alerting",
        );
    }
    // nginx tests its certificates at the start and PMM 3 exits when it cannot read one (1.4).
    let of_nginx = |path: &&String| path.trim_start_matches('/').starts_with("nginx/");
    let split: (Vec<&String>, Vec<&String>) = server.unreadable_files.iter().partition(of_nginx);
    let hint = "give the owner the right to read (`chmod u+r`), and what is mounted by itself to group 0 as well (`chgrp 0`, `chmod g+r`), \
                then check again";
    if !split.0.is_empty() {
        let number = split.0.len() as u64;
        notebook.blocker(
            server::CERTIFICATES_UNREADABLE,
            format!(
                "PMM 3's nginx could not read {}: {}",
                counted(number, "file"),
                names(split.0.iter().map(|path| path.as_str()), number)
            ),
            hint,
        );
    }
    if !split.1.is_empty() {
        let number = split.1.len() as u64;
        notebook.warning(
            server::FILES_UNREADABLE,
            format!(
                "PMM 3 could not read {}: {}",
                counted(number, "file"),
                names(split.1.iter().map(|path| path.as_str()), number)
            ),
            hint,
        );
    }
}

/// What the copy of the volume would not hold.
fn check_external(server: &ServerFacts, notebook: &mut Notebook) {
    // A sentence names the variables that say so; where there are none, the supervisor has no such program.
    let by = |of_clickhouse: bool| {
        let variables = server.database_variables.iter();
        let variables: Vec<&str> = variables
            .filter(|name| name.contains("CLICKHOUSE") == of_clickhouse)
            .map(String::as_str)
            .collect();
        match variables.len() as u64 {
            0 => String::new(),
            number => format!(" (by {})", names(variables, number)),
        }
    };
    if server.external_postgres {
        notebook.blocker(
            server::EXTERNAL_POSTGRES,
            format!(
                "PostgreSQL is outside the server{}: its databases are in no backup of ours, and PMM 3 changes them one way",
                by(false)
            ),
            "",
        );
    }
    if server.external_clickhouse {
        notebook.blocker(
            server::EXTERNAL_CLICKHOUSE,
            format!(
                "ClickHouse is outside the server{}: its data is in no backup of ours, and PMM 3 changes its tables",
                by(true)
            ),
            "",
        );
    }
}

/// A key that does not open the old server cannot show that it opens the new one.
fn check_own_key(server: &ServerFacts, notebook: &mut Notebook) {
    let Some(trial) = &server.key_trial else {
        return;
    };
    if trial.accepted {
        let text = "your API key opens the server; it must open the new one too";
        notebook.note(server::API_KEY_ACCEPTED, text, "");
    } else {
        notebook.blocker(
            server::API_KEY_REFUSED,
            format!("your API key proves nothing: {}", trial.why),
            "name a file with a key of this server that has not expired, or leave `--api-key-file` out",
        );
    }
}

fn check_unobserved(server: &ServerFacts, notebook: &mut Notebook) {
    for part in &server.unobserved {
        let text = format!("{} could not be observed: {}", part.what, part.why);
        let what = part.what.to_ascii_lowercase();
        // That a program's version is not known hides nothing of the data.
        if !what.ends_with("version") && ESSENTIAL.iter().any(|essential| what.contains(essential))
        {
            notebook.blocker(
                server::UNOBSERVED_ESSENTIAL,
                text,
                "remove the cause, then check again; without it a loss could not be told from success",
            );
        } else {
            notebook.warning(server::UNOBSERVED, text, "");
        }
    }
}
