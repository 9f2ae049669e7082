"""A storm over 300 occurrences; the seed that repeats it is in the output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.acceptance.storm.fleet import ROOT

pytestmark = pytest.mark.acceptance


@pytest.mark.timeout(290)
def test_whatever_is_killed_nothing_is_lost_doubled_or_stuck():
    storm = [sys.executable, "-m", "tests.acceptance.storm", "--occurrences", "300"]
    done = subprocess.run(storm, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
