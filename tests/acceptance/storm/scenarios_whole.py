"""Single moments of the whole program, as in scenarios.py, with what guards them."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.carrying import carry_on
from core.context import Context
from core.conversing import Reach, say
from core.errors import RunFailed, Unavailable
from core.resuming import missed
from core.talking import complete, send
from core.turn_requests import Function, TurnRequest
from core.turns import carry_out
from core.work import Leases, claim
from tests.acceptance.storm.scenarios import MINUTE
from tests.acceptance.storm.verdict import broken_promises
from tests.api import a_client, a_secret
from tests.deletions import a_deletion, left, some_talks
from tests.factories import A_KEY, a_bot, a_conversation, an_account, execute, one, rows
from tests.imports import a_talk, an_export, imported
from tests.scripted import InTurns, calls, says

MAIL = "grace@leak.example.com"
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
ONE = TurnRequest(functions=(Function("one", "Does it.", SCHEMA, {"data": 1}),))


class Scripted(InTurns):
    """Where a worker asks for a model, it gets this one."""

    def provider_for(self, _model: str | None) -> tuple[Any, str, dict[str, Any]]:
        return self, "scripted", {}

    def close(self) -> None: ...


@dataclass(frozen=True)
class Unheard(Context):
    """One commit is carried out and nobody is told: the first after which this question finds something."""

    question: str = ""
    told: list[str] = field(default_factory=list)

    @contextmanager
    def transaction(self, account: uuid.UUID | None = None, *, actor: str | None = None) -> Iterator[Session]:
        with super().transaction(account, actor=actor) as session:
            yield session
        if not self.told:
            with super().transaction() as session:
                found = session.scalar(text(self.question))
            if found:
                self.told.append("once")
                raise Unavailable("The answer of a commit was lost.")


def with_a_key(context: Context) -> Context:
    """As an installation that can seal what it is told."""
    return replace(context, settings=context.settings.model_copy(update={"key": SecretStr(A_KEY)}))


def act(context: Context, run: uuid.UUID) -> str:
    leases = Leases(context)
    try:
        return carry_out(context, leases, run, worker="tests")
    except (RunFailed, IndexError) as error:
        return type(error).__name__
    finally:
        leases.close()


def a_turn(context: Context) -> uuid.UUID:
    """One that may call a function."""
    account = an_account(context)
    with context.transaction(account) as session:
        talk = a_conversation(context, account, bot_id=a_bot(context, account).id)
        return complete(session, talk.id, "my secret", ONE).id


def a_call_is_written_and_nobody_hears(context: Context) -> list[str]:
    """The commit of a call is carried out and its answer lost: it is written down once."""
    context = with_a_key(context)
    run = a_turn(context)
    given = {one.name: getattr(context, one.name) for one in fields(context)}
    given["providers"] = Scripted(calls("one"), says("Done."))
    unheard = Unheard(**given, question="SELECT count(*) FROM messages WHERE step LIKE 'note.%'")
    outcome = act(unheard, run)
    found = [] if unheard.told and outcome == "succeeded" else [f"the run has {outcome}"]
    acts = "SELECT step FROM messages WHERE type = 'activity' ORDER BY seq"
    steps = [row["step"] for row in rows(context, acts)]
    found += [] if steps == ["note.1", "answer.1"] else [f"it has written {steps}"]
    return found + broken_promises(context)


def a_message_is_deleted_before_a_call(context: Context) -> list[str]:
    """What the model calls with after a text was deleted is not written down."""
    context = with_a_key(context)
    run = a_turn(context)

    class Deleting(Scripted):
        def stream(self, request: Any, deadline: Any) -> Iterator[Any]:
            if not self.requests:
                execute(context, "UPDATE conversations SET purge_epoch = purge_epoch + 1")
                execute(context, "DELETE FROM messages WHERE type = 'user'")
            yield from super().stream(request, deadline)

    act(replace(context, providers=Deleting(calls("one", place="my secret"), says("A."), says("B."))), run)
    kept = one(context, "SELECT count(*) FROM messages WHERE CAST(meta AS text) LIKE '%secret%'")
    return ["a deleted text has come back in a call"] if kept else []


def much_is_said_during_a_turn(context: Context) -> list[str]:
    """All of it is answered by one turn more."""
    account = an_account(context)
    talk = a_conversation(context, account, bot_id=a_bot(context, account).id)

    def says_(words: str) -> None:
        with context.transaction(account) as session:
            say(session, Reach(), talk.id, words)

    says_("One")
    with context.transaction() as session:
        first = one(context, "SELECT id FROM runs")
        claim(session, first, lease=MINUTE, run_time=MINUTE, worker="tests", delivery=None)
    for words in ("Two", "Three", "Four"):
        says_(words)
    waiting = one(context, "SELECT count(*) FROM runs WHERE state = 'waiting'")
    return ([] if waiting == 1 else [f"{waiting} turns wait for one to end"]) + broken_promises(context)


def somebody_comes_back(context: Context) -> list[str]:
    """From a place on, and not at it."""
    account = an_account(context)
    talk = a_conversation(context, account)
    for words in ("One", "Two", "Three"):
        with context.transaction(account) as session:
            send(session, talk.id, words)
    place = one(context, "SELECT seq FROM messages WHERE text = 'One'")
    with context.transaction(account) as session:
        told = [row.text for _, row in missed(session, Reach(), [f"{talk.id}:{place}"]).messages]
    return [] if told == ["Two", "Three"] else [f"{told} was told"]


def a_file_is_imported_twice(context: Context) -> list[str]:
    keyed, file = with_a_key(context), an_export(a_talk("a", "One", "Two"), a_talk("b", "One", "Two"))
    with tempfile.TemporaryDirectory() as place:
        blobs = keyed.settings.model_copy(update={"blobs": place})
        keyed = replace(keyed, settings=blobs)
        account = an_account(keyed)
        for _ in range(2):
            imported(keyed, account, file)
    talks = one(context, "SELECT count(*) FROM conversations")
    return [] if talks == 2 else [f"{talks} conversations of 2"]


def a_deletion_has_a_pace(context: Context) -> list[str]:
    """Ten a second: of fifty only some have gone when a worker gives it back, or is at it for a moment."""
    account = an_account(context)
    some_talks(context, account, 1, 50)
    job, began = a_deletion(context, account, rate="10/s", all=True), time.monotonic()
    carry_on(context, job.id)
    gone, most = 50 - left(context, account), 10 * (time.monotonic() - began) + 7
    return [] if gone <= most else [f"{gone} were deleted where {most:.0f} might be"]


def a_message_is_sent_again(context: Context) -> list[str]:
    """Under its key: stored once, answered twice."""
    account = an_account(context)
    path = f"/api/v1/conversation/{a_conversation(context, account).id}/send"
    client = a_client(context, a_secret(context, account))
    key = {"Idempotency-Key": "once"}
    told = [client.post(path, json={"text": "Hello"}, headers=key).json()["id"] for _ in range(2)]
    return [] if told[0] == told[1] else ["a message that was sent again is stored twice"]


def somebody_says_an_address(context: Context) -> list[str]:
    """It is redacted before it is stored, not after."""
    keyed = with_a_key(context)
    account = an_account(keyed)
    talk = a_conversation(keyed, account, bot_id=a_bot(keyed, account, privacy=True).id)
    with keyed.transaction(account) as session:
        send(session, talk.id, f"Write to {MAIL}")
    raw = one(context, "SELECT count(*) FROM messages WHERE text LIKE '%leak.example.com%'")
    return ["an address is stored as it was said"] if raw else []


WHOLE: tuple[Callable[[Context], list[str]], ...] = (
    a_call_is_written_and_nobody_hears,
    a_message_is_deleted_before_a_call,
    much_is_said_during_a_turn,
    somebody_comes_back,
    a_file_is_imported_twice,
    a_deletion_has_a_pace,
    a_message_is_sent_again,
    somebody_says_an_address,
)
