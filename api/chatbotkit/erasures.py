"""Erasures and the audit: what was deleted for good, and who was shown what is private."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes_erasures import AuditAnswer, ErasureAnswer
from api.once import Route
from core import erasures
from core.audit import list_audit as find_audit
from core.documents_erasures import audit_document, erasure_document

router = APIRouter(tags=["erasure"], route_class=Route)


@router.get("/erasure/list", responses=pages(ErasureAnswer))
@as_list
def list_erasures(part: ListPart) -> Response:
    """The receipts of what was deleted for good, newest first: ids, counts and times."""
    return listed(part, erasures.list_erasures, each(erasure_document))


@router.get("/erasure/{erasureId}/fetch", responses=returns(ErasureAnswer))
def fetch_erasure(session: Tenant, erasureId: str) -> JSONResponse:
    """A receipt."""
    return answer(erasure_document(erasures.get_erasure(session, erasureId)))


@router.get("/audit/list", responses=pages(AuditAnswer))
@as_list
def list_audit(part: ListPart) -> Response:
    """Who was shown what is private, newest first: ids, kinds and counts, never a value."""
    return listed(part, find_audit, each(audit_document))
