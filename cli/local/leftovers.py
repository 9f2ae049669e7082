"""Clears away what a killed supervisor left of a PostgreSQL server, without touching anybody else's."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

from cli.local.processes import alive, command_of, process_ids, send, wait_until, works_in
from core.errors import Conflict

PID_FILE = "postmaster.pid"
PATIENCE = timedelta(seconds=10)


def end_servers_of(cluster: Path, mark: str) -> None:
    """Afterwards no PostgreSQL process works on the cluster: neither a postmaster nor a backend it left.

    `mark` is the `cluster_name` our servers carry in their command lines, for systems that hide a process's
    working directory. Raises Conflict when a process outlives even SIGKILL.
    """
    postmaster = _pid_in_file(cluster)
    pids = [pid for pid in {*process_ids(), postmaster} if pid is not None and _serves(pid, cluster, mark)]
    if not pids:
        return
    if postmaster in pids:
        send([postmaster], signal.SIGINT)
        if _wait_gone(pids):
            return
    for sign in (signal.SIGQUIT, signal.SIGKILL):
        send(pids, sign)
        if _wait_gone(pids):
            return
    raise Conflict(f"An old PostgreSQL server of {cluster} does not end (pids {pids}).")


def clear_pid_file(cluster: Path) -> None:
    """Keep a stale pid file from naming a living stranger: PostgreSQL would take it for a server and give up.

    Call it when no server of the cluster lives. The file's other lines stay: PostgreSQL finds in them the
    shared memory of a crashed server and makes sure that nobody uses it.
    """
    pid = _pid_in_file(cluster)
    if pid is None:
        (cluster / PID_FILE).unlink(missing_ok=True)  # empty or torn: PostgreSQL calls it bogus
        return
    if alive(pid):
        # PostgreSQL ignores a file that names its own parent.
        lines = (cluster / PID_FILE).read_text().splitlines(keepends=True)
        (cluster / PID_FILE).write_text(f"{os.getpid()}\n" + "".join(lines[1:]))


def _pid_in_file(cluster: Path) -> int | None:
    try:
        # A single-user server writes its pid negated.
        return abs(int((cluster / PID_FILE).read_text().split("\n", 1)[0])) or None
    except (OSError, ValueError):
        return None


def _serves(pid: int, cluster: Path, mark: str) -> bool:
    if pid == os.getpid() or not alive(pid):
        return False
    command = command_of(pid)
    program = command.split(" ", 1)[0].rsplit("/", 1)[-1]
    if not program.startswith(("postgres", "initdb")):
        return False
    return works_in(pid, cluster) or mark in command or str(cluster) in command.split()


def _wait_gone(pids: list[int]) -> bool:
    return wait_until(lambda: not any(alive(pid) for pid in pids), PATIENCE)
