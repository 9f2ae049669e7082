"""Documents of privacy policies, as they are sent and stored: checked field by field.

Refusals name the field and never repeat what was in it: lists hold names and numbers of people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import InvalidInput
from core.privacy.kinds import KINDS, LABELS
from core.privacy.presets import DENIED, Direction, Operator, Preset
from core.texts import checked_text

Document = dict[str, Any]

MOST_ENTRIES = 1000
LONGEST_ENTRY = 200
MOST_KINDS = 200
MOST_REGIONS = 50
# Short enough for the label of a token.
CUSTOM = re.compile(r"[A-Z][A-Z0-9_]{1,30}")
_IDENTITY = ("name", "email", "phone")
_REGION = re.compile(r"[A-Za-z]{2}")


def read_policy(document: Any) -> Document:
    """The document as it is stored: kinds in Presidio's spelling, nulls left out. Null is an empty one.

    Raises:
        InvalidInput: the first field that cannot be used; the sentence does not repeat what it held.

    """
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise InvalidInput("A privacy policy must be an object.")
    if any(name not in _CHECKS for name in document):
        raise InvalidInput(f"A privacy policy knows {', '.join(_CHECKS)}.")
    given = {name: value for name, value in document.items() if value is not None}
    return {name: check(given[name]) for name, check in _CHECKS.items() if name in given}


def kind_of(word: str) -> str | None:
    """A kind by Presidio's name or the wire's word for it, in any case; None where it cannot be one."""
    upper = word.strip().upper()
    if upper in KINDS or upper == DENIED:
        return upper
    known = LABELS.get(upper.lower())
    return known or (upper if CUSTOM.fullmatch(upper) else None)


def _choice(name: str, values: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise InvalidInput(f"The {name} of a privacy policy must be one of {', '.join(values)}.")
        return str(value)

    return check


def _flag(name: str) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise InvalidInput(f"The {name} of a privacy policy must be true or false.")
        return value

    return check


def _by_kind(name: str, check: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > MOST_KINDS:
            raise InvalidInput(
                f"The {name} of a privacy policy must be an object: {MOST_KINDS} kinds at most."
            )
        read: dict[str, Any] = {}
        for word, given in value.items():
            kind = kind_of(word) if isinstance(word, str) else None
            if kind is None:
                raise InvalidInput(
                    f"The {name} of a privacy policy name kinds such as EMAIL_ADDRESS or email; a kind of"
                    " your own is 2 to 31 letters, digits and underscores, a letter first."
                )
            if kind in read:
                raise InvalidInput(f"The {name} of a privacy policy name a kind twice.")
            read[kind] = check(given)
        return read

    return checked


def _threshold(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidInput("The thresholds of a privacy policy must be numbers from 0 to 1.")
    return float(value)


def _words(name: str) -> Callable[[Any], list[str]]:
    def check(value: Any) -> list[str]:
        return [_entry(name, one) for one in _list(name, value)]

    return check


def _list(name: str, value: Any, most: int = MOST_ENTRIES) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > most:
        raise InvalidInput(f"The {name} of a privacy policy must be a list of at most {most}.")
    return list(value)


def _entry(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_ENTRY:
        raise InvalidInput(
            f"Each of the {name} of a privacy policy must be text, {LONGEST_ENTRY} characters at most."
        )
    return str(
        checked_text(value, f"Each of the {name} of a privacy policy", longest=4 * LONGEST_ENTRY)
    ).strip()


def _regions(value: Any) -> list[str]:
    regions = _list("regions", value, MOST_REGIONS)
    if not all(isinstance(region, str) and _REGION.fullmatch(region) for region in regions):
        raise InvalidInput("The regions of a privacy policy must be countries by two letters, such as DE.")
    return list(dict.fromkeys(region.upper() for region in regions))


def _identities(value: Any) -> list[dict[str, str]]:
    return [_identity(one) for one in _list("identities", value)]


def _identity(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or any(name not in _IDENTITY for name in value):
        raise InvalidInput("The identities of a privacy policy have a name, an email and a phone.")
    given = {name: _entry("identities", value[name]) for name in _IDENTITY if value.get(name) is not None}
    if not given:
        raise InvalidInput("Each of the identities of a privacy policy needs a name, an email or a phone.")
    return given


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "preset": _choice("preset", tuple(Preset)),
    "operators": _by_kind("operators", _choice("operators", tuple(Operator))),
    "thresholds": _by_kind("thresholds", _threshold),
    "allow": _words("allow"),
    "deny": _words("deny"),
    "regions": _regions,
    "direction": _choice("direction", tuple(Direction)),
    "blockUntilAnnotated": _flag("blockUntilAnnotated"),
    "model": _flag("model"),
    "identities": _identities,
}
