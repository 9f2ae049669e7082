"""The JSON documents of datasets, records, skillsets and abilities."""

from __future__ import annotations

from core.documents import Document, milliseconds
from core.documents_files import without_nulls
from core.searching import Match
from models import Ability, Dataset, Record, Skillset


def dataset_document(dataset: Dataset) -> Document:
    return without_nulls(
        {
            "id": str(dataset.id),
            "name": dataset.name,
            "description": dataset.description,
            "alias": dataset.alias,
            "store": dataset.store,
            "visibility": dataset.visibility,
            **dataset.config,
            "meta": dataset.meta or None,
            "createdAt": milliseconds(dataset.created_at),
            "updatedAt": milliseconds(dataset.updated_at),
        }
    )


def record_document(record: Record) -> Document:
    return without_nulls(
        {
            "id": str(record.id),
            "text": record.text,
            "source": record.source,
            "fileId": str(record.file_id) if record.file_id else None,
            "meta": record.meta or None,
            "createdAt": milliseconds(record.created_at),
            "updatedAt": milliseconds(record.updated_at),
        }
    )


def match_document(match: Match) -> Document:
    return without_nulls(
        {
            "id": str(match.record.id),
            "text": match.record.text,
            "source": match.record.source,
            "meta": match.record.meta or None,
            "score": match.score,
        }
    )


def skillset_document(skillset: Skillset) -> Document:
    return without_nulls(
        {
            "id": str(skillset.id),
            "name": skillset.name,
            "description": skillset.description,
            "alias": skillset.alias,
            "blueprintId": skillset.blueprint_id,
            "visibility": skillset.visibility,
            "state": "enabled" if skillset.enabled else "disabled",
            "meta": skillset.meta or None,
            "createdAt": milliseconds(skillset.created_at),
            "updatedAt": milliseconds(skillset.updated_at),
        }
    )


def ability_document(ability: Ability) -> Document:
    """An ability. Its links stand under both names: the npm SDK's and, as `linked…`, the Python SDK's."""
    links = {f"linked{name[0].upper()}{name[1:]}": value for name, value in ability.links.items()}
    return without_nulls(
        {
            "id": str(ability.id),
            "name": ability.name,
            "description": ability.description,
            "instruction": ability.instruction,
            "parameters": ability.parameters or None,
            "action": ability.action or None,
            **ability.links,
            **{name: value for name, value in links.items() if name != "linkedBlueprintId"},
            "meta": ability.meta or None,
            "createdAt": milliseconds(ability.created_at),
            "updatedAt": milliseconds(ability.updated_at),
        }
    )
