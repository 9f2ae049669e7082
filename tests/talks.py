"""Turns that ask one model of named endpoints, and what of them is told."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import timedelta

import pytest

from core.asking import asked
from core.breaker import Breaker
from core.chat.endpoints import read_endpoints
from core.chat.history import StoredMessage
from core.chat.provider import Deadline
from core.chat.providers import providers_of
from core.notes import MemoryNotes
from core.outcomes import Failure
from core.talk import Desk, Talk
from core.telling import SPEAKING
from core.turn_requests import TurnRequest
from tests.told import with_settings

KEY = "sk-very-secret"


def naming(context, server, default, moderator=None, **entries):
    """The context of an operator who has named these models of `server`; others are the default's.

    Whoever asks for it closes its providers.
    """
    given = {name: {"base_url": server.base_url, "api_key": KEY, **entry} for name, entry in entries.items()}
    models = read_endpoints(json.dumps(given), {})
    under = with_settings(context, models=models, llm_base_url=default.base_url)
    return dataclasses.replace(
        under, providers=providers_of(under.settings), moderator=moderator, breaker=Breaker(2)
    )


class Ears:
    """Hears a turn."""

    def __init__(self):
        self.events = []

    def tell(self, kind, data):
        self.events.append((kind, data))

    def token(self, text, kind=SPEAKING):
        self.events.append((kind, text))

    def said(self, kind=SPEAKING):
        return "".join(data for told, data in self.events if told == kind)


def a_talk(model, *history, account=None, functions=(), **more):
    said = history or (StoredMessage("user", "Hello?", {}, 1),)
    return Talk(
        id=uuid.uuid4(),
        account_id=account or uuid.uuid4(),
        has_bot=True,
        backstory="",
        model=model,
        history=tuple(said),
        deadline=Deadline.after(timedelta(seconds=20)),
        request=TurnRequest(functions=functions),
        **more,
    )


def ask(context, talk, wanted=lambda: None):
    """What one call comes to, who was called in its course, and what was told."""
    notes = MemoryNotes(context, talk.account_id, talk.id, wanted)
    begun, begin = [], notes.begin_call
    notes.begin_call = lambda model: (begun.append(model), begin(model))
    ears = Ears()
    functions = {function.name: function for function in talk.request.functions}
    return asked(Desk(context, notes, ears, functions), talk), begun, ears


def failing(context, talk):
    """The class and the code of the failure that a call comes to."""
    with pytest.raises(Failure) as caught:
        ask(context, talk)
    return caught.value.error_class, caught.value.code
