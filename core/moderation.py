"""Moderation: an operator's endpoint looks at what people say before a model is shown it.

The endpoint speaks OpenAI's shape: POST {"input": text} is answered {"results": [{"flagged": …}]}. It is the
operator's own choice, as model servers are: the same bounded client asks it, and may reach private addresses.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from core.chat.history import StoredMessage, is_seen
from core.chat.provider import Deadline, ModelError, ModelUnavailable

if TYPE_CHECKING:
    import httpx2

    from core.settings import Settings

log = structlog.get_logger()

CONNECT_TIMEOUT = 5.0
REMEMBERED = 10_000  # texts that passed, so that a turn which calls its model often asks once for each


class Moderator:
    """One endpoint, shared by the threads of a process."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        model: str | None = None,
        time: timedelta = timedelta(seconds=10),
        fails_open: bool = False,
    ) -> None:
        self._url = url
        self._key = key
        self._model = model
        self._time = time
        self._fails_open = fails_open
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._passed: OrderedDict[bytes, None] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def passes(self, turn: uuid.UUID, words: str, deadline: Deadline) -> bool:
        """Whether a text may go on to a model. Asked once for a turn's text, however often the turn asks.

        Raises:
            ModelError: the endpoint gave no usable answer, and that counts as a no for now.
            What `deadline.wanted` raises: nobody wants to know any more.

        """
        mark = hashlib.blake2b(turn.bytes + words.encode(errors="replace"), key=self._salt).digest()
        with self._lock:
            if mark in self._passed:
                return True
        try:
            flagged = self._flagged(words, deadline.or_sooner(self._time))
        except ModelError as error:
            log.warning("moderation_failed", code=error.code, passes=self._fails_open)
            if not self._fails_open:
                raise
            return True
        if not flagged:
            with self._lock:
                self._passed[mark] = None
                if len(self._passed) > REMEMBERED:
                    self._passed.popitem(last=False)
        return not flagged

    def close(self) -> None:
        """Close every connection; the next text opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _flagged(self, words: str, deadline: Deadline) -> bool:
        import httpx2

        from core.chat.network import Call, limited_by

        deadline.check()
        document = {"input": words, **({"model": self._model} if self._model else {})}
        limits = httpx2.Timeout(self._time.total_seconds(), connect=CONNECT_TIMEOUT)
        with limited_by(Call(deadline)):
            try:
                answer = self._opened().post(
                    self._url,
                    content=json.dumps(document).encode(),
                    headers={"Content-Type": "application/json"},
                    timeout=limits,
                )
            except (httpx2.HTTPError, httpx2.InvalidURL):
                answer = None
        if answer is None:
            raise ModelUnavailable("moderation_client")
        if answer.status_code != 200:
            raise ModelUnavailable(f"moderation_http_{answer.status_code}")
        return _verdict(answer.content)

    def _opened(self) -> httpx2.Client:
        import httpx2

        from core.chat.network import BoundedTransport

        with self._lock:
            if self._client is None:
                self._client = httpx2.Client(
                    transport=BoundedTransport(self._key), trust_env=False, follow_redirects=False
                )
            return self._client


def _verdict(content: bytes) -> bool:
    """What an answer says of the text: of several results, one that is flagged is enough."""
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    results = document.get("results") if isinstance(document, dict) else None
    verdicts = [one.get("flagged") if isinstance(one, dict) else None for one in results or ()]
    if not verdicts or not all(isinstance(verdict, bool) for verdict in verdicts):
        raise ModelUnavailable("moderation_answer")
    return any(verdicts)


def newest_words(history: Sequence[StoredMessage]) -> list[str]:
    """What people have said since the last answer, as the model is to see it; oldest first."""
    said: list[str] = []
    for message in reversed(history):
        if not is_seen(message):
            continue
        if message.type == "bot":
            break
        if message.type == "user" and message.text.strip():
            said.append(message.text)
    return said[::-1]


def moderator_of(settings: Settings) -> Moderator | None:
    """The one that the operator has configured."""
    if not settings.moderation_url:
        return None
    key = settings.moderation_key.get_secret_value() if settings.moderation_key else None
    return Moderator(
        settings.moderation_url,
        key or None,
        model=settings.moderation_model or None,
        time=settings.moderation_time,
        fails_open=settings.moderation_fails == "open",
    )


def checked_url(url: str) -> str:
    """The endpoint's address, such as https://api.openai.com/v1/moderations.

    Raises:
        ValueError: it cannot be one.

    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be an http or https address without user, query and fragment")
    return url.strip()
