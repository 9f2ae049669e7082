"""What the chaos demo holds against Crontalk, and how it says so."""

import pytest

from cli.chaos import PromiseBroken, _judge
from cli.main import _tell


def a_run(**changes):
    steps = [{"step": "attempt.1", "outcome": "lost"}, {"step": "attempt.3", "outcome": "succeeded"}]
    said = [{"type": "user"}, {"type": "bot"}]
    return {"steps": steps, "messages": said, "usage": {"modelCalls": 2}, **changes}


def test_a_run_that_was_recovered_once_keeps_the_promise():
    _judge(a_run(), attempts=["lost", "succeeded"])


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"type": "user"}]},
        {"messages": [{"type": "user"}, {"type": "bot"}, {"type": "bot"}]},
        {"steps": [{"step": "attempt.1", "outcome": "succeeded"}]},
        {"usage": {"modelCalls": 3}},
    ],
)
def test_a_missing_or_second_reply_attempt_or_call_breaks_it(changes):
    with pytest.raises(PromiseBroken):
        _judge(a_run(**changes), attempts=["lost", "succeeded"])


def test_a_broken_promise_is_a_bug_to_the_shell(capsys):
    assert _tell(PromiseBroken("The occurrence was lost.")) == 1
    assert "The occurrence was lost." in capsys.readouterr().err
