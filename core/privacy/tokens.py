"""Tokens: names for values that can be looked up again. `[email:a7x2b]` stands for one exact value.

A token follows from the account's key, the conversation and the value: it is the same each time, tells
nothing without the key, and means nothing in another conversation.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.privacy.choosing import Entry
from core.privacy.kinds import KINDS, Group, label_of
from core.privacy.placeholders import TOKENS
from core.privacy.presets import Operator

# What to ask for next when another value has the token already.
LENGTHS = (5, 8, 13, 26)
LONGEST_LABEL = 31
_DIGEST = 16
_LOOSE = re.compile(r"[\W_]+")
_SPACES = re.compile(r"\s+")


def token_of(key: bytes, conversation: str, kind: str, value: str, length: int = LENGTHS[0]) -> str:
    """The token of exactly this value in this conversation; a longer one begins like the shorter."""
    code = _code(key, f"token\0{conversation}\0{kind}\0{value}")[:length]
    return f"[{label_of(kind)[:LONGEST_LABEL]}:{code}]"


def digest_of(key: bytes, kind: str, value: str) -> str:
    """80 bits that are the same for a value however it is written: `+49 89 1234` and `0049-89-1234`."""
    return _code(key, f"digest\0{kind}\0{normal(kind, value)}")[:_DIGEST]


def normal(kind: str, value: str) -> str:
    """A value without what people write differently."""
    group = KINDS[kind].group if kind in KINDS else None
    if kind == "PHONE_NUMBER":
        digits = _LOOSE.sub("", value)
        return digits.removeprefix("00") if value.strip().startswith("00") else digits
    if kind == "CRYPTO" or group is Group.SECRET:
        return value.strip()
    if kind not in {"PERSON", "DATE_OF_BIRTH"} and group in {Group.FINANCE, Group.IDENTITY}:
        return _LOOSE.sub("", value).upper()
    return _SPACES.sub(" ", value.strip()).casefold()


def _code(key: bytes, words: str) -> str:
    made = hmac.new(key, words.encode(errors="surrogatepass"), hashlib.sha256).digest()
    return base64.b32encode(made).decode().lower()


def restore(text: str, values: Mapping[str, str]) -> str:
    """The text with the value of each token that is known; the others stay as they are."""
    return TOKENS.sub(lambda found: values.get(found[0], found[0]), text) if values else text


def restore_spans(
    text: str, spans: Sequence[Entry], values: Mapping[str, str]
) -> tuple[str, tuple[Entry, ...]]:
    """A stored text with its values, and its entities where they then stand.

    Only what the operator wrote is restored: a token that stands elsewhere was typed by somebody.
    """
    parts: list[str] = []
    moved: list[Entry] = []
    done = length = 0
    for span in sorted(spans, key=lambda one: one.begin):
        written = text[span.begin : span.end]
        told = values.get(written, written) if span.operator is Operator.TOKENISE else written
        length += span.begin - done
        parts += (text[done : span.begin], told)
        moved.append(replace(span, begin=length, end=length + len(told)))
        done, length = span.end, length + len(told)
    return "".join((*parts, text[done:])), tuple(moved)
