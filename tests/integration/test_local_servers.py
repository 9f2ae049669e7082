"""The bundled servers on real homes: started, stopped, killed, and started again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy

from cli.local import binaries, cluster
from cli.local.cluster import make_cluster
from cli.local.home import SHORT_ROOT, Home
from cli.local.leftovers import end_servers_of
from cli.local.postgres import admin_url, postgres_spec
from cli.local.processes import PROC, alive, command_of, launched, process_ids
from cli.local.servers import bundled, running_servers
from cli.local.supervisor import Supervisor
from core.errors import Conflict, Unavailable
from tests.servers import libpq

LINUX = sys.platform == "linux"
linux_only = pytest.mark.skipif(not LINUX, reason="macOS has neither /proc nor death signals")
root_only = pytest.mark.skipif(not LINUX or os.geteuid() != 0, reason="about what root does on Linux")

SUPERVISE = """
import signal, sys
from cli.local.servers import running_servers
with running_servers(sys.argv[1], fsync=True) as servers:
    print(servers.database_url, flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home whose cluster is made; the tests copy it, because making one is the slow part."""
    directory = tmp_path_factory.mktemp("made") / "home"
    with running_servers(directory):
        pass
    return directory


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path / "home")
    home = Home.at(tmp_path / "home")
    yield home
    end_servers_of(home.data / "pg", home.mark)
    home.remove_sockets()


def connect(url):
    return closing(psycopg.connect(libpq(url), autocommit=True))


def query(url, sql):
    with connect(url) as connection:
        answer = connection.execute(sql)
        return answer.fetchall() if answer.description else None


def write_rows(url):
    query(url, "CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")


def has_rows(url):
    return query(url, "SELECT count(*) FROM kept") == [(1000,)]


def servers_of(home):
    return [pid for pid in process_ids() if home.mark in command_of(pid) and alive(pid)]


@contextmanager
def supervised(home):
    """The bundled PostgreSQL under a supervisor that the test drives."""
    with home.lock():
        supervisor = Supervisor(bundled(home, fsync=False, valkey=False).specs, home.logs)
        try:
            assert supervisor.start()
            yield supervisor
        finally:
            supervisor.stop()


@contextmanager
def unsupervised(home, eventually):
    """A server that runs on after its supervisor is gone, as on a system without death signals."""
    spec = postgres_spec(home, fsync=True)
    spec.prepare()
    argv = launched(spec.argv, death_signal=signal.SIGINT, identity=spec.identity)
    with (home.logs / "leftover.log").open("wb") as log:
        process = subprocess.Popen(argv, env=spec.env, cwd=spec.cwd, stdout=log, stderr=log, process_group=0)
    try:
        eventually(spec.ready)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@contextmanager
def busy_backend(home, eventually):
    """The pid of a backend that is too busy to notice that its postmaster is gone."""
    told = []

    def spin():
        with connect(admin_url(home)) as connection, suppress(psycopg.OperationalError):
            told.append(connection.info.backend_pid)
            connection.execute("DO 'BEGIN LOOP END LOOP; END'")

    client = threading.Thread(target=spin, daemon=True)
    client.start()
    spinning = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DO %LOOP%' AND state = 'active'"
    eventually(lambda: query(admin_url(home), spinning))
    try:
        yield told[0]
    finally:
        with suppress(ProcessLookupError):
            os.kill(told[0], signal.SIGKILL)
        client.join()


@contextmanager
def supervising_process(directory):
    """Another process that runs the servers, and where its database is."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(directory)], stdout=subprocess.PIPE)
    with process:
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            process.kill()


def test_a_fresh_home_serves_an_ordinary_role_that_owns_its_database(tmp_path):
    with running_servers(tmp_path / "fresh", fsync=True) as servers:
        engine = sqlalchemy.create_engine(servers.database_url)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE mine (id int)"))
            role = connection.execute(
                sqlalchemy.text(
                    "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles "
                    "WHERE rolname = current_user"
                )
            ).one()
        engine.dispose()
        assert tuple(role) == ("crontalk", False, False, False, False)
        assert query(servers.admin_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [
            (True,)
        ]
        settings = "SELECT lower('ÄÖÜ'), current_setting('fsync'), current_setting('server_encoding')"
        assert query(servers.database_url, settings) == [("äöü", "on", "UTF8")]
        assert query(servers.database_url, "SHOW listen_addresses") == [("",)]


def test_rows_outlive_a_stop_and_a_start(home):
    with running_servers(home.path) as servers:
        write_rows(servers.database_url)
    with running_servers(home.path) as servers:
        assert has_rows(servers.database_url)


def test_after_a_stop_nothing_is_left(home):
    with running_servers(home.path):
        assert servers_of(home) or not LINUX
    assert not servers_of(home)
    assert not (SHORT_ROOT / home.mark).exists()
    assert not (home.data / "pg" / "postmaster.pid").exists()


def test_valkey_holds_everything_in_memory_and_evicts_nothing(home):
    with running_servers(home.path) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        told = valkey.config_get("save", "appendonly", "maxmemory-policy", "port")
        assert told == {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "port": "0"}
        valkey.set("hint", "1")
    assert sorted(path.name for path in home.data.iterdir()) == ["pg"]
    with running_servers(home.path) as servers, redis.Redis.from_url(servers.redis_url) as valkey:
        assert valkey.get("hint") is None


def test_the_servers_log_quotes_no_row_and_no_parameter(home):
    with running_servers(home.path) as servers, connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE secret (text text PRIMARY KEY)")
        connection.execute("INSERT INTO secret VALUES (%s)", ["canary-4711"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO secret VALUES (%s)", ["canary-4711"])
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("SELEKT 'canary-4711'")
    log = (home.logs / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "canary" not in log


def test_the_callers_postgresql_environment_does_not_lead_astray(home, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with running_servers(home.path) as servers:
        engine = sqlalchemy.create_engine(servers.database_url)
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        engine.dispose()


def test_a_home_with_a_long_path_works(made, tmp_path):
    place = tmp_path / ("long" * 30) / ("longer" * 20)
    shutil.copytree(made, place)
    with running_servers(place) as servers:
        write_rows(servers.database_url)
        assert has_rows(servers.database_url)


def test_a_second_start_on_a_home_is_refused_and_the_first_goes_on(home):
    with running_servers(home.path) as servers:
        with pytest.raises(Conflict, match="Another `crontalk up` runs"), running_servers(home.path):
            pass
        assert query(servers.database_url, "SELECT 1") == [(1,)]


def test_a_hostile_socket_directory_is_refused_before_anything_starts(home, tmp_path):
    (SHORT_ROOT / home.mark).symlink_to(tmp_path)
    try:
        with pytest.raises(Conflict, match="made by somebody else"), running_servers(home.path):
            pass
        assert not servers_of(home)
    finally:
        (SHORT_ROOT / home.mark).unlink()


@root_only
def test_root_runs_the_server_as_nobody_of_a_namespace_and_keeps_the_files(home):
    with supervised(home) as supervisor:
        pid = supervisor.processes["postgres"]
        assert (PROC / str(pid) / "uid_map").read_text().split() == ["65534", "0", "1"]
        write_rows(admin_url(home))
        assert {path.stat().st_uid for path in (home.data / "pg").rglob("*")} == {0}


@root_only
def test_where_namespaces_are_refused_the_server_runs_as_nobody_from_a_copy(tmp_path, monkeypatch):
    cache = tempfile.TemporaryDirectory(dir="/var/tmp")
    Path(cache.name).chmod(0o755)
    monkeypatch.setattr(cluster, "_works", lambda _argv, _identity: False)
    monkeypatch.setattr(binaries, "CACHE_ROOT", Path(cache.name))
    tmp_path.chmod(0o700)  # nobody cannot walk to the home
    home = Home.at(tmp_path / "home")
    with cache:
        for _ in range(2):
            with supervised(home) as supervisor:
                pid = supervisor.processes["postgres"]
                assert (PROC / str(pid)).stat().st_uid == 65534
                assert str(cache.name) in command_of(pid)
                query(admin_url(home), "CREATE TABLE IF NOT EXISTS kept (n int)")
        assert len(list(Path(cache.name).iterdir())) == 1
        assert (home.data / "pg").stat().st_uid == 65534
    monkeypatch.undo()
    with running_servers(home.path) as servers:  # namespaces are back: the files keep their owner
        assert query(servers.admin_url, "SELECT count(*) FROM kept") == [(0,)]


@root_only
def test_a_cluster_made_under_a_namespace_moves_to_nobody_where_there_are_none(home, monkeypatch):
    monkeypatch.setattr(cluster, "_works", lambda _argv, identity: identity != "namespace")
    with running_servers(home.path) as servers:
        assert query(servers.admin_url, "SELECT 1") == [(1,)]
    assert {path.stat().st_uid for path in (home.data / "pg").rglob("*")} == {65534}


def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(home):
    with running_servers(home.path) as servers:
        write_rows(servers.database_url)
    pid_file = home.data / "pg" / "postmaster.pid"
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pid_file.write_text(
            f"{stranger.pid}\n{home.data / 'pg'}\n1700000000\n5432\n/tmp\n\n  12345  678\nready\n"
        )
        with running_servers(home.path) as servers:
            assert has_rows(servers.database_url)
            assert stranger.poll() is None
        stranger.communicate(b"\n")


@pytest.mark.parametrize("torn", ["", "\n", "nonsense\n"])
def test_a_torn_pid_file_is_no_obstacle(home, torn):
    (home.data / "pg" / "postmaster.pid").write_text(torn)
    with supervised(home):
        pass


def test_a_socket_lock_that_names_a_living_stranger_is_no_obstacle(home):
    lock = home.sockets() / "pg" / ".s.PGSQL.5432.lock"
    lock.parent.mkdir()
    lock.write_text(f"{os.getpid()}\n{home.data / 'pg'}\n1700000000\n5432\n{lock.parent}\n")
    with supervised(home):
        pass


def test_a_leftover_server_is_ended_before_the_new_one_starts(home, eventually):
    with unsupervised(home, eventually) as leftover:
        write_rows(admin_url(home))
        with supervised(home) as supervisor:
            assert leftover.wait(1) == 0  # a fast shutdown, no kill
            assert supervisor.processes["postgres"] != leftover.pid
            assert has_rows(admin_url(home))


@linux_only
def test_a_leftover_server_is_found_after_its_home_was_renamed(home, tmp_path, eventually):
    with unsupervised(home, eventually) as leftover:
        write_rows(admin_url(home))
        home.path.rename(tmp_path / "renamed")
        renamed = Home.at(tmp_path / "renamed")
        with supervised(renamed):
            assert not alive(leftover.pid)
            assert has_rows(admin_url(renamed))


@linux_only
def test_a_backend_that_outlived_its_postmaster_is_ended_first(home, eventually):
    with unsupervised(home, eventually) as leftover:
        write_rows(admin_url(home))
        with busy_backend(home, eventually) as backend:
            leftover.kill()
            leftover.wait()
            assert alive(backend)
            with supervised(home):
                assert not alive(backend)
                assert has_rows(admin_url(home))


def test_a_half_made_cluster_is_made_anew(tmp_path):
    home = Home.at(tmp_path)
    (home.data / "pg.init" / "base").mkdir(parents=True)
    (home.data / "pg.init" / "PG_VERSION").write_text("18")
    with supervised(home):
        assert [path.name for path in home.data.iterdir()] == ["pg"]


@linux_only
def test_a_kill_while_the_cluster_is_made_costs_nothing(tmp_path, eventually):
    home = Home.at(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        eventually((home.data / "pg.init" / "base").exists)
        process.kill()
    assert not (home.data / "pg").exists()
    with supervised(home):
        assert query(admin_url(home), "SELECT 1") == [(1,)]


def test_a_cluster_that_cannot_be_made_is_told_in_a_sentence(tmp_path, monkeypatch):
    home = Home.at(tmp_path)
    monkeypatch.setattr(cluster, "_locale", lambda _: ["--locale=nowhere"])
    with pytest.raises(Unavailable, match=r"could not be made; see .*initdb\.log"):
        make_cluster(home, binaries.find_postgres(), cluster.identity_for(home.data / "pg"), fsync=False)
    assert "nowhere" in (home.logs / "initdb.log").read_text()


@linux_only
def test_kill_9_of_the_supervisor_takes_its_servers_along_and_keeps_the_rows(home, eventually):
    with supervising_process(home.path) as (process, url):
        write_rows(url)
        assert len(servers_of(home)) > 2
        process.kill()
        process.wait()
        eventually(lambda: not servers_of(home))
    with running_servers(home.path) as servers:
        assert has_rows(servers.database_url)


def test_a_start_right_after_kill_9_waits_for_the_old_servers_to_be_gone(home):
    with supervising_process(home.path) as (process, url):
        write_rows(url)
        process.kill()
        process.wait()
    with running_servers(home.path) as servers:
        assert has_rows(servers.database_url)


@linux_only
def test_a_killed_database_server_comes_back_with_its_rows(home, eventually):
    with supervised(home) as supervisor:
        write_rows(admin_url(home))
        killed = supervisor.processes["postgres"]
        os.kill(killed, signal.SIGKILL)

        def is_back():
            supervisor.turn()
            with suppress(psycopg.OperationalError):
                return supervisor.processes.get("postgres", killed) != killed and has_rows(admin_url(home))

        eventually(is_back, 20)


@linux_only
def test_a_hurried_stop_leaves_no_server_behind_even_with_a_client_at_work(home, eventually):
    with supervised(home) as supervisor, busy_backend(home, eventually):
        supervisor.ask_to_stop()
        supervisor.ask_to_stop()
        supervisor.stop()
        assert not servers_of(home)


def test_the_machines_own_postgresql_serves_where_there_is_no_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "package_directory", lambda _: None)
    try:
        programs = binaries.find_postgres()
    except Unavailable:
        pytest.skip("this machine has no PostgreSQL of its own")
    assert "site-packages" not in programs.postgres
    with supervised(Home.at(tmp_path)):
        assert query(admin_url(Home.at(tmp_path)), "SELECT lower('ÄÖÜ')") == [("äöü",)]


def test_without_any_server_the_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(binaries, "package_directory", lambda _: None)
    monkeypatch.setattr(binaries, "DEBIAN_ROOT", Path("/nowhere"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(Unavailable, match="DATABASE_URL"):
        binaries.find_postgres()
    with pytest.raises(Unavailable, match="REDIS_URL"):
        binaries.find_valkey()


def test_a_stop_waits_as_long_as_postgresql_needs_to_be_safe(home):
    spec = postgres_spec(home)
    assert spec.stop_signal is spec.death_signal is signal.SIGINT
    assert spec.kill_signal is signal.SIGQUIT
    assert spec.grace >= timedelta(seconds=30)
