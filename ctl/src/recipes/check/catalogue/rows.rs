//! What is known to go wrong on the way from PMM 2 to 3 (facts/pmm.md 6), row by row, and how each is
//! met. Also what is not met yet: somebody who has read of it elsewhere should not have to guess.

use super::{
    Code, arrival, backup, carry_over, cluster, container, data, environment, image, server, uses,
};

/// Something that is known to go wrong.
#[derive(Debug)]
pub struct Row {
    /// Its number in `facts/pmm.md` 6.
    pub number: u8,
    /// What goes wrong.
    pub pain: &'static str,
    /// How it is met.
    pub met: &'static [Met],
    /// Tests beside those of its findings: a file, and a function in it.
    pub tests: &'static [(&'static str, &'static str)],
}

/// How something that is known to go wrong is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// It is found before the stop.
    Finding(&'static Code),
    /// A step of the plan, by its id, does what is needed.
    Step(&'static str),
    /// In another way.
    Otherwise(&'static str),
    /// It is not.
    NotYet(&'static str),
}

use Met::{Finding, NotYet, Otherwise, Step};

const CROSSING: (&str, &str) = (
    "tests/tests/crossing.rs",
    "a_used_server_crosses_whole_and_comes_back_whole",
);

const KUBERNETES: (&str, &str) = (
    "tests/tests/kubernetes/crossing.rs",
    "a_server_in_a_cluster_crosses_whole_and_comes_back_whole",
);

macro_rules! row {
    ($number:literal $pain:literal [$($met:expr),+ $(,)?] [$($test:expr),* $(,)?]) => {
        Row { number: $number, pain: $pain, met: &[$($met),+], tests: &[$($test),*] }
    };
}

/// All of them, in their order.
pub const ROWS: &[Row] = &[
    row!(1 "`/srv is not writable for pmm user`: PMM 3 exits at its first start"
        [Step("transfer-ownership"), Step("hand-over-volume"), Finding(data::DATA_BIND_MOUNT), Finding(data::DATA_READ_ONLY)]
        [CROSSING, ("agent/src/tree/tests/owning.rs", "a_tree_is_given_and_comes_back_exactly")]),
    row!(2 "PostgreSQL's folder has invalid permissions (2770) on Kubernetes"
        [Finding(cluster::CLUSTER_FS_GROUP), Step("patch-stateful-set"), Step("transfer-ownership"), Otherwise("the target gets no `fsGroup`, so that the kubelet changes no mode")]
        [KUBERNETES, ("cluster/src/successor.rs", "the_charts_template_becomes_pmm_3s")]),
    row!(3 "password authentication fails for `pmm-managed`; 3.7.0 hangs in its upgrade page"
        [Step("heal-roles"), Finding(server::ROLE_NOT_SCRAM), Finding(server::ROLE_CUSTOM_PASSWORD), Finding(image::TARGET_3_7_0)]
        [("tests/tests/doubles.rs", "old_passwords_of_roles_lock_pmm3_out"),
         ("agent/tests/server/postgres.rs", "only_default_passwords_are_healed_and_nothing_is_logged")]),
    row!(4 "an external PostgreSQL: its variables are unknown to PMM 3, its databases in no backup"
        [Finding(server::EXTERNAL_POSTGRES), Finding(environment::ENV_RENAMED), NotYet("external databases are refused; their variables are translated")]
        [("agent/src/engine/environment/tests.rs", "every_row_does_what_it_says")]),
    row!(5 "a dirty migration of Query Analytics stops ClickHouse's schema"
        [Finding(server::CLICKHOUSE_SCHEMA_DIRTY)]
        [("tests/tests/doubles.rs", "a_dirty_schema_in_clickhouse_stops_query_analytics")]),
    row!(6 "a bind mount fails for its owner or its SELinux label"
        [Finding(data::DATA_BIND_MOUNT), Step("replace-container"), Otherwise("mounts are made again with their label, mode and propagation")]
        [("agent/src/engine/carry_over/tests/mounts.rs", "binds_keep_mode_label_and_propagation")]),
    row!(7 "PMM 3's encryption key is lost, or does not fit its database"
        [Step("keep-encryption-key"), Otherwise("going back restores databases and files of one moment, never one without the other")]
        [CROSSING]),
    row!(8 "Helm: the service account is missing"
        [Finding(cluster::CLUSTER_SERVICE_ACCOUNT)] []),
    row!(9 "Helm: fields of the StatefulSet cannot be changed"
        [Step("patch-stateful-set"), Finding(cluster::CLUSTER_HELM), Otherwise("the run changes only what can be changed; where Helm wants more afterwards, docs/kubernetes.md says how")]
        [KUBERNETES]),
    row!(10 "certificates mounted read-only at `/srv/nginx`, or a key that uid 1000 cannot read"
        [Finding(data::MOUNT_BELOW_READ_ONLY), Finding(server::CERTIFICATES_UNREADABLE), Finding(carry_over::MOUNT_NGINX)]
        [("agent/src/server/facts/certificates.rs", "what_stays_unreadable_is_found")]),
    row!(11 "a change of owners breaks off at a read-only mount below the data"
        [Step("transfer-ownership"), Finding(data::MOUNT_BELOW_READ_ONLY), Finding(data::MOUNT_BELOW)]
        [("agent/src/tree/tests/mounts.rs", "mounts_are_told_and_neither_entered_copied_nor_given")]),
    row!(12 "alerting rules in `/srv/prometheus/rules` keep PMM 3's `vmalert` from starting"
        [Finding(server::CUSTOM_RULE_FILES), Step("set-aside-files")]
        [("agent/tests/server/supervisor.rs", "a_whole_server_is_observed_as_far_as_it_can_be")]),
    row!(13 "Integrated Alerting's and Alertmanager's configuration is lost"
        [Finding(uses::ALERTING_CHANNELS), Finding(uses::ALERTING_RULES), Finding(uses::EXTERNAL_ALERTMANAGER), Step("dump-databases"),
         Otherwise("channels, rules and templates are exported for people to read; Alertmanager's files are in the backup")]
        [("agent/tests/server/postgres.rs", "what_people_use_is_counted_and_exported")]),
    row!(14 "clusters of DBaaS are dropped"
        [Finding(uses::DBAAS_CLUSTERS), Finding(environment::DBAAS_REMOVED)] []),
    row!(15 "who logs in by Percona Platform only is locked out"
        [Finding(uses::LOGINS_SSO_ONLY), Finding(uses::PLATFORM_CONNECTED)] []),
    row!(16 "dashboards with Angular panels break"
        [Finding(uses::ANGULAR_PANELS), Step("dump-databases"), Otherwise("each is exported as it was")]
        [("agent/tests/server/postgres.rs", "what_people_use_is_counted_and_exported")]),
    row!(17 "Podman: user namespaces, SELinux, a log driver that breaks `nginx -t`"
        [Finding(container::PODMAN_ROOTLESS), Finding(carry_over::LOG_DRIVER_DROPPED), Otherwise("Podman's words are put into Docker's, and a new container gets the old one's user namespace"), Otherwise("a server stays in `keep-id` or out of it, and its owners are what its namespace makes of 1000")]
        [("agent/src/engine/podman.rs", "what_the_engine_adds_is_taken_away_and_what_a_person_set_is_kept")]),
    row!(18 "SELinux on appliances"
        [Finding(arrival::SELINUX_ON), Otherwise("the labels of the old machine are left behind (docs/appliance.md)")]
        [("agent/src/tree/pull/told.rs", "what_can_be_no_entry_is_refused")]),
    row!(19 "a wrong or anonymous volume: PMM 3 is fresh, empty and healthy"
        [Step("replace-container"), Step("capture-baseline"), Step("compare-baseline"), Finding(data::DATA_EMPTY), Finding(server::INVENTORY_EMPTY)]
        [("tests/tests/failing.rs", "it_is_ready_but_empty"), ("tests/tests/doubles.rs", "a_pmm3_on_an_empty_volume_looks_healthy")]),
    row!(20 "a data container has the volume by `--volumes-from` only"
        [Step("replace-container"), Otherwise("what is mounted counts, by its real name"), Finding(data::DATA_SHARED), Finding(data::DATA_SHARED_STOPPED)]
        [("agent/src/engine/carry_over/tests/mounts.rs", "an_anonymous_volume_is_named_however_it_came")]),
    row!(21 "while its programs are stopped the server is unhealthy, and somebody restarts or kills it"
        [Finding(container::CONTAINER_MANAGED), Finding(container::RESTARTER_BESIDE), Finding(carry_over::CUSTOM_HEALTHCHECK),
         Finding(carry_over::HEALTHCHECK_OLD_PORT), Step("fence-server")]
        [("agent/src/engine/carry_over/tests.rs", "a_custom_health_check_follows_the_ports")]),
    row!(22 "Compose, systemd or Watchtower makes the container anew in the middle"
        [Finding(container::CONTAINER_MANAGED), Finding(container::COMPOSE_CONTAINER_ONLY), Finding(container::COMPOSE_REMOVES_OLD),
         Finding(container::COMPOSE_FILE_EDITED), Finding(container::COMPOSE_FILE_REFUSED), Finding(container::CONTAINER_SWARM_SERVICE),
         Finding(container::UNIT_FILES_EDITED), Finding(container::UNIT_STARTS), Finding(container::UNIT_FILE_REFUSED), Finding(container::UNIT_MAKES_ANEW),
         Finding(container::UPDATER_BESIDE), Step("stop-server")]
        [("agent/src/engine/carry_over/tests.rs", "whoever_manages_the_container_is_named"),
         ("agent/src/engine/carry_over/tests.rs", "compose_keeps_the_new_container_of_the_two"),
         ("ctl/src/recipes/check/compose.rs", "the_file_is_edited_between_the_old_container_and_the_new_one"),
         ("tests/tests/compose.rs", "by_choice_the_file_is_edited_with_the_container_and_comes_back_with_it"),
         ("tests/tests/units.rs", "the_unit_crosses_with_its_files_and_comes_back_with_them"),
         ("tests/tests/killed.rs", "an_old_server_that_somebody_starts_in_between_stays_down")]),
    row!(23 "changing millions of owners takes long, in the downtime"
        [Step("transfer-ownership"), Otherwise("in parallel, leaving out what is right already; the plan says how long"),
         Otherwise("nothing is given away while PMM 2 runs: its ClickHouse could not start again on what is no longer its own, and going back before the stop would no longer be free")]
        [("agent/src/tree/tests/owning.rs", "what_is_right_is_not_touched")]),
    row!(24 "the server does not come back after a reboot"
        [Step("retire-agents"), Otherwise("the new container gets the old one's restart policy when it is proven")]
        [CROSSING]),
    row!(25 "scheduled backups point to ids that are gone"
        [Finding(uses::SCHEDULED_BACKUPS), Step("compare-baseline"), Otherwise("those that lack their service or their location afterwards are told by name")]
        [CROSSING, ("agent/src/server/baseline/compare_tests.rs", "a_scheduled_backup_that_has_gone_astray_is_told_by_name_and_loses_nothing")]),
    row!(26 "an external ClickHouse; the data source's new user"
        [Finding(server::EXTERNAL_CLICKHOUSE), NotYet("external databases are refused; their variables are translated")] []),
    row!(27 "the disk is full in the middle"
        [Finding(backup::DISK_TOO_SMALL), Finding(backup::DISK_TIGHT), Finding(backup::DATA_DISK_TOO_SMALL), Finding(backup::INODES_TOO_FEW), Finding(data::PROOF_ROOM)]
        [("tests/tests/refusals.rs", "too_little_disk"), ("tests/tests/faults/table.rs", "no_space_for_the_copy")]),
    row!(28 "PMM 2 is in the middle of an update of its own"
        [Finding(server::UPDATE_RUNNING)]
        [("agent/tests/server/supervisor.rs", "a_whole_server_is_observed_as_far_as_it_can_be")]),
    row!(29 "the data is on no volume and is lost with the container"
        [Finding(data::DATA_WITHOUT_VOLUME), Finding(data::DATA_TO_VOLUME), Otherwise("by choice a run of its own copies the data to a volume first")]
        [("tests/tests/data_to_volume.rs", "one_command_goes_to_a_volume_and_on_to_pmm_3_and_two_go_back"),
         ("agent/src/engine/carry_over/tests/mounts.rs", "data_without_a_mount_is_an_error_unless_a_volume_is_given")]),
    row!(30 "PMM 2's page says that there is no 3"
        [Otherwise("as it must: no update of PMM's own leads from 2 to 3, and none is used")]
        [CROSSING]),
    row!(31 "leftovers of earlier updates take space"
        [Finding(uses::LEFTOVERS), Otherwise("nothing is deleted")]
        [("agent/src/server/facts/uses.rs", "what_lies_on_the_volume_is_seen")]),
    row!(32 "a `pg_hba.conf` that was hardened by hand: PMM 3's first start fails"
        [Finding(server::POSTGRES_LOCAL_NOT_TRUSTED)]
        [("agent/src/server/postgres/hba.rs", "a_hardened_file_is_seen")]),
    row!(33 "PMM 2 still has the host's ports when PMM 3 starts"
        [Step("stop-server"), Step("start-server"), Otherwise("the one has stopped before the other is made")]
        [("ctl/src/recipes/pmm_in_place.rs", "the_steps_come_in_their_order"), CROSSING]),
];
