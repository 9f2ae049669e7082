"""What a turn says while it goes on: the events of contract section 1.5, to whoever listens."""

from __future__ import annotations

import base64
import itertools
import time
import uuid
from typing import Any, Protocol

from core.live import Live
from core.privacy.policy import Direction
from core.privacy.redacting import Redactor
from core.shield import Shield

# Tokens that come faster than this are told together: nobody reads faster, and each telling costs a call.
PACE = 0.02


VAULT = "vault"
# Beside a call: where its arguments may leave with their values. For doors alone, as the vault is.
RESTORES = "restores"
# The events that carry words of people and models.
SPOKEN = frozenset({"message", "result", "waitForChannelMessageBegin", "waitForChannelMessageEnd"})


# The kinds of pieces: of the answer, and of what the model thinks meanwhile.
SPEAKING = "token"
REASONING = "reasoningToken"
PIECES = frozenset({SPEAKING, REASONING})


class Telling(Protocol):
    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tells an event, after the pieces that came before it."""

    def token(self, text: str, kind: str = SPEAKING) -> None:
        """Tells a piece of the answer, or of another of PIECES, soon."""


class Silence:
    """Nobody listens."""

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        del kind, data

    def token(self, text: str, kind: str = SPEAKING) -> None:
        del text, kind


class ShieldedTelling:
    """What is told of a turn under privacy: it is redacted before it leaves the worker.

    Tokens that its model was shown, or that are minted while it speaks, are told as well, sealed, as events
    `vault`: doors restore with them, with no others, and pass them on to nobody.
    """

    def __init__(self, telling: Telling, shield: Shield) -> None:
        self._telling = telling
        self._shield = shield
        # One for each kind: what one holds back is not cut short by a piece of the other.
        self._redactors: dict[str, Redactor] = {}
        self._told: set[str] = set()
        # Of the conversation's tokens those that this turn may name: doors restore no others.
        kept = shield.vault.kept or {}
        self._shown = {token: kept[token] for token in shield.vault.shown or () if token in kept}

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        for piece, redactor in self._redactors.items():
            self._say(redactor.finish(), piece)
        self._redactors.clear()
        if kind in SPOKEN:
            restores = {RESTORES: data[RESTORES]} if RESTORES in data else {}
            data = self._shield.tree(
                {key: value for key, value in data.items() if key != RESTORES},
                Direction.OUTBOUND,
                self._shield.tokens(),
            )
            data |= restores
        self._unlock()
        self._telling.tell(kind, data)

    def token(self, text: str, kind: str = SPEAKING) -> None:
        if kind not in self._redactors:
            self._redactors[kind] = self._shield.redactor()
        self._say(self._redactors[kind].feed(text), kind)

    def _say(self, text: str, kind: str) -> None:
        self._unlock()
        if text:
            self._telling.token(text, kind)

    def _unlock(self) -> None:
        known = self._shown | self._shield.vault.sealed
        fresh = {token: sealed for token, sealed in known.items() if token not in self._told}
        if fresh:
            self._told |= fresh.keys()
            self._telling.tell(VAULT, {t: base64.b64encode(sealed).decode() for t, sealed in fresh.items()})


class Withheld:
    """What is told where nobody may see a text before it was annotated: that the turn goes on, no words."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        if kind not in SPOKEN:
            self._telling.tell(kind, data)

    def token(self, text: str, kind: str = SPEAKING) -> None:
        del text, kind


class ChannelTelling:
    """Events of one attempt on a live channel, each with its epoch.

    A listener that has heard tokens of one attempt and then sees another epoch passes on no tokens any more:
    the answer begins anew, and only its end counts.
    """

    def __init__(self, live: Live, account: uuid.UUID, channel: str, epoch: int) -> None:
        self._live = live
        self._account = account
        self._channel = channel
        self._epoch = epoch
        self._pending: list[tuple[str, str]] = []  # kinds and texts
        self._told_at = 0.0

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        self._publish([self._event(kind, data)])

    def token(self, text: str, kind: str = SPEAKING) -> None:
        self._pending.append((kind, text))
        if time.monotonic() - self._told_at >= PACE:
            self._publish([])

    def _publish(self, events: list[dict[str, Any]]) -> None:
        together = itertools.groupby(self._pending, key=lambda piece: piece[0])
        said = [self._event(kind, {"token": "".join(text for _, text in of)}) for kind, of in together]
        self._pending.clear()
        events = [*said, *events]
        if events:
            self._live.publish(self._account, self._channel, events)
        self._told_at = time.monotonic()

    def _event(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"data": {"type": kind, "data": data}, "epoch": self._epoch}
