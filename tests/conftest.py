"""What every test stands on: the session's servers, and an environment without the developer's own."""

from __future__ import annotations

import os

import pytest
import structlog

from tests import servers as session_servers

for variable in list(os.environ):
    if variable in {"DATABASE_URL", "REDIS_URL"} or variable.startswith(("CRONTALK_", "PG")):
        del os.environ[variable]
# Each process that a test starts would compile all that it imports once more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput.update(session_servers.pass_on(node.config))


@pytest.fixture(autouse=True)
def logs():
    """A command that ran inside the tests has set the logs up for itself; the next test finds them as new."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers(request):
    return session_servers.find(request.config)


@pytest.fixture(scope="session")
def admin_url(servers) -> str:
    return servers.admin_url


@pytest.fixture(scope="session")
def database_url(admin_url, worker_id) -> str:
    from core.schema import upgrade

    return session_servers.clone_database(admin_url, f"crontalk_{worker_id}", upgrade)


@pytest.fixture(scope="session")
def redis_url(servers, worker_id) -> str:
    return session_servers.redis_url_for(servers, worker_id)


@pytest.fixture(scope="session")
def names_model(tmp_path_factory):
    """The folder of a model that knows names and places."""
    from tests.names_model import train

    return train(tmp_path_factory.mktemp("names") / "model")


@pytest.fixture
def eventually():
    """Asks until the answer is true, and fails when it is not within the time."""
    from datetime import timedelta

    from cli.local.processes import wait_until

    def ask(condition, seconds=10.0):
        assert wait_until(condition, timedelta(seconds=seconds)), "It did not happen in time."

    return ask
