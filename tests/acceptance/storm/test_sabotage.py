"""The harness is tested too: green while the program is whole, red when one thing in it is broken."""

from __future__ import annotations

import pytest

from tests.acceptance.storm.broken import SABOTAGES, change_database
from tests.acceptance.storm.scenarios import SCENARIOS

pytestmark = pytest.mark.acceptance

BY_NAME = {scenario.__name__: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=BY_NAME)
def test_the_program_passes(installation, scenario):
    assert scenario(installation.context) == []


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=[sabotage.name for sabotage in SABOTAGES])
def test_a_broken_program_does_not(installation, monkeypatch, sabotage):
    sabotage.patch(monkeypatch.setattr)
    change_database(installation.context, sabotage.name)
    assert BY_NAME[sabotage.detector](installation.context) != []
