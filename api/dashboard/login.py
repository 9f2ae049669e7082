"""Signing in with a one-time link, and out again.

Opening the link shows a button; only pressing it uses the code up. Programs that open links to show a
preview of them would otherwise leave the person with a link that was used already.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Visitor, clear_cookie, own_form, set_cookie
from api.dashboard.rendering import page
from core.accounts import revoke_token, use_login_link

router = APIRouter()


@router.get("/login/{code}")
def show_button(code: str) -> Response:
    return page("login.html", code=code)


@router.post("/login", dependencies=[Depends(own_form)])
def log_in(request: Request, code: Annotated[str, Form(max_length=200)]) -> Response:
    with context_of(request).transaction() as session:
        secret = use_login_link(session, code)
    response = RedirectResponse("/", 303)
    set_cookie(request, response, secret)
    return response


@router.post("/logout", dependencies=[Depends(own_form)])
def log_out(request: Request, visitor: Visitor) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        revoke_token(session, visitor.token_id)
    response = page("goodbye.html")
    clear_cookie(request, response)
    return response
