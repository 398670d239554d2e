-- The database of PMM 2.44 as far as anybody outside it has looked: names, keys and the columns that a migration must carry.
CREATE TABLE schema_migrations (id INTEGER NOT NULL PRIMARY KEY);
INSERT INTO schema_migrations SELECT generate_series(1, 88);

CREATE TABLE nodes (
    node_id VARCHAR NOT NULL PRIMARY KEY, node_type VARCHAR NOT NULL, node_name VARCHAR NOT NULL UNIQUE,
    machine_id VARCHAR, distro VARCHAR NOT NULL, node_model VARCHAR NOT NULL, az VARCHAR NOT NULL, region VARCHAR,
    address VARCHAR NOT NULL, custom_labels TEXT, container_id VARCHAR, container_name VARCHAR,
    created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE services (
    service_id VARCHAR NOT NULL PRIMARY KEY, service_type VARCHAR NOT NULL, service_name VARCHAR NOT NULL UNIQUE,
    node_id VARCHAR NOT NULL REFERENCES nodes (node_id), environment VARCHAR NOT NULL, cluster VARCHAR NOT NULL,
    replication_set VARCHAR NOT NULL, address VARCHAR, port INTEGER, socket VARCHAR, database_name VARCHAR NOT NULL,
    external_group VARCHAR NOT NULL, custom_labels TEXT, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE agents (
    agent_id VARCHAR NOT NULL PRIMARY KEY, agent_type VARCHAR NOT NULL,
    runs_on_node_id VARCHAR REFERENCES nodes (node_id), pmm_agent_id VARCHAR REFERENCES agents (agent_id),
    node_id VARCHAR REFERENCES nodes (node_id), service_id VARCHAR REFERENCES services (service_id),
    custom_labels TEXT, disabled BOOLEAN NOT NULL, status VARCHAR NOT NULL, listen_port INTEGER, version VARCHAR,
    username VARCHAR, password VARCHAR, tls BOOLEAN NOT NULL, tls_skip_verify BOOLEAN NOT NULL,
    metrics_path VARCHAR, metrics_scheme VARCHAR, push_metrics BOOLEAN NOT NULL, disabled_collectors VARCHAR[],
    max_query_length INTEGER NOT NULL, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE agent_nodes (agent_id VARCHAR NOT NULL, node_id VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, UNIQUE (agent_id, node_id));
CREATE TABLE agent_services (agent_id VARCHAR NOT NULL, service_id VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, UNIQUE (agent_id, service_id));
CREATE TABLE settings (settings JSONB);
INSERT INTO settings VALUES ('{"telemetry": {"disabled": false, "uuid": "00000000000000000000000000000000"}, "sass": {"stt_disabled": false},
    "ia": {"disabled": false, "email_alerting_settings": null, "slack_alerting_settings": null}, "alert_manager_url": "",
    "backup_management": {"disabled": false}, "updates": {"disabled": false}, "data_retention": 2592000000000000,
    "metrics_resolutions": {"hr": 5000000000, "mr": 10000000000, "lr": 60000000000}}');
CREATE TABLE backup_locations (id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, description VARCHAR NOT NULL, type VARCHAR NOT NULL, s3_config JSONB, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE artifacts (id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, vendor VARCHAR NOT NULL, location_id VARCHAR NOT NULL REFERENCES backup_locations (id), service_id VARCHAR NOT NULL, data_model VARCHAR NOT NULL, status VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE scheduled_tasks (id VARCHAR NOT NULL PRIMARY KEY, cron_expression VARCHAR NOT NULL, type VARCHAR NOT NULL, start_at TIMESTAMP, last_run TIMESTAMP, next_run TIMESTAMP, data JSONB, disabled BOOLEAN, running BOOLEAN, error VARCHAR, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE restore_history (id VARCHAR NOT NULL PRIMARY KEY, artifact_id VARCHAR NOT NULL REFERENCES artifacts (id), service_id VARCHAR NOT NULL, status VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL);
CREATE TABLE job_results (id VARCHAR NOT NULL PRIMARY KEY, pmm_agent_id VARCHAR NOT NULL, type VARCHAR NOT NULL, done BOOLEAN NOT NULL, error VARCHAR NOT NULL, result JSONB, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE job_logs (job_id VARCHAR NOT NULL, chunk_id INTEGER NOT NULL, data TEXT NOT NULL, last_chunk BOOLEAN NOT NULL, PRIMARY KEY (job_id, chunk_id));
CREATE TABLE action_results (id VARCHAR NOT NULL PRIMARY KEY, pmm_agent_id VARCHAR, done BOOLEAN NOT NULL, error VARCHAR NOT NULL, output TEXT NOT NULL, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE check_settings (name VARCHAR NOT NULL PRIMARY KEY, interval VARCHAR NOT NULL, disabled BOOLEAN NOT NULL DEFAULT false);
CREATE TABLE dumps (id VARCHAR NOT NULL PRIMARY KEY, status VARCHAR NOT NULL, node_ids VARCHAR[], start_time TIMESTAMP, end_time TIMESTAMP, created_at TIMESTAMP NOT NULL);
CREATE TABLE ia_channels (id VARCHAR NOT NULL PRIMARY KEY, summary VARCHAR NOT NULL, type VARCHAR NOT NULL, disabled BOOLEAN NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE ia_templates (name VARCHAR NOT NULL PRIMARY KEY, version INTEGER NOT NULL, summary VARCHAR NOT NULL, source VARCHAR NOT NULL, yaml TEXT NOT NULL, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE ia_rules (id VARCHAR NOT NULL PRIMARY KEY, template_name VARCHAR NOT NULL, summary VARCHAR NOT NULL, disabled BOOLEAN NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE kubernetes_clusters (id VARCHAR NOT NULL PRIMARY KEY, kubernetes_cluster_name VARCHAR NOT NULL UNIQUE, kube_config TEXT NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE percona_sso_details (client_id VARCHAR NOT NULL PRIMARY KEY, client_secret VARCHAR, issuer_url VARCHAR NOT NULL, scope VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE roles (id SERIAL PRIMARY KEY, title VARCHAR NOT NULL UNIQUE, description TEXT NOT NULL, filter TEXT NOT NULL, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
INSERT INTO roles (title, description, filter, created_at, updated_at) VALUES ('Full access', 'Built-in default role', '', now(), now());
CREATE TABLE user_roles (user_id INTEGER NOT NULL, role_id INTEGER NOT NULL, created_at TIMESTAMP NOT NULL, PRIMARY KEY (user_id, role_id));
CREATE TABLE user_flags (id INTEGER NOT NULL PRIMARY KEY, tour_done BOOLEAN NOT NULL DEFAULT false, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL);
