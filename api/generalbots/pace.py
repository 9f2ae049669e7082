"""Who talks, and how often they may: 60 messages, 100 histories, 30 lists a minute and user, unless set.

A user is a contact, or the account where a token is bound to none. Whoever is refused is told so in this
order: 401, 429, 404, 403, 400; so nobody learns of what is not theirs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import Credentials, context_of
from api.once import HEADER, Opening, owner_of
from api.pace import TURN_QUOTAS, Doorkeeper, told, too_fast
from api.strict_json import read_object
from core.accounts import Caller, authenticate
from core.conversing import user_of
from core.errors import CrontalkError, InvalidInput, LimitReached, NotAuthenticated, NotAuthorized
from core.idempotency import WriteKey, make_key, was_done
from core.limits import Kind, Window
from core.quotas import quota_reached
from core.session_tokens import PREFIX, authenticate_session

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])
KINDS = {"GET": Kind.READ, "POST": Kind.TURN}


class Bucket(StrEnum):
    """What is counted together; each has a setting, `rate_chat_…`."""

    MESSAGE = "message"
    HISTORY = "history"
    LIST = "list"


def counts(bucket: Bucket) -> Callable[[Endpoint], Endpoint]:
    """Declares the bucket of an endpoint; one that starts a conversation is, when something is said."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.bucket = bucket  # type: ignore[attr-defined]
        return endpoint

    return mark


async def guest(request: Request, credentials: Credentials) -> Caller:
    """The caller of a route of this dialect, counted; its body is read, whatever it holds."""
    if credentials is None:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    request.state.body = await request.body()
    return await run_in_threadpool(_admit, request, credentials.credentials)


GuestPart = Annotated[Caller, Depends(guest)]


def _admit(request: Request, secret: str) -> Caller:
    """A request that is tried again is not counted again."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    bucket = _bucket_of(request)
    with context_of(request).reading() as session:
        caller = (authenticate_session if secret.startswith(PREFIX) else authenticate)(session, secret)
        refusal = _refusal(request, caller) or _quota(session, request, caller, bucket)
    if not told(request.scope).counted:
        told(request.scope).counted = True
        _count(request, caller, doorkeeper, bucket)
    if refusal is not None:
        raise refusal
    return caller


def _count(request: Request, caller: Caller, doorkeeper: Doorkeeper, bucket: Bucket | None) -> None:
    """In the user's window, and in the account's rate, which all its users share."""
    window = doorkeeper.slide(user_of(caller), bucket) if bucket else None
    if window is not None:
        told(request.scope).headers |= window_headers(window)
        if not window.allowed:
            raise LimitReached(f"Too many of these calls: {window.rate} for each user.", window.wait)
    kind = KINDS.get(request.method, Kind.WRITE)
    decision = doorkeeper.take(caller, kind)
    if decision is not None and not decision.allowed:
        raise too_fast(decision, kind)


def window_headers(window: Window) -> dict[str, str]:
    """The limit, what is left of it, and the second since 1970 at which a place gets free."""
    return {
        "X-RateLimit-Limit": str(window.rate.count),
        "X-RateLimit-Remaining": str(window.remaining),
        "X-RateLimit-Reset": str(math.ceil(window.reset)),
    }


def _bucket_of(request: Request) -> Bucket | None:
    bucket: Bucket | None = getattr(request.scope.get("endpoint"), "bucket", None)
    return bucket if not request.url.path.endswith("/start") or _says_something(request) else None


def _says_something(request: Request) -> bool:
    try:
        return read_object(request.state.body).get("initial_message") is not None
    except InvalidInput:
        return False


def _refusal(request: Request, caller: Caller) -> NotAuthorized | None:
    needed = "read" if request.method == "GET" else "write"
    return None if needed in caller.scopes else NotAuthorized(f"This token may not {needed}.")


def _quota(session: Session, request: Request, caller: Caller, bucket: Bucket | None) -> CrontalkError | None:
    """The account's quota that is used up; a write that was made before is told again all the same."""
    wanted: tuple[str, ...] = ("conversations",) if request.url.path.endswith("/start") else ()
    wanted += TURN_QUOTAS if bucket is Bucket.MESSAGE else ()
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    name = doorkeeper.quotas.over(session, caller.account_id, caller.limits, wanted)
    key = request.headers.get(HEADER)
    if name is None or (key and was_done(session, caller.account_id, key, owner_of(caller))):
        return None
    return quota_reached(name)


async def guest_key(request: Request, caller: GuestPart) -> WriteKey | None:
    """The Idempotency-Key of a POST. With a body that is none it is not taken: the endpoint says why not.

    Raises:
        InvalidInput: several keys, or not 1 to 255 visible ASCII characters.

    """
    keys = request.headers.getlist(HEADER)
    if request.method != "POST" or not keys:
        return None
    if len(keys) > 1:
        raise InvalidInput(f"A request takes one {HEADER}.")
    try:
        request.state.said = said = read_object(request.state.body)
    except InvalidInput:
        said = None
    body = json.dumps(said, sort_keys=True, separators=(",", ":"))
    key = make_key(keys[0], owner_of(caller), request.method, request.url.path, request.url.query, body)
    return None if said is None else key


async def opening(
    request: Request, caller: GuestPart, key: Annotated[WriteKey | None, Depends(guest_key)]
) -> Opening:
    """The transaction of an endpoint, in the caller's account."""
    return Opening(context_of(request), request, caller, key)


# As `Tenant` of the other dialect: `Route` opens the transaction around the endpoint.
GuestTenant = Annotated[Session, Depends(opening)]
