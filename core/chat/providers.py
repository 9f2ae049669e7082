"""Which provider answers for a model string."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.chat.endpoints import OFFLINE, Endpoint
from core.chat.model_name import parse_model
from core.chat.offline import OfflineProvider
from core.chat.openai_compatible import OpenAICompatible
from core.chat.provider import (
    Deadline,
    ModelEvent,
    ModelMisconfigured,
    ModelRequest,
    OptionValue,
    Provider,
)

if TYPE_CHECKING:
    from core.settings import Settings

OPENAI = "https://api.openai.com/v1"


class Providers:
    """A process's providers, made once and shared by its threads.

    `base_url` and `api_key` name the default endpoint, which answers for every name that `endpoints` does not
    hold; without one only they and `offline` answer. `default_model` answers for objects that name no model.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        default_model: str = OFFLINE,
        endpoints: Mapping[str, Endpoint] | None = None,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._default_model = default_model
        self._endpoints = endpoints or {}
        self._offline = OfflineProvider()
        # By address and key: names of one server share its connections.
        self._online: dict[tuple[str, str | None], OpenAICompatible] = {}
        self._lock = threading.Lock()

    def provider_for(self, model: str | None) -> tuple[Provider, str, Mapping[str, OptionValue]]:
        """The provider, the bare model name and its options over those of its endpoint.

        Raises InvalidInput for a malformed model string, ModelMisconfigured when it needs the default
        endpoint and there is none, or an endpoint's address or key cannot be used.
        """
        parsed = parse_model(model or self._default_model)
        if parsed.name == OFFLINE:
            return self._offline, OFFLINE, parsed.options
        endpoint = self._endpoints.get(parsed.name)
        if endpoint is None:
            return self._default(), parsed.name, parsed.options
        options = {**endpoint.options, **parsed.options}
        return _Named(self._server_of(endpoint), endpoint.model or parsed.name), parsed.name, options

    def _default(self) -> Provider:
        if not self._base_url:
            raise ModelMisconfigured("no_endpoint", "no model endpoint is configured")
        return self._server(self._base_url, self._api_key)

    def _server_of(self, endpoint: Endpoint) -> Provider:
        if endpoint.base_url is None:
            return self._default()
        key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        return self._server(endpoint.base_url, key)

    def _server(self, base_url: str, key: str | None) -> Provider:
        with self._lock:
            if (base_url, key) not in self._online:
                self._online[base_url, key] = OpenAICompatible(base_url, key)
            return self._online[base_url, key]

    def close(self) -> None:
        """Let go of every connection; the providers may be used again."""
        with self._lock:
            online = list(self._online.values())
        for server in online:
            server.close()


class _Named:
    """A model under the name that its server knows."""

    def __init__(self, server: Provider, upstream: str) -> None:
        self._server = server
        self._upstream = upstream

    def stream(self, request: ModelRequest, deadline: Deadline) -> Iterator[ModelEvent]:
        """See Provider."""
        events: Any = self._server.stream(replace(request, model=self._upstream), deadline)
        with closing(events):
            yield from events

    def close(self) -> None:
        """The connections are the server's, which other names share."""


def providers_of(settings: Settings) -> Providers:
    """Without an address a key means OpenAI itself; without either only named models and `offline` answer."""
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    address = settings.llm_base_url or (OPENAI if key else None)
    return Providers(address, key, settings.llm_model or OFFLINE, settings.models)
