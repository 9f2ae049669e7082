import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.history import StoredMessage, estimate_input, estimate_tokens, fit, to_chat_messages
from core.chat.provider import ChatMessage, ContextTooLong

MESSAGES = st.lists(
    st.builds(ChatMessage, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=40)),
    max_size=12,
)


def said(*pairs):
    return tuple(ChatMessage(role, text) for role, text in pairs)


def test_message_types_become_roles_in_order():
    rows = [
        StoredMessage(kind, kind.upper(), {})
        for kind in ("backstory", "instruction", "context", "user", "bot")
    ]
    assert to_chat_messages([*rows, StoredMessage("checkpoint", "They met.", {})]) == said(
        ("system", "BACKSTORY"),
        ("system", "INSTRUCTION"),
        ("system", "Context:\nCONTEXT"),
        ("user", "USER"),
        ("assistant", "BOT"),
        ("system", "Summary of the conversation so far:\nThey met."),
    )


def test_hidden_archived_blank_and_silent_messages_are_left_out():
    rows = [
        StoredMessage("user", "secret", {"hidden": True}),
        StoredMessage("bot", "old", {"archived": True}),
        StoredMessage("bot", " \n", {}),
        StoredMessage("activity", "call", {}),
        StoredMessage("reasoning", "hm", {}),
        StoredMessage("user", "shown", {"hidden": False, "app": "x"}),
    ]
    assert to_chat_messages(rows) == said(("user", "shown"))


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("你好", 2), ("\ud83d", 1)]
)
def test_four_bytes_are_a_token(text, tokens):
    assert estimate_tokens(text) == tokens


def test_what_fits_is_kept_whole():
    messages = said(("assistant", "Hello."), ("user", "Hi."))
    assert fit("Be brief.", messages, 100) == (messages, 0)


def test_the_oldest_fall_first_and_no_orphan_answer_is_left():
    messages = said(*[(role, f"{role} {n}".ljust(40)) for n in range(5) for role in ("user", "assistant")])
    kept, dropped = fit("", messages, 14 * 5)
    assert kept == messages[6:]
    assert dropped == 6


def test_the_opening_backstory_outlives_the_cut():
    messages = said(("system", "You are Max."), *[("user", f"question {n}".ljust(40)) for n in range(9)])
    kept, dropped = fit("", messages, 40)
    assert kept == (messages[0], *messages[-2:])
    assert dropped == 7


def test_an_opening_too_long_for_the_budget_falls_like_the_rest():
    messages = said(("system", "x" * 4000), ("user", "question"))
    assert fit("", messages, 40) == (messages[1:], 1)


def test_the_last_question_stays_under_a_pile_of_answers():
    messages = said(("user", "Report daily."), *[("assistant", f"report {n}".ljust(40)) for n in range(9)])
    kept, dropped = fit("", messages, 40)
    assert kept == (messages[0], *messages[-2:])
    assert dropped == 7


def test_answers_without_any_question_are_kept_from_the_newest():
    messages = said(*[("assistant", f"report {n}".ljust(40)) for n in range(9)])
    assert fit("", messages, 30) == (messages[-2:], 7)


@pytest.mark.parametrize(
    ("system", "messages"),
    [("x" * 400, said(("user", "hi"))), ("", said(("user", "x" * 400))), ("x" * 400, ())],
)
def test_what_must_stay_and_does_not_fit_is_too_long(system, messages):
    with pytest.raises(ContextTooLong):
        fit(system, messages, 50)


@given(st.text(max_size=20), MESSAGES, st.integers(0, 120))
def test_a_cut_keeps_order_budget_and_the_last_question(system, messages, budget):
    try:
        kept, dropped = fit(system, messages, budget)
    except ContextTooLong:
        return
    assert len(kept) + dropped == len(messages)
    assert estimate_input(system, kept) <= budget
    remaining = iter(messages)
    assert all(any(message is other for other in remaining) for message in kept)
    users = [message for message in messages if message.role == "user"]
    assert not users or any(message is users[-1] for message in kept)
