import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from core.chat.history import estimate_tokens
from core.chat.offline import OfflineProvider
from core.chat.provider import (
    ChatMessage,
    Deadline,
    Finished,
    FinishReason,
    ModelRequest,
    ModelTimeout,
    ModelUnavailable,
    TextDelta,
)

BACKSTORY = "You are the briefing bot of Harbour Café. Opening hours are 8 to 18. The cook is off on Mondays."


def asking(*texts, system=BACKSTORY, limit=None, **options):
    roles = ("user", "assistant")
    messages = tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))
    return ModelRequest("offline", options, system, messages, limit)


def answer(request, provider=None, seconds=10.0):
    events = (provider or OfflineProvider()).stream(request, Deadline.after(timedelta(seconds=seconds)))
    *deltas, last = events
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    assert isinstance(last, Finished)
    return "".join(delta.text for delta in deltas), last, len(deltas)


def test_the_answer_shows_who_speaks_what_was_asked_and_what_is_known():
    text, last, pieces = answer(asking("Write the greeting and mention the opening hours."))
    assert "I am the briefing bot of Harbour Café." in text
    assert "“Write the greeting and mention the opening hours”" in text
    assert "“Opening hours are 8 to 18”" in text
    assert "Mondays" not in text
    assert pieces > 1
    assert last.reason is FinishReason.stop
    assert last.output_tokens == estimate_tokens(text)
    assert last.input_tokens > estimate_tokens(BACKSTORY)


def test_the_answer_refers_to_the_conversation_so_far():
    text, _, _ = answer(asking("When do you open?", "At 8.", "And who cooks on Mondays?"))
    assert "after one earlier message, the first of them “When do you open?”" in text
    assert "“The cook is off on Mondays”" in text


def test_the_same_request_gets_the_same_answer():
    assert answer(asking("When?")) == answer(asking("When?"))
    assert answer(asking("When?"))[0] != answer(asking("Where?"))[0]


@pytest.mark.parametrize(
    "request_", [asking(), asking(system=""), asking("?", system=""), asking("今天天气怎么样？")]
)
def test_there_is_always_something_to_say(request_):
    assert answer(request_)[0]


def test_a_long_prompt_gets_a_short_answer():
    text, _, _ = answer(asking("word " * 20_000))
    assert len(text) < 1000
    assert "20000 words" in text


def test_the_answer_comes_in_as_many_pieces_as_asked():
    assert answer(asking("When?", chunks=3))[2] == 3
    assert answer(asking("When?", chunks=1))[2] == 1


def test_empty_and_refused_answers_have_no_text():
    assert answer(asking("When?", empty=1))[:2] == ("", Finished(FinishReason.stop, 35, 0))
    text, last, _ = answer(asking("When?", finish="refused"))
    assert (text, last.reason) == ("", FinishReason.refused)


def test_a_truncated_answer_says_so():
    whole, _, _ = answer(asking("When?"))
    for request in (
        asking("When?", finish="length"),
        asking("When?", limit=5),
        asking("When?", max_tokens=5),
    ):
        text, last, _ = answer(request)
        assert whole.startswith(text)
        assert 0 < len(text) < len(whole)
        assert last.reason is FinishReason.length


def fails(provider, rate, seed):
    try:
        answer(asking("When?", fail_rate=rate, seed=seed), provider)
    except ModelUnavailable:
        return True
    return False


def outcomes(rate, calls=200, seed=1):
    provider = OfflineProvider()
    return [fails(provider, rate, seed) for _ in range(calls)]


def test_failures_come_at_their_rate_the_same_every_time_and_retries_succeed():
    first = outcomes(0.3)
    assert first == outcomes(0.3)
    assert first != outcomes(0.3, seed=2)
    assert 30 < sum(first) < 90
    assert not any(outcomes(0, calls=20))
    assert all(outcomes(1, calls=20))


def test_latency_stops_at_the_deadline():
    began = time.monotonic()
    with pytest.raises(ModelTimeout):
        answer(asking("When?", latency=60), seconds=0.2)
    with pytest.raises(ModelTimeout):
        answer(asking("When?", latency=60, fail_rate=1), seconds=0.2)
    assert time.monotonic() - began < 5


def test_five_hundred_answers_wait_at_once():
    provider = OfflineProvider()
    began = time.monotonic()
    with ThreadPoolExecutor(500) as pool:
        answers = list(pool.map(lambda n: answer(asking(f"n {n}", latency=1), provider, 60)[0], range(500)))
    assert all(f"“n {number}”" in text for number, text in enumerate(answers))
    # One after another they would take 500 s.
    assert time.monotonic() - began < 30
