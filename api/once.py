"""Idempotency keys at the door: a write's answer is stored with it, and told again instead of a second one.

`Route` opens the transaction of `Tenant` around an endpoint and sees its answer before the commit, so that
result and write are committed together. An async endpoint, which owns its transactions, takes `WriteKeyPart`
and calls `core.idempotency.begin` and `finish` in the one that has its effect.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from core.accounts import Caller
from core.context import Context
from core.errors import InvalidInput
from core.idempotency import WriteKey, begin, finish, let_go, make_key

HEADER = "Idempotency-Key"
STREAMED = "crontalk.streamed"  # in the scope of a request whose body nobody has read yet
TOLD_AGAIN = {"Idempotency-Replayed": "true"}


@dataclass(frozen=True)
class Replay:
    """What an answer is rebuilt from: the stored result, and the request that was sent again."""

    request: Request
    caller: Caller
    body: Mapping[str, Any]
    result: dict[str, Any]

    @property
    def path(self) -> dict[str, str]:
        """The ids of the address."""
        return dict(self.request.path_params)


Rebuild = Callable[[Session, Replay], Mapping[str, Any]]


class Replayed(Exception):
    """The write was made before; this is its answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__("told again")
        self.document = document


@dataclass(frozen=True)
class Opening:
    """The transaction an endpoint asks for as `Tenant`, not begun yet."""

    context: Context
    request: Request
    caller: Caller
    key: WriteKey | None

    def carry_out(self, write: Callable[[Session], Response]) -> Response:
        """The answer of a write, committed with it before the client hears of either.

        An answer that is an error leaves the key free.

        Raises:
            Replayed: the write was made before.
            KeyReused, Unavailable: as `begin`.

        """
        with self.context.transaction(self.caller.account_id, actor=self.caller.name) as session:
            result = begin(session, self.key) if self.key else None
            if result is not None:
                raise Replayed(rebuilt(session, self.request, self.caller, result))
            response = write(session)
            if self.key and response.status_code == 200:
                document = getattr(response, "document", None)
                finish(session, self.key, document or json.loads(bytes(response.body)))
            elif self.key:
                let_go(session, self.key)
            return response


class Route(APIRoute):
    """A route of the dialect. A POST with an Idempotency-Key has one effect."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _with_session(endpoint)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        from api.chatbotkit.answers import form_of, in_form

        handle = super().get_route_handler()

        async def handle_once(request: Request) -> Response:
            try:
                return await handle(request)
            except Replayed as replayed:
                response = in_form(form_of(request), replayed.document)
                response.headers.update(TOLD_AGAIN)
                return response

        return handle_once


def _with_session(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint whose transaction, if it asks for one, begins and ends on the endpoint's own thread.

    A dependency that yields the session would take three threads in turn.
    """

    @functools.wraps(endpoint)
    def answer(**values: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, Opening):
                return value.carry_out(lambda session: endpoint(**(values | {name: session})))  # noqa: B023 (at once)
        return endpoint(**values)

    return answer


def rebuilt(session: Session, request: Request, caller: Caller, result: dict[str, Any]) -> Mapping[str, Any]:
    """The answer a stored result stands for: by the endpoint's `replays`, else the result itself."""
    rebuild: Rebuild | None = getattr(request.scope.get("endpoint"), "rebuild", None)
    if rebuild is None:
        return result
    return rebuild(session, Replay(request, caller, request.state.said, result))


def owner_of(caller: Caller) -> str:
    """Whose key it is: a session or a contact cannot meet the keys of its account."""
    return str(caller.conversation_id or caller.contact_id or caller.account_id)


async def key_of(request: Request, caller: Caller) -> WriteKey | None:
    """The key a POST was sent with. The same request in another spelling of its JSON is the same.

    Raises:
        InvalidInput: several keys, or not 1 to 255 visible ASCII characters.

    """
    keys = request.headers.getlist(HEADER)
    if request.method != "POST" or not keys:
        return None
    if len(keys) > 1:
        raise InvalidInput(f"A request takes one {HEADER}.")
    if request.scope.get(STREAMED):
        raise InvalidInput(f"A file that is streamed takes no {HEADER}: announce it first, in JSON.")
    request.state.said = said = json.loads(await request.body())
    path = request.url.path.removeprefix("/api")
    body = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return make_key(keys[0], owner_of(caller), request.method, path, request.url.query, body)
