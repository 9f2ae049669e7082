"""Settings, read from the environment once, where a process starts; values are passed from there."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from core.chat.endpoints import OFFLINE, UNNAMED, Endpoint, read_endpoints
from core.chat.model_name import parse_model
from core.errors import InvalidInput
from core.prices import FREE, Price
from core.rates import Rate, parse_rate

S3_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]*))?")


def _seconds(value: object) -> object:
    """A plain number in the environment is a number of seconds."""
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            return value
    return value


def _rate(value: object) -> object:
    return parse_rate(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0), le=timedelta(days=366))]

Pace = Annotated[Rate | None, BeforeValidator(_rate)]


def _endpoints(value: object) -> object:
    """Read by our own reader: what it says of a mistake repeats no key."""
    return read_endpoints(value, os.environ) if isinstance(value, str) else value


Endpoints = Annotated[dict[str, Endpoint], NoDecode, BeforeValidator(_endpoints)]


def _named(name: str) -> AliasChoices:
    return AliasChoices(name, f"CRONTALK_{name}")


class Settings(BaseSettings):
    """Every setting with its default. Durations are seconds in the environment, `CRONTALK_LEASE=30`."""

    model_config = SettingsConfigDict(env_prefix="CRONTALK_", extra="ignore", populate_by_name=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".crontalk")
    database_url: str | None = Field(default=None, validation_alias=_named("DATABASE_URL"), repr=False)
    redis_url: str | None = Field(default=None, validation_alias=_named("REDIS_URL"), repr=False)
    pool_size: int = Field(default=20, ge=2, le=500)

    # The mechanism (docs/architecture.md).
    lease: Duration = timedelta(seconds=30)
    tick: Duration = timedelta(milliseconds=200)
    rehint_after: Duration = timedelta(seconds=2)
    poll_after: Duration = timedelta(seconds=5)
    wedge_after: Duration = timedelta(seconds=15)
    grace: Duration = timedelta(seconds=20)
    high_water: int = Field(default=200, ge=1, le=100_000)
    fire_batch: int = Field(default=500, ge=1, le=10_000)
    attempts: int = Field(default=5, ge=1, le=100)
    retry_base: Duration = timedelta(seconds=1)
    retry_cap: Duration = timedelta(minutes=10)

    # Schedules.
    minimum_interval: Duration = timedelta(seconds=1)
    catch_up_window: Duration = timedelta(hours=1)

    # Runs.
    run_time: Duration = timedelta(hours=1)
    turn_time: Duration = timedelta(seconds=120)
    model_time: Duration = timedelta(seconds=120)
    # What an ability may take that asks another program.
    call_time: Duration = timedelta(seconds=30)
    breaker_failures: int = Field(default=5, ge=1, le=1000)
    breaker_pause: Duration = timedelta(seconds=30)
    history_tokens: int = Field(default=8_000, ge=100, le=10_000_000)

    # Models.
    llm_base_url: str | None = Field(default=None, validation_alias=_named("LLM_BASE_URL"), repr=False)
    llm_api_key: SecretStr | None = Field(default=None, validation_alias=_named("LLM_API_KEY"))
    llm_model: str | None = Field(default=None, validation_alias=_named("LLM_MODEL"))
    # Money per million tokens, for budgets in money: {"gpt-5": {"input": 1.25, "output": 10}}
    prices: dict[str, Price] = Field(default_factory=dict)
    # Names for model endpoints, beside the default one above (docs/models.md).
    models: Endpoints = Field(default_factory=dict, repr=False)
    # Asked about what people say, where a bot or a conversation has `moderation`.
    moderation_url: str | None = Field(default=None, repr=False)
    moderation_key: SecretStr | None = None
    moderation_model: str | None = None
    moderation_time: Duration = timedelta(seconds=10)
    moderation_fails: Literal["closed", "open"] = "closed"

    # The operator's own model for names and places, from a folder; the extra `ner` brings its library.
    pii_ner: Literal["spacy", "transformers", "gliner"] | None = None
    pii_ner_path: Path | None = None

    # What leaves the house beside model calls. The key seals secrets at rest (core/keys.py).
    key: SecretStr | None = None
    outbound_allow: str = Field(default="", repr=False)
    deliver_time: Duration = timedelta(seconds=15)
    public_url: str | None = None
    smtp_url: SecretStr | None = None
    mail_from: str | None = Field(default=None, repr=False)

    # Content of files and attachments: a directory, <home>/blobs unless set, or s3://bucket/prefix.
    blobs: str | None = None
    s3_endpoint: str | None = None
    s3_region: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    max_file: int = Field(default=25 * 1024 * 1024, ge=1024, le=10 * 1024**3)
    # A file that an import reads.
    max_import: int = Field(default=10 * 1024**3, ge=1024, le=1024**4)
    # How long the file of an export is kept.
    export_life: Duration = timedelta(days=7)

    # Doors.
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    # Addresses whose X-Forwarded-* headers are believed, by commas; a proxy that ends TLS belongs here.
    trusted_proxies: str | None = None
    flower_url: str | None = None
    flower_auth: SecretStr | None = Field(default=None, description="user:password")
    max_body: int = Field(default=1024 * 1024, ge=1024, le=1024**3)
    # What an account may ask for, by kind: 600/m, 10/s, or off. An account may have its own.
    rate_read: Pace = Rate(60_000, 60)
    rate_write: Pace = Rate(60_000, 60)
    rate_turn: Pace = Rate(12_000, 60)
    rate_delete: Pace = Rate(100, 1)
    # What one user of the conversations API may ask for, in a sliding window (docs/generalbots.md).
    rate_chat_message: Pace = Rate(60, 60)
    rate_chat_history: Pace = Rate(100, 60)
    rate_chat_list: Pace = Rate(30, 60)
    # What its bulk deletions remove together, whichever workers carry them out.
    rate_bulk: Pace = Rate(1000, 1)
    # Live connections of an API process: of all, of an address, of an account; closed when nobody uses them.
    sockets: int = Field(default=10_000, ge=1, le=1_000_000)
    sockets_address: int = Field(default=1000, ge=1, le=1_000_000)
    sockets_account: int = Field(default=2000, ge=1, le=1_000_000)
    socket_idle: Duration = timedelta(hours=1)
    # How often a live connection is asked whether its client is there still, and how long that may take.
    socket_ping: Duration = timedelta(seconds=20)
    # Pages of these origins may connect, call /api/conversations and show the chat page, by commas; * is all.
    origins: str = ""
    # Whose default bot anybody may talk to: the name or the id of an account, or `first`.
    anonymous: str | None = Field(default=None, repr=False)
    anonymous_idle: Duration = timedelta(minutes=30)
    anonymous_messages: int = Field(default=100, ge=1, le=100_000)
    anonymous_sessions: int = Field(default=20, ge=1, le=100_000)
    # Attempts to sign in to the pages, from one address.
    rate_login: Pace = Rate(30, 60)
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("pii_ner", "pii_ner_path", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return value or None

    @field_validator("moderation_url")
    @classmethod
    def _usable_moderator(cls, url: str | None) -> str | None:
        from core.moderation import checked_url

        return checked_url(url) if url else None

    @model_validator(mode="after")
    def _answering_models(self) -> Self:
        if not self.llm_base_url and not self.llm_api_key:
            lost = [name for name, endpoint in self.models.items() if endpoint.base_url is None]
            if lost:
                raise ValueError(f"CRONTALK_MODELS: {lost[0]} has no base_url, and there is no LLM_BASE_URL")
        return self

    @field_validator("key")
    @classmethod
    def _usable_key(cls, key: SecretStr | None) -> SecretStr | None:
        from core.cipher import parse_key

        if key is None or not key.get_secret_value():
            return None
        parse_key(key.get_secret_value())
        return key

    @field_validator("outbound_allow")
    @classmethod
    def _usable_allowance(cls, words: str) -> str:
        from core.outbound.allowance import Allowance

        Allowance.parse(words)
        return words

    @field_validator("smtp_url")
    @classmethod
    def _usable_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        from core.mail import MailServer

        if url is None or not url.get_secret_value():
            return None
        MailServer.parse(url.get_secret_value())
        return url

    @field_validator("blobs")
    @classmethod
    def _usable_place(cls, place: str | None) -> str | None:
        if place and "://" in place and not re.fullmatch(S3_PLACE, place):
            raise ValueError("must be a directory or s3://bucket/prefix")
        return place or None

    @field_validator("s3_endpoint")
    @classmethod
    def _usable_endpoint(cls, url: str | None) -> str | None:
        if url and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+/?", url):
            raise ValueError("must be an http or https address without a path")
        return url.rstrip("/") if url else None

    @field_validator("origins")
    @classmethod
    def _usable_origins(cls, written: str) -> str:
        wanted = [one.strip().rstrip("/") for one in written.split(",") if one.strip()]
        if not all(one == "*" or re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+", one) for one in wanted):
            raise ValueError("must be origins by commas, such as https://example.com, or *")
        return ",".join(wanted)

    @field_validator("anonymous")
    @classmethod
    def _named_account(cls, name: str | None) -> str | None:
        return name or None

    @field_validator("mail_from")
    @classmethod
    def _usable_sender(cls, address: str | None) -> str | None:
        from core.mail import is_address

        if address and not is_address(address):
            raise ValueError("must be a plain address, such as crontalk@example.com")
        return address or None

    @field_validator("public_url")
    @classmethod
    def _usable_link(cls, url: str | None) -> str | None:
        if url and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?", url):
            raise ValueError("must be the http or https address where people reach the API")
        return url.rstrip("/") if url else None

    def endpoint(self, model: str) -> Endpoint:
        """What a bare model name stands for."""
        return self.models.get(model, UNNAMED)

    def window_of(self, model: str | None) -> int:
        """How many tokens of system and history the model of a string is sent; None: the default model."""
        name = parse_model(model or self.llm_model or OFFLINE).name
        return self.endpoint(name).window(self.history_tokens)

    def price(self, model: str) -> Price | None:
        """What a bare model name costs: the offline one nothing, an endpoint what its entry says."""
        return FREE if model == OFFLINE else self.endpoint(model).price or self.prices.get(model)


def read_settings(**given: Any) -> Settings:
    """The environment's settings, under those given here.

    Raises:
        InvalidInput: names each variable that cannot be used and says why; its value is not repeated.

    """
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = [_told(found["loc"], found["msg"]) for found in error.errors(include_input=False)]
        raise InvalidInput(f"Some settings cannot be used. {'. '.join(wrong)}.") from None
    except SettingsError as error:
        raise InvalidInput(f"Some settings cannot be used. {_undecoded(error)}.") from None


def _told(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{_variable(str(place[0]))}: {message}" if place else message


def _undecoded(error: SettingsError) -> str:
    """Which variable is no JSON; the library's own words go on to quote it."""
    named = re.search(r'field "([a-z_]{1,64})"', str(error))
    return f"{_variable(named[1])}: is not JSON" if named else "A value is not JSON"


def _variable(field: str) -> str:
    return field if field.isupper() else f"CRONTALK_{field.upper()}"
