"""Errors as pages, for addresses that people open."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.dashboard.rendering import SECTIONS, page

HEADINGS = {
    400: "That does not work",
    401: "Please sign in",
    403: "Not yours",
    404: "Nothing here",
    409: "Not now",
    429: "Too fast",
    503: "Back in a moment",
}


# The first part of an address that people open.
PAGES = frozenset({"", "login", "logout", "docs", "runs", *(name for name, _, _ in SECTIONS)})


def wants_page(request: Request) -> bool:
    return request.url.path.split("/")[1] in PAGES


def error_page(status: int, message: str, headers: dict[str, str]) -> Response:
    """The same sentence as in JSON; where a login is missing, how to get one."""
    heading = HEADINGS.get(status, "That went wrong")
    kept = {name: value for name, value in headers.items() if name != "WWW-Authenticate"}
    missing_login = status == 401
    return page("error.html", status, kept, heading=heading, message=message, missing_login=missing_login)
