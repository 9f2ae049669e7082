"""Datasets, skillsets, files and attachments for tests, made through the verbs."""

from __future__ import annotations

import uuid
from typing import Any

from core.attachments import start_attachment
from core.blobs import open_writing
from core.carrying import carry_on
from core.context import Context
from core.dataset_files import attach_file
from core.datasets import create_dataset, create_record
from core.file_names import Described
from core.files import create_file, start_file_content
from core.secrets import create_secret
from core.skillsets import create_ability, create_skillset
from models import Dataset, File


def a_file(
    context: Context,
    account: uuid.UUID,
    content: bytes | None = b"One.\n\nTwo.",
    kind: str = "text/plain",
    name: str | None = "notes.txt",
    **fields: Any,
) -> File:
    """A file; with its content, unless that is None."""
    with context.transaction(account) as session:
        file = create_file(session, **{"name": "Notes", **fields})
    if content is not None:
        fill(context, account, file.id, content, kind, name)
    return file


def fill(
    context: Context,
    account: uuid.UUID,
    file_id: uuid.UUID,
    content: bytes,
    kind: str = "text/plain",
    name: str | None = "notes.txt",
) -> None:
    with context.transaction(account) as session:
        blob = start_file_content(session, file_id, Described(name, kind, len(content)))
        writing = open_writing(context, session, blob)
    writing.add(content)
    writing.finish()


def an_attachment(
    context: Context,
    account: uuid.UUID,
    conversation_id: uuid.UUID | str,
    content: bytes = b"attached",
    *,
    kind: str = "text/plain",
    name: str = "a.txt",
) -> str:
    with context.transaction(account) as session:
        blob = start_attachment(session, conversation_id, Described(name, kind))
        writing = open_writing(context, session, blob)
    writing.add(content)
    writing.finish()
    return str(blob.attachment_id)


def a_dataset(context: Context, account: uuid.UUID, *texts: str, **fields: Any) -> Dataset:
    """A dataset with these records."""
    with context.transaction(account) as session:
        dataset = create_dataset(session, **{"name": "Facts", **fields})
        for text in texts:
            create_record(session, dataset.id, text=text)
    return dataset


def finish(context: Context, job_id: uuid.UUID | str) -> str:
    """Carries a job out to its end; the word it ended with."""
    while (word := carry_on(context, uuid.UUID(str(job_id)))) in {"sliced", "paced"}:
        pass
    return word


def some_knowledge(context: Context, account: uuid.UUID, conversation_id: uuid.UUID | str) -> dict[str, str]:
    """One of everything, by the names of path parameters; the file is attached to the dataset."""
    file = a_file(context, account)
    dataset = a_dataset(context, account)
    with context.transaction(account) as session:
        record = create_record(session, dataset.id, text="The sky is blue.")
        skillset = create_skillset(session, name="Skills")
        ability = create_ability(session, skillset.id, name="look", instruction="Look up.")
        secret = create_secret(session, name="weather", value="a-secret")
        attach_file(session, dataset.id, file.id)
    return {
        "attachmentId": an_attachment(context, account, conversation_id),
        "fileId": str(file.id),
        "datasetId": str(dataset.id),
        "recordId": str(record.id),
        "skillsetId": str(skillset.id),
        "abilityId": str(ability.id),
        "secretId": str(secret.id),
    }


# A row of every table of files for an account, linked to wherever it may be; no content, so no storage.
TABLES = (
    "INSERT INTO files (id, account_id, name) VALUES (gen_random_uuid(), :account, 'f')",
    (
        "UPDATE jobs SET file_id = (SELECT id FROM files WHERE account_id = :account LIMIT 1)"
        " WHERE account_id = :account"
    ),
    "INSERT INTO datasets (id, account_id, store, name) VALUES (gen_random_uuid(), :account, 's', 'files')",
    (
        "INSERT INTO dataset_files (account_id, dataset_id, file_id, type)"
        " SELECT f.account_id, d.id, f.id, 'source' FROM files f JOIN datasets d USING (account_id)"
        " WHERE f.account_id = :account AND d.name = 'files'"
    ),
    (
        "INSERT INTO records (id, account_id, dataset_id, file_id, text)"
        " SELECT gen_random_uuid(), account_id, dataset_id, file_id, 'r' FROM dataset_files"
        " WHERE account_id = :account"
    ),
    "INSERT INTO skillsets (id, account_id, name) VALUES (gen_random_uuid(), :account, 'files')",
    (
        "INSERT INTO attachments (id, account_id, conversation_id, message_id)"
        " SELECT gen_random_uuid(), account_id, conversation_id, id FROM messages"
        " WHERE account_id = :account LIMIT 1"
    ),
    (
        "INSERT INTO blobs (id, account_id, attachment_id, type, name)"
        " SELECT gen_random_uuid(), account_id, id, 'text/plain', 'b' FROM attachments"
        " WHERE account_id = :account"
    ),
    (
        "INSERT INTO blobs (id, account_id, file_id, type, name)"
        " SELECT gen_random_uuid(), account_id, id, 'text/plain', 'b' FROM files WHERE account_id = :account"
    ),
    (
        "INSERT INTO blob_tickets (token_sha256, account_id, blob_id, kind, expires_at)"
        " SELECT sha256(id::text::bytea), account_id, id, 'upload', now() FROM blobs"
        " WHERE account_id = :account"
    ),
)
