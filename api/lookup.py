"""Finds the route of a request by its address, instead of asking every router in turn.

The framework asks each of some two hundred routes, those of nested routers several times over. Here they are
found by the number of segments and the last one; whatever is not found so is left to the framework, which
also says what there is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi.routing import APIRoute, RouteContext
from starlette.convertors import StringConvertor
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

Key = tuple[int, str | None]


@dataclass(frozen=True)
class _Door:
    """One route, as it is found and asked."""

    methods: frozenset[str]
    pattern: Pattern[str]
    endpoint: Callable[..., Any] | None
    route: BaseRoute
    app: ASGIApp


class Lookup:
    """ASGI app before a router's own. `routes` tells its routes in their order, once, when first asked."""

    def __init__(self, router: ASGIApp, routes: Callable[[], Iterable[RouteContext]]) -> None:
        self.router = router
        self._routes = routes
        self._doors: Mapping[Key, Sequence[_Door]] | None = None
        self._making = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            path, method = scope["path"], scope["method"]
            for door in _near(self.get_ready(), path):
                found = door.pattern.match(path) if method in door.methods else None
                if found is not None:
                    scope.update(endpoint=door.endpoint, route=door.route, path_params=found.groupdict())
                    await door.app(scope, receive, send)
                    return
        await self.router(scope, receive, send)

    def get_ready(self) -> Mapping[Key, Sequence[_Door]]:
        """Half a second, once: the framework makes its handlers when they are first asked for."""
        if self._doors is None:
            with self._making:
                if self._doors is None:
                    self._doors = _indexed(self._routes())
        return self._doors


def _near(doors: Mapping[Key, Sequence[_Door]], path: str) -> Sequence[_Door]:
    length, last = path.count("/"), path.rpartition("/")[2]
    found = doors.get((length, last))
    return doors.get((length, None), ()) if found is None else found


def _indexed(routes: Iterable[RouteContext]) -> Mapping[Key, Sequence[_Door]]:
    """Routes by their lengths and last segments, in their order; None stands for a last one that varies."""
    keyed = [(_key(context.path), _door(context)) for context in routes if _is_plain(context)]
    names = dict.fromkeys(key for key, _ in keyed)
    return {
        (length, last): [door for (long, end), door in keyed if long == length and end in {last, None}]
        for length, last in names
    }


def _is_plain(context: RouteContext) -> bool:
    """Whether it is one of FastAPI's routes, and each of its parameters is one segment."""
    if not isinstance(context.route, APIRoute):
        return False
    return all(isinstance(one, StringConvertor) for one in context.param_convertors.values())


def _key(path: str | None) -> Key:
    last = (path or "").rpartition("/")[2]
    return (path or "").count("/"), None if "{" in last else last


def _door(context: RouteContext) -> _Door:
    methods = frozenset(context.methods or ())
    return _Door(methods, context.path_regex, context.endpoint, context.route, context.app)
