"""Templates to HTML. Every value is escaped, and a name that is missing is an error, not a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from core.accounts import Caller

FOLDER = Path(__file__).resolve().parent
TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
SECTIONS = (
    ("conversations", "/conversations", "Conversations"),
    ("tasks", "/tasks", "Tasks"),
    ("runs", "/runs", "Runs"),
    ("jobs", "/jobs", "Jobs"),
    ("bots", "/bots", "Bots"),
    ("contacts", "/contacts", "Contacts"),
    ("datasets", "/datasets", "Datasets"),
    ("skillsets", "/skillsets", "Skillsets"),
    ("tokens", "/tokens", "Tokens"),
    ("settings", "/settings", "Settings"),
    ("ops", "/ops", "Operations"),
)
TEMPLATES.globals["SECTIONS"] = SECTIONS


def address(path: str, **query: str | None) -> str:
    """A page's address with what is asked of it; what is empty is left out."""
    words = urlencode({name: value for name, value in query.items() if value}, errors="replace")
    return f"{path}?{words}" if words else path


def page(
    template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template(template).render(values), status, headers)


def page_for(
    visitor: Caller,
    section: str,
    template: str,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page of somebody who is signed in: with the way to all sections, and forms as they may."""
    may_write = "write" in visitor.scopes
    return page(template, status, section=section, may_write=may_write, **values)
