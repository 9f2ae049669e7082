"""More of the sabotage list: `make sabotage`. Not a part of every run of the tests, which would be longer."""

from __future__ import annotations

import pytest

from tests.acceptance.storm.broken import change_database
from tests.acceptance.storm.broken_whole import WHOLE as SABOTAGES
from tests.acceptance.storm.scenarios_whole import WHOLE as SCENARIOS

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
