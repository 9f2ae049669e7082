"""An import from the command line, and one whose workers and whose database are killed again and again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.acceptance.conftest import an_installation
from tests.acceptance.storm.fleet import ROOT
from tests.factories import A_KEY, an_account, one
from tests.imports import a_talk, an_export

pytestmark = pytest.mark.acceptance


@pytest.fixture
def keyed(servers, worker_id, tmp_path):
    """An installation that can seal what is uploaded."""
    with an_installation(servers, worker_id, tmp_path, key=A_KEY) as made:
        made.settings["CRONTALK_KEY"] = A_KEY
        yield made


def test_a_file_is_imported_by_a_worker_that_the_command_waits_for(keyed, tmp_path):
    installation, account = keyed, an_account(keyed.context)
    file = tmp_path / "export.jsonl"
    file.write_bytes(an_export(*(a_talk(str(n), "One", "Two") for n in range(50))))
    installation.start("worker", "--queues", "annotate,bulk", "--concurrency", "1")
    installation.start("scheduler")
    done = installation.crontalk("import", str(file), "--json", "--account", str(account))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["done"], told["counts"]["messages"]) == ("completed", 50, 100)
    assert one(installation.context, "SELECT count(*) FROM messages") == 100


@pytest.mark.timeout(290)
def test_an_import_survives_the_death_of_its_workers_and_of_its_database():
    storm = [sys.executable, "-m", "tests.acceptance.lost_importers", "--messages", "40000", "--gap", "1"]
    done = subprocess.run(storm, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
