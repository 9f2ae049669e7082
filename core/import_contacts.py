"""Whom imported conversations were with: the account's own contacts, found or made."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.contacts import ensure_contact
from core.errors import InvalidInput
from core.import_keys import Entry, Keys
from core.import_rows import Outcome
from core.importers.records import Contact, Reject
from models import ImportKind, Job

KEEP = text(
    "SELECT id FROM contacts WHERE account_id = :account AND id = ANY(CAST(:ids AS uuid[])) ORDER BY id"
    " FOR KEY SHARE"
)
# One that is the only one with this fingerprint, address or number. The first two are told of most.
ALIKE = text(
    "SELECT id, fingerprint, lower(email) AS email, phone FROM contacts WHERE account_id = :account"
    " AND (fingerprint = ANY(CAST(:keys AS text[])) OR lower(email) = ANY(CAST(:emails AS text[]))"
    "  OR phone = ANY(CAST(:phones AS text[]))) ORDER BY id FOR KEY SHARE"
)


@dataclass
class Found:
    """Contacts by the source's key; which of them were not known before, how many were made, and the keys of
    those that could not be stored.
    """

    ids: dict[str, uuid.UUID] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    made: int = 0
    refused: set[str] = field(default_factory=set)


def contacts_of(session: Session, keys: Keys, job: Job, wanted: Iterable[Contact]) -> Found:
    """Finds each of these contacts by what was imported before, then by its fingerprint, e-mail address or
    phone number, or makes it. None of them goes before the transaction ends.
    """
    found, told = Found(), {contact.key: contact for contact in wanted}
    if not told:
        return found
    hashes = {key: keys.key(ImportKind.CONTACT, key) for key in told}
    known = keys.known(ImportKind.CONTACT, hashes.values(), {})
    values = {"account": job.account_id, "ids": [one.target for one in known.values()]}
    there = set(session.scalars(KEEP, values)) if known else set()
    entries = []
    missing = [contact for key, contact in told.items() if hashes[key] not in known]
    alike = _alike(session, job.account_id, missing)
    for key, contact in told.items():
        before = known.get(hashes[key])
        if before is not None:
            if before.target in there:  # else it was deleted here since, and stays so
                found.ids[key] = before.target
            continue
        try:
            target, made = _found_or_made(session, contact, alike)
        except InvalidInput:
            found.refused.add(key)
            continue
        found.ids[key] = target
        found.new.add(key)
        found.made += made
        entries.append(Entry(hashes[key], 1, target, made=made))
    keys.store(job.id, ImportKind.CONTACT, entries)
    return found


def store_contacts(session: Session, keys: Keys, job: Job, told: Sequence[tuple[int, Contact]]) -> Outcome:
    """Contacts that stand by themselves, each with its row."""
    found = contacts_of(session, keys, job, [contact for _, contact in told])
    out = Outcome()
    out.counts["contacts"] += found.made
    for row, contact in told:
        if contact.key in found.refused:
            out.rejects.append(Reject(row, "bad_contact"))
            out.failed.add(row)
        elif contact.key in found.new:
            out.wrote.add(row)
        else:
            out.counts["known"] += 1
    return out


def _found_or_made(session: Session, contact: Contact, alike: dict[str, uuid.UUID]) -> tuple[uuid.UUID, bool]:
    for sign in _signs(contact):
        if sign in alike:
            return alike[sign], False
    with session.begin_nested():
        row = ensure_contact(
            session,
            fingerprint=_fingerprint(contact),
            name=contact.name,
            email=contact.email,
            phone=contact.phone,
            nick=contact.nick,
            meta=dict(contact.meta),
            **contact.more,
        )
    alike |= dict.fromkeys(_signs(contact), row.id)
    return row.id, True


def _fingerprint(contact: Contact) -> str:
    return contact.fingerprint or contact.key


def _signs(contact: Contact) -> list[str]:
    """What a contact may be told by, the surest first. One that has a fingerprint where it comes from is told
    by that alone: two that share an address there are two.
    """
    signs = [f"fingerprint:{_fingerprint(contact)}"]
    if contact.fingerprint:
        return signs
    signs += [f"email:{contact.email.strip().lower()}"] if contact.email else []
    return signs + ([f"phone:{contact.phone.strip()}"] if contact.phone else [])


def _alike(session: Session, account: uuid.UUID, contacts: Sequence[Contact]) -> dict[str, uuid.UUID]:
    """The account's contacts by their signs; what several have in common tells nobody."""
    if not contacts:
        return {}
    values = {
        "account": account,
        "keys": [_fingerprint(contact) for contact in contacts],
        "emails": [contact.email.strip().lower() for contact in contacts if contact.email],
        "phones": [contact.phone.strip() for contact in contacts if contact.phone],
    }
    found: dict[str, uuid.UUID | None] = {}
    for row in session.execute(ALIKE, values):
        for sign in (f"fingerprint:{row.fingerprint}", f"email:{row.email}", f"phone:{row.phone}"):
            found[sign] = None if sign in found else row.id
    return {sign: one for sign, one in found.items() if one is not None}
