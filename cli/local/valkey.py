"""The bundled Valkey: a unix socket, memory only, because it holds hints and limits and no truth."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from cli.local.binaries import find_valkey
from cli.local.home import Home
from cli.local.specs import ProcessSpec

DATABASES = 64


def redis_url(home: Home, database: int = 0) -> str:
    """Where the server of this home is reached."""
    return f"unix://{_socket(home)}?db={database}"


def valkey_spec(home: Home) -> ProcessSpec:
    """How the server is started; Unavailable when there is no program."""
    socket = _socket(home)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "databases": str(DATABASES),
        "daemonize": "no",
        "dir": str(home.data),
    }
    return ProcessSpec(
        name="valkey",
        argv=[find_valkey(), *(word for name, value in options.items() for word in (f"--{name}", value))],
        env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
        cwd=home.data,
        grace=timedelta(seconds=5),
        prepare=lambda: _clear_the_way(home),
        ready=lambda: _answers(socket),
    )


def _socket(home: Home) -> Path:
    return home.socket_path("valkey.sock")


def _clear_the_way(home: Home) -> None:
    home.sockets()
    _socket(home).unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    # Not with redis-py, whose import takes longer than the server's start.
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
