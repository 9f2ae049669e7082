"""`crontalk up` as a new user meets it: one command, a conversation on the screen, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.local.home import Home
from tests.acceptance.conftest import CRONTALK

pytestmark = pytest.mark.acceptance


@dataclass
class Up:
    """A home and the `up` that runs on it."""

    home: Path
    port: int
    screen: Path
    process: subprocess.Popen | None = None
    shown_before: int = 0

    def start(self, *options: str) -> None:
        self.shown_before = len(self.shown()) if self.screen.exists() else 0
        with self.screen.open("ab") as file:
            self.process = subprocess.Popen(
                [*CRONTALK, "up", "--home", str(self.home), "--port", str(self.port), *options],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )

    def crontalk(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*CRONTALK, *command, "--home", str(self.home)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *command: str) -> dict:
        done = self.crontalk(*command, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def shown(self) -> str:
        return self.screen.read_text(errors="replace")

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.shown()
        return "Crontalk is up" in self.shown()[self.shown_before :]

    def pids(self) -> dict[str, int]:
        running = Home.at(self.home).read_running()
        return dict(running.processes) if running else {}

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(sign)
        return self.process.wait(timeout=60)


@pytest.fixture
def up(tmp_path):
    made = Up(tmp_path / "home", free_port(), tmp_path / "screen.txt")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def free_port() -> int:
    """A port that is free, as is the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def succeeded_runs(up, *options):
    return [run for run in up.json("run", "list", *options)["items"] if run["state"] == "succeeded"]


def test_the_demo_shows_a_conversation_and_the_commands_work_beside_it(up, eventually):
    up.start("--demo")
    eventually(up.is_up, 90)
    began = time.monotonic()
    eventually(lambda: "succeeded" in up.shown(), 30)
    assert time.monotonic() - began < 30
    shown = up.shown()
    assert "The token is shown only now" in shown
    token = (up.home / "token").read_text().strip()
    assert shown.count(token) == 1
    assert stat.S_IMODE((up.home / "token").stat().st_mode) == 0o600
    assert all(word in shown for word in ("task ", "run ", "conversation ", "user", "bot"))

    task = up.json("task", "create", "Ticker", "--prompt", "Say tick.", "--schedule", "@every 2s")
    eventually(lambda: len(succeeded_runs(up, "--task", task["id"])) >= 3, 60)
    runs = succeeded_runs(up, "--task", task["id"])
    conversations = [up.json("conversation", "show", run["conversationId"]) for run in runs[:3]]
    assert [one["taskId"] for one in conversations] == [task["id"]] * 3
    assert [one["runId"] for one in conversations] == [run["id"] for run in runs[:3]]
    assert all([m["type"] for m in one["messages"]] == ["user", "bot"] for one in conversations)
    assert len({run["scheduledFor"] for run in runs}) == len(runs)

    second = up.crontalk("up")
    assert second.returncode == 4
    assert f"pid {up.process.pid}" in second.stderr

    request = urllib.request.Request(
        f"http://127.0.0.1:{up.port}/api/v1/task/list", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert task["id"] in {item["id"] for item in json.load(answer)["items"]}

    pids = up.pids()
    assert set(pids) == {"postgres", "valkey", "scheduler", "worker-1", "annotator", "poll", "api", "flower"}
    assert up.stop(signal.SIGINT) == 0
    assert all(gone(pid) for pid in pids.values())
    assert not (Path("/tmp") / Home.at(up.home).mark).exists()
    assert not (up.home / "servers.json").exists()


def test_data_outlive_a_killed_supervisor_and_killed_servers(up, eventually):
    up.start("--no-flower")
    eventually(up.is_up, 90)
    assert up.json("task", "list") == {"items": []}
    task = up.json("task", "create", "Ticker", "--prompt", "Say tick.", "--schedule", "@every 1s")
    eventually(lambda: len(succeeded_runs(up, "--task", task["id"])) >= 1, 60)

    pids = up.pids()
    os.kill(pids["valkey"], signal.SIGKILL)
    os.kill(pids["scheduler"], signal.SIGKILL)
    os.kill(pids["worker-1"], signal.SIGKILL)
    eventually(
        lambda: all(up.pids().get(name, pid) != pid for name, pid in pids.items() if name in KILLED), 30
    )
    known = len(succeeded_runs(up, "--take", "1000"))
    eventually(lambda: len(succeeded_runs(up, "--take", "1000")) > known, 60)

    pids = up.pids()
    up.process.kill()
    up.process.wait()
    eventually(lambda: all(gone(pid) for pid in pids.values()), 40)
    up.start("--no-flower")
    eventually(up.is_up, 90)
    assert up.shown().count("A new account") == 1
    assert [item["id"] for item in up.json("task", "list")["items"]] == [task["id"]]
    before = len(up.json("run", "list", "--take", "1000")["items"])
    eventually(lambda: len(up.json("run", "list", "--take", "1000")["items"]) > before, 60)
    assert up.crontalk("down").returncode == 0
    assert up.process.wait(timeout=30) == 0
    assert up.crontalk("down").returncode == 4
    assert up.crontalk("status").returncode == 6


KILLED = {"valkey", "scheduler", "worker-1"}


def test_servers_of_ones_own_replace_the_bundled_ones(up, eventually, installation, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", installation.database_url.replace("postgresql+psycopg", "postgres"))
    monkeypatch.setenv("REDIS_URL", installation.redis_url)
    up.start("--demo", "--no-flower")
    eventually(up.is_up, 90)
    assert set(up.pids()) == {"scheduler", "worker-1", "annotator", "poll", "api"}
    eventually(lambda: "succeeded" in up.shown(), 60)
    assert up.stop() == 0


def test_as_json_one_document_says_what_runs_where(up, eventually, installation, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", installation.database_url)
    monkeypatch.setenv("REDIS_URL", installation.redis_url)
    documents = up.screen.with_name("documents.json")
    words = [*CRONTALK, "up", "--home", str(up.home), "--port", str(up.port), "--no-flower", "--json"]
    with documents.open("wb") as out, up.screen.open("wb") as err:
        up.process = subprocess.Popen(words, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
    eventually(lambda: documents.stat().st_size > 0, 90)
    assert up.stop() == 0
    document = json.loads(documents.read_text())
    assert document["apiUrl"] == f"http://127.0.0.1:{up.port}"
    assert {"home", "loginUrl"} < set(document)
    names = {item["name"] for item in document["items"]}
    assert names == {"scheduler", "worker-1", "annotator", "poll", "api"}
