"""`crontalk import FILE --dry-run`, as a process of its own and without any server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.import_samples import CRONTAB, EXAMPLES, archive, jsonl, openai


@pytest.fixture
def told(tmp_path):
    """Asks for the import of a content; exit code, standard output, standard error."""

    def ask(content: bytes, *words: str, name: str = "export"):
        file = tmp_path / name
        file.write_bytes(content)
        kept = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
        done = subprocess.run(
            [sys.executable, "-m", "cli", "import", str(file), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**kept, "CRONTALK_HOME": str(tmp_path / "none")},
        )
        return done.returncode, done.stdout, done.stderr

    return ask


def test_an_archive_is_told_as_one_json_document(told):
    code, out, err = told(archive({"conversations.json": EXAMPLES["chatgpt"], "user.json": b"{}"}),
                          "--dry-run", "--json", name="export.zip")  # fmt: skip
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["format"], document["conversations"], document["rejects"]) == ("chatgpt", 2, {})
    assert document["unknown"]["other_file"] == 1
    assert document["rows"]["conversation"] == 2


def test_rows_that_cannot_be_read_are_numbers_and_reasons_and_exit_code_9(told):
    content = jsonl(openai()) + b'{"messages": "Zugzwang"\n'
    code, out, _ = told(content, "--dry-run", "--format", "openai", "--json")
    assert (code, json.loads(out)["rejects"]) == (9, {"not_json": {"count": 1, "rows": [2]}})
    code, out, err = told(content, "--dry-run", "--format", "openai")
    assert (code, "not_json" in out, "Zugzwang" in out + err) == (9, True, False)


def test_tasks_are_shown_with_their_schedules_in_the_zone_that_is_named(told):
    code, out, _ = told(
        b"0 9 * * 1-5 Say it\n", "--dry-run", "--format", "crontab", "--timezone", "Asia/Tokyo"
    )
    assert (code, "0 9 * * 1-5" in out, "Asia/Tokyo" in out, "Say it" in out) == (0, True, True, False)


def test_columns_are_named(told):
    content = b"wer;was\nuser;Hi\n"
    words = ("--dry-run", "--format", "csv", "--json")
    assert told(content, *words)[0] in {2, 9}
    code, out, _ = told(content, *words, "--column", "text=was", "--column", "role=wer")
    assert (code, json.loads(out)["messages"]) == (0, {"total": 1, "user": 1})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EXAMPLES["csv"], ("--dry-run", "--column", "text")),
        (EXAMPLES["csv"], ("--dry-run", "--format", "nonsense")),
        (CRONTAB, ("--dry-run", "--timezone", "Mars/Olympus")),
        (b"nothing we know", ("--dry-run",)),
    ],
)
def test_words_and_files_that_cannot_be_accepted_are_a_sentence(told, content, words):
    code, _, err = told(content, *words)
    assert code == 2
    assert err.startswith("crontalk: ")


def test_to_store_something_a_database_is_needed(told):
    code, _, err = told(EXAMPLES["csv"])
    assert (code, "DATABASE_URL" in err) == (6, True)


def test_what_is_no_ordinary_file_is_refused(tmp_path, told):
    for path in (tmp_path, tmp_path / "missing"):
        done = subprocess.run(
            [sys.executable, "-m", "cli", "import", str(path), "--dry-run"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
