"""Passports and driving licences: numbers that the word beside them calls so."""

from __future__ import annotations

import re

from core.privacy.context import Cue, after, topics
from core.privacy.found import Found

_LINK = (
    r"(?:[ -]?(?:numbers?|num|no|nr|nummer|numéro|número|numero|id|book|card|code|n[°º]))?"
    r"(?:[\s:#.=°º()'\"-]{1,4}(?:is|was|ist|lautet|est|es|é|number|no|nr|nº|n°|num|my|de|from|issued"
    r"|state|in|the)\b){0,4}"
    r"[\s:#.=°º()'\"-]{1,5}"
)
_PASSPORT = re.compile(
    r"(?<![\w•])(?:passport|reisepass(?:nummer)?|passnummer|passeport|pasaporte|passaporte)"
    + _LINK
    + r"(?P<id>[A-Z]{0,3}[0-9][0-9A-Z]{5,9})(?![\w•])",
    re.IGNORECASE,
)
# A German one is a `Pass`; in English that is a ticket, or what somebody does.
_PASS = re.compile(
    r"(?<![\w•])(?<!boarding )(?<!ski )(?<!bus )(?<!day )(?<!rail )(?<!season )(?:US-|EU-)?"
    r"(?:(?-i:Pass|PASS)(?:-?(?:nr|no)\.?)?(?= ?[:.#]| nr| no|,? ?\(?[A-Z]{0,2}[0-9])"
    r"|(?:mein|der|vom|im|dem|den|neue[rnm]?|alte[rnm]?|gültige[rnm]?|us)[ -]pass)(?![^\W_])"
    r"(?P<between>[^0-9.!?;\n\x00\x01•]{0,30}?(?:n[ro]\.)?[^0-9.!?;\n\x00\x01•\w]{1,4})"
    r"(?P<id>[A-Z]{0,2}[0-9]{7,9})(?![\w•]|[.,:/-][0-9])",
    re.IGNORECASE,
)
_LICENSE = re.compile(
    r"(?<![\w•])(?:driv(?:er(?:'?s|s')?|ing)[ -]licen[cs]e|licen[cs]e|dl|d\.l\.|dln|führerschein(?:nummer)?"
    r"|fs-?nr\.?|permis de conduire|licencia de conducir|carnet de conducir"
    r"|carta de condução|cnh|habilitação)" + _LINK + r"(?P<id>[A-Z]{5} [0-9]{6} [A-Z0-9]{5}(?: [0-9]{2})?"
    r"|[A-Z]{0,2}[0-9]{2,5}(?:[ -][0-9]{1,5}){2,4}"
    r"|[A-Z]{0,7}[0-9][0-9A-Z*]{3,16}(?:-[0-9A-Z*]{2,8}){0,3}"
    r"|[A-Z]{1,7}[0-9A-Z*]{3,12})(?![\w•]|[/.:-][0-9])",
    re.IGNORECASE,
)
# What no other word claims, wherever in the sentence the word for it stands.
_PASSPORT_FORM = re.compile(r"(?<![\w•.,:/#$€£-])[A-Z]{0,2}[0-9]{7,9}(?![\w•]|[.,:/-][0-9])", re.IGNORECASE)
_LICENSE_FORM = re.compile(
    r"(?<![\w•.,:/#$€£-])(?:[A-Z][0-9]{3,4}(?:[- ][0-9]{1,5}){2,4}|[A-Z]{1,2}[0-9]{5,14}|[0-9]{7,9}"
    r"|[0-9]{3} [0-9]{3} [0-9]{3})(?![\w•]|[.,:/-][0-9])",
    re.IGNORECASE,
)
# As the documents themselves have it, and not as a count is written.
_SURE_FORM = re.compile(r"[A-Z][0-9]{7,8}|[0-9]{9}", re.IGNORECASE)
_REST = re.compile(r"[^0-9.!?;\n\x00\x01•]{1,50}")


def find(text: str, out: list[Found]) -> None:
    """Documents by the word beside their number."""
    if "pas" in text.lower():  # as every word for one
        _passports(text, out)
    for held in _LICENSE.finditer(text):
        number = held.group("id")
        begin, end = held.span("id")
        digits = sum(letter.isdigit() for letter in number)
        if digits >= 4 and 5 <= len(number.replace(" ", "").replace("-", "")) <= 20:
            out.append((0.7, begin, end, "US_DRIVER_LICENSE"))
    _called(text, _LICENSE_FORM, Cue.LICENSE, "US_DRIVER_LICENSE", out)


def _passports(text: str, out: list[Found]) -> None:
    for held in _PASSPORT.finditer(text):
        begin, end = held.span("id")
        if sum(letter.isdigit() for letter in held["id"]) >= 4:
            out.append((0.7, begin, end, "US_PASSPORT"))
    out += [(0.7, *held.span("id"), "US_PASSPORT") for held in _PASS.finditer(text) if not _claimed(held)]
    _called(text, _PASSPORT_FORM, Cue.PASSPORT, "US_PASSPORT", out)


def _claimed(held: re.Match[str]) -> bool:
    """Whether a word between says that the number is another's."""
    return any(
        said not in {Cue.NUMBER, Cue.PASSPORT} for said in topics(held["between"], len(held["between"]))
    )


def _called(text: str, form: re.Pattern[str], cue: int, kind: str, out: list[Found]) -> None:
    """Numbers whose nearest word, before or behind, is this one."""
    for held in form.finditer(text):
        begin, end = held.span()
        nearest = next((said for said in topics(text, begin) if said != Cue.NUMBER), 0)
        behind = after(text, end)
        if behind & Cue.LINKED:
            nearest = 0
        if nearest & cue or (not nearest and (behind & cue or _said_behind(text, end, held.group(), cue))):
            out.append((0.65, begin, end, kind))


def _said_behind(text: str, end: int, number: str, cue: int) -> bool:
    """Whether the rest of the sentence speaks of it: `does … look like a passport number?`"""
    if not _SURE_FORM.fullmatch(number):
        return False
    rest = _REST.match(text, end)
    said = [one for one in topics(text, rest.end(), rest.end() - end) if one != Cue.NUMBER] if rest else []
    return bool(said) and said[-1] & cue > 0
