"""Live channels: what is said while a turn runs, and what callers publish to each other.

A channel is a capped stream in Valkey, private to its account, gone an hour after its last word; pub/sub
only announces that there is something new. Nothing depends on it: whoever waits for a turn looks at its row
as well, and a server that is away costs the words in between and nothing else.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from core.announcing import Announcer, News
from core.valkey import Absence, make_client, second_database

KEPT = 1000
LIFETIME = 3600  # seconds
BEGIN = "0"

Words = tuple[str, dict[str, Any]]  # the place in the channel, and what was said


class Live(Protocol):
    """The channels as threads see them. A place is a string that sorts; BEGIN is before the first."""

    def publish(self, account: uuid.UUID, channel: str, words: Sequence[dict[str, Any]]) -> bool:
        """Says something; False when nobody will hear of it."""

    def announce(self, account: uuid.UUID, channel: str) -> None:
        """Wakes whoever listens, without a word."""

    def last(self, account: uuid.UUID, channel: str) -> str:
        """The place of the last word."""

    def wait(self, account: uuid.UUID, channel: str, after: str, seconds: float) -> list[Words]:
        """What was said after a place, as soon as there is something; nothing once the time is up."""

    def forget(self, account: uuid.UUID, channels: Sequence[str]) -> None:
        """Removes what was said."""

    def forget_all(self, account: uuid.UUID) -> None:
        """Removes what was said on every channel of an account."""

    def tell_news(self, news: News) -> None:
        """Tells who follows these accounts in which conversations something has happened; soon, on no thread
        of the caller's.
        """

    def close(self) -> None: ...


def key_of(account: uuid.UUID, channel: str) -> str:
    return f"live:{account}:{channel}"


def read_words(entry: tuple[bytes, dict[bytes, bytes]]) -> Words:
    place, fields = entry
    return place.decode(), json.loads(fields[b"w"])


class NoLive:
    """Without a Valkey nothing is heard before it is stored."""

    def publish(self, account: uuid.UUID, channel: str, words: Sequence[dict[str, Any]]) -> bool:
        del account, channel
        return not words

    def announce(self, account: uuid.UUID, channel: str) -> None:
        del account, channel

    def last(self, account: uuid.UUID, channel: str) -> str:
        del account, channel
        return BEGIN

    def wait(self, account: uuid.UUID, channel: str, after: str, seconds: float) -> list[Words]:
        del account, channel, after
        time.sleep(seconds)
        return []

    def forget(self, account: uuid.UUID, channels: Sequence[str]) -> None:
        del account, channels

    def forget_all(self, account: uuid.UUID) -> None:
        del account

    def tell_news(self, news: News) -> None:
        del news

    def close(self) -> None:
        return


class ValkeyLive:
    """Channels in the second database. Every failure is logged by its class and swallowed."""

    def __init__(self, redis_url: str) -> None:
        self._client = make_client(second_database(redis_url))
        self._absence = Absence("live_away")
        self._announcer = Announcer(self._client)

    def publish(self, account: uuid.UUID, channel: str, words: Sequence[dict[str, Any]]) -> bool:
        key = key_of(account, channel)
        if self._absence.is_away():
            return False
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for said in words:
                    pipe.xadd(key, {"w": json.dumps(said)}, maxlen=KEPT, approximate=False)
                pipe.expire(key, LIFETIME)
                pipe.publish(key, b"")
                pipe.execute()
        except Exception as error:  # noqa: BLE001 (see the class)
            self._absence.note(error)
            return False
        return True

    def announce(self, account: uuid.UUID, channel: str) -> None:
        self._try(lambda: self._client.publish(key_of(account, channel), b""), None)

    def last(self, account: uuid.UUID, channel: str) -> str:
        # Places are times: while the server is away, what was said before is not taken for something new.
        now = f"{int(time.time() * 1000)}-0"
        found = self._try(lambda: self._client.xrevrange(key_of(account, channel), count=1), None)
        if found is None:
            return now
        place: str = found[0][0].decode() if found else BEGIN
        return place

    def wait(self, account: uuid.UUID, channel: str, after: str, seconds: float) -> list[Words]:
        key = key_of(account, channel)
        block = max(1, min(int(seconds * 1000), 1000))
        began = time.monotonic()
        found = self._try(lambda: self._client.xread({key: after}, block=block), None)
        if found is None and self._absence.is_away():
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        return [read_words(entry) for _, entries in found or () for entry in entries]

    def forget(self, account: uuid.UUID, channels: Sequence[str]) -> None:
        if channels:
            self._try(lambda: self._client.delete(*(key_of(account, name) for name in channels)), None)

    def forget_all(self, account: uuid.UUID) -> None:
        def ask() -> None:
            for key in self._client.scan_iter(match=key_of(account, "*"), count=1000):
                self._client.delete(key)

        self._try(ask, None)

    def tell_news(self, news: News) -> None:
        self._announcer.tell(news)

    def close(self) -> None:
        self._announcer.close()
        self._client.close()

    def _try(self, ask: Any, otherwise: Any) -> Any:
        if self._absence.is_away():
            return otherwise
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 (see the class)
            self._absence.note(error)
            return otherwise
