"""Contacts: contract section 3.2."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import CSV, also_answers, answer, returns
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages, shown_to
from api.chatbotkit.shapes import ConversationAnswer, Identified, Instance, TaskAnswer
from api.chatbotkit.shapes_memories import MemoryAnswer
from api.chatbotkit.shapes_objects import ContactAnswer, ContactRequest, RatingAnswer
from api.chatbotkit.tasks import task_documents
from api.once import Route
from core import contacts
from core.documents_memories import memory_document
from core.documents_objects import contact_document, rating_document
from core.memories import list_memories
from core.ratings import list_ratings
from core.tasks import list_tasks

router = APIRouter(prefix="/contact", tags=["contact"], route_class=Route)

VERB_NAMES = {
    "fingerprint": "fingerprint",
    "name": "name",
    "description": "description",
    "email": "email",
    "phone": "phone",
    "nick": "nick",
    "preferences": "preferences",
    "verifiedAt": "verified_at",
    "meta": "meta",
}


@router.post("/create", responses=returns(Identified))
def create_contact(session: Tenant, body: ContactRequest) -> JSONResponse:
    """A new contact; where the fingerprint is taken, the id of the contact that has it."""
    return answer({"id": str(contacts.ensure_contact(session, **body.given(VERB_NAMES)).id)})


@router.post("/ensure", responses=returns(Identified))
def ensure_contact(session: Tenant, body: ContactRequest) -> JSONResponse:
    """The contact with this fingerprint, made if there is none."""
    return answer({"id": str(contacts.ensure_contact(session, **body.given(VERB_NAMES)).id)})


@router.get("/list", responses=pages(ContactAnswer))
@as_list
def list_contacts(part: ListPart) -> Response:
    """The account's contacts, newest first."""
    return listed(part, contacts.list_contacts, each(contact_document))


@router.get("/export", responses=pages(ContactAnswer, CSV))
@as_export
def export_contacts(part: ListPart) -> Response:
    """The same, also as CSV."""
    return listed(part, contacts.list_contacts, each(contact_document))


@router.get("/{contactId}/fetch", responses=returns(ContactAnswer))
def fetch_contact(session: Tenant, contactId: str) -> JSONResponse:
    """A contact."""
    return answer(contact_document(contacts.get_contact(session, contactId)))


@router.post("/{contactId}/update", responses=returns(Identified))
@also_answers(409)
def update_contact(session: Tenant, contactId: str, body: ContactRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears. 409 when another contact has the fingerprint."""
    return answer({"id": str(contacts.update_contact(session, contactId, **body.given(VERB_NAMES)).id)})


@router.post("/{contactId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_contact(session: Tenant, contactId: str) -> JSONResponse:
    """Deletes the contact and its memories; its conversations, tasks and ratings stay without the link."""
    return answer({"id": str(contacts.delete_contact(session, contactId))})


@router.get("/{contactId}/conversation/list", responses=pages(ConversationAnswer))
@as_list
def list_contact_conversations(contactId: str, part: ListPart) -> Response:
    """The conversations with the contact, newest first."""
    fetch = partial(contacts.list_conversations_of, contact_id=contactId)
    return listed(part, fetch, shown_to(part.caller))


@router.get("/{contactId}/task/list", responses=pages(TaskAnswer))
@as_list
def list_contact_tasks(contactId: str, part: ListPart) -> Response:
    """The tasks that speak with the contact, newest first."""
    return listed(part, partial(list_tasks, contact_id=contactId), task_documents)


@router.get("/{contactId}/rating/list", responses=pages(RatingAnswer))
@as_list
def list_contact_ratings(contactId: str, part: ListPart) -> Response:
    """What the contact thought of conversations and messages, newest first."""
    return listed(part, partial(list_ratings, contact_id=contactId), each(rating_document))


@router.get("/{contactId}/space/list", responses=pages(Instance))
@as_list
def list_contact_spaces(contactId: str, part: ListPart) -> Response:
    """An empty list: there are no spaces here."""
    return listed(part, partial(contacts.list_nothing_of, contact_id=contactId), each(dict))


@router.get("/{contactId}/secret/list", responses=pages(Instance))
@as_list
def list_contact_secrets(contactId: str, part: ListPart) -> Response:
    """An empty list: there are no secrets of contacts here."""
    return listed(part, partial(contacts.list_nothing_of, contact_id=contactId), each(dict))


@router.get("/{contactId}/memory/list", responses=pages(MemoryAnswer))
@as_list
def list_contact_memories(contactId: str, part: ListPart) -> Response:
    """What is remembered of the contact, newest first."""
    return listed(part, partial(list_memories, contact_id=contactId), each(memory_document))
