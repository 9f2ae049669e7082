"""An account that moves here while its workers and its database are killed again and again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.acceptance.storm.fleet import ROOT

pytestmark = pytest.mark.acceptance


@pytest.mark.timeout(290)
def test_a_migration_survives_the_death_of_its_workers_and_of_its_database():
    storm = [sys.executable, "-m", "tests.acceptance.lost_movers", "--talks", "80", "--gap", "1.5"]
    done = subprocess.run(storm, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
