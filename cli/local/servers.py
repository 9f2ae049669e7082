"""The bundled servers together: for `up`, and for whoever needs throw-away ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.local.home import Home
from cli.local.postgres import admin_url, database_url, postgres_spec
from cli.local.specs import ProcessSpec
from cli.local.supervisor import Supervisor
from cli.local.valkey import redis_url, valkey_spec
from core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are reached: by the application's role, by the superuser, and Valkey's database 0."""

    database_url: str
    admin_url: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class Bundled:
    """What to start, in this order, and where it is reached; None where the server is not bundled."""

    specs: Sequence[ProcessSpec]
    database_url: str | None
    admin_url: str | None
    redis_url: str | None


def bundled(home: Home, *, fsync: bool = True, postgres: bool = True, valkey: bool = True) -> Bundled:
    """Prepare the wanted servers; call it with the home's lock held.

    Raises Unavailable when a program is missing or the cluster cannot be made.
    """
    specs: list[ProcessSpec] = []
    if postgres:
        specs.append(postgres_spec(home, fsync=fsync))
    if valkey:
        specs.append(valkey_spec(home))
    return Bundled(
        specs=specs,
        database_url=database_url(home) if postgres else None,
        admin_url=admin_url(home) if postgres else None,
        redis_url=redis_url(home) if valkey else None,
    )


@contextmanager
def running_servers(directory: Path | str, *, fsync: bool = False) -> Iterator[Servers]:
    """Both servers on a home at this directory until the block ends, by default unsafe and fast."""
    home = Home.at(directory)
    with home.lock():
        both = bundled(home, fsync=fsync)
        supervisor = Supervisor(both.specs, home.logs)
        try:
            if not supervisor.start():
                raise Unavailable("The servers were asked to stop before they were ready.")
            yield Servers(database_url(home), admin_url(home), redis_url(home))
        finally:
            supervisor.stop()
