"""Deliveries by e-mail, over a real SMTP server."""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from core.errors import InvalidInput
from core.turns import carry_out
from tests.factories import a_pending_run, a_subscription, one, rows, the_run
from tests.hook_server import a_certificate
from tests.mail_server import MailServer
from tests.told import deliver_all, lose, make_due, told, with_settings

FROM = "crontalk@talk.example"
TO = "ada@mail.example"


@pytest.fixture
def server():
    with MailServer() as server:
        yield server


@pytest.fixture
def mailing(context, server):
    """A context that mails over the server, without TLS."""
    url = f"smtp+plain://127.0.0.1:{server.port}"
    return with_settings(context, smtp_url=url, mail_from=FROM, deliver_time=timedelta(seconds=2))


def a_told_run(context, account, leases, **fields):
    """A run that has succeeded, of a task that tells ada; answers its row."""
    run = a_pending_run(context, account, name="CANARY name")
    a_subscription(context, account, run.task_id, TO, "email", **fields)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    return the_run(context, run.id)


def test_a_success_is_mailed_with_a_link_and_no_text(mailing, account, leases, server):
    run = a_told_run(mailing, account, leases)
    assert deliver_all(mailing) == ["delivered"]
    (mail,) = server.mails
    (delivery,) = told(mailing)
    message = message_from_bytes(mail.raw, policy=default)
    assert (mail.sender, mail.recipients, mail.encrypted) == (FROM, [TO], False)
    assert message["Subject"] == "A run has succeeded."
    assert message["Message-ID"] == f"<{delivery['id']}@talk.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert f"http://127.0.0.1:8080/runs/{run['id']}" in text
    assert "since the run before: This is the first run of the task." in text
    assert "CANARY" not in mail.raw.decode()
    assert one(mailing, "SELECT text FROM messages WHERE step = 'reply'") not in text


def test_text_is_mailed_to_those_who_asked_for_it(mailing, account, leases, server):
    a_told_run(mailing, account, leases, include_text=True)
    reply = "Hé\r\n.\r\nBcc: eve@evil.example\n" + "long " * 400
    with mailing.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE messages SET text = %s WHERE step = 'reply'", (reply,))
    deliver_all(mailing)
    message = message_from_bytes(server.mails[0].raw, policy=default)
    assert message["Subject"] == "A run has succeeded: CANARY name"
    assert message["Bcc"] is None
    assert message.get_content().split()[-400:] == ["long"] * 400
    assert "Hé" in message.get_content()
    assert server.mails[0].recipients == [TO]


def test_a_repetition_has_the_same_message_id(mailing, account, leases, server):
    a_told_run(mailing, account, leases)
    deliver_all(mailing)
    lose(mailing)
    with mailing.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET state = 'pending', lease_until = NULL")
    make_due(mailing)
    deliver_all(mailing)
    first, second = [message_from_bytes(mail.raw)["Message-ID"] for mail in server.mails]
    assert first == second


@pytest.mark.parametrize(
    ("command", "reply", "word", "code"),
    [
        ("RCPT", "550 no such user", "failed", "smtp_550"),
        ("RCPT", "451 later", "retried", "smtp_451"),
        ("MAIL", "553 not you", "retried", "smtp_553"),
        ("DATA", "554 no", "retried", "smtp_554"),
        ("EHLO", "500 what", "retried", None),
    ],
)
def test_what_is_not_taken_is_tried_again_or_given_up(
    mailing, account, leases, server, command, reply, word, code
):
    a_told_run(mailing, account, leases)
    server.replies[command] = reply
    if command == "EHLO":
        server.replies["HELO"] = reply
    assert deliver_all(mailing) == [word]
    assert told(mailing)[0]["error_code"] == (code or "smtp_500")
    server.replies.clear()
    if word == "retried":
        assert deliver_all(mailing) == ["delivered"]


def test_a_server_that_is_silent_or_away_costs_no_more_than_the_deadline(mailing, account, leases, server):
    a_told_run(mailing, account, leases)
    server.silent = True
    assert deliver_all(mailing) == ["retried"]
    assert told(mailing)[0]["error_code"] == "deadline"
    away = with_settings(mailing, smtp_url="smtp+plain://127.0.0.1:1")
    assert deliver_all(away) == ["retried"]
    assert told(mailing)[0]["error_code"] == "connect"
    nobody = with_settings(mailing, smtp_url=None)
    assert deliver_all(nobody) == ["retried"]
    assert told(mailing)[0]["error_code"] == "no_mail_server"


def test_a_server_that_drips_costs_no_more_than_the_deadline(mailing, account, leases, server):
    a_told_run(mailing, account, leases)
    server.dripping = True
    began = time.monotonic()
    assert deliver_all(mailing) == ["retried"]
    assert told(mailing)[0]["error_code"] == "deadline"
    assert time.monotonic() - began < 5


def test_starttls_is_insisted_on_and_verified(context, account, leases, tmp_path, monkeypatch):
    place = a_certificate(tmp_path, "localhost", "127.0.0.1")
    with MailServer() as plain, MailServer(place) as secure:
        url = "smtp://user:p%40ss@127.0.0.1"
        mailing = with_settings(context, smtp_url=f"{url}:{plain.port}", mail_from=FROM)
        a_told_run(mailing, account, leases)
        assert deliver_all(mailing) == ["retried"]
        assert told(context)[0]["error_code"] == "smtp_unsupported"
        assert plain.mails == []
        mailing = with_settings(context, smtp_url=f"{url}:{secure.port}", mail_from=FROM)
        assert deliver_all(mailing) == ["retried"]
        assert told(context)[0]["error_code"] == "tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        assert deliver_all(mailing) == ["delivered"]
        (mail,) = secure.mails
        assert mail.encrypted
        assert base64.b64decode(mail.login) == b"\x00user\x00p@ss"


@pytest.mark.parametrize("target", ["ada", "Ada <ada@mail.example>", "a@b.example\r\nBcc: x@y.example"])
def test_an_address_is_checked_at_the_door(mailing, account, leases, target):
    run = a_pending_run(mailing, account)
    with pytest.raises(InvalidInput, match="plain e-mail address"):
        a_subscription(mailing, account, run.task_id, target, "email")


def test_without_a_mail_server_there_are_no_subscriptions_by_mail(context, account):
    run = a_pending_run(context, account)
    with pytest.raises(InvalidInput, match="sends no e-mail"):
        a_subscription(context, account, run.task_id, TO, "email")


def test_only_the_domain_of_an_address_is_shown(mailing, account, leases):
    a_told_run(mailing, account, leases)
    (row,) = rows(mailing, "SELECT hint, secret, CAST(target AS text) AS target FROM subscriptions")
    assert (row["hint"], row["secret"]) == ("mail.example", None)
    assert b"ada".hex() not in row["target"]
