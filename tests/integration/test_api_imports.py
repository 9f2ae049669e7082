"""Imports over HTTP: a file or a few items, progress, errors, undo; and the command."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import contextmanager

import pytest

from core.carrying import carry_on
from tests.api import a_client, a_secret
from tests.factories import an_account, one, rows
from tests.imports import a_talk, an_export, carry, talks
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)

API = "/api/v1/job"
BROKEN = an_export(a_talk("a", "One", "Two")).replace(b'{"end"', b'{"key":"b","messages":1\n{"end"')
THREE = an_export(a_talk("a", "One", "Two"), a_talk("b", "Three"))


@contextmanager
def a_worker(context):
    """Carries jobs out beside the test."""
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM jobs WHERE state IN ('pending', 'running')"):
                carry_on(context, row["id"])
            stop.wait(0.02)

    worker = threading.Thread(target=serve)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def uploaded(client, content=THREE):
    answer = client.post(f"{API}/upload", content=content, headers={"content-type": "application/jsonl"})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def posted(client, **body):
    answer = client.post(f"{API}/create", json={"kind": "import", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_uploaded_file_is_imported_and_told_of(client, context, account):
    job = posted(client, fileId=uploaded(client))["id"]
    carry(context, uuid.UUID(job))
    told = client.get(f"{API}/{job}/fetch").json()
    assert (told["kind"], told["state"], told["found"]) == ("import", "completed", "crontalk")
    assert (told["total"], told["done"], told["failed"]) == (2, 2, 0)
    assert told["counts"] == {"conversations": 2, "messages": 3}
    assert told["readBytes"] == told["sizeBytes"] == len(THREE)
    assert "fileId" not in told
    assert [job_["id"] for job_ in client.get(f"{API}/list?kind=import").json()["items"]] == [job]


def test_a_few_items_are_imported_while_the_caller_waits(client, context, account):
    items = [a_talk("a", "One", "Two"), {"key": "b"}, "nothing", a_talk("c", "Three", colour=1)]
    made = posted(client, items=items)
    assert (made["done"], made["skipped"], made["failed"], made["errors"]) == (3, 0, 1, 1)
    again = posted(client, items=items)
    assert (again["done"], again["skipped"], again["failed"]) == (0, 3, 1)
    assert sum(len(talk["messages"]) for talk in talks(context, account)) == 3
    errors = client.get(f"{API}/{made['id']}/error/list").json()["items"]
    assert [(error["row"], error["code"]) for error in errors] == [(3, "no_conversation")]


def test_items_under_a_key_are_stored_once_and_answered_again(client, context, account):
    body = {"kind": "import", "items": [a_talk("a", "One")]}
    first, second = (
        client.post(f"{API}/create", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json() == second.json()
    assert one(context, "SELECT count(*) FROM jobs") == 1


def test_errors_are_listed_page_by_page_and_as_a_table(client, context, account):
    lines = b"\n".join(b'{"messages":' + str(n).encode() + b"}" for n in range(130))
    content = b'{"messages":[{"role":"user","content":"Hi"}]}\n' + lines
    job = posted(client, fileId=uploaded(client, content), format="openai")["id"]
    carry(context, uuid.UUID(job))
    told = client.get(f"{API}/{job}/fetch").json()
    assert (told["state"], told["failed"], told["counts"]["errors"]) == ("completed_with_errors", 130, 130)
    first = client.get(f"{API}/{job}/error/list").json()
    second = client.get(f"{API}/{job}/error/list?cursor={first['cursor']}").json()
    assert [len(first["items"]), len(second["items"])] == [100, 30]
    assert [e["row"] for e in first["items"] + second["items"]] == list(range(2, 132))
    last = client.get(f"{API}/{job}/error/list?order=desc&take=1").json()["items"]
    assert last[0]["row"] == 131
    table = client.get(f"{API}/{job}/error/list", headers={"accept": "text/csv"}).text
    assert len(table.splitlines()) == 131


def test_an_import_is_undone(client, context, account):
    job = posted(client, fileId=uploaded(client))["id"]
    assert client.post(f"{API}/{job}/undo").status_code == 409
    carry(context, uuid.UUID(job))
    undo = client.post(f"{API}/{job}/undo").json()["id"]
    carry(context, uuid.UUID(undo))
    told = client.get(f"{API}/{undo}/fetch").json()
    assert (told["kind"], told["state"], told["done"], told["importId"]) == ("undo", "completed", 3, job)
    assert talks(context, account) == []


def test_a_dry_run_tells_what_there_is(client, context, account):
    job = posted(client, fileId=uploaded(client), dryRun=True)["id"]
    carry(context, uuid.UUID(job))
    told = client.get(f"{API}/{job}/fetch").json()
    assert (told["dryRun"], told["survey"]["conversations"]) == (True, 2)
    assert talks(context, account) == []


def test_progress_is_told_line_by_line(client, context, account):
    job = posted(client, fileId=uploaded(client))["id"]
    now = client.post(f"{API}/{job}/subscribe").json()["items"]
    assert [event["type"] for event in now] == ["progress"]
    with a_worker(context):
        answer = client.post(f"{API}/{job}/subscribe", headers={"accept": "application/jsonl"})
    lines = [json.loads(line) for line in answer.text.split("\n") if line.strip()]
    assert lines[-1]["type"] == "result"
    assert lines[-1]["data"]["state"] == "completed"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fileId": "x", "items": []},
        {"items": [], "format": "csv"},
        {"items": [{}] * 1001},
        {"fileId": "FILE", "format": "word"},
        {"fileId": "FILE", "timezone": "Mars"},
        {"fileId": "FILE", "columns": {"colour": "x"}},
        {"fileId": "FILE", "columns": {"text": ""}},
        {"fileId": "FILE", "mode": "original"},
        {"fileId": "FILE", "all": True},
    ],
)
def test_what_cannot_be_imported_is_refused_in_a_sentence(client, body):
    file = uploaded(client)
    given = {name: file if value == "FILE" else value for name, value in body.items()}
    answer = client.post(f"{API}/create", json={"kind": "import", **given})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"]


def test_anothers_file_job_and_errors_are_not_seen(client, context, account):
    file = uploaded(client)
    job = posted(client, fileId=file)["id"]
    stranger = a_client(context, a_secret(context, an_account(context, "Grace")))
    assert stranger.post(f"{API}/create", json={"kind": "import", "fileId": file}).status_code == 403
    for path in ("fetch", "error/list"):
        assert stranger.get(f"{API}/{job}/{path}").status_code == 403
    for path in ("undo", "subscribe", "cancel"):
        assert stranger.post(f"{API}/{job}/{path}").status_code == 403


def test_a_file_for_an_import_may_be_larger_than_another_file(client, context, monkeypatch):
    monkeypatch.setattr(context.settings, "max_file", 1024)
    assert client.post("/api/v1/file/create", json={}).status_code == 200
    large = an_export(a_talk("a", "x" * 5000))
    uploaded(client, large)
    monkeypatch.setattr(context.settings, "max_import", 2048)
    answer = client.post(f"{API}/upload", content=large, headers={"content-type": "application/jsonl"})
    assert answer.status_code == 413


def test_the_command_imports_a_file_and_watches_it(context, account, run, tmp_path):  # noqa: F811
    file = tmp_path / "export.jsonl"
    file.write_bytes(THREE)
    with a_worker(context):
        code, out, err = run("import", str(file), "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["state"], told["done"], told["counts"]["messages"]) == ("completed", 2, 3)
    with a_worker(context):
        code, out, _ = run("import", str(file))
    assert (code, "3 known" in out) == (0, True)
    assert one(context, "SELECT count(*) FROM files") == 0
    with a_worker(context):
        code, out, _ = run("job", "undo", told["id"], "--json")
    assert (code, json.loads(out)["state"]) == (0, "completed")


def test_the_command_ends_with_9_where_rows_were_rejected(context, account, run, tmp_path):  # noqa: F811
    file = tmp_path / "export.jsonl"
    file.write_bytes(BROKEN)
    with a_worker(context):
        code, out, err = run("import", str(file))
    assert code == 9
    assert "not_json" in err
    with a_worker(context):
        code, out, _ = run("import", str(file), "--json")
    job = json.loads(out)["id"]
    code, out, _ = run("job", "errors", job, "--json")
    assert {item["code"] for item in json.loads(out)["items"]} >= {"not_json"}


def test_the_command_says_why_a_file_is_refused_and_keeps_nothing_of_it(
    context,
    account,
    run,  # noqa: F811
    tmp_path,
):
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"nobody knows this")
    with a_worker(context):
        code, _, err = run("import", str(file))
    assert (code, "not known" in err) == (7, True)
    assert run("import", str(file), "--bot", "nobody")[0] == 3
    assert run("import", str(tmp_path / "none"))[0] == 2
    assert run("import", str(file), "--format", "word")[0] == 2
    assert one(context, "SELECT count(*) FROM files") == 0
