"""Templates of requests: where an argument may stand in one, and what it can do there. Pure.

An argument fills a place and never makes one: in the path it is one segment or a part of it, in the query a
value, in a header a piece of its line, in a JSON body a value of its own or words within a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from core.errors import InvalidInput
from core.skills.request_json import compact
from core.skills.skill import SkillFailed

ABSENT = object()
LONGEST_HEADER = 16 * 1024
LONGEST_SEGMENT = 2048
SECRET = "secret"  # noqa: S105 (the name of a place)
_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}|[{}]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE = re.compile(r"[\x20-\x7e]*")
_URL = re.compile(r"(?P<origin>[^/?#]*://[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?")


@dataclass(frozen=True)
class Slot:
    """A place for the argument of this name."""

    name: str


Pieces = list[str | Slot]


def pieces_of(words: str) -> Pieces:
    """A template's literal words and its slots, in their order; `{{` and `}}` are braces.

    Raises:
        InvalidInput: a brace that is neither.

    """
    pieces: Pieces = []
    at = 0
    for found in _TOKEN.finditer(words):
        pieces.append(words[at : found.start()])
        at = found.end()
        if found[1]:
            pieces.append(Slot(found[1]))
        elif len(found[0]) == 2:
            pieces.append(found[0][0])
        else:
            raise InvalidInput(
                "A brace must surround a parameter's name; one that is meant itself is doubled."
            )
    return [piece for piece in (*pieces, words[at:]) if piece != ""]


def names_in(template: Any) -> Iterator[str]:
    """The names of the slots in a text, or in all texts of a JSON value; those of objects have none.

    Raises:
        InvalidInput: as `pieces_of`; a slot in a name.

    """
    if isinstance(template, str):
        yield from (piece.name for piece in pieces_of(template) if isinstance(piece, Slot))
    elif isinstance(template, Mapping):
        for name, inner in template.items():
            if any(names_in(name)):
                raise InvalidInput("The names within a body, of headers and of the query hold no parameters.")
            yield from names_in(inner)
    elif isinstance(template, list):
        for inner in template:
            yield from names_in(inner)


def text_of(value: Any) -> str:
    """An argument within a longer text; none is no words."""
    if value is ABSENT or value is None:
        return ""
    return value if isinstance(value, str) else compact(value)


def split_url(template: str) -> tuple[str, str, str]:
    """Origin, path and query of a URL's template; slots can stand in the last two only.

    Raises:
        InvalidInput: they stand elsewhere, or it is no URL.

    """
    found = _URL.fullmatch(template)
    if found is None:
        raise InvalidInput("The url must be https://host/path, without a fragment.")
    if "{" in found["origin"] or "}" in found["origin"]:
        raise InvalidInput(
            "The url's scheme, host and port must be written out: parameters fill what follows."
        )
    return found["origin"], found["path"], found["query"] or ""


def filled_url(template: str, arguments: Mapping[str, Any]) -> str:
    """The URL with its arguments, percent-encoded wherever they stand.

    Raises:
        SkillFailed: an argument that would be no segment of the path, or another one's.

    """
    origin, path, query = split_url(template)
    segments = [_filled_segment(segment, arguments) for segment in path.split("/")]
    return origin + "/".join(segments) + _encoded(query, arguments)


def filled_query(query: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """`a=1&b=2`: a list is its name as often as it has items, and what is absent or null is left out."""
    pairs = []
    for name, template in query.items():
        value = filled_value(template, arguments)
        values = value if isinstance(value, list) else [value]
        said = [text_of(one) for one in values if one is not None and one is not ABSENT]
        pairs += [f"{_quoted(_unescaped(name))}={_quoted(one)}" for one in said]
    return "&".join(pairs)


def filled_header(template: str, arguments: Mapping[str, Any], secret: str | None) -> str | None:
    """A header's value on one line; None when it is one argument alone and that one is absent.

    Raises:
        SkillFailed: an argument that is more than one visible line, or the secret is missing.

    """
    pieces = pieces_of(template)
    if Slot(SECRET) in pieces and secret is None:
        raise SkillFailed("no_secret", "The request needs a secret, and none is linked to it.")
    known = {**arguments, SECRET: secret}
    if len(pieces) == 1 and isinstance(pieces[0], Slot) and known.get(pieces[0].name) is None:
        return None
    value = _joined(pieces, known).strip(" ")
    if not _LINE.fullmatch(value) or len(value) > LONGEST_HEADER:
        raise bad_argument("An argument that goes into a header must be one line of ASCII.")
    return value or None


def filled_text(template: str, arguments: Mapping[str, Any], *, encoded: bool) -> str:
    """A body of text; `encoded` as the values of a form."""
    return _encoded(template, arguments) if encoded else _joined(pieces_of(template), arguments)


def filled_value(template: Any, arguments: Mapping[str, Any]) -> Any:
    """A JSON value: `"{name}"` alone is the argument as it is, ABSENT without one, and then left out."""
    if isinstance(template, str):
        pieces = pieces_of(template)
        if len(pieces) == 1 and isinstance(pieces[0], Slot):
            return arguments.get(pieces[0].name, ABSENT)
        return _joined(pieces, arguments)
    if isinstance(template, Mapping):
        filled = {_unescaped(name): filled_value(inner, arguments) for name, inner in template.items()}
        return {name: value for name, value in filled.items() if value is not ABSENT}
    if isinstance(template, list):
        values = [filled_value(inner, arguments) for inner in template]
        return [value for value in values if value is not ABSENT]
    return template


def bad_argument(sentence: str) -> SkillFailed:
    return SkillFailed("argument", sentence)


def _filled_segment(template: str, arguments: Mapping[str, Any]) -> str:
    segment = _encoded(template, arguments, inside_path=True)
    if any(names_in(template)) and _leads_elsewhere(segment):
        raise bad_argument("An argument that goes into the path must be one plain segment of it.")
    return segment


def _leads_elsewhere(segment: str) -> bool:
    """Whether a server that decodes it, however often, could take the segment for something else."""
    if len(segment) > LONGEST_SEGMENT:
        return True
    before = ""
    while segment != before:
        before, segment = segment, unquote(segment, errors="replace")
    parts = re.split(r"[/\\]", segment)
    return segment == "" or not {".", ".."}.isdisjoint(parts) or bool(_CONTROL.search(segment))


def _encoded(template: str, arguments: Mapping[str, Any], *, inside_path: bool = False) -> str:
    filled = []
    for piece in pieces_of(template):
        if isinstance(piece, Slot):
            value = arguments.get(piece.name, ABSENT)
            if inside_path and (value is ABSENT or value is None or isinstance(value, list | dict)):
                raise bad_argument("An argument that goes into the path is missing, or is no plain value.")
            filled.append(_quoted(text_of(value)))
        else:
            filled.append(quote(piece, safe=_LITERAL))
    return "".join(filled)


# What stays as its author wrote it; braces that were doubled are encoded, since no URL holds them.
_LITERAL = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "{}")


def _joined(pieces: Pieces, arguments: Mapping[str, Any]) -> str:
    return "".join(
        text_of(arguments.get(piece.name, ABSENT)) if isinstance(piece, Slot) else piece for piece in pieces
    )


def _unescaped(name: str) -> str:
    return _joined(pieces_of(name), {})


def _quoted(words: str) -> str:
    return quote(words, safe="")
