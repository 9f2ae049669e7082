"""The pages' cookie: set at login, read by the pages alone, worth no more than the token inside."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from api.auth import caller_of, context_of
from core.accounts import PAGES_LIFETIME, Caller
from core.errors import NotAuthenticated, NotAuthorized


def _name(request: Request) -> str:
    """Over https a browser takes the name with `__Host-` from this very host only."""
    return "__Host-crontalk" if request.url.scheme == "https" else "crontalk"


# Before a token that somebody brought along: logging out ends the login and leaves the token alone.
BROUGHT = "own."


def set_cookie(request: Request, response: Response, secret: str, *, brought: bool = False) -> None:
    response.set_cookie(
        _name(request),
        f"{BROUGHT}{secret}" if brought else secret,
        max_age=int(PAGES_LIFETIME.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def clear_cookie(request: Request, response: Response) -> None:
    secure = request.url.scheme == "https"
    response.delete_cookie(_name(request), path="/", secure=secure, httponly=True, samesite="strict")


def may_still_look(request: Request) -> Caller:
    """Who looks at the page; a token revoked a moment ago opens nothing.

    Raises:
        NotAuthenticated, NotAuthorized.

    """
    secret = request.cookies.get(_name(request))
    if not secret:
        raise NotAuthenticated("These pages show your account's conversations, so they need a login.")
    return caller_of(context_of(request), secret.removeprefix(BROUGHT), "read")


Visitor = Annotated[Caller, Depends(may_still_look)]


def brings_token(request: Request) -> bool:
    """Whether the login is a token of the visitor's own, not one that a link made."""
    return request.cookies.get(_name(request), "").startswith(BROUGHT)


def own_form(request: Request) -> None:
    """Refuses forms that another site sent. What no browser vouches for is refused as well.

    Raises:
        NotAuthorized: the form is not one of ours.

    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    ours = f"{request.url.scheme}://{request.url.netloc}"
    if (site is not None and site != "same-origin") or (origin or ours) != ours:
        raise NotAuthorized("This form was sent from another site.")
    if site is None and origin is None:
        raise NotAuthorized("This form says nothing about where it was sent from.")


def _editor(request: Request, visitor: Visitor) -> Caller:
    own_form(request)
    if "write" not in visitor.scopes:
        raise NotAuthorized("This login may only read. Sign in with a token that may write.")
    return visitor


# Whoever sends a form that changes something: one of ours, by somebody who may.
Editor = Annotated[Caller, Depends(_editor)]
