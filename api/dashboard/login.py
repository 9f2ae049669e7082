"""Signing in with a one-time link or with a token, and out again.

Opening the link shows a button; only pressing it uses the code up. Programs that open links to show a
preview of them would otherwise leave the person with a link that was used already.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from api.auth import caller_of, context_of
from api.dashboard.cookies import Visitor, brings_token, clear_cookie, own_form, set_cookie
from api.dashboard.rendering import page
from api.pace import Doorkeeper, told
from core.accounts import revoke_token, use_login_link
from core.errors import InvalidInput, LimitReached

router = APIRouter()

# The space in which addresses become ids, so that none of them is written down.
WHERE = uuid.UUID("8d1f3c1e-6d0e-4b57-9f04-0d7b6a1f3c55")


@router.get("/login")
def show_form() -> Response:
    return page("login.html", code=None)


@router.get("/login/{code}")
def show_button(code: str) -> Response:
    return page("login.html", code=code)


@router.post("/login", dependencies=[Depends(own_form)])
def log_in(
    request: Request,
    code: Annotated[str, Form(max_length=200)] = "",
    token: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    _refuse_too_many(request)
    if bool(code) == bool(token):
        raise InvalidInput("Sign in with a link or with a token.")
    response = RedirectResponse("/", 303)
    if token:
        caller_of(context_of(request), token.strip(), "read")
        set_cookie(request, response, token.strip(), brought=True)
        return response
    with context_of(request).transaction() as session:
        secret = use_login_link(session, code)
    set_cookie(request, response, secret)
    return response


@router.post("/logout", dependencies=[Depends(own_form)])
def log_out(request: Request, visitor: Visitor) -> Response:
    """Ends a link's token with its login; a token that was brought along is not ours to end."""
    if not brings_token(request):
        with context_of(request).transaction(visitor.account_id) as session:
            revoke_token(session, visitor.token_id)
    response = page("goodbye.html")
    clear_cookie(request, response)
    return response


def _refuse_too_many(request: Request) -> None:
    if told(request.scope).counted:
        return
    told(request.scope).counted = True
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    rate = doorkeeper.settings.rate_login
    if rate is None:
        return
    address = request.client.host if request.client else ""
    decision = doorkeeper.rates.take(uuid.uuid5(WHERE, address), "login", rate)
    if decision is not None and not decision.allowed:
        raise LimitReached("Too many attempts to sign in; wait a little.", decision.wait)
