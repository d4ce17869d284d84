#!/usr/bin/env bash
# The start of the official image, as far as its documentation promises it.
set -eo pipefail

# value_of NAME DEFAULT: $NAME, or the content of the file that $NAME_FILE names; both at once is an error.
value_of() {
  local name=$1 file=$1_FILE value=$2
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
    echo "error: both $name and $file are set (but are exclusive)" >&2
    exit 1
  fi
  [ -z "${!name:-}" ] || value=${!name}
  [ -z "${!file:-}" ] || value=$(< "${!file}")
  export "$name=$value"
  unset "$file"
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  find "$PGDATA" \! -user postgres -exec chown postgres {} +
  value_of POSTGRES_PASSWORD ''   # read as root: the file may be its alone
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

value_of POSTGRES_PASSWORD ''
value_of POSTGRES_USER postgres
value_of POSTGRES_DB "$POSTGRES_USER"
value_of POSTGRES_INITDB_ARGS ''

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -z "$POSTGRES_PASSWORD" ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    exit 1
  fi
  eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"
  printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
  export PGPASSWORD=$POSTGRES_PASSWORD
  if [ "$POSTGRES_DB" != postgres ]; then
    psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
  fi
  for script in /docker-entrypoint-initdb.d/*.sql; do
    [ ! -e "$script" ] || psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$script"
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  echo 'PostgreSQL init process complete; ready for start up.'
else
  echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
fi
unset POSTGRES_PASSWORD
exec "$@"
