"""The action that writes down what the acting conversation's contact tells of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.contacts import update_contact
from core.context import account_of
from core.errors import InvalidInput
from core.leaving import leaving, with_values
from core.privacy.masks import COVER
from core.privacy.placeholders import PLACEHOLDERS
from core.skills.action import Action, Json, action, at_once, checked_document, missing, schema
from core.skills.skill import Acting, SkillFailed
from models import Contact

# Who somebody is, which is a contact's to hold: here values stand, whatever the conversation shows for them.
VALUES = ("name", "nick", "email", "phone")
FIELDS = (*VALUES, "preferences")
LONGEST = {"name": 200, "nick": 200, "email": 320, "phone": 50, "preferences": 4000}
MOST_KEYS = 50
DESCRIPTIONS = {
    "name": "The full name.",
    "nick": "What they want to be called.",
    "email": "The e-mail address; empty to clear it.",
    "phone": "The phone number with its country code; empty to clear it.",
    "preferences": "All that is known of their preferences: it takes the place of what was written before.",
}
LOCK = text("SELECT id FROM contacts WHERE id = :id AND account_id = :account FOR UPDATE NOWAIT")


def _fields(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or any(name not in FIELDS for name in value):
        raise InvalidInput(f"The fields are some of {', '.join(FIELDS)}.")
    return [name for name in FIELDS if name in value]


def _keys(value: Any) -> list[str]:
    good = isinstance(value, list) and 0 < len(value) <= MOST_KEYS
    if not good or any(not isinstance(key, str) or not key.isidentifier() or key[0] == "_" for key in value):
        raise InvalidInput(f"The meta is a list of up to {MOST_KEYS} keys: words of letters, digits and _.")
    return sorted(set(value))


def _update(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    if acting.contact_id is None:
        raise SkillFailed("no_contact", "This conversation has no contact.")
    allowed = document.get("fields") or FIELDS
    given = {name: arguments[name] for name in arguments if name != "meta"}
    meta = arguments.get("meta") or {}
    if (
        given.keys() - set(allowed)
        or not isinstance(meta, Mapping)
        or meta.keys() - set(document.get("meta", ()))
    ):
        raise SkillFailed("refused", "This is nothing that may be changed here.")
    if not given and not meta:
        raise InvalidInput("There is nothing to change.")
    if at_once(session, LOCK, id=acting.contact_id, account=account_of(session)) is None:
        raise missing("contact")
    fields: dict[str, Any] = {name: _field(session, acting, name, value) for name, value in given.items()}
    if meta:
        fields["meta"] = leaving(session, acting.conversation_id).tree(dict(meta))
    before = session.get_one(Contact, acting.contact_id, populate_existing=True)
    known = (before.email, before.phone)
    contact = update_contact(session, before.id, **fields)
    if (contact.email, contact.phone) != known and contact.verified_at is not None:
        contact.verified_at = None  # whatever was verified was another
        session.flush()
    return {"id": str(contact.id), "changed": sorted(fields)}


def _field(session: Session, acting: Acting, name: str, value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > LONGEST[name]:
        raise InvalidInput(f"The {name} is a text of up to {LONGEST[name]} characters.")
    if not value.strip():
        return None
    if name not in VALUES:
        return leaving(session, acting.conversation_id).text(value)
    words = with_values(session, acting.conversation_id, value)
    if COVER in words or PLACEHOLDERS.search(words):
        raise InvalidInput(f"The {name} is covered in this conversation, so it cannot be written down.")
    return words


ACTIONS: dict[str, Action] = {
    "contact.update": action(
        "Writes down what the person of this conversation has told of themselves.",
        schema(
            {
                **{
                    name: {"type": "string", "maxLength": LONGEST[name], "description": DESCRIPTIONS[name]}
                    for name in FIELDS
                },
                "meta": {"type": "object", "description": "More that is to be known, by key."},
            }
        ),
        lambda document: checked_document(document, fields=_fields, meta=_keys),
        _update,
    ),
}
