"""Exports through the API: asked for, watched, downloaded by a link, refused."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest

from core.carrying import carry_on
from tests.api import a_client, a_secret
from tests.deletions import some_talks
from tests.factories import a_task, rows

API = "/api/v1"


@pytest.fixture
def task(context, account):
    found = a_task(context, account)
    some_talks(context, account, 2, 5, task_id=found.id)
    some_talks(context, account, 1, 3)
    return str(found.id)


def made(client, **fields):
    answer = client.post(f"{API}/job/create", json={"kind": "export", **fields})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"id"}
    return answer.json()["id"]


def refused(client, status, **fields):
    answer = client.post(f"{API}/job/create", json={"kind": "export", **fields})
    assert answer.status_code == status, answer.text
    return answer.json()["message"]


def downloaded(client, file_id):
    link = client.get(f"{API}/file/{file_id}/download")
    assert link.status_code == 200, link.text
    answer = client.get(link.json()["url"])
    assert client.get(link.json()["url"]).status_code == 404
    return answer


def test_an_export_is_asked_for_watched_and_downloaded(client, context, task):
    job = made(client, filter={"taskId": task}, format="csv", gzip=True, bom=True)
    told = client.get(f"{API}/job/{job}/fetch").json()
    assert (told["kind"], told["state"], told["format"], told["mode"]) == (
        "export",
        "pending",
        "csv",
        "redacted",
    )
    assert (told["total"], told["done"], told["filter"]) == (10, 0, {"taskId": [task]})
    assert client.get(f"{API}/file/{told['fileId']}/download").status_code == 404
    assert carry_on(context, uuid.UUID(job)) == "completed"
    told = client.get(f"{API}/job/{job}/fetch").json()
    assert (told["state"], told["done"], told["left"]) == ("completed", 10, 0)
    assert told["counts"] == {"bot": 4, "conversations": 2, "user": 6}
    answer = downloaded(client, told["fileId"])
    assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (told["size"], told["sha256"])
    assert told["name"] in answer.headers["content-disposition"]
    assert answer.headers["content-type"] == "application/gzip"
    listed = client.get(f"{API}/job/list", params={"kind": "export"}).json()["items"]
    assert [each["id"] for each in listed] == [job]


def test_it_is_ours_unless_told_and_made_once_under_a_key(client, context, account):
    some_talks(context, account, 1, 2)
    body, once = {"kind": "export", "filter": {"all": True}}, {"Idempotency-Key": "a"}
    first = client.post(f"{API}/job/create", json=body, headers=once).json()
    assert client.post(f"{API}/job/create", json=body, headers=once).json() == first
    assert len(rows(context, "SELECT id FROM jobs")) == len(rows(context, "SELECT id FROM files")) == 1
    assert carry_on(context, uuid.UUID(first["id"])) == "completed"
    told = client.get(f"{API}/job/{first['id']}/fetch").json()
    lines = downloaded(client, told["fileId"]).content.splitlines()
    assert json.loads(lines[0])["format"] == "crontalk"
    assert json.loads(lines[-1])["end"]["messages"] == 2


def test_originals_need_the_scope_to_ask_for_them_and_to_fetch_them(client, context, account, task):
    assert "pii:read" in refused(client, 403, filter={"all": True}, mode="original")
    reader = a_client(context, a_secret(context, account, ("read", "write", "pii:read")))
    job = made(reader, filter={"all": True}, mode="original")
    assert carry_on(context, uuid.UUID(job)) == "completed"
    file_id = client.get(f"{API}/job/{job}/fetch").json()["fileId"]
    answer = client.get(f"{API}/file/{file_id}/download")
    assert (answer.status_code, answer.json()["code"]) == (403, "NOT_AUTHORIZED")
    assert downloaded(reader, file_id).status_code == 200
    actions = [event["action"] for event in client.get(f"{API}/audit/list").json()["items"]]
    assert actions == ["conversation.export"] * 3


def test_what_another_kind_takes_is_refused(client, task):
    everything = {"filter": {"all": True}}
    assert "takes filter, format, mode" in refused(client, 400, **everything, what="messages")
    assert "takes filter" in refused(client, 400, **everything, again=True)
    assert "takes filter" in refused(client, 400, **everything, rate="5/s")
    assert "Say what is to be exported" in refused(client, 400)
    assert "format must be" in refused(client, 400, **everything, format="fax")
    assert "mode must be" in refused(client, 400, **everything, mode="raw")
    assert "not filtered by type" in refused(client, 400, filter={"type": "user"})
    refused(client, 404, filter={"taskId": str(uuid.uuid4())})
    for body in (
        {"kind": "annotate", "all": True, "format": "csv"},
        {"kind": "delete", "what": "messages", **everything, "gzip": True},
    ):
        assert client.post(f"{API}/job/create", json=body).status_code == 400


def test_a_cancelled_export_has_no_file(client, context, task):
    job = made(client, filter={"all": True})
    assert client.post(f"{API}/job/{job}/cancel", json={}).status_code == 200
    told = client.get(f"{API}/job/{job}/fetch").json()
    assert told["state"] == "cancelled"
    assert "fileId" not in told
    assert client.get(f"{API}/file/list").json()["items"] == []
