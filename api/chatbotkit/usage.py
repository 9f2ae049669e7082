"""Usage: contract section 6."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes_account import SeriesAnswer, TotalsAnswer, UsedItemAnswer
from api.once import Route
from core.documents_objects import series_document, usage_document, used_document
from core.used import kept, list_used, used, used_by_day

router = APIRouter(prefix="/usage", tags=["usage"], route_class=Route)


@router.get("/fetch", responses=returns(TotalsAnswer))
def fetch_usage(session: Tenant) -> JSONResponse:
    """What the account has used since it began, and what it keeps."""
    return answer(usage_document(used(session), kept(session)))


@router.get("/series/fetch", responses=returns(SeriesAnswer))
def fetch_usage_series(session: Tenant) -> JSONResponse:
    """The last 90 UTC days, oldest first, those without use as well."""
    return answer(series_document(used_by_day(session)))


@router.get("/list", responses=pages(UsedItemAnswer))
@as_list
def list_usage(part: ListPart) -> Response:
    """What each UTC day saw, newest first."""
    return listed(part, list_used, each(used_document))
