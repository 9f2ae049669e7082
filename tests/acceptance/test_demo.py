"""`crontalk demo`: servers of its own, a home that is thrown away, and kills before one's eyes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.local.home import Home
from cli.local.processes import alive
from tests.acceptance.conftest import CRONTALK
from tests.acceptance.test_up import free_port

pytestmark = pytest.mark.acceptance


@dataclass
class Demo:
    """A demo whose throw-away home is in a directory of the test's, and every process it was seen with."""

    place: Path
    screen: Path
    process: subprocess.Popen
    homes: set[Path] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)

    def shown(self):
        return self.screen.read_text(errors="replace")

    def ended(self):
        for path in self.place.iterdir():
            running = Home(path).read_running()
            if running:
                self.homes.add(path)
                self.pids |= set(running.processes.values())
        return self.process.poll() is not None

    def left(self):
        """What is still there of processes, sockets and files."""
        sockets = [Path("/tmp", Home(path).mark) for path in self.homes]
        return [
            *filter(alive, self.pids),
            *(path for path in sockets if path.exists()),
            *self.place.iterdir(),
        ]


@pytest.fixture
def start(tmp_path):
    started = []
    place, screen = tmp_path / "temporary", tmp_path / "screen.txt"
    place.mkdir()

    def demo(*options):
        environment = {**os.environ, "TMPDIR": str(place), "DATABASE_URL": "postgres://no"}
        with screen.open("wb") as file:
            process = subprocess.Popen(
                [*CRONTALK, "demo", "--port", str(free_port()), *options],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,
            )
        started.append(process)
        return Demo(place, screen, process)

    yield demo
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


def test_chaos_kills_and_loses_nothing_and_leaves_nothing_behind(start, eventually):
    demo = start("--chaos")
    eventually(demo.ended, 240)
    shown = demo.shown()
    assert demo.process.returncode == 0, shown
    victims = re.findall(r"^kill -9 \d+: ([a-z]+)\S* is dead", shown, re.MULTILINE)
    assert victims == ["worker", "scheduler", "valkey"]
    assert re.search(r"attempt\.1 .* lost ", shown)
    assert re.search(r"attempt\.3 .* succeeded ", shown)
    assert len(re.findall(r"^ bot  ", shown, re.MULTILINE)) == 2
    assert "Nothing was lost and nothing was stored twice." in shown
    assert len(demo.pids) >= 9
    assert demo.left() == []


def test_a_demo_without_chaos_goes_on_until_it_is_stopped(start, eventually):
    demo = start()
    eventually(lambda: demo.ended() or "succeeded" in demo.shown(), 120)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=60) == 0, demo.shown()
    assert len(demo.pids) >= 7
    assert demo.left() == []
