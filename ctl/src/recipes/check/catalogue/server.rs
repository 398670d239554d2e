//! The running server.

super::codes! { "The running server"
    SERVER_UNOBSERVED "server-unobserved" [Blocker] "9":
        "the container runs, and the agent beside it could see nothing of the server"
        => "see the sentence for why; PMM must run inside the container";
    UPDATE_RUNNING "update-running" [Blocker] "6":
        "PMM is in the middle of an update of its own"
        => "wait until it is over";
    SERVER_NOT_READY "server-not-ready" [Blocker] "9":
        "PMM does not say that it is ready; what does not work before cannot be proven after"
        => "wait until it is, or see its logs in `/srv/logs`";
    PROGRAM_FAILING "program-failing" [Warning] "1.2":
        "a program of the server does not stay up"
        => "see its log in `/srv/logs`; what does not work before will not work after";
    CLICKHOUSE_SCHEMA_DIRTY "clickhouse-schema-dirty" [Blocker] "6":
        "a migration of Query Analytics' tables broke off once and is marked dirty; PMM 3 would stop at it"
        => "see `SELECT * FROM pmm.schema_migrations ORDER BY sequence DESC LIMIT 1`, finish or undo what that migration does, then insert its version with `dirty = 0`";
    INVENTORY_EMPTY "inventory-empty" [Blocker] "6":
        "not even the server's own node is in the inventory: it may be another, empty volume"
        => "see that the volume is the right one and that PMM answers";
    MOVED_APPLIANCE "moved-appliance" [Warning] "5.1":
        "the data was an AMI's or a virtual appliance's: clients send to the old machine until they are told otherwise, and that serves again after a reboot unless its supervisor is disabled"
        => "`systemctl disable supervisord` on the old machine; `server.address` in each client's `pmm-agent.yaml`";
    START_UP_FAILED "start-up-failed" [Blocker] "8.1":
        "`pmm-update-perform-init`, which PMM 2 runs at each of its starts, has not ended with 0: the server is not whole, or not yet"
        => "wait until `supervisorctl status` in the container shows it as EXITED; else see `/srv/logs/pmm-update-perform-init.log`, and start PMM 2 again when the cause is gone; then check again";
    METRICS_STALE "metrics-stale" [Warning] "3.4":
        "the newest metric is old; afterwards that could not be told from a loss"
        => "see whether clients still send";
    ROLE_NOT_SCRAM "role-not-scram" [Warning] "1.6":
        "a database role has the default password in a form that PMM 3.7 and later do not take; the plan heals it while PMM 2 runs"
        => "nothing";
    ROLE_CUSTOM_PASSWORD "role-custom-password" [Blocker Warning] "1.6":
        "a database role has a password that is neither SCRAM nor the default, so the plan cannot heal it"
        => "`ALTER ROLE … WITH PASSWORD …` with `password_encryption = 'scram-sha-256'` while PMM 2 runs";
    ROLE_MISSING "role-missing" [Warning] "1.3":
        "a database role that PMM uses is not in the server's own PostgreSQL"
        => "see whether that database is elsewhere; the plan dumps only what is here";
    POSTGRES_LOCAL_NOT_TRUSTED "postgres-local-not-trusted" [Blocker] "1.4":
        "`pg_hba.conf` was hardened by hand and asks for a password on local connections, where PMM 3's first start has none"
        => "set `local all all trust` in `/srv/postgres14/pg_hba.conf`, and reload PostgreSQL";
    EXTERNAL_POSTGRES "external-postgres" [Blocker] "6":
        "PostgreSQL is outside the server: its databases are in no backup of Ferry's, and PMM 3 changes them one way"
        => "migrate this server by upstream's manual steps, with a dump of your own";
    EXTERNAL_CLICKHOUSE "external-clickhouse" [Blocker] "6":
        "ClickHouse is outside the server: its data is in no backup of Ferry's, and PMM 3 changes its tables"
        => "migrate this server by upstream's manual steps, with a backup of your own";
    CUSTOM_RULE_FILES "custom-rule-files" [Warning] "6":
        "files in `/srv/prometheus/rules` hold alerting rules, and PMM 3's `vmalert` would not start with them; the plan sets them aside"
        => "make the rules again in PMM 3's alerting";
    CERTIFICATES_UNREADABLE "certificates-unreadable" [Blocker] "6":
        "a certificate or key could not be read by PMM 3's user, uid 1000 with group 0, and its `nginx` would keep it from starting"
        => "`chmod u+r` what lies on the volume; give what is mounted to group 0 with `chmod 0640`";
    FILES_UNREADABLE "files-unreadable" [Warning] "6":
        "other files could not be read by PMM 3's user"
        => "give their owner the right to read (`chmod u+r`)";
    API_KEY_ACCEPTED "api-key-accepted" [Note] "4.4":
        "the key in the file that you named opens the server; it must open the new one too before the crossing counts as done"
        => "nothing";
    API_KEY_REFUSED "api-key-refused" [Blocker] "4.4":
        "the key in the file that you named does not open the server now, so it could prove nothing afterwards"
        => "name a file with a key of this server that has not expired, or leave `--api-key-file` out";
    UNOBSERVED_ESSENTIAL "unobserved-essential" [Blocker] "9":
        "something could not be observed without which a loss could not be told from success, or a failing start not be foreseen"
        => "remove the cause that the sentence names";
    UNOBSERVED "unobserved" [Warning] "9":
        "something could not be observed, so nothing is said of it, good or bad"
        => "remove the cause that the sentence names, or look yourself";
}
