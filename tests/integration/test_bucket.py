"""Content in S3-compatible storage instead of a directory."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from pydantic import SecretStr

from core.blobs import sweep_blobs
from core.sealed_chunks import CHUNK
from tests.api import a_client, a_secret
from tests.factories import a_conversation, execute, rows
from tests.s3_server import S3Server

API = "/api/v1"


@pytest.fixture
def bucket():
    with S3Server() as server:
        yield server


@pytest.fixture
def away(context, bucket):
    """A context whose content is in the bucket, below a prefix."""
    told = {
        "blobs": "s3://talk/some/prefix",
        "s3_endpoint": bucket.url,
        "s3_region": "eu-test-1",
        "s3_access_key": SecretStr("key"),
        "s3_secret_key": SecretStr("secret"),
    }
    execute(context, "DELETE FROM blob_leftovers")
    return replace(context, settings=context.settings.model_copy(update=told))


@pytest.fixture
def place(away, account):
    return f"{API}/conversation/{a_conversation(away, account).id}/attachment"


def test_content_goes_into_the_bucket_sealed_and_comes_back_and_goes(away, account, place, bucket):
    client, content = a_client(away, a_secret(away, account)), b"geheim4711" + os.urandom(5 * CHUNK)
    raw = {"Content-Type": "image/png"}
    kept, gone = (client.post(f"{place}/upload", content=content, headers=raw).json()["id"] for _ in range(2))
    assert len(bucket.objects) == 12
    assert all(key.startswith(f"talk/some/prefix/{account}/") for key in bucket.objects)
    assert not any(b"geheim4711" in sealed for sealed in bucket.objects.values())
    assert bucket.signed == {True}
    assert client.get(f"{place}/{gone}/download").content == content
    client.post(f"{place}/{gone}/delete")
    assert sweep_blobs(away) == 1
    assert len(bucket.objects) == 6
    assert client.get(f"{place}/{kept}/download").content == content
    del bucket.objects[min(bucket.objects)]
    assert client.get(f"{place}/{kept}/download").status_code == 409


def test_a_bucket_that_fails_is_503_stores_nothing_and_is_swept_later(away, account, place, bucket):
    client = a_client(away, a_secret(away, account))
    attachment = client.post(f"{place}/upload", json={"file": "data:,x"}).json()["id"]
    bucket.failing = True
    for answer in (
        client.post(f"{place}/upload", json={"file": "data:,x"}),
        client.get(f"{place}/{attachment}/download"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert "127.0.0.1" not in answer.text
    assert len(rows(away, "SELECT * FROM attachments")) == 1
    bucket.failing = False
    client.post(f"{place}/{attachment}/delete")
    execute(away, "UPDATE blob_leftovers SET due_at = now()")
    sweep_blobs(away)
    assert bucket.objects == {}
