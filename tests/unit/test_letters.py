"""What a delivery says, and what changed since the last run."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from core.deliveries import ATTEMPTS, BACKOFF_CAP, backoff
from core.letters import Figures, Letter, RunFacts, change_line, mail_subject, mail_text, webhook_body
from core.mail import MailServer, compose, is_address
from models import Event

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
GOOD = Figures("succeeded", 2.0, 100, 50)


def a_run(now=GOOD, before=None, same=None, **fields):
    values = {
        "id": uuid.UUID(int=1), "conversation_id": uuid.UUID(int=2), "trigger": "schedule",
        "scheduled_for": NINE, "covers_from": None, "covers_count": None, "reason": None,
        "error_class": None, "input_tokens": 60, "output_tokens": 40, "model_calls": 1,
        "figures": now, "before": before, "same_answer": same,
    }  # fmt: skip
    return RunFacts(**{**values, **fields})


def a_letter(event=Event.SUCCESS, run=None, **fields):
    return Letter(event, NINE, uuid.UUID(int=3), None, run or a_run(), "https://talk.example", **fields)


@pytest.mark.parametrize(
    ("now", "before", "same", "line"),
    [
        (GOOD, None, None, "This is the first run of the task."),
        (GOOD, GOOD, True, "succeeded as before; the same answer."),
        (GOOD, Figures("failed", 1.5, 0, None), None,
         "succeeded after a failure; 0.5 s longer; 100 tokens more."),
        (
            Figures("succeeded", 1.0, 90, 70),
            GOOD,
            False,
            "succeeded as before; 1.0 s shorter; 10 tokens fewer; another answer, 20 characters longer.",
        ),
        (GOOD, GOOD, False, "succeeded as before; another answer, of the same length."),
        (
            Figures("failed", 2.0, 100, None),
            Figures("succeeded", 2.01, 100, 9),
            None,
            "failed after a success.",
        ),
        (Figures("failed", None, 0, None), Figures("failed", 3.0, 0, None), None, "failed as before."),
        (Figures("skipped", None, 0, None), GOOD, None, None),
    ],
)  # fmt: skip
def test_one_line_says_what_changed(now, before, same, line):
    assert change_line(a_run(now, before, same)) == line


def test_a_webhooks_document():
    document = json.loads(webhook_body(a_letter()))
    assert document == {
        "type": "run.succeeded",
        "timestamp": "2026-11-20T09:00:00.000Z",
        "data": {
            "taskId": str(uuid.UUID(int=3)),
            "url": f"https://talk.example/runs/{uuid.UUID(int=1)}",
            "runId": str(uuid.UUID(int=1)),
            "conversationId": str(uuid.UUID(int=2)),
            "trigger": "schedule",
            "scheduledFor": int(NINE.timestamp() * 1000),
            "state": "succeeded",
            "usage": {"token": 100, "inputTokens": 60, "outputTokens": 40, "modelCalls": 1},
            "change": "This is the first run of the task.",
        },
    }


def test_text_and_name_are_there_only_when_they_were_put_there():
    told = json.loads(webhook_body(a_letter(task_name="Morning", text="Hé\nthere")))["data"]
    assert (told["taskName"], told["text"]) == ("Morning", "Hé\nthere")
    assert "Hé\nthere" in mail_text(a_letter(text="Hé\nthere"))
    assert mail_subject(a_letter(task_name="Morning")) == "A run has succeeded: Morning"
    assert mail_subject(a_letter()) == "A run has succeeded."


@pytest.mark.parametrize("event", Event)
def test_every_event_has_words(event):
    letter = a_letter(event)
    assert json.loads(webhook_body(letter))["type"]
    assert mail_subject(letter)
    assert "https://talk.example/runs/" in mail_text(letter)


def test_an_event_without_a_run_links_to_the_beginning():
    letter = dataclasses.replace(a_letter(Event.BUDGET), run=None)
    assert json.loads(webhook_body(letter))["data"] == {
        "taskId": str(uuid.UUID(int=3)),
        "url": "https://talk.example",
    }


def test_a_name_cannot_add_a_header():
    subject = mail_subject(a_letter(task_name="Fine\r\nBcc: eve@example.com\u2028x\x00"))
    assert subject == "A run has succeeded: Fine Bcc: eve@example.com x"
    mail = compose(uuid.UUID(int=9), sender="a@b.example", recipient="c@d.example", at=NINE, subject=subject,
                   text="Hé .\n.\nFrom x\n")  # fmt: skip
    raw = mail.as_bytes()
    assert raw.isascii()
    assert raw.count(b"\nBcc:") == 0
    assert mail["Message-ID"] == f"<{uuid.UUID(int=9)}@b.example>"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_name_in_encoded_words_cannot_add_a_header():
    subject = mail_subject(a_letter(task_name="=?utf-8?q?Fine=0D=0ABcc=3A_eve@example.com?= x"))
    mail = compose(
        uuid.UUID(int=9), sender="a@b.example", recipient="c@d.example", at=NINE, subject=subject, text="x"
    )
    raw = mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))
    assert b"\nBcc" not in raw
    assert b"\rBcc" not in raw
    assert message_from_bytes(raw, policy=default)["Subject"].startswith("A run has succeeded: = ?utf-8")


@pytest.mark.parametrize(
    "address", ["ada@example.com", "a.b+c@mail.example.co.uk", "root@localhost", "o'x@y.z"]
)
def test_a_plain_address_is_one(address):
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "ada", "@example.com", "ada@", "ada@@example.com", "ada@example.com\n",
        "ada@example.com\r\nBcc: x@y.z",
        "Ada <ada@example.com>", "ada@example.com,eve@example.com", '"a b"@example.com', "a b@example.com",
        ".ada@example.com", "a..b@example.com", "ada@-x.com", "ada@x..com", "ada@[127.0.0.1]",
        "ädä@example.com",
        "=?utf-8?q?a=2Cb?=@example.com",
        "ada@exämple.com", "a" * 65 + "@example.com", "a@" + "b." * 130 + "com", "<ada@example.com>", "a@b;c",
    ],
)  # fmt: skip
def test_what_is_more_than_a_plain_address_is_refused(address):
    assert not is_address(address)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer("smtp", "mail.example", 587)),
        ("smtps://u%40x:p%3Aw@mail.example", MailServer("smtps", "mail.example", 465, "u@x", "p:w")),
        ("smtp+plain://localhost:2525", MailServer("smtp+plain", "localhost", 2525)),
    ],
)
def test_a_mail_server_is_a_url(url, server):
    assert MailServer.parse(url) == server


@pytest.mark.parametrize(
    "url", ["", "mail.example", "http://mail.example", "smtp://", "smtp://m:x", "smtp://m/?a=b"]
)
def test_what_is_no_mail_server_is_refused(url):
    with pytest.raises(ValueError, match="must be smtp"):
        MailServer.parse(url)


def test_the_wait_doubles_up_to_the_cap_and_is_drawn_from_nothing_on():
    waits = [backoff(attempt, None, 1.0) for attempt in range(1, ATTEMPTS)]
    assert waits[:3] == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    assert waits[-1] == BACKOFF_CAP
    assert timedelta(days=1) < sum(waits, timedelta(0)) < timedelta(days=2)
    assert backoff(5, None, 0.0) == timedelta(0)


def test_retry_after_is_waited_for_first_but_not_for_ever():
    assert backoff(1, timedelta(minutes=5), 0.0) == timedelta(minutes=5)
    assert backoff(1, timedelta(days=400), 0.0) == BACKOFF_CAP
    assert backoff(1, timedelta(seconds=-5), 0.0) == timedelta(0)
