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
_LICENSE = re.compile(
    r"(?<![\w•])(?:driv(?:er(?:'?s|s')?|ing)[ -]licen[cs]e|licen[cs]e|dl|d\.l\.|dln|führerschein(?:nummer)?"
    r"|permis de conduire|licencia de conducir|carnet de conducir|carta de condução|cnh|habilitação)"
    + _LINK
    + r"(?P<id>[A-Z]{5} [0-9]{6} [A-Z0-9]{5}(?: [0-9]{2})?"
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


def find(text: str, out: list[Found]) -> None:
    """Documents by the word beside their number."""
    for held in _PASSPORT.finditer(text):
        begin, end = held.span("id")
        if sum(letter.isdigit() for letter in held["id"]) >= 4:
            out.append((0.7, begin, end, "US_PASSPORT"))
    for held in _LICENSE.finditer(text):
        number = held.group("id")
        begin, end = held.span("id")
        digits = sum(letter.isdigit() for letter in number)
        if digits >= 4 and 5 <= len(number.replace(" ", "").replace("-", "")) <= 20:
            out.append((0.7, begin, end, "US_DRIVER_LICENSE"))
    _called(text, _PASSPORT_FORM, Cue.PASSPORT, "US_PASSPORT", out)
    _called(text, _LICENSE_FORM, Cue.LICENSE, "US_DRIVER_LICENSE", out)


def _called(text: str, form: re.Pattern[str], cue: int, kind: str, out: list[Found]) -> None:
    """Numbers whose nearest word, before or behind, is this one."""
    for held in form.finditer(text):
        begin, end = held.span()
        nearest = next((said for said in topics(text, begin) if said != Cue.NUMBER), 0)
        behind = after(text, end)
        if behind & Cue.LINKED:
            nearest = 0
        if nearest & cue or (not nearest and behind & cue):
            out.append((0.65, begin, end, kind))
