"""Secrets: kept for the abilities that use them, sealed, and never read out by anybody but a call of one."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import Conflict, InvalidInput
from core.fields import NAME, checked_fields, update_row
from core.keys import seal, unseal
from core.rows import MetaFilter, checked_text, own, page
from models import Secret, SecretType, new_id

FIELDS = {
    "name": "name",
    "description": "description",
    "alias": "alias",
    "blueprintId": "blueprint_id",
    "visibility": "visibility",
    "meta": "meta",
    "type": "type",
    "kind": "kind",
    "value": "value",
}
LONGEST = 8 * 1024
SHORTEST_MASKED = 6
MASK = "[secret]"
SHARED = "shared"
# A value travels in a header: one line of visible ASCII. Only basic's is put into base64 before.
_VALUES = {
    SecretType.PLAIN: (
        re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"),
        "A plain secret is one line of ASCII, without spaces around it.",
    ),
    SecretType.BEARER: (re.compile(r"[\x21-\x7e]+"), "A bearer secret is ASCII without spaces."),
    SecretType.BASIC: (
        re.compile(r"[^:\x00-\x1f\x7f]+:[^\x00-\x1f\x7f]+"),
        "A basic secret is written user:password, on one line.",
    ),
}
# One of a name is set at a time: whoever comes second finds the first one's.
LOCK_ACCOUNT = text("SELECT 1 FROM accounts WHERE id = :id FOR NO KEY UPDATE")
# Turns that use one secret at the same time do not wait for each other.
NOTE_USE = text(
    "UPDATE secrets SET last_used_at = now() WHERE id = (SELECT id FROM secrets WHERE id = :id"
    " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute') FOR UPDATE SKIP LOCKED)"
)


@dataclass(frozen=True)
class SecretValue:
    """An opened secret, for the one call that uses it."""

    type: str
    value: str = field(repr=False)

    @property
    def shown(self) -> str:
        """What `{secret}` in a header stands for: the value, a basic one in base64."""
        return self._packed if self.type == SecretType.BASIC else self.value

    @property
    def authorization(self) -> str | None:
        """The Authorization header that shows it; None for a plain one, which only a template can show."""
        schemes = {SecretType.BEARER: "Bearer", SecretType.BASIC: "Basic"}
        return f"{schemes[SecretType(self.type)]} {self.shown}" if self.type in schemes else None

    def masked(self, words: str) -> str:
        """The words with the secret out of sight, in case whoever was shown it says it again."""
        spellings = [self.value]
        if self.type == SecretType.BASIC:
            spellings += [self._packed, self.value.partition(":")[2]]
        for spelling in sorted(spellings, key=len, reverse=True):
            if len(spelling) >= SHORTEST_MASKED:
                words = words.replace(spelling, MASK)
        return words

    @property
    def _packed(self) -> str:
        return base64.b64encode(self.value.encode()).decode()


def create_secret(session: Session, *, value: str | None = None, **fields: Any) -> Secret:
    """A new secret, `plain` unless told. Fields: see FIELDS.

    Raises:
        InvalidInput: in a sentence that does not repeat what was sent. Conflict: KeyUnusable.

    """
    checked = _checked(fields)
    kind = checked.pop("type", SecretType.PLAIN)
    row_id, account = new_id(), account_of(session)
    if value is None:
        raise InvalidInput("A secret needs a value.")
    sealed = _sealed(session, row_id, _checked_value(value, kind))
    secret = Secret(id=row_id, account_id=account, type=kind, value=sealed, **{"meta": {}, **checked})
    session.add(secret)
    session.flush()
    session.refresh(secret)
    return secret


def update_secret(session: Session, secret_id: uuid.UUID | str, **fields: Any) -> Secret:
    """Changes the given fields only: a value replaces the one before, null clears texts, meta is merged.

    Raises:
        InvalidInput: also another type without a value of that type; NotFound, NotAuthorized. Conflict:
            KeyUnusable.

    """
    secret = own(session, Secret, secret_id, lock=True)
    value = fields.pop("value", None)
    meta = {"meta": fields.pop("meta")} if "meta" in fields else {}
    checked = _checked(fields)
    kind = checked.get("type", secret.type)
    if value is not None:
        checked["value"] = _sealed(session, secret.id, _checked_value(value, kind))
    elif kind != secret.type:
        raise InvalidInput("A secret's type is changed together with its value.")
    update_row(session, secret, {**checked, **meta})
    return secret


def set_secret(session: Session, name: str, value: str, **fields: Any) -> Secret:
    """The one secret of this name, made or given this value.

    Raises:
        InvalidInput; Conflict: several have this name; KeyUnusable.

    """
    checked_text(name, "The name", longest=NAME)
    session.execute(LOCK_ACCOUNT, {"id": account_of(session)})
    found = _named(session, name)
    if found is None:
        return create_secret(session, name=name, value=value, **fields)
    return update_secret(session, found.id, value=value, **fields)


def find_secret(session: Session, name_or_id: str) -> Secret:
    """A secret by its name, or by its id.

    Raises:
        NotFound, NotAuthorized; Conflict: several have this name.

    """
    return _named(session, name_or_id) or own(session, Secret, name_or_id)


def get_secret(session: Session, secret_id: uuid.UUID | str) -> Secret:
    """Raises NotFound, NotAuthorized."""
    return own(session, Secret, secret_id)


def list_secrets(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Secret]:
    """The account's secrets, newest first or `ascending`."""
    return page(session, Secret, take=take, before=before, ascending=ascending, meta=meta)


def delete_secret(session: Session, secret_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a secret for good; abilities that name it fail from now on."""
    secret = own(session, Secret, secret_id, lock=True)
    session.delete(secret)
    session.flush()
    return secret.id


def open_secret(session: Session, secret_id: uuid.UUID | str) -> SecretValue:
    """The value, for a call that is made now. Nothing that answers a caller may hold it.

    Raises:
        NotFound, NotAuthorized; Conflict: KeyUnusable.

    """
    secret = own(session, Secret, secret_id)
    opened = unseal(session, secret.account_id, secret.value, _purpose(secret.id)).decode()
    session.execute(NOTE_USE, {"id": secret.id})
    return SecretValue(secret.type, opened)


def _named(session: Session, name: str) -> Secret | None:
    query = select(Secret).where(Secret.account_id == account_of(session), Secret.name == name)
    found = list(session.scalars(query.limit(2))) if "\x00" not in name else []
    if len(found) > 1:
        raise Conflict("Several secrets have this name; say the id of one.")
    return found[0] if found else None


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are stored; a type or a kind of null is none that was given."""
    checked = {
        name: value for name, value in fields.items() if value is not None or name not in {"type", "kind"}
    }
    if checked.pop("kind", SHARED) != SHARED:
        raise InvalidInput("The kind must be shared: contacts have no secrets of their own here.")
    if checked.get("type", SecretType.PLAIN) not in list(SecretType):
        raise InvalidInput(f"The type must be one of {', '.join(SecretType)}.")
    return checked_fields(checked)


def _checked_value(value: Any, kind: str) -> str:
    checked = checked_text(value, "The value", longest=LONGEST) or ""
    pattern, sentence = _VALUES[SecretType(kind)]
    if not pattern.fullmatch(checked):
        raise InvalidInput(sentence)
    return checked


def _sealed(session: Session, row_id: uuid.UUID, value: str) -> bytes:
    return seal(session, account_of(session), value.encode(), _purpose(row_id))


def _purpose(row_id: uuid.UUID) -> str:
    return f"secret.value:{row_id}"
