"""Labelled messages: a text, where personal data stands in it, and what the account would know about it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from faker import Faker

T = TypeVar("T")

LANGUAGES = ("en", "de", "fr", "es", "pt")
LOCALES: Mapping[str, tuple[str, ...]] = {
    "en": ("en_US", "en_GB", "en_IN"),
    "de": ("de_DE", "de_AT"),
    "fr": ("fr_FR", "fr_CH"),
    "es": ("es_ES", "es_MX"),
    "pt": ("pt_BR", "pt_PT"),
}


@dataclass(frozen=True)
class Gold:
    """A span `[begin, end)` in code points that is somebody's personal data."""

    type: str
    begin: int
    end: int


@dataclass(frozen=True)
class Who:
    """A participant of the conversation, as the account's records know them."""

    names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """`regions` are those of the account; `asked` are kinds that are looked for beyond the usual."""

    text: str
    gold: tuple[Gold, ...]
    language: str
    regions: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()
    identities: tuple[Who, ...] = ()


@dataclass(frozen=True)
class Value:
    """Personal data as somebody types it.

    A value that needs a `cue` means nothing by itself: nine digits are a passport only beside the word.
    `regions` are those whose account would know a national phone number; `who` is whose it is.
    """

    type: str
    text: str
    cue: bool = False
    regions: tuple[str, ...] = ()
    who: Who | None = None


@dataclass
class Dice:
    """Everything random of one corpus: the same seed gives the same messages."""

    seed: int
    rolls: random.Random = field(init=False)
    fakers: dict[str, Faker] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.rolls = random.Random(self.seed)

    def faker(self, language: str) -> Faker:
        return self.faker_of(self.pick(LOCALES[language]))

    def faker_of(self, locale: str) -> Faker:
        if locale not in self.fakers:
            self.fakers[locale] = Faker(locale)
            self.fakers[locale].seed_instance(f"{self.seed} {locale}")
        return self.fakers[locale]

    def pick(self, choices: Sequence[T]) -> T:
        return self.rolls.choice(choices)

    def chance(self, share: float) -> bool:
        return self.rolls.random() < share

    def digits(self, count: int) -> str:
        return "".join(self.rolls.choice("0123456789") for _ in range(count))

    def some(self, alphabet: str, count: int) -> str:
        return "".join(self.rolls.choice(alphabet) for _ in range(count))

    def between(self, least: int, most: int) -> int:
        return self.rolls.randint(least, most)
