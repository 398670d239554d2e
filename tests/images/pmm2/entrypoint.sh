#!/bin/bash
# The order of PMM 2's own entrypoint: initialise a volume that was never used, check the environment, become supervisord.
set -o errexit

if [ ! -f /srv/pmm-distribution ]; then
    echo "File /srv/pmm-distribution doesn't exist. Initizlizing /srv..."
    echo docker > /srv/pmm-distribution
    mkdir -p /srv/{clickhouse,grafana,logs,postgres14,prometheus,nginx,victoriametrics,alertmanager,backup,alerting}
    mkdir -p /srv/prometheus/{data,rules} /srv/victoriametrics/data /srv/alertmanager/{data,cert} /srv/alerting/templates
    mkdir -p -m 0700 /srv/backup/grafana
    cp -r /usr/share/percona-dashboards/panels /srv/grafana/plugins
    cp /usr/share/percona-dashboards/VERSION /srv/grafana/PERCONA_DASHBOARDS_VERSION
    chmod 0644 /srv/grafana/PERCONA_DASHBOARDS_VERSION
    : > /srv/alertmanager/alertmanager.base.yml
    : > /srv/prometheus/prometheus.base.yml
    chown -R grafana:grafana /srv/grafana
    chown -R pmm:pmm /srv/victoriametrics /srv/prometheus /srv/logs /srv/alertmanager /srv/alerting
    chmod 0775 /srv/logs /srv/victoriametrics/data /srv/alerting/templates
    chown root:pmm /srv/clickhouse
    chown postgres:postgres /srv/postgres14
    chmod 0700 /srv/postgres14

    echo "Generating self-signed certificates for nginx..."
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=pmm-server \
        -keyout /srv/nginx/certificate.key -out /srv/nginx/certificate.crt 2> /dev/null
    cp /srv/nginx/certificate.crt /srv/nginx/ca-certs.pem
    echo "# made by openssl" > /srv/nginx/certificate.conf
    echo "# parameters of the image" > /srv/nginx/dhparam.pem

    echo "Initializing Postgres..."
    setpriv --reuid=postgres --regid=postgres --init-groups \
        /usr/pgsql-14/bin/initdb -N -D /srv/postgres14 --auth=trust > /dev/null

    # The history of a server that has been in use. Once in a container's life: a container that finds its volume
    # empty later on has lost its data, and must look like it.
    if [ ! -f /opt/.seeded ]; then
        standin seed-files
        touch /srv/.standin-seed-inventory /opt/.seeded
    fi
fi

pmm-managed-init

exec supervisord -n -c /etc/supervisord.conf
