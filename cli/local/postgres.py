"""The bundled PostgreSQL: made once, on a unix socket, used by the application as an ordinary role."""

from __future__ import annotations

import shutil
import signal
from datetime import timedelta
from pathlib import Path

from cli.local.binaries import find_postgres
from cli.local.cluster import ADMIN, environment, give, identity_for, make_cluster, place_of, programs_for
from cli.local.home import Home
from cli.local.leftovers import clear_pid_file, end_servers_of
from cli.local.specs import ProcessSpec

APPLICATION = "crontalk"
PORT = 5432

# Errors in the server's log name no values: a DETAIL line quotes whole rows otherwise.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_statement": "none",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
# Safe against the end of every process, not of the machine.
UNSAFE_AND_FAST = {"fsync": "off", "full_page_writes": "off"}


def database_url(home: Home) -> str:
    """Where the application reaches its database, as an ordinary role that owns it."""
    return _url(home, APPLICATION, APPLICATION)


def admin_url(home: Home) -> str:
    """Where the superuser reaches the maintenance database."""
    return _url(home, ADMIN, "postgres")


def postgres_spec(home: Home, *, fsync: bool = True, identity: str | None = None) -> ProcessSpec:
    """Prepare the cluster and say how its server is started. Call it with the home's lock held.

    The server is ready when the application's role and database exist. `identity` overrides whom the server
    runs as, see `launch`. Raises Unavailable when there are no programs or the cluster cannot be made.
    """
    programs = find_postgres()
    cluster = home.data / "pg"
    identity = identity or identity_for(cluster)
    programs = programs_for(programs, identity)
    if not cluster.exists():
        make_cluster(home, programs, identity, fsync=fsync)
    give(cluster, identity)
    settings = {**SETTINGS, **({} if fsync else UNSAFE_AND_FAST)}
    settings |= {"cluster_name": home.mark, "unix_socket_directories": str(_socket_directory(home))}
    return ProcessSpec(
        name="postgres",
        argv=[
            programs.postgres,
            "-D",
            place_of(cluster, identity),
            *(f"--{k}={v}" for k, v in settings.items()),
        ],
        env=environment(),
        cwd=cluster,
        identity=identity,
        grace=timedelta(seconds=30),
        stop_signal=signal.SIGINT,
        kill_signal=signal.SIGQUIT,
        death_signal=signal.SIGINT,
        prepare=lambda: _clear_the_way(home, cluster, identity),
        ready=lambda: _application_can_connect(home),
    )


def _clear_the_way(home: Home, cluster: Path, identity: str) -> None:
    end_servers_of(cluster, home.mark)
    clear_pid_file(cluster)
    # Its lock file may name a living process as well; the home's lock says that nobody uses it.
    directory = _socket_directory(home)
    shutil.rmtree(directory, ignore_errors=True)
    home.sockets()
    directory.mkdir(mode=0o700)
    if ":" in identity:
        # The server's user makes the socket; it may pass through to its own directory and see no other.
        directory.parent.chmod(0o711)
        give(directory, identity)


def _url(home: Home, user: str, database: str) -> str:
    # The port stands in it so that PGPORT cannot lead astray.
    return f"postgresql+psycopg://{user}@/{database}?host={_socket_directory(home)}&port={PORT}"


def _socket_directory(home: Home) -> Path:
    return home.socket_path("pg", f".s.PGSQL.{PORT}").parent


def _application_can_connect(home: Home) -> bool:
    import psycopg

    try:
        connection = psycopg.connect(
            host=str(_socket_directory(home)),
            port=PORT,
            user=ADMIN,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )
    except psycopg.OperationalError:
        return False
    with connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APPLICATION]).rowcount:
            connection.execute(f"CREATE ROLE {APPLICATION} LOGIN")
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [APPLICATION]).rowcount:
            connection.execute(f"CREATE DATABASE {APPLICATION} OWNER {APPLICATION}")
    return True
