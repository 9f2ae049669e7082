"""The servers all tests share: started once per session, one database and Valkey number per worker."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

import psycopg
import pytest

from cli.local.servers import Servers, running_servers
from cli.local.valkey import DATABASES

TEMPLATE = "template_crontalk"
OWNER = "crontalk"
PASSED_ON = "crontalk_servers"
_SERVERS = pytest.StashKey[Servers]()
_TEMPLATE_LOCK = 4_218_001


def start_once(config: pytest.Config) -> Servers:
    """The session's servers, started at the first call and stopped when pytest ends."""
    if _SERVERS not in config.stash:
        with ExitStack() as started:
            directory = tempfile.TemporaryDirectory(prefix="crontalk-tests-", ignore_cleanup_errors=True)
            config.stash[_SERVERS] = started.enter_context(running_servers(started.enter_context(directory)))
            config.add_cleanup(started.pop_all().close)
    return config.stash[_SERVERS]


def pass_on(config: pytest.Config) -> dict[str, dict[str, str]]:
    """What a worker process is told about the servers."""
    return {PASSED_ON: asdict(start_once(config))}


def find(config: pytest.Config) -> Servers:
    """The session's servers, from a worker as well as from a session without workers."""
    told = getattr(config, "workerinput", {}).get(PASSED_ON)
    return Servers(**told) if told else start_once(config)


def libpq(url: str) -> str:
    """The same address for psycopg itself."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def at_database(url: str, *, user: str, database: str) -> str:
    return re.sub(r"//[^@/]*@/[^?]*", f"//{user}@/{database}", url, count=1)


def clone_database(
    admin_url: str, name: str, migrate: Callable[[str], None], *, template: str = TEMPLATE
) -> str:
    """A new database of this name, copied from the template, which the first to ask migrates."""
    with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
        # One at a time: the template is made once, and copies collide at the checkpoint each of them needs.
        admin.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [template]).rowcount:
            draft = f"{template}_draft"
            admin.execute(f"DROP DATABASE IF EXISTS {draft} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {draft} OWNER {OWNER}")
            migrate(at_database(admin_url, user=OWNER, database=draft))
            admin.execute(f"ALTER DATABASE {draft} RENAME TO {template}")
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY FILE_COPY")
    return at_database(admin_url, user=OWNER, database=name)


def redis_url_for(servers: Servers, worker: str) -> str:
    """The worker's own even database number; the odd one above it is its second."""
    number = int("0" + "".join(filter(str.isdigit, worker)))
    return servers.redis_url.replace("db=0", f"db={2 * number % DATABASES}")


def drop_database(admin_url: str, database_url: str) -> None:
    name = re.sub(r"^.*//[^/]*/([^?]*).*$", r"\1", database_url)
    with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
