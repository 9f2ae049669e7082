"""A context on this worker's own database, emptied after every test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from core.context import Context, make_context
from core.settings import Settings
from core.work import Leases
from tests.api import a_client, a_secret, a_world
from tests.factories import A_KEY, an_account
from tests.hands import hands
from tests.scripted import InTurns
from tests.sockets import Door, a_door


@pytest.fixture(scope="session")
def settings(database_url: str, redis_url: str, tmp_path_factory) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        retry_base=timedelta(milliseconds=1),
        lease=timedelta(seconds=6),
        grace=timedelta(seconds=2),
        key=A_KEY,
        outbound_allow="127.0.0.1",
        rate_login=None,
        blobs=str(tmp_path_factory.mktemp("blobs")),
    )


@pytest.fixture(scope="session")
def session_context(settings: Settings) -> Iterator[Context]:
    context = make_context(settings, "tests")
    yield context
    context.close()


@pytest.fixture
def context(session_context: Context) -> Iterator[Context]:
    yield session_context
    with session_context.engine.begin() as connection:
        connection.execute(text("DELETE FROM accounts"))
        connection.execute(text("DELETE FROM erasures"))


@pytest.fixture
def leases(context: Context) -> Iterator[Leases]:
    held = Leases(context)
    yield held
    held.close()


@pytest.fixture
def account(context: Context):
    return an_account(context)


@pytest.fixture
def client(context: Context, account):
    """The API, asked with a token of `account` that may read and write."""
    return a_client(context, a_secret(context, account))


@pytest.fixture
def nobody(context: Context):
    """The API, asked without a token."""
    return a_client(context)


@pytest.fixture
def world(context: Context, account, leases: Leases):
    return a_world(context, account, leases)


@pytest.fixture
def speak(context: Context, monkeypatch):
    """Has the model say these answers, one for each call; answers the model."""

    def use(*answers):
        provider = InTurns(*answers)
        monkeypatch.setattr(
            type(context.providers), "provider_for", lambda _self, _model: (provider, "scripted", {})
        )
        return provider

    return use


@pytest.fixture
def working(context: Context, leases: Leases):
    """A worker beside the test, for turns that are waited for."""
    with hands(context, leases):
        yield


@pytest.fixture(scope="module")
def a_door_of_all(session_context: Context) -> Iterator[Door]:
    with a_door(session_context) as door:
        yield door


@pytest.fixture
def door(a_door_of_all: Door, context: Context) -> Door:
    """An API that takes connections; what it knows of the accounts of a test goes with them."""
    return a_door_of_all
