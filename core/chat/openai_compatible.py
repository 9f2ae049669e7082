"""Any server that speaks OpenAI's chat completions, through the `openai` client library."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.chat.answer import read_answer
from core.chat.model_failures import failure_from_status, parse_retry_after
from core.chat.provider import (
    ChatMessage,
    Deadline,
    ModelError,
    ModelEvent,
    ModelMisconfigured,
    ModelRequest,
    ModelUnavailable,
)

if TYPE_CHECKING:
    import openai
    from openai._response import APIResponse
    from openai.resources.chat.completions import Completions

CONNECT_TIMEOUT = timedelta(seconds=5)
IDLE_TIMEOUT = timedelta(seconds=30)

_FORWARDED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "reasoning_effort",
    "verbosity",
    "service_tier",
)


class OpenAICompatible:
    """One endpoint: a base URL such as `https://api.openai.com/v1` and a key, if it wants one.

    Threads share the instance and its connections; the library is loaded by the first call. The server's
    certificate authorities are the system's, or those of SSL_CERT_FILE; no other environment variable
    counts, proxies included. Raises ModelMisconfigured for an address that cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        idle_timeout: timedelta = IDLE_TIMEOUT,
    ) -> None:
        self._base_url = _checked_url(base_url)
        self._api_key = _checked_key(api_key)
        self._connect = connect_timeout.total_seconds()
        self._idle = idle_timeout.total_seconds()
        self._lock = threading.Lock()
        self._client: openai.OpenAI | None = None

    def stream(self, request: ModelRequest, deadline: Deadline) -> Iterator[ModelEvent]:
        """See Provider. At most one attempt: retries belong to the run."""
        import httpx2

        from core.chat.network import Call, limited_by

        deadline.check()
        completions = self._completions()
        call = Call(deadline)
        limits = httpx2.Timeout(self._idle, connect=self._connect, pool=max(0.001, deadline.remaining()))
        with limited_by(call):
            response = _opened(completions, **self._arguments(request), timeout=limits)
        with contextlib.closing(response):
            yield from read_answer(response.iter_bytes(), request, call.hurry)

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _completions(self) -> Completions:
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client.chat.completions

    def _new_client(self) -> openai.OpenAI:
        import httpx2
        import openai

        from core.chat.network import BoundedTransport

        # The key is the transport's alone: it writes the headers, whatever the library and its
        # OPENAI_* variables put there.
        http = httpx2.Client(
            transport=BoundedTransport(self._api_key), trust_env=False, follow_redirects=False
        )
        return openai.OpenAI(api_key="unused", base_url=self._base_url, max_retries=0, http_client=http)

    def _arguments(self, request: ModelRequest) -> dict[str, Any]:
        system = [ChatMessage("system", request.system)] if request.system else []
        options = {key: request.options[key] for key in _FORWARDED if key in request.options}
        limit = request.output_limit()
        if limit is not None:
            options[self._limit_name()] = limit
        return {
            "model": request.model,
            "messages": [_message(message) for message in (*system, *request.messages)],
            **_tools(request),
            "stream": True,
            "stream_options": {"include_usage": True},
            "extra_body": options,
        }

    def _limit_name(self) -> str:
        """OpenAI's newer models refuse `max_tokens`; other servers may not know its successor."""
        host = urlsplit(self._base_url).hostname or ""
        return "max_completion_tokens" if host.endswith(("openai.com", "openai.azure.com")) else "max_tokens"


def _message(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": _callable(call.name), "arguments": json.dumps(call.arguments)},
            }
            for call in message.calls
        ]
    if message.call_id is not None:
        said["tool_call_id"] = message.call_id
    return said


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    text = _encodable(message.text)
    if not message.images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    for image in message.images:
        url = f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _callable(name: str) -> str:
    """A name that servers take: a model may have called what nobody would call a function."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:64]


def _tools(request: ModelRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    known = [
        {
            "type": "function",
            "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
        }
        for t in request.tools
    ]
    if request.forced is None:
        return {"tools": known}
    return {"tools": known, "tool_choice": {"type": "function", "function": {"name": request.forced}}}


def _opened(completions: Completions, **arguments: Any) -> APIResponse[Any]:
    """Send the request and return the answer with its body unread, or raise ModelError."""
    import httpx2
    import openai

    error: ModelError
    try:
        answer: APIResponse[Any] = completions.with_streaming_response.create(**arguments).__enter__()
    except openai.APIStatusError as failure:
        # Raised below, outside the handler: the library's exception quotes the body.
        refusal = failure.response
        wait = parse_retry_after(refusal.headers.get("retry-after"), datetime.now(UTC))
        error = failure_from_status(refusal.status_code, refusal.content, wait)
    except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL):
        error = ModelUnavailable("client")
    else:
        return answer
    raise error


def _checked_url(text: str) -> str:
    try:
        url = urlsplit(text.strip())
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.username is not None or url.query or url.fragment:
        raise ModelMisconfigured("base_url")
    return url.geturl().rstrip("/")


def _checked_key(key: str | None) -> str | None:
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ModelMisconfigured("api_key")
    return key or None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
