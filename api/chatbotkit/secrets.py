"""Secrets: written, named and deleted; no answer holds what they are."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_secrets import SecretAnswer, SecretRequest
from api.once import Route
from core import secrets
from core.documents_secrets import secret_document

router = APIRouter(prefix="/secret", tags=["secret"], route_class=Route)


@router.post("/create", responses=returns(Identified))
def create_secret(session: Tenant, body: SecretRequest) -> JSONResponse:
    """A new secret; its value is never answered again."""
    return answer({"id": str(secrets.create_secret(session, **body.given(secrets.FIELDS)).id)})


@router.get("/list", responses=pages(SecretAnswer))
@as_list
def list_secrets(part: ListPart) -> Response:
    """The account's secrets without their values, newest first."""
    return listed(part, secrets.list_secrets, each(secret_document))


@router.get("/{secretId}/fetch", responses=returns(SecretAnswer))
def fetch_secret(session: Tenant, secretId: str) -> JSONResponse:
    """A secret without its value."""
    return answer(secret_document(secrets.get_secret(session, secretId)))


@router.post("/{secretId}/update", responses=returns(Identified))
def update_secret(session: Tenant, secretId: str, body: SecretRequest) -> JSONResponse:
    """Changes the fields that are sent: a value replaces the one before, meta is merged."""
    return answer({"id": str(secrets.update_secret(session, secretId, **body.given(secrets.FIELDS)).id)})


@router.post("/{secretId}/delete", responses=returns(Identified))
def delete_secret(session: Tenant, secretId: str) -> JSONResponse:
    """Removes the secret for good; abilities that name it fail from now on."""
    return answer({"id": str(secrets.delete_secret(session, secretId))})
