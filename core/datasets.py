"""Datasets and their records: what bots know."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.fields import ALIAS, LONG, checked_fields, kept, update_row
from core.rows import MetaFilter, checked_text, not_found, own, page
from core.sync_jobs import create_reword_job, language_of
from models import MAX_TEXT_BYTES, Dataset, Language, Record

STORE = "postgresql"
FIELDS = {
    "name": "name",
    "description": "description",
    "alias": "alias",
    "visibility": "visibility",
    "meta": "meta",
}
# What the contract lets a dataset be told of its search is kept as it was given, by the contract's names.
TEXTS = {
    "blueprintId": ALIAS,
    "reranker": ALIAS,
    "matchInstruction": LONG,
    "mismatchInstruction": LONG,
    "separators": ALIAS,
}
NUMBERS = {"recordMaxTokens": (1, 100_000), "searchMaxRecords": (1, 100), "searchMaxTokens": (1, 1_000_000)}
# Ours: what the words of records and questions are reduced to stems by.
LANGUAGE = "language"
CONFIG = (*TEXTS, *NUMBERS, "searchMinScore", LANGUAGE)


def create_dataset(
    session: Session, *, store: str | None = None, config: Mapping[str, Any] | None = None, **fields: Any
) -> Dataset:
    """A new dataset. Fields: see FIELDS; `config`: see CONFIG; `store` is kept and changes nothing.

    Raises:
        InvalidInput.

    """
    dataset = Dataset(
        account_id=account_of(session),
        store=checked_text(store or STORE, "The store", longest=ALIAS),
        config=_merged({}, config or {}),
        **{"meta": {}, **checked_fields(fields)},
    )
    session.add(dataset)
    session.flush()
    return dataset


def update_dataset(
    session: Session,
    dataset_id: uuid.UUID | str,
    *,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Dataset:
    """Changes the given fields only; null clears, meta is merged. The store stays.

    With another language the records' words are made anew by a job; meanwhile they are found as they are.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    dataset = own(session, Dataset, dataset_id, lock=True)
    spoken = language_of(dataset)
    if config:
        dataset.config = _merged(dataset.config, config)
    if language_of(dataset) != spoken:
        create_reword_job(session, dataset)
    update_row(session, dataset, fields)
    return dataset


def get_dataset(session: Session, dataset_id: uuid.UUID | str) -> Dataset:
    """Raises NotFound, NotAuthorized."""
    return own(session, Dataset, dataset_id)


def list_datasets(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Dataset]:
    """The account's datasets, newest first or `ascending`."""
    return page(session, Dataset, take=take, before=before, ascending=ascending, meta=meta)


def delete_dataset(session: Session, dataset_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a dataset with its records. Its files stay; bots and conversations lose their link to it."""
    dataset = own(session, Dataset, dataset_id, lock=True)
    session.delete(dataset)
    session.flush()
    return dataset.id


def create_record(session: Session, dataset_id: uuid.UUID | str, **fields: Any) -> Record:
    """A new record: text, and source and meta where given.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    dataset = kept(session, Dataset, dataset_id)
    values = {"text": None, "meta": {}, **_checked_record(fields)}
    if values["text"] is None:
        raise InvalidInput("The text must not be empty.")
    place = {"account_id": dataset.account_id, "dataset_id": dataset.id, "language": language_of(dataset)}
    record = Record(**place, **values)
    session.add(record)
    session.flush()
    return record


def update_record(
    session: Session, dataset_id: uuid.UUID | str, record_id: uuid.UUID | str, **fields: Any
) -> Record:
    """Changes the given fields only; a text cannot be cleared, meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    record = get_record(session, dataset_id, record_id, lock=True)
    changed = _checked_record({name: value for name, value in fields.items() if name != "meta"})
    if "text" in changed and changed["text"] is None:
        raise InvalidInput("The text must not be empty.")
    record.text = changed.get("text", record.text)
    record.source = changed.get("source", record.source)
    record.language = language_of(session.get_one(Dataset, record.dataset_id))
    update_row(session, record, {name: value for name, value in fields.items() if name == "meta"})
    return record


def get_record(
    session: Session, dataset_id: uuid.UUID | str, record_id: uuid.UUID | str, *, lock: bool = False
) -> Record:
    """Raises NotFound, also for another dataset's record; NotAuthorized."""
    dataset = own(session, Dataset, dataset_id)
    record = own(session, Record, record_id, lock=lock)
    if record.dataset_id != dataset.id:
        raise not_found(Record)
    return record


def list_records(
    session: Session,
    dataset_id: uuid.UUID | str,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Record]:
    """The records of a dataset, newest first or `ascending`."""
    dataset = own(session, Dataset, dataset_id)
    here = Record.dataset_id == dataset.id
    return page(session, Record, here, take=take, before=before, ascending=ascending, meta=meta)


def delete_record(session: Session, dataset_id: uuid.UUID | str, record_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a record for good."""
    record = get_record(session, dataset_id, record_id, lock=True)
    session.delete(record)
    session.flush()
    return record.id


def _checked_record(fields: Mapping[str, Any]) -> dict[str, Any]:
    checked = checked_fields(fields)
    if "text" in fields:
        checked["text"] = checked_text(fields["text"], "The text", longest=MAX_TEXT_BYTES)
    if "source" in fields:
        checked["source"] = checked_text(fields["source"], "The source", longest=LONG, empty=True) or None
    return checked


def _merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after a change: null clears, as an empty text does."""
    merged = dict(stored)
    for name, value in given.items():
        checked = _checked_setting(name, value)
        if checked is None or checked == "":
            merged.pop(name, None)
        else:
            merged[name] = checked
    return merged


def _checked_setting(name: str, value: Any) -> Any:
    if value is None or (name == LANGUAGE and value == ""):
        return None
    if name == LANGUAGE:
        if not isinstance(value, str) or value not in set(Language):
            raise InvalidInput(f"The language must be one of {', '.join(Language)}.")
        return value
    if name in TEXTS:
        return checked_text(value, f"The {name}", longest=TEXTS[name], empty=True)
    least, most = NUMBERS.get(name, (0, 1))
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidInput(f"The {name} must be a number from {least} to {most}.")
    return value
