#!/bin/sh
# Entry point of the test image of PostgreSQL: certificate in /tls, superuser postgres with $POSTGRES_PASSWORD, data in /data.
set -eu
if [ ! -e /data/pg/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  /pg/bin/initdb -D /data/pg -U postgres --pwfile=/tmp/password -A scram-sha-256 -E UTF8 --no-locale -N >/dev/null
  echo 'hostssl all all 0.0.0.0/0 scram-sha-256' >>/data/pg/pg_hba.conf
fi
# PostgreSQL refuses a key that others may read, and a mounted one is.
cp /tls/tls.key /tmp/server.key; chmod 600 /tmp/server.key
exec /pg/bin/postgres -D /data/pg -c 'listen_addresses=*' -c unix_socket_directories=/tmp -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tmp/server.key \
  -c fsync=off -c shared_buffers=16MB -c max_connections=200 -c log_statement=all -c 'log_line_prefix=%m %u %a '
