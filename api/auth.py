"""Who asks: a Bearer token becomes a caller, and the caller one transaction on its own account."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.once import HEADER, Opening, key_of, owner_of
from api.pace import Doorkeeper, kind_of, quotas_of, rate_headers, told, too_fast
from core.accounts import Caller, authenticate
from core.context import Context
from core.errors import CrontalkError, NotAuthenticated, NotAuthorized
from core.idempotency import WriteKey, was_done
from core.limits import Decision
from core.quotas import quota_reached
from core.session_tokens import PREFIX, authenticate_session

bearer = HTTPBearer(
    auto_error=False,
    description="A token made with `crontalk token create`: `ct_…`. Where a route says so, also the token of"
    " a session: `cts_…`.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101 (set by make_app)
    return context


def caller_of(context: Context, secret: str, scope: str) -> Caller:
    """The caller behind an account's token that has the scope.

    Raises:
        NotAuthenticated: no such token, or no longer. NotAuthorized: the scope is missing.

    """
    with context.reading() as session:
        caller = authenticate(session, secret)
    _refuse_scope(caller, scope)
    _refuse_contact(caller)
    return caller


def _refuse_scope(caller: Caller, scope: str) -> None:
    if scope not in caller.scopes:
        raise NotAuthorized(f"This token may not {scope}.")


def _refuse_contact(caller: Caller) -> None:
    """What a contact's token opens is told one by one in `api.generalbots`; all else stays shut."""
    if caller.contact_id is not None:
        raise NotAuthorized("A contact's token opens the conversations API only.")


async def signed_in(request: Request, credentials: Credentials) -> Caller:
    """The caller of an API route, counted. Reads need the scope `read`, all else `write`; no cookies.

    A delete that comes too fast waits here for its place, on no thread and no connection.
    """
    if credentials is None:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    admission = await run_in_threadpool(_admit, request, credentials.credentials)
    decision = admission.decision
    if decision is not None:
        told(request.scope).headers |= rate_headers(decision)
        if not decision.allowed:
            raise too_fast(decision, kind_of(request.method, request.url.path))
        if decision.wait:
            await asyncio.sleep(decision.wait.total_seconds())
    if admission.refusal is not None:
        raise admission.refusal
    return admission.caller


@dataclass(frozen=True)
class _Admission:
    caller: Caller
    refusal: CrontalkError | None
    decision: Decision | None


def _admit(request: Request, secret: str) -> _Admission:
    """Who it is, what speaks against it, and its place; a request that is tried again keeps its place."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    with context_of(request).reading() as session:
        caller = (authenticate_session if secret.startswith(PREFIX) else authenticate)(session, secret)
        refusal = _refusal(request, caller) or _quota(session, request, caller, doorkeeper)
    decision = None
    if not told(request.scope).counted:
        decision = doorkeeper.take(caller, kind_of(request.method, request.url.path))
        told(request.scope).counted = True
    return _Admission(caller, refusal, decision)


def _refusal(request: Request, caller: Caller) -> NotAuthorized | None:
    try:
        _refuse_scope(caller, "read" if request.method == "GET" else "write")
        _refuse_contact(caller)
    except NotAuthorized as error:
        return error
    if caller.conversation_id is None or _is_theirs(request, caller.conversation_id):
        return None
    return NotAuthorized("A session's token opens the turns and the messages of its own conversation only.")


def _is_theirs(request: Request, conversation_id: uuid.UUID) -> bool:
    if not getattr(request.scope.get("endpoint"), "takes_session_tokens", False):
        return False
    try:
        return uuid.UUID(request.path_params.get("conversationId", "")) == conversation_id
    except ValueError:
        return False


def _quota(
    session: Session, request: Request, caller: Caller, doorkeeper: Doorkeeper
) -> CrontalkError | None:
    """The quota that is used up; a write that was made before is told again all the same."""
    wanted = quotas_of(request.method, request.url.path)
    name = doorkeeper.quotas.over(session, caller.account_id, caller.limits, wanted)
    key = request.headers.get(HEADER)
    if name is None or (key and was_done(session, caller.account_id, key, owner_of(caller))):
        return None
    return quota_reached(name)


CallerPart = Annotated[Caller, Depends(signed_in)]


async def write_key(request: Request, caller: CallerPart) -> WriteKey | None:
    """The Idempotency-Key of a POST, for `Tenant` and for endpoints that own their transactions."""
    request.state.caller = caller
    return await key_of(request, caller)


WriteKeyPart = Annotated[WriteKey | None, Depends(write_key)]


async def _tenant(request: Request, key: WriteKeyPart) -> Opening:
    """Asks for no caller of its own: FastAPI walks the tree of every dependency anew."""
    return Opening(context_of(request), request, request.state.caller, key)


# The session of one transaction, which `Route` opens around the endpoint.
Tenant = Annotated[Session, Depends(_tenant)]
