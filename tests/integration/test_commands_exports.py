"""`crontalk export …` in this process: whole files or none, and how it ends."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from core.blobs import Writing
from core.carrying import carry_on
from tests.deletions import some_talks
from tests.exports import an_export, finish, read_back
from tests.factories import a_task, execute, one, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def _same_storage(context, monkeypatch):
    monkeypatch.setenv("CRONTALK_BLOBS", context.settings.blobs)


@pytest.fixture
def serving(context):
    """A worker beside the test."""
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM jobs WHERE state IN ('pending', 'running')"):
                carry_on(context, row["id"])
            stop.wait(0.05)

    worker = threading.Thread(target=serve)
    worker.start()
    yield
    stop.set()
    worker.join()


@pytest.fixture
def task(context, account):
    found = a_task(context, account)
    some_talks(context, account, 2, 5, task_id=found.id)
    some_talks(context, account, 1, 3)
    return str(found.id)


def test_a_file_and_its_manifest_are_written(run, task, serving, tmp_path):  # noqa: F811
    file = tmp_path / "out.jsonl.gz"
    code, out, err = run("export", str(file), "--task", task, "--gzip", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert json.loads((tmp_path / "out.jsonl.gz.manifest.json").read_text()) == told
    raw = file.read_bytes()
    assert (told["sha256"], told["size"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert (told["format"], told["mode"], told["messages"], told["filter"]) == (
        "crontalk",
        "redacted",
        10,
        {"taskId": [task]},
    )
    assert sum(len(one.messages) for one in read_back(raw)) == 10
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "out.jsonl.gz",
        "out.jsonl.gz.manifest.json",
    ]
    code, out, err = run("export", str(tmp_path / "talks.md"), "--all", "--format", "markdown")
    assert (code, "13" in out) == (0, True), err
    assert "job " in err


def test_a_file_that_is_there_is_kept_unless_forced(run, context, account, task, serving, tmp_path):  # noqa: F811
    file = tmp_path / "mine.csv"
    file.write_text("mine")
    assert run("export", str(file), "--all", "--format", "csv")[0] == 2
    assert file.read_text() == "mine"
    assert rows(context, "SELECT id FROM jobs") == []
    assert run("export", str(file), "--all", "--format", "csv", "--force")[0] == 0
    assert file.read_text().startswith("conversation_id,")


def test_the_file_of_an_earlier_export_is_fetched(run, context, account, task, tmp_path):  # noqa: F811
    job = an_export(context, account)
    finish(context, job.id)
    file = tmp_path / "later.jsonl"
    assert run("export", str(file), "--job", str(job.id))[0] == 0
    assert len(read_back(file.read_bytes())) == 3
    assert run("job", "show", str(job.id))[0] == 0
    assert run("export", str(tmp_path / "x"), "--job", str(job.id), "--format", "csv")[0] == 2
    execute(context, "DELETE FROM files")
    assert run("export", str(tmp_path / "x"), "--job", str(job.id))[0] == 3
    assert run("export", str(tmp_path / "x"), "--job", "01a1f8d9-2816-7f1f-b65c-5da87a24cb6b")[0] == 3


def test_what_does_not_become_a_file_leaves_none(run, context, account, task, tmp_path, monkeypatch):  # noqa: F811
    file = tmp_path / "x.jsonl"
    job = an_export(context, account)
    execute(context, "UPDATE jobs SET state = 'cancelled', finished_at = now()")
    assert run("export", str(file), "--job", str(job.id))[0] == 4
    execute(context, "UPDATE jobs SET state = 'failed', error_class = 'internal_error'")
    assert run("export", str(file), "--job", str(job.id))[0] == 7
    execute(context, "UPDATE jobs SET state = 'pending', finished_at = NULL, error_class = NULL")
    finish(context, job.id)
    execute(context, 'UPDATE jobs SET params = params || \'{"sha256": "0"}\'')
    assert run("export", str(file), "--job", str(job.id))[0] == 4
    assert run("export", str(tmp_path / "no" / "x"), "--job", str(job.id))[0] == 2
    assert run("export", str(tmp_path), "--all")[0] == 2
    assert run("export", str(file))[0] == 2
    assert run("export", str(file), "--all", "--format", "fax")[0] == 2
    assert [path for path in tmp_path.rglob("*") if "x" in path.name and path.is_file()] == []


def test_originals_are_audited(run, context, task, serving, tmp_path):  # noqa: F811
    assert run("export", str(tmp_path / "o"), "--all", "--mode", "original")[0] == 0
    assert one(context, "SELECT count(*) FROM audit_events WHERE actor = 'cli'") == 3


def test_a_job_that_fails_says_so(run, context, account, task, tmp_path, monkeypatch):  # noqa: F811
    def broken(*_):
        raise ValueError

    job = an_export(context, account)
    with monkeypatch.context() as patched:
        patched.setattr(Writing, "add", broken)
        assert carry_on(context, job.id) == "failed"
    assert run("export", str(tmp_path / "x"), "--job", str(job.id))[0] == 7
    assert rows(context, "SELECT id FROM files UNION ALL SELECT id FROM blobs") == []
