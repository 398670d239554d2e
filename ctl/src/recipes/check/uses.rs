//! What people use that is gone or different in PMM 3 (facts/pmm.md 1.10). It is no reason not to go,
//! with one exception; but nobody should find it out afterwards.

use ferry_proto::v1::{Facts, ServerFacts, UsedFacts};

use super::{Notebook, Subject, catalogue::uses, names};
use crate::units::counted;

pub(super) fn check(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let Some(server) = &facts.server else {
        return;
    };
    check_backups_and_keys(server, subject, notebook);
    let Some(used) = &server.used else {
        return;
    };
    check_alerting(used, notebook);
    if used.dbaas_clusters > 0 {
        notebook.warning(
            uses::DBAAS_CLUSTERS,
            format!(
                "PMM 3 has no DBaaS and drops {}",
                counted(
                    u64::from(used.dbaas_clusters),
                    "registered Kubernetes cluster"
                )
            ),
            "note each of them with its credentials before the migration",
        );
    }
    check_logins(used, subject, notebook);
    let dashboards = u64::from(used.dashboards_count).max(used.dashboards.len() as u64);
    if dashboards > 0 {
        notebook.warning(
            uses::ANGULAR_PANELS,
            format!(
                "{} panels of kinds that the newer Grafana does not show as they are: {}",
                if dashboards == 1 {
                    "1 dashboard of your own has".to_owned()
                } else {
                    format!("{} of your own have", counted(dashboards, "dashboard"))
                },
                names(used.dashboards.iter().map(String::as_str), dashboards),
            ),
            "look at each after the migration, and choose another kind of panel; the run exports each as it was (docs/backups.md)",
        );
    }
    check_files(used, notebook);
}

fn check_backups_and_keys(server: &ServerFacts, subject: &Subject, notebook: &mut Notebook) {
    if server.scheduled_backups > 0 {
        notebook.warning(
            uses::SCHEDULED_BACKUPS,
            format!(
                "{} may point to services by ids that PMM 3 has shortened",
                counted(u64::from(server.scheduled_backups), "scheduled backup")
            ),
            "look at each of them after the migration, and make it again where its service is missing",
        );
    }
    if let (keys @ 1.., Some(to)) = (server.api_keys, subject.to) {
        let keys = if keys == 1 {
            "the API key".to_owned()
        } else {
            format!("the {keys} API keys")
        };
        let accounts = "service accounts";
        // facts/pmm.md 4.2.
        if subject.to_at_least(3, 2, 0) {
            let text = format!("{to} turns {keys} into {accounts} at its first start");
            notebook.note(uses::API_KEYS_AUTOMATIC, text, "");
        } else {
            let text = format!(
                "{to} turns {keys} into {accounts} when an administrator logs in; until then they are keys, and work"
            );
            notebook.warning(uses::API_KEYS_AT_LOGIN, text, "");
        }
    }
}

fn check_alerting(used: &UsedFacts, notebook: &mut Notebook) {
    let hint = "make them again in PMM 3's alerting: the run writes them down for you, beside the dumps (docs/backups.md)";
    if used.alerting_channels > 0 {
        notebook.warning(
            uses::ALERTING_CHANNELS,
            format!(
                "PMM 3 drops {} of Integrated Alerting",
                counted(u64::from(used.alerting_channels), "notification channel")
            ),
            hint,
        );
    }
    if used.alerting_rules > 0 {
        notebook.warning(
            uses::ALERTING_RULES,
            format!(
                "PMM 3 drops {} of Integrated Alerting; their templates stay",
                counted(u64::from(used.alerting_rules), "rule")
            ),
            hint,
        );
    }
    if used.external_alertmanager {
        notebook.warning(
            uses::EXTERNAL_ALERTMANAGER,
            "alerts go to an Alertmanager outside; PMM 3 drops its address from the settings",
            "make it a contact point in PMM 3's alerting",
        );
    }
}

/// facts/pmm.md 6, row 15: who can only log in through a service that PMM 3 no longer asks is locked out.
fn check_logins(used: &UsedFacts, subject: &Subject, notebook: &mut Notebook) {
    if used.platform_connected {
        notebook.warning(
            uses::PLATFORM_CONNECTED,
            "the server is connected to Percona Platform, whose login PMM 3.7 and later do not have",
            "see that whoever logs in so gets a login of the server's own",
        );
    }
    let Some(logins) = &used.logins else {
        return;
    };
    if logins.outside == 0 || logins.local_admins > 0 {
        return;
    }
    let text = format!(
        "{} in through another service only, and no administrator has a password of the server's own",
        if logins.outside == 1 {
            "1 user logs".to_owned()
        } else {
            format!("{} log", counted(u64::from(logins.outside), "user"))
        }
    );
    let hint = "give an administrator a password (`change-admin-password` in the container), then check again";
    // Another service than Percona Platform's is asked by Grafana itself, also in PMM 3.
    if used.platform_connected && subject.to_at_least(3, 7, 0) {
        notebook.blocker(uses::LOGINS_SSO_ONLY, text, hint);
    } else {
        notebook.warning(uses::LOGINS_SSO_ONLY, text, hint);
    }
}

fn check_files(used: &UsedFacts, notebook: &mut Notebook) {
    if used.prometheus_data {
        notebook.warning(
            uses::PROMETHEUS_DATA_UNREAD,
            "there is data from before VictoriaMetrics in `/srv/prometheus/data`, which PMM 3 does not read",
            "",
        );
    }
    // facts/pmm.md 6, row 31.
    let leftovers = used.leftovers.len() as u64;
    if leftovers > 0 {
        notebook.note(
            uses::LEFTOVERS,
            format!(
                "left over from earlier updates, and copied all the same: {}",
                names(used.leftovers.iter().map(String::as_str), leftovers)
            ),
            "",
        );
    }
}
