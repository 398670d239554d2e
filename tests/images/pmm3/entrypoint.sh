#!/bin/bash
# The order and the refusals of PMM 3's entrypoint; what it does not check, this one does not check either.
set -o errexit

# Faults that only the doubles know.
case "$STANDIN_FAULT" in
    exit) echo "FATAL: this server was told not to start."; exit 1 ;;
    loop) echo "FATAL: this server was told to stop after a while."; sleep 2; exit 1 ;;
esac

VERSION=$(cat /usr/share/percona-dashboards/VERSION)
at_least() { [ "$(printf '%s\n%s\n' "$1" "$VERSION" | sort -V | head -n 1)" = "$1" ]; }

# The top directory only: what lies below may still belong to others.
if [ ! -w /srv ]; then
    echo "FATAL: /srv is not writable for $(id -un 2> /dev/null || id -u) user."
    echo "Please make sure that /srv is owned by uid $(id -u) and gid $(id -g) and try again."
    exit 1
fi

if [ "$(id -u)" != 1000 ] || { at_least 3.4.0 && [ "$(id -g)" != 0 ]; }; then
    if at_least 3.4.0; then
        if [ ! -f /usr/lib64/libnss_wrapper.so ]; then
            echo "FATAL: libnss_wrapper.so is missing."
            exit 1
        fi
        if [ "$(id -u)" != 0 ]; then
            sed "s/^pmm:.*$/pmm:x:$(id -u):$(id -g):pmm:\/home\/pmm:\/bin\/false/" /etc/passwd > /tmp/passwd
            export LD_PRELOAD=/usr/lib64/libnss_wrapper.so NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/etc/group
        fi
    fi
fi

if [ ! -f /srv/pmm-distribution ]; then
    # A volume that is wrong or empty gets a fresh server here, and nothing says so.
    echo "Initializing /srv..."
    echo -n docker > /srv/pmm-distribution
    mkdir -p /srv/{backup,clickhouse,grafana,logs,nginx,nomad,pmm-agent,prometheus,victoriametrics,postgres14}
    mkdir -p /srv/victoriametrics/data /srv/prometheus/rules
    cp -r /usr/share/percona-dashboards/panels /srv/grafana/plugins
    cp /usr/share/percona-dashboards/VERSION /srv/grafana/PERCONA_DASHBOARDS_VERSION

    echo "Initializing Postgres..."
    head -c 24 /dev/urandom | base64 > /tmp/pwfile
    /usr/pgsql-14/bin/initdb -N -D /srv/postgres14 --username=postgres \
        --auth-host=scram-sha-256 --auth-local=trust --pwfile=/tmp/pwfile > /dev/null
    install -m 0600 /tmp/pwfile /srv/.postgres_password
    rm -f /tmp/pwfile
fi

if at_least 3.8.0; then
    mkdir -p /srv/nginx/tmp/{client,proxy,fastcgi,uwsgi,scgi}
else
    mkdir -p /srv/nginx/tmp/{client,proxy,fastcgi,uwsgi,scgi} 2> /dev/null || true
fi
mkdir -p /srv/pmm-agent/tmp
chmod 770 /srv/pmm-agent/tmp
mkdir -p /run/postgresql
chmod 750 /srv/postgres14 || true

if at_least 3.7.0; then
    /opt/postgres-migration
fi

if [ ! -f /srv/nginx/certificate.crt ]; then
    echo "Generating self-signed certificates for nginx..."
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=pmm-server \
        -keyout /srv/nginx/certificate.key -out /srv/nginx/certificate.crt 2> /dev/null
fi
nginx -t -c /etc/nginx/nginx.conf -e /dev/stdout || exit 1

pmm-managed-init

if [ ! -f /usr/local/percona/pmm/config/pmm-agent.yaml ]; then
    printf 'id: pmm-server\nserver:\n  address: 127.0.0.1:8443\n' > /usr/local/percona/pmm/config/pmm-agent.yaml
fi

exec supervisord -n -c /etc/supervisord.conf
