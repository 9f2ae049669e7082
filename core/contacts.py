"""Contacts: the people conversations are with, told apart by a fingerprint."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.context import account_of
from core.database import violated
from core.erasures import note_erasure
from core.errors import Conflict, InvalidInput
from core.holds import refuse_held_thing
from core.mail import is_address
from core.meta import checked_meta, merged_meta
from core.naming import page_named
from core.policies import checked_instant
from core.rows import MetaFilter, checked_text, database_now, own, page
from models import Contact, Conversation, ErasureKind, new_id

LONGEST_TEXT = 64 * 1024
# An index entry, which a fingerprint is part of, holds up to 2,700 bytes.
LONGEST_FINGERPRINT = 1000
REGION = "US"
# Before the tasks change, as whoever fires or edits them does: so none fires for a contact that is going.
LOCK_CLOCKS = text(
    "SELECT 1 FROM task_clocks WHERE task_id IN (SELECT id FROM tasks WHERE contact_id = :id)"
    " ORDER BY task_id FOR UPDATE"
)

Check = Callable[[Any], Any]


def ensure_contact(session: Session, **fields: Any) -> Contact:
    """The contact with this fingerprint, made if there is none; without a fingerprint a new one.

    Once, however many ask at the same time: UNIQUE (account, fingerprint). One that is there already stays
    as it is, and cannot go before this transaction ends, so that it can be linked to.

    Raises:
        InvalidInput: a field that is unknown or cannot be stored.

    """
    values = _checked(fields)
    values["fingerprint"] = values.get("fingerprint") or _some_fingerprint()
    return _found(session, values["fingerprint"]) or _made(session, values)


def upsert_contact(session: Session, **fields: Any) -> Contact:
    """As `ensure_contact`; one that is there already takes the given fields that are not null.

    Raises:
        InvalidInput: as `ensure_contact`.

    """
    given = {name: value for name, value in fields.items() if value is not None}
    contact = ensure_contact(session, **given)
    return update_contact(session, contact.id, **given)


def update_contact(session: Session, contact_id: uuid.UUID | str, **fields: Any) -> Contact:
    """Changes the given fields; null clears. A cleared fingerprint becomes one of ours.

    Raises:
        InvalidInput, NotFound, NotAuthorized.
        Conflict: another contact has the fingerprint.

    """
    checked = _checked({name: value for name, value in fields.items() if name != "meta"})
    contact = own(session, Contact, contact_id, lock=True)
    if "meta" in fields:
        checked["meta"] = merged_meta(contact.meta, fields["meta"])
    if "fingerprint" in checked:
        checked["fingerprint"] = checked["fingerprint"] or _some_fingerprint()
    now = database_now(session)
    try:
        with session.begin_nested():
            for name, value in checked.items():
                setattr(contact, name, value)
            contact.updated_at = now
            session.flush()
    except IntegrityError as error:
        if violated(error) == "uq_contacts_account_id_fingerprint":
            raise Conflict("Another contact has this fingerprint.") from error
        raise
    return contact


def delete_contact(session: Session, contact_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the contact with its memories for good. Its conversations, tasks and ratings stay, without the
    link.

    What it was known by is not looked for any more; what its conversations say of it stays with them.

    Raises:
        NotFound, NotAuthorized. Conflict: a legal hold is on it.

    """
    contact = own(session, Contact, contact_id)
    refuse_held_thing(session, contact)
    session.execute(LOCK_CLOCKS, {"id": contact.id})
    session.delete(contact)
    session.flush()
    note_erasure(session, ErasureKind.CONTACT, contact.id)
    return contact.id


def get_contact(session: Session, contact_id: uuid.UUID | str) -> Contact:
    """The contact.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Contact, contact_id)


def list_contacts(
    session: Session,
    *,
    named: str | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Contact]:
    """The account's contacts, newest first or `ascending`; those whose names begin so where asked."""
    return page_named(session, Contact, named, take=take, before=before, ascending=ascending, meta=meta)


def list_conversations_of(
    session: Session,
    *,
    contact_id: uuid.UUID | str,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Conversation]:
    """The conversations with a contact, newest first or `ascending`.

    Raises:
        NotFound, NotAuthorized: the contact.

    """
    of_contact = Conversation.contact_id == own(session, Contact, contact_id).id
    return page(session, Conversation, of_contact, take=take, before=before, ascending=ascending, meta=meta)


def list_nothing_of(session: Session, *, contact_id: uuid.UUID | str, **_window: Any) -> list[dict[str, Any]]:
    """What Crontalk does not keep of a contact: spaces and secrets.

    Raises:
        NotFound, NotAuthorized: the contact.

    """
    own(session, Contact, contact_id)
    return []


def _found(session: Session, fingerprint: str) -> Contact | None:
    wanted = select(Contact).where(
        Contact.account_id == account_of(session), Contact.fingerprint == fingerprint
    )
    # FOR KEY SHARE, as a foreign key takes it: no deletion comes between this and a link to it.
    return session.scalars(wanted.with_for_update(read=True, key_share=True)).one_or_none()


def _made(session: Session, values: Mapping[str, Any]) -> Contact:
    row = {"id": new_id(), "account_id": account_of(session), "meta": {}, **values}
    made = insert(Contact).values(row)
    # An update of nothing: the row that another transaction has just made is answered, and is locked.
    made = made.on_conflict_do_update(
        index_elements=["account_id", "fingerprint"], set_={"fingerprint": made.excluded.fingerprint}
    )
    return session.scalars(made.returning(Contact), execution_options={"populate_existing": True}).one()


def _some_fingerprint() -> str:
    return secrets.token_hex(16)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are stored.

    Raises:
        InvalidInput: the first that cannot be.

    """
    unknown = fields.keys() - CHECKS.keys()
    if unknown:
        raise InvalidInput(f"A contact has no field {min(unknown)}.")
    return {name: CHECKS[name](value) for name, value in fields.items()}


def _text(label: str, longest: int) -> Check:
    return lambda value: checked_text(value, label, longest=longest, empty=True)


def _fingerprint(value: Any) -> str | None:
    return checked_text(value, "The fingerprint", longest=LONGEST_FINGERPRINT)


def _email(value: Any) -> str | None:
    address = checked_text(value, "The e-mail address", longest=1000)
    if address is not None and not is_address(address.strip()):
        raise InvalidInput("The e-mail address must be a plain one, such as ada@example.com.")
    return address.strip() if address else None


def _phone(value: Any) -> str | None:
    """A number in E.164; without a country code it is one of `REGION`'s."""
    import phonenumbers

    words = checked_text(value, "The phone number", longest=200)
    if words is None:
        return None
    try:
        number = phonenumbers.parse(words, REGION)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise InvalidInput("The phone number must be one that can be called, such as +14155550132.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


CHECKS: Mapping[str, Check] = {
    "fingerprint": _fingerprint,
    "name": _text("The name", 1000),
    "description": _text("The description", LONGEST_TEXT),
    "email": _email,
    "phone": _phone,
    "nick": _text("The nick", 1000),
    "preferences": _text("The preferences", LONGEST_TEXT),
    "verified_at": lambda value: checked_instant("The time of verification", value),
    "meta": checked_meta,
}
