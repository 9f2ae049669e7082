"""Callers of the API for tests: tokens, clients in this process, and a world with one of everything."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import make_app
from core.accounts import SCOPES, create_login_link, create_token, revoke_token
from core.context import Context
from core.turns import carry_out
from core.work import Leases
from tests.factories import (
    a_backfill,
    a_bot,
    a_contact,
    a_hold,
    a_memory,
    a_pending_run,
    a_rule,
    a_subscription,
    an_erasure,
    execute,
    one,
    the_run,
)
from tests.knowledge import some_knowledge

LOOPBACK = "http://127.0.0.1:8080"


def a_secret(context: Context, account: uuid.UUID, scopes: tuple[str, ...] = ("read", "write")) -> str:
    with context.transaction() as session:
        return create_token(session, account, "tests", scopes=scopes)[1]


def a_revoked_secret(context: Context, account: uuid.UUID) -> str:
    with context.transaction(account) as session:
        row, secret = create_token(session, account, "tests")
        revoke_token(session, row.id)
    return secret


def an_expired_secret(context: Context, account: uuid.UUID) -> str:
    with context.transaction() as session:
        row, secret = create_token(session, account, "tests", lifetime=timedelta(hours=1))
    execute(
        context,
        "UPDATE api_tokens SET expires_at = now() - interval '1 second' WHERE id = :id",
        id=row.id,
    )
    return secret


# An app builds what its routes need when they are first asked: some seconds and megabytes for all of them.
_apps: dict[int, tuple[Context, FastAPI]] = {}


def the_app(context: Context) -> FastAPI:
    """The one app of a context."""
    if id(context) not in _apps:
        _apps[id(context)] = (context, make_app(context))
    return _apps[id(context)][1]


def a_client(
    context: Context, secret: str | None = None, base_url: str = LOOPBACK, app: FastAPI | None = None
) -> TestClient:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return TestClient(app or the_app(context), base_url, headers=headers, follow_redirects=False)


def a_signed_in_browser(context: Context, account: uuid.UUID, base_url: str = LOOPBACK) -> TestClient:
    browser = a_client(context, base_url=base_url)
    with context.transaction() as session:
        code = create_login_link(session, account)
    answer = browser.post("/login", data={"code": code}, headers={"Origin": base_url})
    assert answer.status_code == 303, answer.text
    return browser


def a_browser(context, account, scopes=SCOPES):
    """A browser that is signed in with a token of these scopes."""
    browser = a_client(context)
    answer = browser.post(
        "/login", data={"token": a_secret(context, account, scopes)}, headers={"Origin": LOOPBACK}
    )
    assert answer.status_code == 303, answer.text
    return browser


@dataclass(frozen=True)
class World:
    """The ids of one account with one of everything."""

    account: uuid.UUID
    taskId: str  # noqa: N815 (the names of path parameters)
    runId: str  # noqa: N815
    executionId: str  # noqa: N815
    conversationId: str  # noqa: N815
    messageId: str  # noqa: N815
    botId: str  # noqa: N815
    contactId: str  # noqa: N815
    subscriptionId: str  # noqa: N815
    deliveryId: str  # noqa: N815
    backfillId: str  # noqa: N815
    jobId: str  # noqa: N815
    attachmentId: str  # noqa: N815
    fileId: str  # noqa: N815
    datasetId: str  # noqa: N815
    recordId: str  # noqa: N815
    skillsetId: str  # noqa: N815
    abilityId: str  # noqa: N815
    secretId: str  # noqa: N815
    erasureId: str  # noqa: N815
    ruleId: str  # noqa: N815
    holdId: str  # noqa: N815
    memoryId: str  # noqa: N815
    channelId: str = "a-channel-of-our-own"  # noqa: N815


def a_world(context: Context, account: uuid.UUID, leases: Leases) -> World:
    """A bot, and a task that has run once, is to tell of it, and has a backfill that has not begun."""
    bot = a_bot(context, account)
    run = a_pending_run(context, account, schedule="@every 1h")
    subscription, _ = a_subscription(context, account, run.task_id)
    assert carry_out(context, leases, run.id, worker="tests", delivery=f"{run.id}.1") == "succeeded"
    stored = the_run(context, run.id)
    return World(
        account,
        taskId=str(run.task_id),
        runId=str(run.id),
        executionId=str(run.id),
        conversationId=str(stored["conversation_id"]),
        messageId=str(
            one(context, "SELECT id FROM messages WHERE run_id = :id AND step = 'prompt'", id=run.id)
        ),
        botId=str(bot.id),
        contactId=str(a_contact(context, account).id),
        subscriptionId=str(subscription.id),
        backfillId=(backfill := str(a_backfill(context, account, run.task_id).id)),
        jobId=backfill,
        erasureId=str(an_erasure(context, account).id),
        ruleId=str(a_rule(context, account, delete_after="30d").id),
        # On somebody nobody speaks with, so that nothing else is held.
        holdId=str(
            a_hold(
                context, account, contact_id=a_contact(context, account, name="Held", fingerprint="h").id
            ).id
        ),
        memoryId=str(a_memory(context, account, bot_id=bot.id).id),
        deliveryId=str(one(context, "SELECT id FROM deliveries WHERE run_id = :id", id=run.id)),
        **some_knowledge(context, account, stored["conversation_id"]),
    )
