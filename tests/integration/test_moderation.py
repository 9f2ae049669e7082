"""Moderation: what people say is looked at before a model is shown it, over HTTP to a scripted server."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.chat.history import StoredMessage
from core.errors import RunFailed
from core.moderation import Moderator
from core.outcomes import Failure
from core.turns import carry_out
from core.work import LeaseLost
from tests.factories import a_bot, a_pending_turn, one, rows
from tests.model_server import ModelServer
from tests.talks import KEY, a_talk, ask, failing, naming


@pytest.fixture(scope="module")
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture
def models(context, server):
    """A model `m` under a moderator."""
    made = []

    def under(moderator):
        made.append(naming(context, server, server, moderator, m={}))
        return made[-1]

    yield under
    for asking in made:
        asking.providers.close()


@pytest.fixture
def moderators(server):
    made = []

    def make(behaviour="moderation", **more):
        made.append(Moderator(f"{server.base_url}/moderations", KEY, model=behaviour, **more))
        return made[-1]

    yield make
    for moderator in made:
        moderator.close()


def moderated(server):
    return [call["body"]["input"] for call in server.calls if call["what"].endswith("/moderations")]


def test_what_people_say_is_looked_at_before_a_model_is_shown_it(models, moderators, server):
    context, before = models(moderators()), len(server.calls)
    assert failing(
        context, a_talk("m", StoredMessage("user", "A forbidden thing", {}, 1), moderated=True)
    ) == (
        "refused",
        "moderated",
    )
    (call,) = server.calls[before:]
    assert call["what"] == "POST /v1/moderations"
    assert call["headers"]["authorization"] == f"Bearer {KEY}"
    assert call["body"] == {"input": "A forbidden thing", "model": "moderation"}
    answer, _, _ = ask(context, a_talk("m", moderated=True))
    assert answer.text == "The model heard: Hello?"


def test_only_what_was_said_since_the_last_answer_and_what_a_model_would_see_is_looked_at(
    models, moderators, server
):
    context, before = models(moderators()), len(moderated(server))
    said = (
        StoredMessage("user", "forbidden long ago", {}, 1),
        StoredMessage("bot", "I see.", {}, 2),
        StoredMessage("user", "One.", {}, 3),
        StoredMessage("context", "forbidden context", {}, 4),
        StoredMessage("user", "forbidden and hidden", {"hidden": True}, 5),
        StoredMessage("user", "Two.", {}, 6),
    )
    ask(context, a_talk("m", *said, moderated=True))
    assert moderated(server)[before:] == ["One.", "Two."]


def test_who_did_not_ask_for_moderation_has_none(models, moderators, server):
    context, before = models(moderators()), len(moderated(server))
    ask(context, a_talk("m", StoredMessage("user", "forbidden", {}, 1)))
    ask(models(None), a_talk("m", StoredMessage("user", "forbidden", {}, 1), moderated=True))
    assert len(moderated(server)) == before


def test_a_text_is_looked_at_once_however_often_a_turn_asks(models, moderators, server):
    context, before = models(moderators()), len(moderated(server))
    talk = a_talk("m", moderated=True)
    for _ in range(3):
        ask(context, talk)
    assert len(moderated(server)) == before + 1
    ask(context, a_talk("m", moderated=True))
    assert len(moderated(server)) == before + 2


def test_a_flag_is_never_remembered_as_a_pass(models, moderators):
    context = models(moderators())
    talk = a_talk("m", StoredMessage("user", "forbidden", {}, 1), moderated=True)
    for _ in range(2):
        assert failing(context, talk) == ("refused", "moderated")


NO_VERDICT = [
    ("status:500", "moderation_http_500"),
    ("status:401", "moderation_http_401"),
    ("retry-after:1", "moderation_http_429"),
    ("redirect", "moderation_http_302"),
    ("html", "moderation_answer"),
    ("says:{}", "moderation_answer"),
    ("says:[]", "moderation_answer"),
    ('says:{"results": []}', "moderation_answer"),
    ('says:{"results": {"flagged": false}}', "moderation_answer"),
    ('says:{"results": [{"flagged": "no"}]}', "moderation_answer"),
    ('says:{"results": [{"flagged": false}, {}]}', "moderation_answer"),
    ("says:" + "[" * 100_000, "moderation_answer"),
    ("hang", "moderation_deadline"),
    ("hang-up", "moderation_no_answer"),
    ("drip-body:0.05", "moderation_deadline"),
    ("huge:comments", "moderation_too_large"),
]


@pytest.mark.parametrize(("behaviour", "code"), NO_VERDICT)
def test_without_a_verdict_nothing_goes_to_a_model_and_the_run_may_be_tried_again(
    models, moderators, server, behaviour, code
):
    context = models(moderators(behaviour, time=timedelta(seconds=1)))
    with pytest.raises(Failure) as caught:
        ask(context, a_talk("m", moderated=True))
    failure = caught.value
    assert (failure.error_class, failure.code, failure.final) == ("provider_error", code, False)
    assert server.calls[-1]["what"].endswith("/moderations")


@pytest.mark.parametrize("behaviour", ["status:500", "hang", "says:{}"])
def test_an_operator_may_let_texts_pass_without_a_verdict(models, moderators, behaviour):
    context = models(moderators(behaviour, time=timedelta(seconds=1), fails_open=True))
    assert ask(context, a_talk("m", moderated=True))[0].text == "The model heard: Hello?"


def test_a_moderator_that_says_nothing_holds_nobody_who_is_gone(models, moderators):
    context = models(moderators("hang", time=timedelta(seconds=60)))

    def gone():
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        ask(context, a_talk("m", moderated=True), gone)


def test_a_flagged_run_is_refused_once_and_its_timeline_says_so(
    models, moderators, context, account, leases, server
):
    asking = models(moderators())
    run = a_pending_turn(
        context, account, "A forbidden thing", bot_id=a_bot(context, account, model="m", moderation=True).id
    )
    before = len(server.calls)
    with pytest.raises(RunFailed, match="refused"):
        carry_out(asking, leases, run.id, worker="here")
    assert len(server.calls) == before + 1
    steps = rows(context, "SELECT step, outcome, error_code FROM run_steps")
    assert steps == [{"step": "attempt.1", "outcome": "refused", "error_code": "moderated"}]
    assert one(context, "SELECT attempt FROM runs") == 1
