"""Routes found by their addresses are those the framework finds by asking one after the other."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from api.lookup import Lookup
from tests.api import the_app


@pytest.fixture(scope="module")
def routes(session_context):
    app = the_app(session_context)
    return [one for one in iter_route_contexts(app.routes) if isinstance(one.route, APIRoute)]


def first_of(routes, method, path):
    """The endpoint of the first route that takes this, as the framework's rule is."""
    return next(
        (one.endpoint for one in routes if method in one.methods and one.path_regex.match(path)), None
    )


def found(routes, method, path):
    """The endpoint that is found by the address; None is left to the framework."""
    scope = {"type": "http", "method": method, "path": path}

    async def left(scope, receive, send):
        scope["endpoint"] = None

    asked = Lookup(left, lambda: routes)(scope, None, None)
    try:
        asked.send(None)
    except (StopIteration, KeyError, AssertionError, AttributeError):
        pass  # the endpoint itself is asked without a request behind it
    finally:
        asked.close()
    return scope["endpoint"]


def test_every_route_is_found_by_its_address(routes):
    for value in ("one", "list", "create", "0198c9e0-0000-7000-8000-000000000000"):
        for one in routes:
            path = re.sub(r"\{[^}]+\}", value, one.path)
            for method in one.methods:
                assert found(routes, method, path) is first_of(routes, method, path), (method, path)


def test_what_has_no_route_is_left_to_the_framework(routes):
    for method, path in (
        ("GET", "/api/v1/conversation/nowhere"),
        ("DELETE", "/api/v1/task/list"),
        ("GET", "/api/v1/task/list/"),
        ("GET", "//api/v1/task/list"),
        ("GET", "/"),
        ("GET", ""),
    ):
        assert found(routes, method, path) is first_of(routes, method, path)
