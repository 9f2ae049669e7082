"""Dates of birth: a date that the words beside it call so."""

from __future__ import annotations

import re

from core.privacy.context import FILLERS
from core.privacy.found import Found

_MONTH = (
    r"(?:jan(?:uary|uar|vier|eiro)?|ene(?:ro)?|feb(?:ruary|ruar|rero)?|février|fevereiro|fev|mar(?:ch|s|zo|ço)?|märz"
    r"|apr(?:il)?|avril|abr(?:il)?|may|mai|mayo|maio|june?|juni?|juin|junio|junho|jul(?:y|i|io|ho)?|juillet"
    r"|aug(?:ust)?|août|ago(?:sto)?|sep(?:t|tember|tembre|tiembre)?|set(?:embro)?|oct(?:ober|obre|ubre)?|okt(?:ober)?"
    r"|out(?:ubro)?|nov(?:ember|embre|iembre|embro)?|dec(?:ember)?|dez(?:ember|embro)?|déc(?:embre)?|dic(?:iembre)?)"
)
_DATE = (
    r"(?:(?:19|20)[0-9]{2}[-./][01]?[0-9][-./][0-3]?[0-9]"
    r"|[0-3]?[0-9] ?[-./] ?[0-3]?[0-9] ?[-./] ?(?:(?:19|20)[0-9]{2}|[0-9]{2})"
    rf"|[0-3]?[0-9](?:st|nd|rd|th|er|º|\.)?[ -](?:of |de |du )?{_MONTH}\.?,?[ -]"
    r"(?:of |de |del |do )?(?:(?:19|20)[0-9]{2})"
    rf"|{_MONTH}\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{{2}})"
)
# Words for nothing else, and those of a feast that comes every year, or short ones that stand right beside.
_SURELY = (
    r"(?:date of birth|birth ?date|born|d\.?o\.?b\.?|geboren|geburtsdat(?:um|\.)?|geb\.?[ -]?dat(?:um|\.)?"
    r"|geb\.?|née?(?:\(e\)|[·/]e)?(?: (?:à|a|en|au|aux) [\w -]{2,20})? (?:le|en|un)|naissance|naiss\.?"
    r"|nacimiento|nacid[oa](?:/a|\(a\))?|naci[óo]?|nací|nasceu|nasci(?:mento|d[oa](?:/a|\(a\))?)?|nasc\.?"
    r"|(?:fecha|fec|f|dt|data)\.? ?(?:de )?na[cs]c?\.?|zur welt)"
)
_CUE = (
    rf"(?:{_SURELY}|b(?:irth)? ?-?day|geburtstag|anniversaire|anniv\.?|cumple(?:años)?|aniversário|niver"
    r"|née?(?:\(e\)|[·/]e)?|ddn|fdn|d\.? ?n\.?|f\.n\.)"
)
# How a date is to be written, said between.
_FORMAT = r"(?: ?\([^()0-9\n\x00\x01•]{1,30}\))?"
_BORN = re.compile(
    rf"(?<!\w)(?:{_CUE}(?!\w){_FORMAT}{FILLERS}|{_SURELY}(?!\w)[^0-9.!?;\n\x00\x01•]{{0,30}}[^\w\x00\x01•]{{1,8}})"
    rf"(?P<date>{_DATE})(?![\w•])(?![-/][0-9])",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"(?<![\w•./-])(?P<date>{_DATE})(?![\w•])"
    rf"(?:{FILLERS}(?:richtige |bon |bonne |fecha de |date de |data de )?{_CUE}"
    rf"|[^0-9.!?;\n\x00\x01•]{{1,25}} {_SURELY})(?!\w)(?!{FILLERS}(?:{_DATE}|[\x00\x01•]))",
    re.IGNORECASE,
)


def find(text: str, out: list[Found]) -> None:
    """Dates that are called a date of birth."""
    for pattern in (_BORN, _AFTER):
        for held in pattern.finditer(text):
            begin, end = held.span("date")
            out.append((0.85, begin, end, "DATE_OF_BIRTH"))
