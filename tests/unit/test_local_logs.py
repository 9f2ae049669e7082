"""What the children print, kept in bounded files."""

import os
import stat
import sys
from pathlib import Path

import pytest

from cli.local.logs import LogFile, drain


def test_a_log_keeps_its_bound_and_one_old_file(tmp_path):
    path = tmp_path / "worker.log"
    log = LogFile(path, limit=100)
    for number in range(50):
        log.write(b"%08d\n" % number)
    log.close()
    old = tmp_path / "worker.log.1"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]
    assert path.stat().st_size <= 100
    assert old.stat().st_size <= 100
    lines = (old.read_bytes() + path.read_bytes()).split()
    assert [int(line) for line in lines] == list(range(50 - len(lines), 50))
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, old)} == {0o600}


def test_a_log_goes_on_where_the_last_run_ended(tmp_path):
    for limit in (100, 100, 12):
        log = LogFile(tmp_path / "a.log", limit=limit)
        log.write(b"12345")
        log.close()
    assert (tmp_path / "a.log").read_bytes() == b"12345"
    assert (tmp_path / "a.log.1").read_bytes() == b"1234512345"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no /dev/full")
def test_a_full_disk_does_not_block_whoever_prints():
    reader, writer = os.pipe()
    thread = drain(reader, Path("/dev/full"))
    for _ in range(20):
        os.write(writer, b"x" * 65_536)
    os.close(writer)
    thread.join(10)
    assert not thread.is_alive()
