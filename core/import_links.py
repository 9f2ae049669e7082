"""What imported records hang on: our bots, contacts and tasks, by the ids that their source has for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.import_keys import Keys
from models import ImportKind

KINDS: Mapping[str, ImportKind] = {
    "bot": ImportKind.BOT,
    "contact": ImportKind.CONTACT,
    "task": ImportKind.TASK,
}
OURS = "account_id = :account AND id = ANY(CAST(:ids AS uuid[]))"
# Whoever was deleted meanwhile is not linked to; who is there stays until the transaction ends.
KEEP = {
    "bot": text(f"SELECT id FROM bots WHERE {OURS} ORDER BY id FOR KEY SHARE"),  # noqa: S608 (a constant)
    "contact": text(f"SELECT id FROM contacts WHERE {OURS} ORDER BY id FOR KEY SHARE"),  # noqa: S608 (as above)
    "task": text(
        f"SELECT id FROM tasks WHERE {OURS} AND state <> 'deleted' ORDER BY id FOR KEY SHARE"  # noqa: S608 (as above)
    ),
}
Links = Mapping[str, str]
Found = dict[tuple[str, str], uuid.UUID]


def find_links(session: Session, keys: Keys, account: uuid.UUID, wanted: Iterable[Links]) -> Found:
    """Our rows by what they are (`bot contact task`) and the source's id, as far as they were imported."""
    told = list(wanted)
    found: Found = {}
    for name, kind in KINDS.items():
        hashes = {links[name]: keys.key(kind, links[name]) for links in told if name in links}
        known = keys.known(kind, hashes.values(), {}) if hashes else {}
        if not known:
            continue
        values = {"account": account, "ids": [one.target for one in known.values()]}
        there = set(session.scalars(KEEP[name], values))
        found |= {
            (name, key): known[hashed].target
            for key, hashed in hashes.items()
            if hashed in known and known[hashed].target in there
        }
    return found


def missing_links(keys: Keys, wanted: Iterable[Links]) -> dict[str, set[str]]:
    """The ids that nothing was imported under yet, by what they are."""
    told = list(wanted)
    missing: dict[str, set[str]] = {}
    for name, kind in KINDS.items():
        hashes = {links[name]: keys.key(kind, links[name]) for links in told if name in links}
        known = keys.known(kind, hashes.values(), {}) if hashes else {}
        missing[name] = {key for key, hashed in hashes.items() if hashed not in known}
    return missing
