"""Idempotency keys at the door: a write's answer is stored with it, and told again instead of a second one.

`Route` sees an endpoint's answer while the transaction of `Tenant` is still open, so that result and write
are committed together. An async endpoint, which owns its transactions, takes `WriteKeyPart` and calls
`core.idempotency.begin` and `finish` in the one that has its effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from core.accounts import Caller
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
class _Write:
    session: Session
    key: WriteKey

    def settle(self, response: Response) -> None:
        """Stores the result in the write's transaction; an answer that is an error leaves the key free."""
        if response.status_code == 200:
            document = getattr(response, "document", None)
            finish(self.session, self.key, document or json.loads(bytes(response.body)))
        else:
            let_go(self.session, self.key)


class Route(APIRoute):
    """A route of the dialect. A POST with an Idempotency-Key has one effect."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        from api.chatbotkit.answers import form_of, in_form

        handle = super().get_route_handler()

        async def handle_once(request: Request) -> Response:
            try:
                response = await handle(request)
            except Replayed as replayed:
                response = in_form(form_of(request), replayed.document)
                response.headers.update(TOLD_AGAIN)
                return response
            write = getattr(request.state, "write", None)
            if write is not None:
                await run_in_threadpool(write.settle, response)
            return response

        return handle_once


def begin_write(session: Session, request: Request, caller: Caller, key: WriteKey | None) -> None:
    """Takes the key of a request for the transaction of this session, if it has one.

    Raises:
        Replayed: the write was made before.
        KeyReused, Unavailable: as `begin`.

    """
    if key is None:
        return
    result = begin(session, key)
    if result is not None:
        raise Replayed(rebuilt(session, request, caller, result))
    request.state.write = _Write(session, key)


def rebuilt(session: Session, request: Request, caller: Caller, result: dict[str, Any]) -> Mapping[str, Any]:
    """The answer a stored result stands for: by the endpoint's `replays`, else the result itself."""
    rebuild: Rebuild | None = getattr(request.scope.get("endpoint"), "rebuild", None)
    if rebuild is None:
        return result
    return rebuild(session, Replay(request, caller, request.state.said, result))


def owner_of(caller: Caller) -> str:
    """Whose key it is: a session cannot meet the keys of its account."""
    return str(caller.conversation_id or caller.account_id)


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
