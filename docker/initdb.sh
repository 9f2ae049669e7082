#!/bin/sh
# Runs once, when the database's volume is empty: the application's own role and database.
# POSTGRES_USER is a superuser and is for maintenance only; Crontalk connects as an ordinary role.
set -eu
: "${CRONTALK_DB_PASSWORD:?set it in .env}"
# \getenv keeps the password out of the process list.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\getenv password CRONTALK_DB_PASSWORD
CREATE ROLE crontalk LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE crontalk OWNER crontalk;
REVOKE ALL ON DATABASE crontalk FROM PUBLIC;
SQL
