"""The documentation for people: `/docs`, rendered here from the OpenAPI document, without a script."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import context_of
from api.dashboard.rendering import page
from api.docs.views import find_operation, operation_view, tag_views
from core.errors import NotFound
from core.settings import Settings

router = APIRouter(prefix="/docs")


@router.get("")
def show_index(request: Request) -> Response:
    document = request.app.openapi()
    return page("docs.html", tags=tag_views(document), info=document["info"])


@router.get("/{operation_id}")
def show_operation(request: Request, operation_id: str) -> Response:
    document = request.app.openapi()
    found = find_operation(document, operation_id)
    if found is None:
        raise NotFound("There is no such operation.")
    base = base_url(context_of(request).settings)
    return page("docs_operation.html", operation=operation_view(document, found, base))


def base_url(settings: Settings) -> str:
    """Where people reach the API, as the examples name it."""
    anywhere = settings.host in {"0.0.0.0", "::", ""}  # noqa: S104 (compared with, not bound to)
    host = "127.0.0.1" if anywhere else settings.host
    return settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
