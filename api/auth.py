"""Who asks: a Bearer token becomes a caller, and the caller one transaction on its own account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from api.once import begin_write, key_of
from core.accounts import Caller, authenticate
from core.context import Context
from core.errors import NotAuthenticated, NotAuthorized
from core.idempotency import WriteKey

bearer = HTTPBearer(auto_error=False, description="A token made with `crontalk token create`: `ct_…`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101 (set by make_app)
    return context


def caller_of(context: Context, secret: str, scope: str) -> Caller:
    """The caller behind a token that has the scope.

    Raises:
        NotAuthenticated: no such token, or no longer. NotAuthorized: the scope is missing.

    """
    with context.transaction() as session:
        caller = authenticate(session, secret)
    if scope not in caller.scopes:
        raise NotAuthorized(f"This token may not {scope}.")
    return caller


def signed_in(request: Request, credentials: Credentials) -> Caller:
    """The caller of an API route. Reads need the scope `read`, all else `write`; no cookies."""
    if credentials is None:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    scope = "read" if request.method == "GET" else "write"
    return caller_of(context_of(request), credentials.credentials, scope)


async def write_key(request: Request, caller: Annotated[Caller, Depends(signed_in)]) -> WriteKey | None:
    """The Idempotency-Key of a POST, for `Tenant` and for endpoints that own their transactions."""
    return await key_of(request, caller)


WriteKeyPart = Annotated[WriteKey | None, Depends(write_key)]


def _tenant(
    request: Request, caller: Annotated[Caller, Depends(signed_in)], key: WriteKeyPart
) -> Iterator[Session]:
    with context_of(request).transaction(caller.account_id) as session:
        begin_write(session, request, caller, key)
        yield session


# Scope "function": the commit comes before the answer. A plain yield dependency commits after the client
# has its 200, and a commit that fails then is never heard of.
Tenant = Annotated[Session, Depends(_tenant, scope="function")]
