"""The model endpoints that an operator names: CRONTALK_MODELS, JSON of names and what they stand for.

{"fast": {"base_url": "https://llm.example/v1", "api_key_env": "FAST_KEY", "model": "vendor/fast-2",
          "price": {"input": 0.1, "output": 0.4}, "fallback": "local"},
 "local": {"base_url": "http://10.1.0.7:8000/v1", "capabilities": []}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from core.chat.model_name import parse_model, written
from core.chat.provider import OptionValue
from core.errors import InvalidInput
from core.prices import Price

OFFLINE = "offline"
Capability = Literal["tools", "images", "reasoning"]
MOST = 200
# What may be repeated of words that are where a field's name should be.
_FIELD = re.compile(r"[a-z_]{1,32}")


def _address(url: object) -> object:
    """An address that a model server can have, without a key in it."""
    if not isinstance(url, str):
        raise ValueError("must be an http or https address")  # noqa: TRY004 (pydantic asks for it)
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http or https address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be an address without user, password, query and fragment")
    return url.strip().rstrip("/")


def _options(value: object) -> object:
    """Default options, checked as those of a model string are."""
    if not isinstance(value, Mapping):
        raise ValueError("must be an object of options")  # noqa: TRY004 (pydantic asks for it)
    for key, one in value.items():
        if not isinstance(one, str | int | float) or isinstance(one, bool) or set(str(one)) & set("/="):
            raise ValueError("must hold numbers and plain words")
        if "/" in key or "=" in key:
            raise ValueError("must hold numbers and plain words")
    try:
        return dict(parse_model(written("m", value)).options)
    except InvalidInput as error:
        raise ValueError(str(error).rstrip(".")) from None


Address = Annotated[str, BeforeValidator(_address)]
Options = Annotated[dict[str, OptionValue], BeforeValidator(_options)]
Tokens = Annotated[int, Field(strict=True, ge=16, le=100_000_000)]


class Endpoint(BaseModel):
    """What a name stands for. Without an address it is asked for at the default endpoint.

    `model` is what the server calls it, the name itself unless it is given; `context_tokens` what goes into
    and comes out of a call together. A name that nobody configured has these defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Address | None = Field(default=None, repr=False)
    api_key: SecretStr | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)
    model: str | None = Field(default=None, min_length=1, max_length=300)
    provider: str = Field(default="openai", min_length=1, max_length=100)
    family: str | None = Field(default=None, min_length=1, max_length=100)
    options: Options = Field(default_factory=dict)
    context_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    capabilities: frozenset[Capability] = frozenset({"tools"})
    price: Price | None = None
    fallback: str | None = Field(default=None, min_length=1, max_length=512)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.api_key is not None and self.api_key_env is not None:
            raise ValueError("has api_key and api_key_env; one of them is enough")
        if self.base_url is None and (self.api_key or self.api_key_env):
            raise ValueError("has a key and no base_url; the default endpoint has its own key")
        if self.api_key is not None and not _sendable(self.api_key.get_secret_value()):
            raise ValueError("has an api_key that no header can carry")
        if self.context_tokens and self.max_output_tokens and self.max_output_tokens >= self.context_tokens:
            raise ValueError("has max_output_tokens that leave no room in context_tokens")
        return self

    def window(self, history_tokens: int) -> int:
        """How many tokens of system and history a call may send: at least a token, whatever is configured."""
        if self.context_tokens is None:
            return history_tokens
        answer = self.max_output_tokens or self.context_tokens // 4
        return max(1, min(history_tokens, self.context_tokens - answer))


UNNAMED = Endpoint()


def read_endpoints(words: str, environment: Mapping[str, str]) -> dict[str, Endpoint]:
    """The endpoints that a setting names, each with its key in it.

    Raises:
        ValueError: says which entry cannot be used and why. It repeats names, never values.

    """
    if not words.strip():
        return {}
    try:
        given = json.loads(words, object_pairs_hook=_once)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("is not JSON: an object of names and endpoints is expected") from None
    if not isinstance(given, dict):
        raise ValueError("is not an object of names and endpoints")  # noqa: TRY004 (pydantic asks for it)
    if len(given) > MOST:
        raise ValueError(f"names more than {MOST} models")
    endpoints = {name: _endpoint(name, entry, environment) for name, entry in given.items()}
    for name in endpoints:
        _check_fallbacks(name, endpoints)
    return endpoints


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("names something twice")
    return found


def _endpoint(name: str, entry: object, environment: Mapping[str, str]) -> Endpoint:
    called = _called(name)
    if not isinstance(entry, dict):
        raise ValueError(f"{called} is not an object; what a name stands for is one")  # noqa: TRY004
    try:
        endpoint = Endpoint.model_validate(entry)
    except ValidationError as error:
        raise ValueError(f"{called}: {_told(error)}") from None
    if endpoint.api_key_env is None:
        return endpoint
    key = environment.get(endpoint.api_key_env, "").strip()
    if not key:
        raise ValueError(f"{called}: the environment has no {endpoint.api_key_env}")
    if not _sendable(key):
        raise ValueError(f"{called}: no header can carry what {endpoint.api_key_env} holds")
    return endpoint.model_copy(update={"api_key": SecretStr(key), "api_key_env": None})


def _called(name: str) -> str:
    """An entry, as errors name it.

    Raises:
        ValueError: no model string could name it.

    """
    try:
        parsed = parse_model(name)
    except InvalidInput:
        raise ValueError("has an entry whose name no model string can hold") from None
    if parsed.name != name or parsed.options:
        raise ValueError("has an entry whose name no model string can hold")
    if name == OFFLINE:
        raise ValueError(f"{OFFLINE} is the built-in model; give yours another name")
    return name


def _told(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_context=False, include_url=False)[0]
    message = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:
        return message
    field = ".".join(str(part) for part in found["loc"] if isinstance(part, str))
    if found["type"] == "extra_forbidden":
        known = field if _FIELD.fullmatch(field) else "a field"
        return f"{known} is not known; known are {', '.join(sorted(Endpoint.model_fields))}"
    return f"{field}: {message[:1].lower()}{message[1:]}"


def _check_fallbacks(name: str, endpoints: Mapping[str, Endpoint]) -> None:
    passed = [name]
    while (following := endpoints[passed[-1]].fallback) is not None:
        if following in passed:
            raise ValueError(f"{name}: its fallbacks go in a circle")
        if following == OFFLINE:
            return
        if following not in endpoints:
            raise ValueError(f"{passed[-1]}: its fallback is no entry of this setting")
        passed.append(following)


def _sendable(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key
