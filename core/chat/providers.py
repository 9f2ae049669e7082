"""Which provider answers for a model string."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from core.chat.model_name import parse_model
from core.chat.offline import OfflineProvider
from core.chat.openai_compatible import OpenAICompatible
from core.chat.provider import ModelMisconfigured, OptionValue, Provider

OFFLINE = "offline"


class Providers:
    """A process's providers, made once and shared by its threads.

    `base_url` and `api_key` name an OpenAI-compatible endpoint; without one only `offline` answers.
    `default_model` answers for objects that name no model.
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, default_model: str = OFFLINE
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._default_model = default_model
        self._offline = OfflineProvider()
        self._online: OpenAICompatible | None = None
        self._lock = threading.Lock()

    def provider_for(self, model: str | None) -> tuple[Provider, str, Mapping[str, OptionValue]]:
        """The provider, the bare model name and its options.

        Raises InvalidInput for a malformed model string, ModelMisconfigured when it needs an endpoint and
        there is none, or the endpoint's address or key cannot be used.
        """
        parsed = parse_model(model or self._default_model)
        provider = self._offline if parsed.name == OFFLINE else self._endpoint_provider()
        return provider, parsed.name, parsed.options

    def _endpoint_provider(self) -> Provider:
        if not self._base_url:
            raise ModelMisconfigured("no_endpoint", "no model endpoint is configured")
        with self._lock:
            if self._online is None:
                self._online = OpenAICompatible(self._base_url, self._api_key)
            return self._online

    def close(self) -> None:
        """Let go of every connection; the providers may be used again."""
        with self._lock:
            online = self._online
        if online is not None:
            online.close()
