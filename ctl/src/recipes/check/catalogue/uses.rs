//! What the server uses that PMM 3 does not have, or has in another way.

super::codes! { "What is used, and is different in PMM 3"
    SCHEDULED_BACKUPS "scheduled-backups" [Warning] "1.5":
        "scheduled backups name services by ids that PMM 3 shortens, and may not find them any more"
        => "look at each of them after the crossing, and make it again where its service is missing";
    API_KEYS_AUTOMATIC "api-keys-automatic" [Note] "4.2":
        "PMM 3 turns API keys into service accounts at its first start; the keys' own text stays valid"
        => "nothing";
    API_KEYS_AT_LOGIN "api-keys-at-login" [Warning] "4.2":
        "this PMM 3 turns API keys into service accounts when an administrator logs in; until then they are keys, and work; their own text stays valid"
        => "after the crossing log in once as an administrator, in each organisation that has keys";
    ALERTING_CHANNELS "alerting-channels" [Warning] "1.10":
        "notification channels of Integrated Alerting are dropped by PMM 3; nobody would be told of an alert"
        => "make contact points in PMM 3's alerting; the run writes the channels down, with their secrets, in `export-alerting.json` beside the dumps";
    ALERTING_RULES "alerting-rules" [Warning] "1.10":
        "rules of Integrated Alerting are dropped by PMM 3; their templates are kept"
        => "make them again from their templates in PMM 3's alerting; the run writes them down in `export-alerting.json` beside the dumps";
    EXTERNAL_ALERTMANAGER "external-alertmanager" [Warning] "1.10":
        "alerts go to an Alertmanager outside, whose address PMM 3 drops from its settings"
        => "make it a contact point in PMM 3's alerting";
    DBAAS_CLUSTERS "dbaas-clusters" [Warning] "1.10":
        "Kubernetes clusters are registered for DBaaS; PMM 3 has none, and drops their registrations with their credentials"
        => "note them before the crossing; nothing happens to the clusters themselves";
    PLATFORM_CONNECTED "platform-connected" [Warning] "1.10":
        "the server is connected to Percona Platform; PMM 3.7 and later have neither its login nor its page"
        => "see that whoever logs in so gets a login of the server's own";
    LOGINS_SSO_ONLY "logins-sso-only" [Blocker Warning] "6":
        "people log in through another service, and no enabled administrator has a password of the server's own; where the service is Percona Platform, nobody could administer PMM 3.7 or later"
        => "give an administrator a password (`change-admin-password` inside the container), and log in with it once";
    ANGULAR_PANELS "angular-panels" [Warning] "1.10":
        "dashboards of your own have panels of kinds (Angular) that the newer Grafana does not show, or shows as another kind"
        => "look at each after the crossing; replace `graph` by `timeseries`, `singlestat` by `stat`, `table-old` by `table`, and so on; the run exports each as it was, beside the dumps";
    PROMETHEUS_DATA_UNREAD "prometheus-data-unread" [Warning] "1.10":
        "data from before PMM 2.12 is still in Prometheus' format in `/srv/prometheus/data`; PMM 3 does not read it"
        => "nothing, if its history may become invisible; it stays on the volume and in the backup";
    LEFTOVERS "leftovers" [Note] "6":
        "files of earlier updates lie in the data and are copied with it"
        => "remove them first to save space and time, or leave them; Ferry deletes nothing";
}
